//! Who is calling: the client's address as far as it can be believed.
//!
//! Addresses decide how many challenges somebody gets, never who may have what was paid for.
//! Nothing that a client writes is believed unless a proxy named in `server.trusted_proxies`
//! passed it on. `Forwarded` (RFC 7239) is not read: two sources that can disagree are one too
//! many.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// How many hops of `X-Forwarded-For` are walked at most.
pub const MAX_HOPS: usize = 16;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word about the client's address is taken. None by default.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The part of an address that one customer usually holds: /24 of IPv4 (also where it is mapped
/// into IPv6), /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressPrefix {
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 48 bits of an IPv6 address.
    V6([u8; 6]),
}

impl TrustedProxies {
    /// Trusts the proxies in `networks`.
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: `peer`, the other end of the socket, unless that is a trusted proxy.
    /// Then `X-Forwarded-For` is walked from its end as long as the hops are trusted; the first
    /// one that is not, or the last one that can be read, is the client.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let mut hops = hops_from_the_right(headers);
        for _ in 0..MAX_HOPS {
            if !self.trusts(client) {
                break;
            }
            match hops.next() {
                Some(Some(hop)) => client = hop,
                Some(None) | None => break,
            }
        }
        client
    }
}

/// The hops of all `X-Forwarded-For` lines, nearest first; `None` for one that is no address.
fn hops_from_the_right(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b',').map(read_hop))
}

/// Reads an address, with or without a port, as the proxies in use write it.
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bracketed = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
    };
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| bracketed().map(IpAddr::V6))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

/// Appends an address as text. Every request has it in its log line and in what its upstream is told, so
/// that one of IPv4 is written without the cost of formatting machinery.
pub fn push_address(text: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            text.reserve("255.255.255.255".len());
            let [first, rest @ ..] = address.octets();
            let mut digits = itoa::Buffer::new();
            text.extend_from_slice(digits.format(first).as_bytes());
            for octet in rest {
                text.push(b'.');
                text.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => text.extend_from_slice(address.to_string().as_bytes()),
    }
}

impl AddressPrefix {
    /// The prefix that `address` is in.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Self::V6([a, b, c, d, e, g]) => {
                let mut octets = [0; 16];
                octets[..6].copy_from_slice(&[a, b, c, d, e, g]);
                write!(f, "{}/48", Ipv6Addr::from(octets))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, lines: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(X_FORWARDED_FOR, value);
        }
        let trusted = TrustedProxies::new(networks.to_vec());
        trusted
            .client_address(peer.parse().unwrap(), &headers)
            .to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        assert_eq!(client("192.0.2.7", &["203.0.113.9"]), "192.0.2.7");
        let nobody = TrustedProxies::default();
        let headers =
            HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"))]);
        let peer = PROXY.parse().unwrap();
        assert_eq!(nobody.client_address(peer, &headers), peer);
    }

    #[test]
    fn behind_a_trusted_proxy_the_first_untrusted_hop_from_the_right_is_the_client() {
        assert_eq!(client(PROXY, &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            client(PROXY, &["6.6.6.6, 203.0.113.9, 10.9.9.9"]),
            "203.0.113.9"
        );
        assert_eq!(
            client(PROXY, &["6.6.6.6", "203.0.113.9,10.9.9.9"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn without_an_untrusted_hop_the_furthest_one_is_the_client() {
        assert_eq!(client(PROXY, &[]), PROXY);
        assert_eq!(client(PROXY, &["10.3.3.3, 10.2.2.2"]), "10.3.3.3");
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        assert_eq!(client(PROXY, &["203.0.113.9, unknown"]), PROXY);
        assert_eq!(client(PROXY, &["203.0.113.9, , 10.2.2.2"]), "10.2.2.2");
        assert_eq!(
            client(PROXY, &["203.0.113.9", "\u{e9}, 10.2.2.2"]),
            "10.2.2.2"
        );
    }

    #[test]
    fn an_endless_chain_of_trusted_hops_is_not_walked_to_its_end() {
        let chain = format!("203.0.113.9{}", ", 10.2.2.2".repeat(MAX_HOPS));
        assert_eq!(client(PROXY, &[&chain]), "10.2.2.2");
    }

    #[test]
    fn addresses_are_read_with_ports_and_brackets() {
        assert_eq!(client(PROXY, &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client(PROXY, &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client(PROXY, &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("fd00::1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn an_ipv4_address_mapped_into_ipv6_is_that_ipv4_address() {
        assert_eq!(
            client("::ffff:10.0.0.1", &["::ffff:203.0.113.9"]),
            "203.0.113.9"
        );
        let prefix = |text: &str| AddressPrefix::of(text.parse().unwrap()).to_string();
        assert_eq!(prefix("::ffff:203.0.113.9"), "203.0.113.0/24");
        assert_eq!(prefix("203.0.113.200"), "203.0.113.0/24");
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "0.10.200.255",
            "192.0.2.7",
            "2001:db8::1",
            "::ffff:192.0.2.7",
        ] {
            let mut written = Vec::new();
            push_address(&mut written, text.parse().unwrap());
            assert_eq!(written, text.as_bytes());
        }
    }

    #[test]
    fn one_ipv6_site_is_one_prefix() {
        let prefix = |text: &str| AddressPrefix::of(text.parse().unwrap());
        assert_eq!(prefix("2001:db8:1:1::1"), prefix("2001:db8:1:ffff::2"));
        assert_ne!(prefix("2001:db8:1::1"), prefix("2001:db8:2::1"));
        assert_eq!(prefix("2001:db8:1:2::3").to_string(), "2001:db8:1::/48");
    }
}
