//! Which URLs the operator may write, and how forms are written. Pure.

use http::Uri;
use http::uri::Scheme;

use super::EndpointError;
use crate::client::{host_of, is_loopback, percent_encode, written_port};

/// The host and port of a URL that may be called.
pub(super) fn check(base: &Uri, allow_plain_http: bool) -> Result<String, EndpointError> {
    let authority = base.authority().ok_or(EndpointError::NoHost)?;
    if authority.as_str().contains('@') {
        return Err(EndpointError::UserInUrl);
    }
    let host = authority.host();
    if host.is_empty() || written_port(authority).is_err() {
        return Err(EndpointError::NoHost);
    }
    if base.query().is_some() {
        return Err(EndpointError::Query);
    }
    let plain = match base.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => false,
        Some(scheme) if *scheme == Scheme::HTTP => true,
        _ => return Err(EndpointError::Scheme),
    };
    if plain && !allow_plain_http && !is_loopback(host) {
        let host = host.to_owned();
        return Err(EndpointError::PlainHttp { host });
    }
    Ok(host_of(base))
}

/// Fields as `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| {
        let (name, value) = (percent_encode(name), percent_encode(value));
        format!("{name}={value}")
    };
    let fields: Vec<_> = fields.iter().map(field).collect();
    fields.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str) -> Result<String, EndpointError> {
        check(&url.parse().unwrap(), false)
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for here in [
            "http://127.0.0.1:9740",
            "http://localhost:1/x",
            "http://[::1]:1",
        ] {
            assert!(checked(here).is_ok(), "{here}");
        }
        for elsewhere in [
            "http://10.0.0.1:9740",
            "http://node.local",
            "http://localhost.example.com",
            "http://[::ffff:7f00:1]:1",
        ] {
            let refused = checked(elsewhere);
            assert!(
                matches!(refused, Err(EndpointError::PlainHttp { .. })),
                "{elsewhere}: {refused:?}"
            );
            assert!(check(&elsewhere.parse().unwrap(), true).is_ok());
        }
        assert_eq!(checked("https://10.0.0.1:8080").unwrap(), "10.0.0.1:8080");
    }

    #[test]
    fn a_url_that_cannot_be_a_base_is_refused() {
        for (url, fault) in [
            ("/v1", EndpointError::NoHost),
            ("https://me:secret@host", EndpointError::UserInUrl),
            ("https://host:99999", EndpointError::NoHost),
            ("https://host/?x=1", EndpointError::Query),
            ("ftp://host/", EndpointError::Scheme),
        ] {
            assert_eq!(checked(url), Err(fault), "{url}");
        }
    }

    #[test]
    fn a_form_field_cannot_add_another() {
        let fields = [("amountSat", "1"), ("description", "a&b=c é+")];
        assert_eq!(
            form(&fields),
            "amountSat=1&description=a%26b%3Dc%20%C3%A9%2B"
        );
    }
}
