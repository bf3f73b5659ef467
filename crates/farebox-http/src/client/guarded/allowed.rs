//! The hosts that the operator exempts from the guard, exactly as written.

use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::client::written_port;

/// The longest host that is read, in bytes, as DNS has it.
const MAX_HOST_LENGTH: usize = 255;

/// One exempt host: `[http://|https://]host[:port]`. Without a port it means the scheme's own,
/// without a scheme both. A name is exempt whatever address it has, but no other name of that
/// address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    scheme: Option<Scheme>,
    host: String,
    port: Option<u16>,
}

/// Text that names no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an allowed host is written [http://|https://]host[:port], without path or user")]
pub struct AllowedHostError;

/// All exempt hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<AllowedHost>);

/// Where connections for a URL may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// To whatever address the listed host has.
    Listed,
    /// To public addresses only.
    Public,
}

impl AllowedHosts {
    /// Only these hosts.
    #[must_use]
    pub const fn new(hosts: Vec<AllowedHost>) -> Self {
        Self(hosts)
    }

    /// How `url` may be called, or `None` if not at all: no host, a user name in it, a scheme other
    /// than https (http for listed hosts).
    pub(super) fn access(&self, url: &Uri) -> Option<Access> {
        let authority = url
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))?;
        let scheme = url.scheme()?;
        let port = port_of(url)?;
        if self
            .0
            .iter()
            .any(|listed| listed.is(scheme, authority.host(), port))
        {
            return Some(Access::Listed);
        }
        (*scheme == Scheme::HTTPS && !authority.host().is_empty()).then_some(Access::Public)
    }

    /// The scheme by which to call `authority` where nothing else names one (LUD-16): https, but
    /// http for a host that is listed and not listed as https.
    #[must_use]
    pub fn scheme_for(&self, authority: &Authority) -> Scheme {
        let port = authority.port_u16().unwrap_or(80);
        let plain = |listed: &AllowedHost| listed.is(&Scheme::HTTP, authority.host(), port);
        if self.0.iter().any(plain) {
            Scheme::HTTP
        } else {
            Scheme::HTTPS
        }
    }
}

/// The port that a URL stands for; `None` for schemes that are not called and ports that are none.
fn port_of(url: &Uri) -> Option<u16> {
    let scheme = url.scheme()?;
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return None;
    }
    let written = written_port(url.authority()?).ok()?;
    Some(written.unwrap_or_else(|| default_port(scheme)))
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTP { 80 } else { 443 }
}

impl AllowedHost {
    fn is(&self, scheme: &Scheme, host: &str, port: u16) -> bool {
        self.scheme.as_ref().is_none_or(|own| own == scheme)
            && self.host.eq_ignore_ascii_case(host)
            && self.port.unwrap_or_else(|| default_port(scheme)) == port
    }
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::HTTP), rest),
            Some(("https", rest)) => (Some(Scheme::HTTPS), rest),
            Some(_) => return Err(AllowedHostError),
            None => (None, text),
        };
        let authority: Authority = rest.parse().map_err(|_| AllowedHostError)?;
        let host = authority.host();
        if host.is_empty() || host.len() > MAX_HOST_LENGTH {
            return Err(AllowedHostError);
        }
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: written_port(&authority).map_err(|_| AllowedHostError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(hosts: &[&str]) -> AllowedHosts {
        AllowedHosts::new(hosts.iter().map(|host| host.parse().unwrap()).collect())
    }

    fn access(allowed: &AllowedHosts, url: &str) -> Option<Access> {
        allowed.access(&url.parse().unwrap())
    }

    #[test]
    fn an_exemption_is_for_that_host_and_port_only() {
        let allowed = list(&["127.0.0.1:3000", "node.lan"]);
        assert_eq!(
            access(&allowed, "http://127.0.0.1:3000/x"),
            Some(Access::Listed)
        );
        assert_eq!(access(&allowed, "https://NODE.lan/x"), Some(Access::Listed));
        assert_eq!(
            access(&allowed, "http://node.lan:80/x"),
            Some(Access::Listed)
        );
        assert_eq!(
            access(&allowed, "https://127.0.0.1/x"),
            Some(Access::Public)
        );
        assert_eq!(
            access(&allowed, "https://127.0.0.1:3001/x"),
            Some(Access::Public)
        );
        assert_eq!(
            access(&allowed, "https://localhost:3000/x"),
            Some(Access::Public)
        );
        assert_eq!(access(&allowed, "http://sub.node.lan/x"), None);
    }

    #[test]
    fn a_listed_scheme_is_the_only_one() {
        let allowed = list(&["https://node.lan:8443"]);
        assert_eq!(
            access(&allowed, "https://node.lan:8443/"),
            Some(Access::Listed)
        );
        assert_eq!(access(&allowed, "http://node.lan:8443/"), None);
    }

    #[test]
    fn only_https_is_called_elsewhere_and_never_with_a_user_name() {
        let nowhere = AllowedHosts::default();
        assert_eq!(
            access(&nowhere, "https://example.com/"),
            Some(Access::Public)
        );
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "/path",
            "https://user@example.com/",
            "gopher://example.com:70/",
            "https://example.com:99999/",
        ] {
            assert_eq!(
                url.parse().ok().and_then(|url| nowhere.access(&url)),
                None,
                "{url}"
            );
        }
    }

    #[test]
    fn an_address_is_resolved_over_tls_unless_its_host_is_listed() {
        let allowed = list(&["127.0.0.1:3000", "https://node.lan"]);
        let scheme = |host: &str| allowed.scheme_for(&host.parse().unwrap());
        assert_eq!(scheme("127.0.0.1:3000"), Scheme::HTTP);
        assert_eq!(scheme("127.0.0.1:3001"), Scheme::HTTPS);
        assert_eq!(scheme("node.lan"), Scheme::HTTPS);
        assert_eq!(scheme("example.com"), Scheme::HTTPS);
    }

    #[test]
    fn what_is_not_a_host_is_not_listed() {
        for bad in [
            "",
            "http://",
            "a/b",
            "user@host",
            "ftp://host",
            "host:99999",
            "host:",
            "a b",
        ] {
            assert_eq!(bad.parse::<AllowedHost>(), Err(AllowedHostError), "{bad}");
        }
    }
}
