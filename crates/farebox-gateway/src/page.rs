//! The challenge of a GET as a page for a person: what is sold, a QR code, and the answer in its
//! place once it is paid.
//!
//! One document, without anything from elsewhere, whose policy lets nothing run but the one script
//! that came with it. It works without that script too: it then asks for itself again until the
//! payment is there. Whatever was not written here is escaped on its way in.

pub(crate) mod accept;
mod goods;
mod problem;
mod qr;
mod template;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use template::{Html, fill};

pub(crate) use goods::{Each, Goods, Proof};
pub(crate) use problem::problem;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const PAYMENT: &str = include_str!("page/payment.html");

/// How often a page without scripts asks for itself again, in seconds.
const REFRESH_SECONDS: u32 = 5;

const CONTENT_SECURITY_POLICY: HeaderName = HeaderName::from_static("content-security-policy");
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const X_CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// Nothing but our own style and script, and what the script may make of the answer: pictures and
/// connections to this very host.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        fingerprint(SCRIPT),
        fingerprint(STYLE),
    );
    HeaderValue::try_from(policy).expect("base64 and keywords are header characters")
});

fn fingerprint(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// What every page of ours says about itself.
pub(crate) fn headers(headers: &mut HeaderMap) {
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The page that asks for a payment.
pub(crate) fn payment(goods: &Goods<'_>) -> String {
    let expires_in = goods.expires_in.to_string();
    let refresh = REFRESH_SECONDS.to_string();
    let link = format!("lightning:{}", goods.invoice);
    fill(
        PAYMENT,
        &[
            ("style", Html::ours(STYLE)),
            ("script", Html::ours(SCRIPT)),
            ("refresh", goods.refresh_tag(&refresh)),
            ("description", Html::escaped(goods.description)),
            ("address", Html::escaped(&goods.address)),
            ("price", Html::escaped(&goods::amount(goods.terms.amount))),
            ("msat", Html::escaped(&goods.terms.amount.get().to_string())),
            ("fiat", goods.fiat()),
            ("buys", Html::escaped(&goods.buys())),
            ("qr", qr::svg(goods.invoice)),
            ("invoice", Html::escaped(goods.invoice)),
            ("link", Html::escaped(&link)),
            ("expires_in", Html::escaped(&expires_in)),
            ("again", Html::ours(goods.again())),
            ("mode", Html::ours(goods.mode())),
            ("wait", Html::ours(goods.wait_text())),
            ("form", goods.form()),
        ],
    )
}

#[cfg(test)]
mod tests;

/// The page that asks for its own address again.
pub(crate) fn again() -> String {
    const AGAIN: &str = include_str!("page/again.html");
    fill(AGAIN, &[("style", Html::ours(STYLE))])
}
