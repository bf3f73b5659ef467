//! `user@host[:port]`, the written form of a Lightning Address (LUD-16).

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

use farebox_http::client::{AllowedHosts, written_port};

/// The longest address that is read, in bytes, as for e-mail.
const MAX_ADDRESS_LENGTH: usize = 254;

/// A Lightning Address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    user: String,
    host: Authority,
}

/// Text that is not a Lightning Address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Lightning Address is written user@host, the user in a-z, 0-9, '.', '_', '-' and '+'")]
pub struct AddressError;

impl Address {
    /// Where LUD-16 has the payment parameters: over https, but http for a host that the operator
    /// listed.
    pub(super) fn well_known(&self, allowed: &AllowedHosts) -> Uri {
        Uri::builder()
            .scheme(allowed.scheme_for(&self.host))
            .authority(self.host.clone())
            .path_and_query(format!("/.well-known/lnurlp/{}", self.user))
            .build()
            .expect("scheme, authority and a path of plain characters make a URL")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (user, host) = text.split_once('@').ok_or(AddressError)?;
        let user = user.to_ascii_lowercase();
        let fits = text.len() <= MAX_ADDRESS_LENGTH && !user.is_empty();
        if !fits || !user.bytes().all(may_name_a_user) || host.contains('@') {
            return Err(AddressError);
        }
        let host: Authority = host
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| AddressError)?;
        if host.host().is_empty() || written_port(&host).is_err() {
            return Err(AddressError);
        }
        Ok(Self { user, host })
    }
}

fn may_name_a_user(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-+".contains(&byte)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well_known(text: &str) -> String {
        text.parse::<Address>()
            .unwrap()
            .well_known(&AllowedHosts::default())
            .to_string()
    }

    #[test]
    fn an_address_leads_to_its_well_known_url() {
        assert_eq!(
            well_known("Me@Example.com"),
            "https://example.com/.well-known/lnurlp/me"
        );
        assert_eq!(
            well_known("a.b+c@h:8443"),
            "https://h:8443/.well-known/lnurlp/a.b+c"
        );
    }

    #[test]
    fn what_could_change_the_url_is_no_address() {
        for bad in [
            "",
            "me",
            "@host",
            "me@",
            "me@ho st",
            "m/e@host",
            "..%2f@host",
            "me?x@host",
            "me@host/path",
            "me@host?x",
            "me@host#x",
            "me@user@host",
            "me@host:99999",
            "mé@host",
            &format!("{}@host", "a".repeat(300)),
        ] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError), "{bad}");
        }
    }
}
