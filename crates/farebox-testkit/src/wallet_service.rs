//! A wallet service for tests: NIP-47 in front of any Lightning backend, on as many relays as a
//! test wants, on a thread and runtime of its own.
//!
//! It is written from the other side of the specification than Farebox's client, and with another
//! reader of requests (the `nostr` crate's), so that both cannot share a misunderstanding. It
//! answers each request event once, wherever it arrives, and loses what a test tells it to lose.

mod book;
mod link;
mod relay;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use farebox_lightning::Backend;
use nostr::nips::nip44::{self, Version};
use nostr::nips::nip47::Request;
use nostr::{
    Event, EventBuilder, EventId, JsonUtil, Keys, Kind, PublicKey, Tag, TagKind, Timestamp,
};
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};

use book::Book;
pub use relay::TestRelay;

/// How long the relays may take in the beginning.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How often the wallet looks whether an invoice of its own was paid.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many events a relay's connection may be behind.
const MAX_BEHIND: usize = 256;

const NOTIFICATION: Kind = Kind::Custom(23197);

/// What a wallet offers.
#[derive(Clone, Debug)]
pub struct WalletOptions {
    /// Its methods, as its info event lists them.
    pub methods: &'static str,
    /// Its notifications, likewise; none where empty.
    pub notifications: &'static str,
    /// The encryption that it says it takes.
    pub encryption: &'static str,
}

impl Default for WalletOptions {
    fn default() -> Self {
        Self {
            methods: "make_invoice lookup_invoice pay_invoice get_info get_balance notifications",
            notifications: "payment_received",
            encryption: "nip44_v2",
        }
    }
}

/// A running wallet service; dropping it stops it.
pub struct WalletService {
    wallet: Arc<Wallet>,
    uri: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the wallet's tasks share.
struct Wallet {
    keys: Keys,
    client: PublicKey,
    options: WalletOptions,
    book: Book,
    seen: Mutex<Seen>,
    /// Events on their way to every relay.
    out: broadcast::Sender<Arc<Event>>,
}

#[derive(Default)]
struct Seen {
    events: HashSet<EventId>,
    methods: Vec<String>,
    lost: BTreeSet<String>,
}

impl WalletService {
    /// Serves `node` on these relays, and returns when it listens on each.
    ///
    /// # Errors
    /// When no thread or runtime can be had, or a relay is not there.
    pub fn start(
        relays: &[String],
        node: impl Into<Backend>,
        options: WalletOptions,
    ) -> io::Result<Self> {
        let (keys, client) = (Keys::generate(), Keys::generate());
        let uri = uri(&keys.public_key(), &client, relays);
        let wallet = Arc::new(Wallet {
            keys,
            client: client.public_key(),
            options,
            book: Book::new(node.into()),
            seen: Mutex::default(),
            out: broadcast::Sender::new(MAX_BEHIND),
        });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let served = Arc::clone(&wallet);
        let (ready, is_ready) = mpsc::channel();
        let count = relays.len();
        let relays = relays.to_vec();
        let thread = std::thread::Builder::new()
            .name("wallet".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    for relay in relays {
                        tokio::spawn(link::keep(Arc::clone(&served), relay, ready.clone()));
                    }
                    drop(ready);
                    tokio::spawn(notify(served));
                    drop(stopped.await);
                });
            })?;
        let service = Self {
            wallet,
            uri,
            stop: Some(stop),
            thread: Some(thread),
        };
        for _ in 0..count {
            let heard = is_ready.recv_timeout(READY_WITHIN);
            heard.map_err(io::Error::other)?;
        }
        Ok(service)
    }

    /// The connection URI: a credential.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// How many requests to `method` were heard.
    #[must_use]
    pub fn heard(&self, method: &str) -> usize {
        let seen = self.wallet.seen();
        seen.methods.iter().filter(|heard| *heard == method).count()
    }

    /// From here on does what `method` asks and does not answer.
    pub fn lose_answers(&self, method: &str) {
        self.wallet.seen().lost.insert(method.to_owned());
    }

    /// Answers everything again.
    pub fn lose_nothing(&self) {
        self.wallet.seen().lost.clear();
    }
}

impl Drop for WalletService {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn uri(wallet: &PublicKey, client: &Keys, relays: &[String]) -> String {
    let relays: Vec<_> = relays
        .iter()
        .map(|relay| format!("relay={}", relay.replace(':', "%3A").replace('/', "%2F")))
        .collect();
    format!(
        "nostr+walletconnect://{}?{}&secret={}&lud16=me%40example.com",
        wallet.to_hex(),
        relays.join("&"),
        client.secret_key().to_secret_hex()
    )
}

impl Wallet {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn info(&self) -> Option<Event> {
        let options = &self.options;
        let mut tags = vec![Tag::custom(
            TagKind::custom("encryption"),
            [options.encryption],
        )];
        if !options.notifications.is_empty() {
            let kinds = [options.notifications];
            tags.push(Tag::custom(TagKind::custom("notifications"), kinds));
        }
        EventBuilder::new(Kind::WalletConnectInfo, options.methods)
            .tags(tags)
            .sign_with_keys(&self.keys)
            .ok()
    }

    /// Does what an event asks, unless it has done so or should not.
    async fn serve(self: Arc<Self>, event: Event) {
        let expired = event.is_expired_at(&Timestamp::now());
        if event.pubkey != self.client || event.verify().is_err() || expired {
            return;
        }
        if !self.seen().events.insert(event.id) {
            return;
        }
        let text = nip44::decrypt(self.keys.secret_key(), &self.client, &event.content);
        let Some(request) = text.ok().and_then(|text| Request::from_json(text).ok()) else {
            return;
        };
        let method = request.method.to_string();
        self.seen().methods.push(method.clone());
        let answer = self.answer(&method, request).await;
        if !self.seen().lost.contains(&method) {
            self.send(Kind::WalletConnectResponse, Some(event.id), &answer);
        }
    }

    async fn answer(&self, method: &str, request: Request) -> Value {
        let offered = self
            .options
            .methods
            .split(' ')
            .any(|offered| offered == method);
        let done = if offered {
            self.book.answer(request.params, &self.options).await
        } else {
            Err(("NOT_IMPLEMENTED", "this wallet does not offer it"))
        };
        match done {
            Ok(result) => json!({ "result_type": method, "error": null, "result": result }),
            Err((code, message)) => json!({
                "result_type": method,
                "error": { "code": code, "message": message },
                "result": null,
            }),
        }
    }

    fn send(&self, kind: Kind, answers: Option<EventId>, content: &Value) {
        let secret = self.keys.secret_key();
        let sealed = nip44::encrypt(secret, &self.client, content.to_string(), Version::V2);
        let tags = answers.map(Tag::event).into_iter();
        let signed = sealed.ok().and_then(|sealed| {
            EventBuilder::new(kind, sealed)
                .tags(tags.chain([Tag::public_key(self.client)]))
                .sign_with_keys(&self.keys)
                .ok()
        });
        if let Some(event) = signed {
            // Without a relay it goes nowhere, as in life.
            drop(self.out.send(Arc::new(event)));
        }
    }
}

/// Tells of each payment received, once.
async fn notify(wallet: Arc<Wallet>) {
    if wallet.options.notifications.is_empty() {
        return;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for notification in wallet.book.newly_paid().await {
            let told = json!({
                "notification_type": "payment_received",
                "notification": notification,
            });
            wallet.send(NOTIFICATION, None, &told);
        }
    }
}
