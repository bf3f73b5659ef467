//! Where a mint is: one text for all the ways to write it.

use std::fmt;
use std::sync::Arc;

use farebox_http::client::percent_encode;
use url::{Host, Url};

/// The URL of a mint in one spelling, without a slash at its end: two texts that mean one mint are equal.
///
/// Host and scheme are in small letters, the default port and doubled slashes are left out, and each
/// character of the path is percent-encoded exactly where RFC 3986 wants it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MintUrl(Arc<str>);

/// A text that is no mint's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMintUrl {
    /// Longer than any.
    #[error("a mint's URL has at most {MAX_URL} characters")]
    Long,
    /// No absolute URL with a host.
    #[error("a mint's URL looks like https://mint.example.com")]
    NoUrl,
    /// Neither `https` nor `http`.
    #[error("a mint's URL begins with https:// or http://")]
    Scheme,
    /// It has a user, a query or a fragment, which no mint's has.
    #[error("a mint's URL has no user name, no query and no fragment")]
    Extra,
}

/// The longest URL that is read, in bytes.
const MAX_URL: usize = 512;

impl MintUrl {
    /// Reads a mint's URL however it is written.
    ///
    /// # Errors
    /// [`BadMintUrl`].
    pub fn parse(text: &str) -> Result<Self, BadMintUrl> {
        let text = text.trim();
        if text.len() > MAX_URL {
            return Err(BadMintUrl::Long);
        }
        let url = Url::parse(text).map_err(|_| BadMintUrl::NoUrl)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(BadMintUrl::Scheme);
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(BadMintUrl::Extra);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(host) => host.to_string(),
            None => return Err(BadMintUrl::NoUrl),
        };
        let mut canonical = format!("{}://{host}", url.scheme());
        if let Some(port) = url.port() {
            canonical.push_str(&format!(":{port}"));
        }
        let segments = url.path_segments().into_iter().flatten();
        for segment in segments.filter(|segment| !segment.is_empty()) {
            let bytes: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
            // A slash that was encoded is part of its segment, and no other text is equal to it.
            let decoded = String::from_utf8(bytes).map_err(|_| BadMintUrl::NoUrl)?;
            canonical.push('/');
            canonical.push_str(&percent_encode(&decoded).to_string());
        }
        Ok(Self(canonical.into()))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MintUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MintUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        MintUrl::parse(text).unwrap().to_string()
    }

    #[test]
    fn one_mint_has_one_name_however_it_is_spelled() {
        let name = "https://mint.example.com/Bitcoin";
        for spelling in [
            "https://mint.example.com/Bitcoin/",
            "https://mint.example.com//Bitcoin",
            "https://MINT.example.com:443/Bitcoin",
            "https://mint.example.com./Bitcoin",
            "HTTPS://mint.example.com/%42itcoin",
            " https://mint.example.com/./Bitcoin ",
        ] {
            assert_eq!(canonical(spelling), name, "{spelling}");
        }
        let loopback = canonical("http://[::1]:3338/");
        assert_eq!(canonical("http://[0:0:0:0:0:0:0:1]:3338"), loopback);
        assert_eq!(loopback, "http://[::1]:3338");
    }

    #[test]
    fn mints_that_differ_keep_their_names_apart() {
        let other = [
            "http://mint.example.com/Bitcoin",
            "https://mint.example.com/bitcoin",
            "https://mint.example.com:8443/Bitcoin",
            "https://mint.example.com/Bitcoin/v1",
            "https://mint.example.com/Bit%2Fcoin",
        ];
        let mut names: Vec<_> = other.iter().map(|text| canonical(text)).collect();
        names.push(canonical("https://mint.example.com/Bitcoin"));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), other.len() + 1);
    }

    #[test]
    fn what_is_no_mints_url_is_refused_by_its_fault() {
        for (text, fault) in [
            ("", BadMintUrl::NoUrl),
            ("mint.example.com", BadMintUrl::NoUrl),
            ("ftp://mint.example.com", BadMintUrl::Scheme),
            ("https://me:pw@mint.example.com", BadMintUrl::Extra),
            ("https://mint.example.com/?a=1", BadMintUrl::Extra),
            ("https://mint.example.com/#a", BadMintUrl::Extra),
            ("https://mint.example.com/%FF", BadMintUrl::NoUrl),
        ] {
            assert_eq!(MintUrl::parse(text), Err(fault), "{text}");
        }
        let long = format!("https://mint.example.com/{}", "a".repeat(MAX_URL));
        assert_eq!(MintUrl::parse(&long), Err(BadMintUrl::Long));
    }
}
