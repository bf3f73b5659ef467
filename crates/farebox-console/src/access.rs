//! Who may enter: the owner of the admin token, under the console's own name.

use std::fmt;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use farebox_core::Secret;
use subtle::ConstantTimeEq;

use crate::Shared;
use crate::error::ConsoleError;

/// The shortest token that is taken.
const MIN_TOKEN_LENGTH: usize = 32;

/// The secret that opens the console.
#[derive(Clone)]
pub struct AdminToken(Secret<String>);

/// Text that is no admin token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an admin token has at least {MIN_TOKEN_LENGTH} visible ASCII characters")]
pub struct AdminTokenError;

impl AdminToken {
    /// Parses a token; white space around it is ignored, as files end in a line break.
    ///
    /// # Errors
    /// [`AdminTokenError`] when it is too short or no header could carry it.
    pub fn parse(text: &str) -> Result<Self, AdminTokenError> {
        let text = text.trim();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() < MIN_TOKEN_LENGTH || !visible {
            return Err(AdminTokenError);
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    /// The token, for the header of a client or the file that keeps it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Whether `presented` is this token, in a time that does not depend on where they differ.
    fn is(&self, presented: &[u8]) -> bool {
        self.0.reveal().as_bytes().ct_eq(presented).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Lets requests with the admin token pass.
pub(crate) async fn require_token(
    State(state): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ConsoleError> {
    let presented = bearer(request.headers()).ok_or(ConsoleError::Unauthorized)?;
    if !state.options.token.is(presented.as_bytes()) {
        return Err(ConsoleError::Unauthorized);
    }
    Ok(next.run(request).await)
}

/// The token of the one `Authorization` field.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let field = single(headers, &AUTHORIZATION)?;
    let (scheme, token) = field.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case("bearer ").then_some(token)
}

/// Lets requests under the console's own names pass: a page whose name was pointed at this machine
/// has another one.
pub(crate) async fn require_host(
    State(state): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ConsoleError> {
    let host = single(request.headers(), &HOST).ok_or(ConsoleError::Host)?;
    if !is_own_name(host, &state.options.hosts) {
        return Err(ConsoleError::Host);
    }
    Ok(next.run(request).await)
}

/// The value of a field that is there once; two of them are none.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut fields = headers.get_all(name).iter();
    let (field, None) = (fields.next()?, fields.next()) else {
        return None;
    };
    field.to_str().ok()
}

fn is_own_name(host: &str, configured: &[String]) -> bool {
    let name = without_port(host);
    let literal = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || literal.is_ok_and(|address| address.is_loopback())
        || configured.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Nothing here is for caches.
pub(crate) async fn never_cache(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_and_configured_ones_are_ours() {
        let configured = ["console.internal".to_owned()];
        for own in [
            "localhost",
            "LocalHost:8403",
            "127.0.0.1:8403",
            "[::1]:8403",
            "console.internal:1",
        ] {
            assert!(is_own_name(own, &configured), "{own}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example:8403",
            "10.0.0.1",
            "localhost.evil.example",
            "",
        ] {
            assert!(!is_own_name(foreign, &configured), "{foreign}");
        }
    }

    #[test]
    fn a_token_is_long_visible_and_not_shown() {
        let token = AdminToken::parse(&format!("{}\n", "a".repeat(32))).unwrap();
        assert!(token.is("a".repeat(32).as_bytes()));
        assert!(!token.is("a".repeat(31).as_bytes()));
        assert!(!token.is(b""));
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
        assert!(AdminToken::parse("short").is_err());
        assert!(AdminToken::parse(&"ä".repeat(32)).is_err());
    }
}
