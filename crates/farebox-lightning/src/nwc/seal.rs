//! Signing and encrypting what goes to the wallet, and the checks on what comes back: an event is
//! the wallet's only if its author, its id and its signature say so, and only then is it decrypted
//! (NIP-44 version 2). Whatever a relay does to an event, it does not get past here.

use farebox_core::UnixMillis;
use nostr::nips::nip44::{self, Version};
use nostr::{Event, EventId, Keys, Kind, PublicKey, Tag, TagKind, Timestamp, UnsignedEvent};
use serde_json::Value;

/// NIP-47: what the wallet can do.
pub(super) const INFO: Kind = Kind::WalletConnectInfo;

/// NIP-47: what we ask.
const REQUEST: Kind = Kind::WalletConnectRequest;

/// NIP-47: what the wallet answers.
pub(super) const RESPONSE: Kind = Kind::WalletConnectResponse;

/// NIP-47: what the wallet tells by itself, encrypted with NIP-44.
pub(super) const NOTIFICATION: Kind = Kind::Custom(23197);

/// NIP-42: proving to a relay whose key we hold.
const RELAY_AUTH: Kind = Kind::Authentication;

/// How NIP-47 names NIP-44 version 2.
pub(super) const NIP44: &str = "nip44_v2";

/// Our key and the wallet's.
pub(super) struct Seal {
    keys: Keys,
    wallet: PublicKey,
}

/// Why an event cannot be sealed or opened; says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event cannot be signed, encrypted or decrypted")]
pub(super) struct SealError;

impl Seal {
    pub(super) const fn new(keys: Keys, wallet: PublicKey) -> Self {
        Self { keys, wallet }
    }

    pub(super) const fn wallet(&self) -> PublicKey {
        self.wallet
    }

    pub(super) fn own_key(&self) -> PublicKey {
        self.keys.public_key()
    }

    /// A request event for the wallet. It ignores what arrives after `expires`.
    pub(super) fn request(
        &self,
        content: &Value,
        now: UnixMillis,
        expires: UnixMillis,
    ) -> Result<Event, SealError> {
        let content = content.to_string();
        let secret = self.keys.secret_key();
        let sealed = nip44::encrypt(secret, &self.wallet, content, Version::V2);
        let tags = [
            Tag::public_key(self.wallet),
            Tag::custom(TagKind::custom("encryption"), [NIP44]),
            Tag::expiration(timestamp(expires)),
        ];
        self.sign(REQUEST, tags, sealed.map_err(|_| SealError)?, now)
    }

    /// The answer to a relay's challenge (NIP-42).
    pub(super) fn relay_auth(
        &self,
        relay: &str,
        challenge: &str,
        now: UnixMillis,
    ) -> Result<Event, SealError> {
        let tags = [
            Tag::custom(TagKind::Relay, [relay]),
            Tag::custom(TagKind::Challenge, [challenge]),
        ];
        self.sign(RELAY_AUTH, tags, String::new(), now)
    }

    fn sign(
        &self,
        kind: Kind,
        tags: impl IntoIterator<Item = Tag>,
        content: String,
        now: UnixMillis,
    ) -> Result<Event, SealError> {
        UnsignedEvent::new(self.own_key(), timestamp(now), kind, tags, content)
            .sign_with_keys(&self.keys)
            .map_err(|_| SealError)
    }

    /// Whether the wallet made this event, whole as it is.
    pub(super) fn is_the_wallets(&self, event: &Event) -> bool {
        event.pubkey == self.wallet && event.verify().is_ok()
    }

    /// What an event of the wallet says to us.
    pub(super) fn open(&self, event: &Event) -> Result<String, SealError> {
        nip44::decrypt(self.keys.secret_key(), &self.wallet, &event.content).map_err(|_| SealError)
    }

    /// Whether the event names us as its reader, or nobody.
    pub(super) fn is_for_us(&self, event: &Event) -> bool {
        let own = self.own_key();
        let mut readers = event.tags.public_keys().peekable();
        readers.peek().is_none() || readers.any(|reader| *reader == own)
    }
}

/// The events that this one answers.
pub(super) fn answered(event: &Event) -> impl Iterator<Item = EventId> {
    event.tags.event_ids().copied()
}

/// The words of a tag such as `["encryption", "nip44_v2 nip04"]`.
pub(super) fn words<'a>(event: &'a Event, tag: &str) -> Option<Vec<&'a str>> {
    let found = event
        .tags
        .iter()
        .find(|found| found.as_slice().first().is_some_and(|name| name == tag))?;
    Some(
        found
            .content()
            .unwrap_or_default()
            .split_whitespace()
            .collect(),
    )
}

pub(super) fn timestamp(at: UnixMillis) -> Timestamp {
    Timestamp::from_secs(at.as_secs())
}
