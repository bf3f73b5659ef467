//! How much later the first byte of a stream comes: at a fixed rate of requests, from the request
//! to the first event.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::shop::{PACED, Used};
use super::sse::{Answer, Event};
use super::{Cast, Way, order, rounds};
use crate::bench::open_loop::wait_until;
use crate::bench::options::Options;
use crate::bench::percentile::{Latencies, Percentiles};
use crate::bench::report::Report;
use crate::bench::traffic::Traffic;
use crate::bench::units::{Nanos, median};

const WAYS: [Way; 4] = [Way::Direct, Way::Nginx, Way::Free, Way::Metered];
const DIRECT: usize = 0;
const NGINX: usize = 1;
const FREE: usize = 2;
const METERED: usize = 3;
/// Requests a second, on so many connections.
const RATE: u32 = 100;
const CONNECTIONS: u32 = 16;
/// Content chunks of each answer, and how fast they come.
const CHUNKS: u32 = 2;
const CHUNK_RATE: u32 = 500;
/// Before the first request is due, so that all connections are open by then.
const LEAD: Duration = Duration::from_millis(100);
const READ_AT_MOST: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 8 * 1024;
/// Durable writes by which the disk is judged, as often as requests come, over so much of a file.
const WRITES: usize = 100;
const BLOCKS: usize = 64;
const BLOCK: usize = 4_096;
/// What may come on top of the same stream without a charge.
const ADDED_AT_MOST: Nanos = Nanos(300_000);

/// One of the percentiles.
type Of = fn(&Percentiles) -> Nanos;

const P50: Of = |turn| turn.p50;
const P99: Of = |turn| turn.p99;

#[derive(Default)]
struct Tally {
    waits: Latencies,
    owed: u64,
    bad: u64,
}

/// What one connection does.
#[derive(Clone, Copy)]
struct Schedule {
    to: SocketAddr,
    first_at: Instant,
    last_by: Instant,
}

pub(super) fn measure(cast: &mut Cast, options: &Options, report: &mut Report) -> Result<()> {
    cast.upstream.set_rate(CHUNK_RATE);
    let mut turns: [Vec<Percentiles>; WAYS.len()] = Default::default();
    let (mut disk, mut bad) = (Vec::new(), 0);
    for round in 0..rounds(options) {
        for index in order(round, WAYS.len()) {
            let way = WAYS[index];
            let to = cast.targets(&[way])[0].to;
            let tally = run(to, &cast.stream_traffic(way, CHUNKS), options.turn / 2)?;
            bad += tally.bad;
            if way == Way::Metered {
                cast.shop.add(PACED, tally.owed);
            }
            turns[index].push(tally.waits.percentiles());
        }
        disk.push(write_durably(&cast.shop.gateway.folder)?);
        report.progress(&format!("first byte: round {}", round + 1));
    }
    tell(&turns, &disk, report);
    for (base, name) in [(FREE, "the plain route"), (NGINX, "nginx")] {
        let added = added(&turns[METERED], &turns[base], P50);
        report.demand(
            &format!("metered stream, first byte, p50 above {name}"),
            &added.to_string(),
            &format!("≤ {ADDED_AT_MOST}"),
            added <= ADDED_AT_MOST,
        );
    }
    if bad > 0 {
        report.demand(
            "first byte: broken streams",
            &bad.to_string(),
            "none",
            false,
        );
    }
    cast.shop.check("first bytes", report)
}

fn run(to: SocketAddr, traffic: &Arc<Traffic>, length: Duration) -> Result<Tally> {
    let start_at = Instant::now() + LEAD;
    let step = Duration::from_secs(1) / RATE;
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let schedule = Schedule {
                to,
                first_at: start_at + step * connection,
                last_by: start_at + length,
            };
            let traffic = Arc::clone(traffic);
            std::thread::spawn(move || drive(schedule, &traffic, connection))
        })
        .collect();
    let mut tally = Tally::default();
    for thread in threads {
        let Ok(part) = thread.join() else {
            bail!("a generator thread panicked")
        };
        let part = part?;
        tally.waits.append(part.waits);
        tally.owed += part.owed;
        tally.bad += part.bad;
    }
    Ok(tally)
}

