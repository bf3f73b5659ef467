//! One relay's connection, kept up for as long as the session lasts. It carries events both ways
//! and judges none; a relay that is silent, floods us or forges is left, and tried again later.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::{ClientMessage, EventId, Filter, JsonUtil, RelayMessage, SubscriptionId, Timestamp};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::hub::{Hub, Verdict};
use super::links::Links;
use super::seal::{INFO, NOTIFICATION, RESPONSE};
use super::socket::{self, RelayError, Socket};
use super::uri::RelayUrl;
use crate::pauses::Pauses;

/// From the connection to the end of what the relay has stored for us.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// How often we ask whether the relay is still there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// So long without a word, and the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(50);

/// How long one message may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// The longest pause before a relay is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How far back answers are asked for: relays that keep them hand over what we missed, and the
/// wallet's clock may be slow.
const LOOK_BACK: Duration = Duration::from_secs(600);

/// How many stored events a relay may hand over.
const MAX_STORED: usize = 200;

/// So much trouble, halved with each ping, ends the connection.
const MAX_TROUBLE: u32 = 1024;

/// What a forged event counts; a stray one counts 1. Each costs us a signature's verification.
const FORGERY: u32 = 32;

const ANSWERS: &str = "answers";
const ABOUT: &str = "about";

/// What one relay's task holds.
pub(super) struct Relay {
    pub(super) index: usize,
    pub(super) url: RelayUrl,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) hub: Arc<Hub>,
    pub(super) links: Arc<Links>,
    pub(super) outbox: mpsc::Receiver<EventId>,
    /// Whether the log has been told that it is away.
    pub(super) told_away: bool,
}

impl Relay {
    /// Connects again and again.
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::up_to(MAX_PAUSE);
        loop {
            let began = Instant::now();
            let Err(error) = self.connect().await;
            self.tell_away(&error);
            self.links.down(self.index, error);
            sleep(pauses.next(began.elapsed())).await;
        }
    }

    /// Once, until it is back.
    fn tell_away(&mut self, error: &RelayError) {
        if !std::mem::replace(&mut self.told_away, true) {
            let relay = self.url.host.as_str();
            tracing::warn!(relay, %error, "a relay of the wallet is not connected");
        }
    }

    fn tell_back(&mut self) {
        if std::mem::take(&mut self.told_away) {
            let relay = self.url.host.as_str();
            tracing::info!(relay, "a relay of the wallet is connected again");
        }
    }

    async fn connect(&mut self) -> Result<Infallible, RelayError> {
        // What was queued for an earlier connection is not for this one.
        while self.outbox.try_recv().is_ok() {}
        let socket = socket::connect(&self.url, &self.tls).await?;
        let mut connection = Connection {
            relay: self,
            socket,
            ready: false,
            auth: None,
            trouble: 0,
            last_heard: Instant::now(),
        };
        connection.subscribe().await?;
        connection.serve().await
    }
}

/// One connection, from the handshake to its end.
struct Connection<'a> {
    relay: &'a mut Relay,
    socket: Socket,
    /// Whether the subscription stands: before, an answer could pass unheard.
    ready: bool,
    /// Our answer to the relay's challenge, while it is open.
    auth: Option<EventId>,
    trouble: u32,
    last_heard: Instant,
}

