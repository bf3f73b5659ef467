//! How much later the first byte of a stream comes: at a fixed rate of requests, from the request
//! to the first event.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::shop::PACED;
use super::sse::{self, Event};
use super::{Cast, Way, rounds_of};
use crate::bench::books::Books;
use crate::bench::http::Connection;
use crate::bench::open_loop::{self, Answer, Pace, Turn};
use crate::bench::options::Options;
use crate::bench::percentile::Latencies;
use crate::bench::report::Report;
use crate::bench::rounds::{self, Column, Course};
use crate::bench::units::Nanos;

const TITLE: &str = "first byte of a stream";
const WAYS: [Way; 4] = [Way::Direct, Way::Nginx, Way::Free, Way::Metered];
/// All but the last are what it is compared with.
const BASES: usize = 3;
/// Requests a second, on so many connections.
const RATE: u32 = 100;
const CONNECTIONS: u32 = 16;
/// Content chunks of each answer, and how fast they come.
const CHUNKS: u32 = 2;
const CHUNK_RATE: u32 = 500;
/// Durable writes by which the disk is judged, as often as requests come, over so much of a file.
const WRITES: usize = 100;
const BLOCKS: usize = 64;
const BLOCK: usize = 4_096;
/// What may come on top of the same stream without a charge.
const ADDED_AT_MOST: Nanos = Nanos(300_000);

pub(super) fn measure(
    cast: &Cast,
    options: &Options,
    books: &mut Books,
    report: &mut Report,
) -> Result<()> {
    cast.upstream.set_rate(CHUNK_RATE);
    let mut courses = WAYS.map(|way| Course::new(way.name(), way));
    let mut disk = Course::new("one fdatasync", ());
    let turn = |way: &Way, _| {
        let pace = Pace {
            to: cast.address(*way),
            rate: RATE,
            connections: CONNECTIONS,
            length: options.turn / 2,
        };
        let answers = open_loop::run(pace, &cast.stream_traffic(*way, CHUNKS), exchange)?;
        if *way == Way::Metered {
            books.add(PACED, answers.owed);
            disk.turns.push(write_durably(&cast.gateway.folder)?);
        }
        Ok(answers.turn())
    };
    rounds::run(TITLE, rounds_of(options), &mut courses, report, turn)?;
    open_loop::tell(TITLE, &courses, BASES, report);
    let columns: [Column<'_, Course<(), Turn>>; 2] = [
        ("p50", &|it| it.nanos(|turn| turn.latency.p50).to_string()),
        ("p99", &|it| it.nanos(|turn| turn.latency.p99).to_string()),
    ];
    rounds::tell("disk under the store", &[disk], &columns, report);
    let [_, nginx, free, metered] = &courses;
    for (base, name) in [(free, "the plain route"), (nginx, "nginx")] {
        let figure = format!("metered stream, first byte, p50 above {name}");
        let added = metered.above(base, |turn| turn.latency.p50);
        report.demand_at_most(&figure, added, ADDED_AT_MOST);
    }
    Ok(())
}

/// Reads one stream to its end.
fn exchange(connection: &mut Connection, request: &[u8], began_at: Instant) -> io::Result<Answer> {
    connection.send(request)?;
    let (mut stream, mut first, mut used) = (sse::Answer::default(), None, None);
    while !stream.is_over() {
        let bytes = connection.read()?;
        let waited = began_at.elapsed();
        stream.push(bytes)?;
        while let Some(event) = stream.next_event() {
            first.get_or_insert(waited);
            if let Event::Usage { used: told, .. } = event {
                used = Some(told);
            }
        }
    }
    let untold = || io::Error::from(io::ErrorKind::InvalidData);
    Ok(Answer {
        latency: first.ok_or_else(untold)?.into(),
        is_good: true,
        closes: false,
        owed: used.ok_or_else(untold)?.cost(),
    })
}

/// How long the disk under the store takes for one small durable write, which is in every hold.
fn write_durably(folder: &Path) -> Result<Turn> {
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
    Ok(Turn {
        latency: writes.percentiles(),
        bad: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::metered::shop::{Used, stream_request};
    use crate::bench::metered::upstream::Upstream;

    #[test]
    fn a_stream_is_timed_to_its_first_event_and_read_to_its_usage() {
        let upstream = Upstream::start().unwrap();
        upstream.set_rate(10);
        let mut connection = Connection::open(upstream.address).unwrap();
        let request = stream_request(PACED, "", CHUNKS);
        // The connection is good for more than one.
        for _ in 0..2 {
            let began_at = Instant::now();
            let answer = exchange(&mut connection, &request, began_at).unwrap();
            let whole = Nanos::from(began_at.elapsed());
            let used = Used {
                prompt: 256,
                completion: u64::from(CHUNKS),
            };
            assert_eq!(answer.owed, used.cost());
            // The role comes at once, and the end three tenths of a second later.
            assert!(answer.latency.0 + 200_000_000 < whole.0, "{whole}");
        }
    }
}
