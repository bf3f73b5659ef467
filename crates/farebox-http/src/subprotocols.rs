//! The subprotocols that a WebSocket is opened with (RFC 6455 section 4.1).

use http::HeaderMap;
use http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use crate::headers::is_websocket_upgrade;

/// The subprotocols that a client offers, as they came.
#[derive(Clone)]
pub struct Subprotocols(Vec<HeaderValue>);

impl Subprotocols {
    /// Those of a request that asks to become a WebSocket, if it offers any.
    #[must_use]
    pub fn offered(headers: &HeaderMap) -> Option<Self> {
        let offers = headers.contains_key(SEC_WEBSOCKET_PROTOCOL) && is_websocket_upgrade(headers);
        offers.then(|| Self(entries(headers).filter_map(secret).collect()))
    }

    /// The first one that is not offered any more by what is left of the request. Browsers close a
    /// WebSocket whose answer names none of those that they offered, so where the upstream names
    /// none this one is named: whoever took it off has understood it.
    #[must_use]
    pub fn first_taken(self, left: &HeaderMap) -> Option<HeaderValue> {
        let is_left = |offered: &HeaderValue| entries(left).any(|entry| entry == offered);
        self.0.into_iter().find(|offered| !is_left(offered))
    }
}

/// What a request offers, entry by entry, over all lines.
pub fn entries(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let entries = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let entries = entries.map(<[u8]>::trim_ascii);
    entries.filter(|entry| !entry.is_empty())
}

/// A client's key may stand in it.
fn secret(entry: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(entry).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade(protocols: &'static str) -> HeaderMap {
        let lines = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "x"),
            ("sec-websocket-protocol", protocols),
        ];
        let fields = lines.map(|(name, line)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(line))
        });
        fields.into_iter().collect()
    }

    #[test]
    fn the_first_one_that_was_taken_off_can_be_named() {
        let taken = |left| {
            let offered = Subprotocols::offered(&upgrade("realtime, key.1,key.2")).unwrap();
            offered.first_taken(&upgrade(left))
        };
        assert_eq!(taken("realtime").unwrap(), "key.1");
        assert_eq!(taken("").unwrap(), "realtime");
        assert_eq!(taken("key.1,realtime").unwrap(), "key.2");
        assert_eq!(taken("realtime, key.1, key.2"), None);
    }

    #[test]
    fn what_is_no_upgrade_offers_none() {
        let mut headers = upgrade("realtime");
        headers.remove("upgrade");
        assert!(Subprotocols::offered(&headers).is_none());
    }
}
