//! Long bodies in both directions: whoever reads slowly slows the writer down, and the gateway
//! keeps next to nothing in between.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use farebox_testkit::{Pattern, ScriptedUpstream};
use sha2::{Digest, Sha256};

use super::{PRICE, resident_kib, shop};
use crate::harness::{Call, Connection, Route, Setup, TestGateway, with_upstream};

const MIB: usize = 1024 * 1024;
/// Far more than all the sockets on the way can hold.
const LONG: usize = 96 * MIB;
/// What may have left a writer whose reader does not read: the sockets' buffers.
const STUCK_BELOW: usize = 64 * MIB;
/// What the gateway may need in addition.
const MEMORY_KIB: u64 = 24 * 1024;
/// A writer that gets nothing off its hands for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_millis(500);

/// Writes until the other side takes no more; gives how much it took.
fn write_until_stuck(stream: &mut TcpStream, block: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(STUCK_AFTER)).unwrap();
    let mut written = 0;
    while written < most {
        let piece = &block[..block.len().min(most - written)];
        match stream.write(piece) {
            Ok(size) => written += size,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => panic!("after {written} bytes: {e}"),
        }
    }
    stream.set_write_timeout(None).unwrap();
    written
}

/// An upstream for one request, in the hands of a test.
struct Lazy {
    address: SocketAddr,
    go: Sender<()>,
    thread: JoinHandle<usize>,
}

impl Lazy {
    /// Reads the head of one request, hands the rest to `then`, and gives what that gives.
    fn start(then: impl FnOnce(BufReader<TcpStream>, &dyn Fn()) -> usize + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (go, gone) = channel();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::from("-");
            while line.trim_end() != "" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            then(stream, &|| gone.recv().unwrap())
        });
        Self {
            address,
            go,
            thread,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Only single calls are told apart by their bodies, which are read first; these stream through.
fn streamed(upstream_url: &str) -> Setup {
    Setup::new().route(Route::to("/paid", upstream_url).msat(PRICE).calls(2))
}

#[test]
fn an_upload_waits_for_an_upstream_that_does_not_read() {
    let upstream = Lazy::start(|mut stream, wait| {
        wait();
        let mut body = stream.by_ref().take(LONG as u64);
        let read = std::io::copy(&mut body, &mut std::io::sink()).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread";
        stream.get_mut().write_all(answer).unwrap();
        usize::try_from(read).unwrap()
    });
    let gateway = TestGateway::start(streamed(&upstream.url()));
    let call = Call::new("POST", "/paid/a").header("Content-Length", &LONG.to_string());
    let token = gateway.buy(&Call::post("/paid/a", "short"));
    let before = resident_kib(&gateway);

    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream
        .write_all(call.with(&token).head().as_bytes())
        .unwrap();
    let block = vec![7; MIB];
    let written = write_until_stuck(&mut stream, &block, LONG);
    assert!(written < STUCK_BELOW, "{written} bytes are on their way");
    let more = resident_kib(&gateway).saturating_sub(before);
    assert!(more < MEMORY_KIB, "{more} KiB for {written} bytes");

    upstream.go.send(()).unwrap();
    let rest = vec![7; LONG - written];
    stream.write_all(&rest).unwrap();
    let mut reply = [0; 15];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200 OK");
    assert_eq!(upstream.thread.join().unwrap(), LONG);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn a_download_waits_for_a_client_that_does_not_read() {
    let (report, stuck_at) = channel();
    let upstream = Lazy::start(move |stream, _| {
        let mut stream = stream.into_inner();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n").unwrap();
        let block = vec![7; MIB];
        let written = write_until_stuck(&mut stream, &block, LONG);
        report.send(written).unwrap();
        stream.write_all(&vec![7; LONG - written]).unwrap();
        written
    });
    let route = Route::to("/paid", &upstream.url()).msat(PRICE);
    let gateway = TestGateway::start(Setup::new().route(route));
    let call = Call::get("/paid/a");
    let token = gateway.buy(&call);
    let before = resident_kib(&gateway);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    buyer.read_head().unwrap().expect(200);

    let written = stuck_at.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(written < STUCK_BELOW, "{written} bytes are on their way");
    let more = resident_kib(&gateway).saturating_sub(before);
    assert!(more < MEMORY_KIB, "{more} KiB for {written} bytes");

    for _ in 0..LONG / MIB {
        buyer.read_exactly(MIB).unwrap();
    }
    assert_eq!(gateway.charged(&token), PRICE);
    upstream.thread.join().unwrap();
}

#[test]
fn a_chunked_upload_of_unknown_length_streams_through_intact() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(streamed(&upstream.url()));
    let token = gateway.buy(&Call::post("/paid/digest", "short"));
    let call = Call::new("POST", "/paid/digest")
        .header("Transfer-Encoding", "chunked")
        .with(&token);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.write(call.head().as_bytes()).unwrap();
    let mut hasher = Sha256::new();
    for block in Pattern::new(20 * MIB as u64) {
        hasher.update(&block);
        let size = format!("{:x}\r\n", block.len());
        buyer.write(size.as_bytes()).unwrap();
        buyer.write(&block).unwrap();
        buyer.write(b"\r\n").unwrap();
    }
    buyer.write(b"0\r\n\r\n").unwrap();
    let seen = buyer.read_reply("POST").unwrap().expect(200).json();
    assert_eq!(seen["bytes"], 20 * MIB);
    assert_eq!(seen["sha256"], hex::encode(hasher.finalize()));
}

#[test]
fn an_upload_that_breaks_off_is_not_charged() {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = TestGateway::start(streamed(&upstream.url()));
    let token = gateway.buy(&Call::post("/paid/digest", "short"));
    let call = Call::new("POST", "/paid/digest").header("Content-Length", "1000000");
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.write(call.with(&token).head().as_bytes()).unwrap();
    buyer.write(&[7; 1000]).unwrap();
    upstream.wait_for("/paid/digest", 1);
    drop(buyer);
    assert_eq!(gateway.charged(&token), 0);
    let whole = Call::post("/paid/digest", "whole").with(&token);
    gateway.send(&whole).expect(200);
    assert_eq!(gateway.charged(&token), PRICE);
}

#[test]
fn the_first_event_of_a_stream_arrives_while_the_second_is_still_to_come() {
    let (upstream, gateway) = with_upstream(|upstream| TestGateway::start(shop(upstream)));
    let stream = upstream.stream("one");
    let call = Call::get("/paid/stream/one");
    let token = gateway.buy(&call);
    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    let head = buyer.read_head().unwrap().expect(200);
    assert_eq!(head.find("content-type"), Some("text/event-stream"));
    for number in 0..100 {
        let event = format!("data: {number}\n\n");
        assert!(stream.send(event.clone()));
        assert_eq!(buyer.read_chunk().unwrap().unwrap(), event.as_bytes());
    }
    stream.finish();
    assert_eq!(buyer.read_chunk().unwrap(), None);
    assert_eq!(gateway.charged(&token), PRICE);
}
