//! One price at one gateway, with an upstream of its own in the hands of the test.

use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::TestMint;

use super::price::Price;
use super::trial::{Client, Got, Trial};
use crate::harness::{Call, Connection, Http2, TestGateway};
use crate::rules::eventually;

/// How many bytes a client that paces its reading takes before it has read them: fewer than any event
/// has.
const WINDOW: u32 = 16;

pub(super) struct Stall<'a> {
    pub(super) gateway: &'a TestGateway,
    pub(super) upstream: &'a ScriptedUpstream,
    pub(super) price: Price,
    /// Where coins come from.
    pub(super) mint: &'a TestMint,
}

impl Stall<'_> {
    /// The call as it comes from this stall's own clients: what all share is taken in shares.
    pub(super) fn ask(&self, call: Call) -> Call {
        let address = format!("198.51.{}.1", self.price as u8);
        call.header("X-Forwarded-For", &address)
    }

    /// What a client gets that sends `call`, which pays for what `trial` asks: the upstream says its
    /// part, event by event, and the client reads or does not.
    pub(super) fn exchange(&self, trial: &Trial, call: &Call) -> Got {
        match trial.client {
            Client::Paces(pauses) => self.exchange_slowly(trial, call, pauses),
            _ => self.exchange_at_once(trial, call),
        }
    }

    #[track_caller]
    fn wait_until_reached(&self, before: usize, client: Client) {
        let reached = eventually(|| self.upstream.total(), |total| *total > before);
        let price = self.price;
        assert!(
            reached > before,
            "{price:?} never reached its upstream: {client:?}"
        );
    }

    fn exchange_at_once(&self, trial: &Trial, call: &Call) -> Got {
        let Trial { script, client, .. } = trial;
        let stream = self.upstream.stream(&self.price.name());
        let mut connection = Connection::open(self.gateway.address).unwrap();
        let before = self.upstream.total();
        connection.send(call).unwrap();
        self.wait_until_reached(before, *client);
        let began_at = Instant::now();
        let mut got = Got::default();
        let mut connection = Some(connection);
        for (at, event) in script.events.iter().enumerate() {
            if at == client.acts_after() {
                client.act(&mut connection);
            }
            if !stream.send(event.clone()) {
                break;
            }
            if let (Some(open), true) = (&mut connection, at < client.acts_after()) {
                // What tells the usage may be kept back.
                if at < script.texts.len() {
                    if at == 0 {
                        open.read_head().unwrap();
                    }
                    got.bytes += open.read_chunk().unwrap().unwrap().len();
                    got.time = began_at.elapsed();
                }
            }
        }
        if script.ends {
            stream.finish();
        } else {
            stream.cut();
        }
        if let Some(mut open) = connection {
            if got.bytes == 0 && open.read_head().is_err() {
                return got;
            }
            while let Ok(Some(chunk)) = open.read_chunk() {
                got.bytes += chunk.len();
            }
        }
        got
    }

    /// Over HTTP/2 with a small window: what was not read of one event keeps the next but one in the
    /// upstream, whose patience is at an end when the client has read all.
    fn exchange_slowly(&self, trial: &Trial, call: &Call, pauses: &[u64]) -> Got {
        let events = &trial.script.events;
        let stream = self.upstream.stream(&self.price.name());
        for event in events {
            assert!(stream.send(event.clone()));
        }
        let mut client = Http2::with_window(self.gateway.address, WINDOW).unwrap();
        let (statuses, mut bodies) = client.start(std::slice::from_ref(call)).heads();
        assert_eq!(statuses, [200], "{:?}", self.price);
        let began_at = Instant::now();
        let mut got = Got::default();
        let texts = events.iter().take(trial.script.texts.len());
        for (event, pause) in texts.zip(pauses.iter().chain(std::iter::repeat(&0))) {
            let end = got.bytes + event.len();
            got.bytes += client.read(&mut bodies[0]).expect("its beginning").len();
            std::thread::sleep(Duration::from_secs(*pause));
            while got.bytes < end {
                got.bytes += client.read(&mut bodies[0]).expect("its rest").len();
            }
            got.time = began_at.elapsed();
        }
        stream.cut();
        while let Some(bytes) = client.read(&mut bodies[0]) {
            got.bytes += bytes.len();
        }
        got
    }
}

impl Client {
    fn act(self, connection: &mut Option<Connection>) {
        match (self, connection) {
            (Self::Leaves(_), connection) => drop(connection.take()),
            (Self::HalfCloses(_), Some(open)) => open.close_write().unwrap(),
            (Self::Spoils(_), Some(open)) => {
                // The gateway may have hung up already.
                let _ = open.write(b"no chunk\r\n");
            }
            _ => {}
        }
    }
}