fn drive(schedule: Schedule, traffic: &Traffic, number: u32) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut connection = open(schedule.to)?;
    let mut request = Vec::new();
    traffic.write(usize::try_from(number)?, &mut request);
    let mut due_at = schedule.first_at;
    while due_at < schedule.last_by {
        let began_at = wait_until(due_at);
        let outcome = exchange(&mut connection, &request, began_at);
        match outcome {
            Ok((wait, used)) => {
                tally.waits.add(wait);
                tally.owed += used.cost();
            }
            Err(_) => {
                tally.bad += 1;
                connection = open(schedule.to)?;
            }
        }
        due_at += Duration::from_secs(1) / RATE * CONNECTIONS;
    }
    Ok(tally)
}

fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(to)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(READ_AT_MOST))?;
    Ok(connection)
}

/// Reads one stream to its end; gives the time to its first event, and what it used.
fn exchange(
    connection: &mut TcpStream,
    request: &[u8],
    began_at: Instant,
) -> io::Result<(Nanos, Used)> {
    connection.write_all(request)?;
    let (mut answer, mut buffer) = (Answer::default(), [0; BUFFER_BYTES]);
    let (mut first, mut used) = (None, None);
    while !answer.is_over() {
        let read = connection.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let waited = began_at.elapsed();
        answer.push(&buffer[..read])?;
        while let Some(event) = answer.next_event() {
            first.get_or_insert(waited);
            if let Event::Usage { used: told, .. } = event {
                used = Some(told);
            }
        }
    }
    let untold = || io::Error::from(io::ErrorKind::InvalidData);
    Ok((first.ok_or_else(untold)?.into(), used.ok_or_else(untold)?))
}

/// How long the disk under the store takes for one small durable write, which is in every hold.
fn write_durably(folder: &Path) -> Result<Percentiles> {
    let path = folder.join("disk");
    let mut file = File::create(&path)?;
    file.write_all(&[0; BLOCK * BLOCKS])?;
    file.sync_all()?;
    let mut writes = Latencies::default();
    for block in 0..WRITES {
        std::thread::sleep(Duration::from_secs(1) / RATE);
        file.seek(SeekFrom::Start(u64::try_from(block % BLOCKS * BLOCK)?))?;
        let began_at = Instant::now();
        file.write_all(&[1; BLOCK])?;
        file.sync_data()?;
        writes.add(began_at.elapsed().into());
    }
    fs::remove_file(path)?;
    Ok(writes.percentiles())
}

/// What comes on top of the same rounds of `base`; nothing where it is less.
fn added(turns: &[Percentiles], base: &[Percentiles], of: Of) -> Nanos {
    let rounds = turns.iter().zip(base);
    Nanos(median(
        rounds.map(|(own, base)| of(own).0.saturating_sub(of(base).0)),
    ))
}

fn to_json(turn: &Percentiles) -> Value {
    json!({ "p50_ns": turn.p50.0, "p99_ns": turn.p99.0 })
}

fn tell(turns: &[Vec<Percentiles>; WAYS.len()], disk: &[Percentiles], report: &mut Report) {
    let heads = [
        "first byte of a stream",
        "p50",
        "p99",
        "p50 − direct",
        "p50 − nginx",
        "p50 − plain",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    let mut raw = Vec::new();
    for (way, own) in WAYS.iter().zip(turns) {
        report.watch_p50(way.name(), own.iter().map(|turn| turn.p50));
        let of = |of: Of| Nanos(median(own.iter().map(|turn| of(turn).0))).to_string();
        let above = |base: usize| added(own, &turns[base], P50).to_string();
        table.push(vec![
            way.name().to_owned(),
            of(P50),
            of(P99),
            above(DIRECT),
            above(NGINX),
            above(FREE),
        ]);
        let all: Vec<Value> = own.iter().map(to_json).collect();
        raw.push(json!({ "target": way.name(), "turns": all }));
    }
    let of_disk = |of: Of| Nanos(median(disk.iter().map(|turn| of(turn).0))).to_string();
    let none = || "–".to_owned();
    table.push(vec![
        "one fdatasync of this disk".to_owned(),
        of_disk(P50),
        of_disk(P99),
        none(),
        none(),
        none(),
    ]);
    let all: Vec<Value> = disk.iter().map(to_json).collect();
    raw.push(json!({ "target": "disk", "turns": all }));
    report.table(table);
    report.raw("metered_first_byte", raw);
}
