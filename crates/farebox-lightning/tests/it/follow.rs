//! Following a backend whose streams break.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use farebox_lightning::async_trait;
use farebox_lightning::follow::{Settlements, follow};
use farebox_lightning::{NodeError, Settlement, SettlementCursor, WatchEvent, WatchSettlements};
use tokio::time::Instant;

use crate::lnd_fake::{msat, preimage};

/// What one stream brings before it ends.
struct Stream {
    settled: Vec<u8>,
    lasts: Duration,
    end: fn() -> Result<(), NodeError>,
}

/// A backend with one stream after the other; after the last it is silent.
struct Node {
    streams: Mutex<VecDeque<Stream>>,
    asked: Mutex<Vec<(Option<SettlementCursor>, Instant)>>,
}

impl Node {
    fn new(streams: Vec<Stream>) -> Self {
        Self {
            streams: Mutex::new(streams.into()),
            asked: Mutex::default(),
        }
    }

    fn cursors(&self) -> Vec<Option<u64>> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|(at, _)| at.map(|SettlementCursor(at)| at))
            .collect()
    }
}

#[async_trait]
impl WatchSettlements for Node {
    async fn watch(
        &self,
        after: Option<SettlementCursor>,
        sink: &mut (dyn FnMut(WatchEvent) + Send),
    ) -> Result<(), NodeError> {
        self.asked.lock().unwrap().push((after, Instant::now()));
        let stream = self.streams.lock().unwrap().pop_front();
        let Some(stream) = stream else {
            sink(WatchEvent::Listening);
            return std::future::pending().await;
        };
        if (stream.end)().is_ok() {
            sink(WatchEvent::Listening);
        }
        for byte in stream.settled {
            sink(WatchEvent::Settled(settlement(byte)));
        }
        tokio::time::sleep(stream.lasts).await;
        (stream.end)()
    }
}

fn settlement(byte: u8) -> Settlement {
    Settlement {
        payment_hash: preimage(byte).payment_hash(),
        asked: None,
        received: Some(msat(2000)),
        cursor: Some(SettlementCursor(byte.into())),
    }
}

fn brief(settled: Vec<u8>) -> Stream {
    Stream {
        settled,
        lasts: Duration::ZERO,
        end: || Ok(()),
    }
}

fn down() -> Stream {
    Stream {
        settled: vec![],
        lasts: Duration::ZERO,
        end: || Err(NodeError::Down),
    }
}

/// Follows until `enough` says so, and gives what was handed over.
async fn followed(
    node: &Node,
    start: Option<u64>,
    settlements: &Settlements,
    enough: impl Fn() -> bool,
) -> Vec<u64> {
    let told = Mutex::new(Vec::new());
    let on = |settlement: &Settlement| {
        let SettlementCursor(at) = settlement.cursor.unwrap();
        told.lock().unwrap().push(at);
    };
    let start = start.map(SettlementCursor);
    let done = async {
        while !enough() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = follow("node", node, start, settlements, &on) => unreachable!("it never ends"),
        () = done => {}
        () = tokio::time::sleep(Duration::from_secs(3600)) => panic!("not within an hour"),
    }
    told.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_goes_on_where_it_ended() {
    let node = Node::new(vec![
        brief(vec![4, 5]),
        down(),
        brief(vec![]),
        brief(vec![6]),
    ]);
    let settlements = Settlements::new();
    let told = followed(&node, Some(3), &settlements, || node.cursors().len() == 5).await;
    assert_eq!(told, [4, 5, 6]);
    assert_eq!(
        node.cursors(),
        [Some(3), Some(5), Some(5), Some(5), Some(6)]
    );
    for byte in 4..=6 {
        let found = settlements.find(&preimage(byte).payment_hash());
        assert_eq!(found.unwrap().received, Some(msat(2000)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_down_is_asked_ever_more_rarely() {
    let node = Node::new((0..12).map(|_| down()).collect());
    let settlements = Settlements::new();
    followed(&node, None, &settlements, || node.cursors().len() == 13).await;
    let asked = node.asked.lock().unwrap();
    let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(gaps[0] < Duration::from_millis(300), "{gaps:?}");
    assert!(
        gaps.is_sorted() && *gaps.last().unwrap() < Duration::from_secs(11),
        "{gaps:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn whether_a_backend_is_heard_can_be_seen() {
    let node = Node::new(vec![down()]);
    let settlements = Settlements::new();
    assert!(settlements.followed().is_empty());
    let was_down = || {
        let followed = settlements.followed();
        followed
            .iter()
            .any(|node| !node.listening && node.reason.is_some())
    };
    followed(&node, None, &settlements, was_down).await;
    assert!(settlements.followed().is_empty(), "nobody follows any more");
    let heard = || settlements.followed().iter().any(|node| node.listening);
    followed(&node, None, &settlements, heard).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_payment_hears_of_it() {
    let node = Node::new(vec![down(), brief(vec![1]), brief(vec![2])]);
    let settlements = Settlements::new();
    let waiting = settlements.wait(preimage(2).payment_hash(), Duration::from_secs(60));
    let following = follow("node", &node, None, &settlements, &|_| ());
    tokio::select! {
        settled = waiting => assert_eq!(settled.unwrap().received, Some(msat(2000))),
        () = following => unreachable!("it never ends"),
    }
}
