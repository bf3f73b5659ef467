//! The wallet's info event (NIP-47 kind 13194): what this connection can do. Pure.

use std::collections::BTreeSet;

use nostr::{Event, Timestamp};

use super::seal::{NIP44, words};

/// How many methods of an info event are looked at.
const MAX_METHODS: usize = 64;

/// What the newest info event says.
#[derive(Clone, Debug)]
pub(super) struct Info {
    /// When the wallet made it; a relay may show an older one.
    pub(super) at: Timestamp,
    /// Whether it takes requests under NIP-44; without the tag it takes NIP-04 only.
    pub(super) takes_nip44: bool,
    methods: BTreeSet<String>,
    notifications: BTreeSet<String>,
}

impl Info {
    pub(super) fn read(event: &Event) -> Self {
        let own = |words: Vec<&str>| {
            let words = words.into_iter().take(MAX_METHODS);
            words.map(str::to_owned).collect()
        };
        Self {
            at: event.created_at,
            takes_nip44: words(event, "encryption").is_some_and(|words| words.contains(&NIP44)),
            methods: own(event.content.split_whitespace().collect()),
            notifications: words(event, "notifications").map(own).unwrap_or_default(),
        }
    }

    pub(super) fn offers(&self, method: &str) -> bool {
        self.methods.contains(method)
    }

    pub(super) fn notifies(&self, kind: &str) -> bool {
        self.notifications.contains(kind)
    }
}
