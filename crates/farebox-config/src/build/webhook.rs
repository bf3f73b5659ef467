//! Prices that a program of the seller says: where it is, and how it is asked.

use farebox_core::Secret;
use farebox_http::upstream::UpstreamPool;
use farebox_paywall::webhook::{Webhook, WebhookRules, is_credential};
use http::HeaderName;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::uri::PathAndQuery;

use super::at::At;
use super::upstream::{Transports, target};
use super::{Context, Lookups};
use crate::choice::WebhookPrice;
use crate::secrets;

/// A signature with a shorter secret can be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// What a route's calls cost, as its webhook will say.
pub(super) fn webhook(
    (written, is_single): (&WebhookPrice, bool),
    transports: &mut Transports,
    context: &Context,
    at: &At<'_>,
) -> Option<Webhook> {
    let url = &written.webhook;
    let key = at.key("webhook");
    let target = key.take(target(url));
    let rules = rules(written, is_single, at);
    let secret = secret(written, context.lookups, at);
    let target = target?;
    let path = if target.base_path.is_empty() {
        "/"
    } else {
        &target.base_path
    };
    let path: PathAndQuery = key.take(path.parse())?;
    let transport = transports.plain(&key)?;
    let pool = UpstreamPool::new(transport, target.scheme, target.authority);
    Some(Webhook::new(pool, path, secret?, rules))
}

fn rules(written: &WebhookPrice, is_single: bool, at: &At<'_>) -> WebhookRules {
    let counts = [
        ("max_in_flight", written.max_in_flight == 0),
        ("attempts", written.attempts == 0),
    ];
    at.note_each(counts, "at least one");
    WebhookRules {
        tell: tell(written, is_single, at),
        timeout: at.key("timeout").not_zero(written.timeout),
        max_in_flight: usize::try_from(written.max_in_flight).unwrap_or(usize::MAX),
        attempts: written.attempts,
        missing: written.missing.into(),
    }
}

/// The headers that it is told. A quote that is sold by itself must not depend on one: the token is
/// for method, path, query and body, and would pay for a dearer request with other headers as well.
fn tell(written: &WebhookPrice, is_single: bool, at: &At<'_>) -> Vec<HeaderName> {
    let names = match &written.tell {
        None if is_single => return Vec::new(),
        None => return vec![CONTENT_TYPE, ACCEPT],
        Some(names) => names,
    };
    if is_single && !names.is_empty() {
        let reason = "makes no sense with a price for one call: what is bought is bound to method, \
                      path, query and body, and could be used with other headers";
        at.key("tell").note(reason);
    }
    let tell = names.iter().enumerate().filter_map(|(place, name)| {
        let key = at.key("tell").index(place);
        let parsed = key.take(name.parse::<HeaderName>())?;
        if is_credential(parsed.as_str()) {
            key.note("holds a credential, and those are told to nobody");
        }
        Some(parsed)
    });
    tell.collect()
}

fn secret(written: &WebhookPrice, lookups: Lookups, at: &At<'_>) -> Option<Secret<Vec<u8>>> {
    let key = at.key("secret");
    let Some(source) = &written.secret else {
        key.note("is missing: what each question is signed with, as { env = \"…\" }");
        return None;
    };
    if lookups == Lookups::Skipped {
        return Some(Secret::new(Vec::new()));
    }
    let secret = key.take(secrets::fetch(source))?;
    let bytes = secret.reveal().as_bytes().to_vec();
    if bytes.len() < MIN_SECRET_BYTES {
        key.note(format!(
            "shorter than {MIN_SECRET_BYTES} bytes: it could be guessed"
        ));
    }
    Some(Secret::new(bytes))
}
