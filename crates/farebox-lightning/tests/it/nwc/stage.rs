//! A relay and a wallet in one, both of them actors: for each request a script says which frames
//! come back, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farebox_core::Preimage;
use futures_util::{SinkExt, StreamExt};
use nostr::nips::nip44::{self, Version};
use nostr::{
    ClientMessage, Event, EventBuilder, EventId, JsonUtil, Keys, Kind, RelayMessage,
    SubscriptionId, Tag, TagKind, Timestamp,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// What the stage does in answer to a request.
pub(crate) enum Act {
    /// Sends this text.
    Send(String),
    /// Waits before it goes on.
    Wait(Duration),
    /// Breaks the connection off.
    Close,
}

type Script = dyn Fn(&Actor, &Asked) -> Vec<Act> + Send + Sync;

/// A request as it arrived.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) id: EventId,
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) tags: Vec<Vec<String>>,
    /// Which of the relays it came by.
    pub(crate) relay: usize,
}

/// Who plays the wallet.
pub(crate) struct Actor {
    pub(crate) wallet: Keys,
    pub(crate) client: Keys,
}

/// Relays on loopback with the wallet behind them.
pub(crate) struct Stage {
    pub(crate) uri: String,
    pub(crate) actor: Arc<Actor>,
    seen: Arc<Mutex<Vec<Asked>>>,
    /// Frames for every connection.
    pub(crate) out: tokio::sync::broadcast::Sender<String>,
}

/// What a relay that wants to know its clients asks them.
const CHALLENGE: &str = "who are you?";

struct Play {
    /// Whether the relay wants to know its clients (NIP-42), and knows this one.
    guarded: bool,
    known: AtomicBool,
    actor: Arc<Actor>,
    info: Option<Event>,
    script: Box<Script>,
    seen: Arc<Mutex<Vec<Asked>>>,
    out: tokio::sync::broadcast::Sender<String>,
}

/// What an ordinary wallet says of itself.
pub(crate) const METHODS: &str = "make_invoice lookup_invoice pay_invoice get_info";

impl Stage {
    /// One relay, an ordinary info event.
    pub(crate) async fn start(
        script: impl Fn(&Actor, &Asked) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::with(1, Some((METHODS, "nip44_v2")), script).await
    }

    /// A relay that serves nobody who has not proven a key.
    pub(crate) async fn guarded(
        script: impl Fn(&Actor, &Asked) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::build(1, Some((METHODS, "nip44_v2")), true, script).await
    }

    /// So many relays, and an info event of these methods and encryption, if any.
    pub(crate) async fn with(
        relays: usize,
        info: Option<(&str, &str)>,
        script: impl Fn(&Actor, &Asked) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::build(relays, info, false, script).await
    }

    async fn build(
        relays: usize,
        info: Option<(&str, &str)>,
        guarded: bool,
        script: impl Fn(&Actor, &Asked) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let actor = Arc::new(Actor {
            wallet: Keys::generate(),
            client: Keys::generate(),
        });
        let seen = Arc::default();
        let out = tokio::sync::broadcast::Sender::new(64);
        let play = Arc::new(Play {
            guarded,
            known: AtomicBool::new(false),
            info: info.map(|(methods, encryption)| actor.info(methods, encryption)),
            actor: Arc::clone(&actor),
            script: Box::new(script),
            seen: Arc::clone(&seen),
            out: out.clone(),
        });
        let mut uri = format!(
            "nostr+walletconnect://{}?secret={}",
            actor.wallet.public_key().to_hex(),
            actor.client.secret_key().to_secret_hex()
        );
        for relay in 0..relays {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            uri.push_str(&format!("&relay=ws://127.0.0.1:{port}"));
            tokio::spawn(accept(listener, relay, Arc::clone(&play)));
        }
        Self {
            uri,
            actor,
            seen,
            out,
        }
    }

    /// The requests to a method that arrived so far.
    pub(crate) fn asked(&self, method: &str) -> Vec<Asked> {
        let seen = self.seen.lock().unwrap();
        let those = seen.iter().filter(|asked| asked.method == method);
        those.cloned().collect()
    }
}

async fn accept(listener: TcpListener, relay: usize, play: Arc<Play>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, relay, Arc::clone(&play)));
    }
}

async fn connection(stream: TcpStream, relay: usize, play: Arc<Play>) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let (mut sink, mut source) = socket.split();
    let (acts, mut to_do) = mpsc::unbounded_channel();
    let mut out = play.out.subscribe();
    let writing = async move {
        loop {
            let act = tokio::select! {
                act = to_do.recv() => act,
                frame = out.recv() => frame.ok().map(Act::Send),
            };
            match act {
                Some(Act::Send(text)) => drop(sink.send(Message::text(text)).await),
                Some(Act::Wait(span)) => tokio::time::sleep(span).await,
                Some(Act::Close) | None => return,
            }
        }
    };
    let reading = async {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Text(text) = message {
                for act in play.react(&text, relay) {
                    drop(acts.send(act));
                }
            }
        }
    };
    tokio::select! {
        () = writing => (),
        () = reading => (),
    }
}