impl Connection<'_> {
    async fn serve(&mut self) -> Result<Infallible, RelayError> {
        let ready_by = Instant::now() + READY_WITHIN;
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.socket.next() => self.hear(message.ok_or(RelayError::Closed)??).await?,
                Some(id) = self.relay.outbox.recv(), if self.ready => self.publish(id).await?,
                _ = ping.tick() => self.check_pulse().await?,
                () = sleep_until(ready_by), if !self.ready => return Err(RelayError::Silent),
            }
        }
    }

    /// The wallet's answers and notifications to us, and its info event.
    async fn subscribe(&mut self) -> Result<(), RelayError> {
        let seal = &self.relay.hub.seal;
        let now = self.relay.hub.now().as_secs();
        let since = Timestamp::from_secs(now.saturating_sub(LOOK_BACK.as_secs()));
        let answers = Filter::new()
            .author(seal.wallet())
            .pubkey(seal.own_key())
            .kinds([RESPONSE, NOTIFICATION])
            .since(since)
            .limit(MAX_STORED);
        let about = Filter::new().author(seal.wallet()).kind(INFO).limit(1);
        // The last one's end of stored events is what says that both stand.
        for (name, filter) in [(ABOUT, about), (ANSWERS, answers)] {
            let request = ClientMessage::req(SubscriptionId::new(name), vec![filter]);
            self.write(request.as_json()).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, message: Message) -> Result<(), RelayError> {
        self.last_heard = Instant::now();
        match message {
            Message::Text(text) => match RelayMessage::from_json(text.as_bytes()) {
                Ok(message) => self.obey(message).await,
                Err(_) => self.note_trouble(FORGERY),
            },
            Message::Binary(_) => self.note_trouble(FORGERY),
            Message::Close(_) => Err(RelayError::Closed),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
        }
    }

    async fn obey(&mut self, message: RelayMessage<'_>) -> Result<(), RelayError> {
        match message {
            RelayMessage::Event { event, .. } => {
                match self.relay.hub.hear(self.relay.index, &event) {
                    Verdict::Welcome => Ok(()),
                    Verdict::Stray => self.note_trouble(1),
                    Verdict::Forged => self.note_trouble(FORGERY),
                }
            }
            RelayMessage::Ok {
                event_id,
                status,
                message,
            } => self.hear_verdict(event_id, status, &message).await,
            RelayMessage::EndOfStoredEvents(name) if name.as_str() == ANSWERS => {
                self.become_ready().await
            }
            RelayMessage::Closed { message, .. } => self.hear_closed(&message),
            RelayMessage::Auth { challenge } => self.prove_key(&challenge).await,
            _ => self.note_trouble(1),
        }
    }

    async fn become_ready(&mut self) -> Result<(), RelayError> {
        if !self.ready {
            self.ready = true;
            self.relay.tell_back();
            self.relay.links.up(self.relay.index);
            for id in self.relay.hub.waiting.repeatable() {
                if self.relay.hub.waiting.give(&id, self.relay.index) {
                    self.publish(id).await?;
                }
            }
        }
        Ok(())
    }

    async fn publish(&mut self, id: EventId) -> Result<(), RelayError> {
        match self.relay.hub.waiting.begin_writing(&id) {
            Some(frame) => self.write(frame.to_string()).await,
            None => Ok(()),
        }
    }

    /// NIP-01: whether the relay took an event of ours.
    async fn hear_verdict(
        &mut self,
        id: EventId,
        taken: bool,
        message: &str,
    ) -> Result<(), RelayError> {
        if self.auth == Some(id) {
            self.auth = None;
            return if taken {
                self.subscribe().await
            } else {
                Err(RelayError::Refused)
            };
        }
        // Some relays call a repetition refused; the first one was taken.
        if !taken && !message.starts_with("duplicate:") {
            let index = self.relay.index;
            self.relay.hub.waiting.reject(id, index, message);
        }
        Ok(())
    }

    /// NIP-42: a relay that wants to know who we are first closes the subscription and takes it
    /// when it knows.
    fn hear_closed(&mut self, message: &str) -> Result<(), RelayError> {
        if message.starts_with("auth-required:") && !self.ready {
            self.note_trouble(1)
        } else {
            Err(RelayError::Refused)
        }
    }

    async fn prove_key(&mut self, challenge: &str) -> Result<(), RelayError> {
        let now = self.relay.hub.now();
        let url = self.relay.url.uri.to_string();
        let proof = self.relay.hub.seal.relay_auth(&url, challenge, now);
        let proof = proof.map_err(|_| RelayError::Misbehaved)?;
        self.auth = Some(proof.id);
        self.write(ClientMessage::auth(proof).as_json()).await?;
        self.note_trouble(FORGERY)
    }

    async fn check_pulse(&mut self) -> Result<(), RelayError> {
        if self.last_heard.elapsed() > SILENCE {
            return Err(RelayError::Silent);
        }
        self.trouble /= 2;
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    fn note_trouble(&mut self, trouble: u32) -> Result<(), RelayError> {
        self.trouble = self.trouble.saturating_add(trouble);
        if self.trouble > MAX_TROUBLE {
            Err(RelayError::Misbehaved)
        } else {
            Ok(())
        }
    }

    async fn write(&mut self, frame: String) -> Result<(), RelayError> {
        self.send(Message::text(frame)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), RelayError> {
        tokio::time::timeout(WRITE_WITHIN, self.socket.send(message))
            .await
            .map_err(|_| RelayError::Silent)?
            .map_err(RelayError::from)
    }
}