impl Play {
    fn react(&self, text: &str, relay: usize) -> Vec<Act> {
        match ClientMessage::from_json(text).unwrap() {
            ClientMessage::Req {
                subscription_id, ..
            } => self.subscribed(&subscription_id),
            ClientMessage::Event(event) => {
                let asked = self.actor.read(&event, relay);
                self.seen.lock().unwrap().push(asked.clone());
                (self.script)(&self.actor, &asked)
            }
            ClientMessage::Auth(proof) => self.judge(&proof),
            _ => vec![],
        }
    }

    fn judge(&self, proof: &Event) -> Vec<Act> {
        proof.verify().unwrap();
        assert_eq!(proof.pubkey, self.actor.client.public_key());
        let said = |name: &str| {
            let tag = proof.tags.iter().find(|tag| tag.as_slice()[0] == name);
            tag.unwrap().content().unwrap().to_owned()
        };
        assert_eq!(said("challenge"), CHALLENGE);
        assert!(said("relay").starts_with("ws://127.0.0.1:"));
        self.known.store(true, Ordering::Relaxed);
        vec![Act::Send(RelayMessage::ok(proof.id, true, "").as_json())]
    }

    fn subscribed(&self, name: &SubscriptionId) -> Vec<Act> {
        if self.guarded && !self.known.load(Ordering::Relaxed) {
            let closed = RelayMessage::closed(name.clone(), "auth-required: who are you?");
            let asked = RelayMessage::auth(CHALLENGE);
            return vec![Act::Send(asked.as_json()), Act::Send(closed.as_json())];
        }
        let mut acts = Vec::new();
        if let Some(info) = self.info.clone().filter(|_| name.as_str() == "about") {
            acts.push(Act::Send(RelayMessage::event(name.clone(), info).as_json()));
        }
        acts.push(Act::Send(RelayMessage::eose(name.clone()).as_json()));
        acts
    }
}

impl Actor {
    pub(crate) fn info(&self, methods: &str, encryption: &str) -> Event {
        EventBuilder::new(Kind::WalletConnectInfo, methods)
            .tag(Tag::custom(TagKind::custom("encryption"), [encryption]))
            .tag(Tag::custom(
                TagKind::custom("notifications"),
                ["payment_received"],
            ))
            .sign_with_keys(&self.wallet)
            .unwrap()
    }

    fn read(&self, event: &Event, relay: usize) -> Asked {
        assert_eq!(event.pubkey, self.client.public_key());
        event.verify().unwrap();
        let text = nip44::decrypt(
            self.wallet.secret_key(),
            &self.client.public_key(),
            &event.content,
        );
        let content: Value = serde_json::from_str(&text.unwrap()).unwrap();
        Asked {
            id: event.id,
            method: content["method"].as_str().unwrap().to_owned(),
            params: content["params"].clone(),
            tags: event
                .tags
                .iter()
                .map(|tag| tag.as_slice().to_vec())
                .collect(),
            relay,
        }
    }

    /// An event of the wallet's to the client, with this plaintext.
    pub(crate) fn event(&self, kind: u16, answers: Option<EventId>, text: &str) -> Event {
        self.event_by(&self.wallet, kind, answers, text)
    }

    /// The same, signed by anybody.
    pub(crate) fn event_by(
        &self,
        author: &Keys,
        kind: u16,
        answers: Option<EventId>,
        text: &str,
    ) -> Event {
        let client = self.client.public_key();
        let sealed = nip44::encrypt(author.secret_key(), &client, text, Version::V2).unwrap();
        EventBuilder::new(Kind::Custom(kind), sealed)
            .tags(answers.map(Tag::event))
            .tag(Tag::public_key(client))
            .custom_created_at(Timestamp::now())
            .sign_with_keys(author)
            .unwrap()
    }

    /// The wallet's answer to a request.
    pub(crate) fn answer(&self, asked: &Asked, result: &Value) -> Event {
        let content = json!({ "result_type": asked.method, "error": null, "result": result });
        self.event(23195, Some(asked.id), &content.to_string())
    }

    pub(crate) fn done(&self, asked: &Asked, result: &Value) -> Vec<Act> {
        vec![send(&self.answer(asked, result))]
    }

    pub(crate) fn refused(&self, asked: &Asked, code: &str) -> Vec<Act> {
        let error = json!({ "code": code, "message": "no" });
        let content = json!({ "result_type": asked.method, "error": error, "result": null });
        vec![send(&self.event(
            23195,
            Some(asked.id),
            &content.to_string(),
        ))]
    }
}

/// The event as a relay sends it.
pub(crate) fn send(event: &Event) -> Act {
    Act::Send(frame(event))
}

pub(crate) fn frame(event: &Event) -> String {
    RelayMessage::event(SubscriptionId::new("answers"), event.clone()).as_json()
}

/// A preimage in the wallet's spelling.
pub(crate) fn hex(preimage: &Preimage) -> String {
    hex::encode(preimage.reveal())
}
