//! Reading slowly until the upstream has lost its patience and breaks off: nearly all of an answer, and
//! not the client's doing, as it seems.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::harness::{Call, Connection, Route, Setup, TestGateway};
use crate::rules::{Books, MANY_CHALLENGES, books_when};

const MIB: usize = 1024 * 1024;
/// Far more than the sockets on the way can hold, time and again.
const LONG: usize = 96 * MIB;
/// How long the upstream lets one write wait. Three such waits are more than a client may cause in all
/// before the break is its own; one of them is less.
const PATIENCE: Duration = Duration::from_secs(2);
static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];
const PRICE: i64 = 2000;
const AT_MOST: i64 = 5000;

/// An upstream that begins a long answer, tells each time that it could not write for as long as its
/// patience lasts, and breaks off at the last of `waits`.
fn impatient_upstream(waits: usize) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (waited, client) = channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        answer(stream, waits, &waited);
    });
    (address, client)
}

fn answer(mut stream: TcpStream, waits: usize, waited: &Sender<()>) {
    let mut head = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::from("-");
    while line.trim_end() != "" {
        line.clear();
        head.read_line(&mut line).unwrap();
    }
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..waits {
        // A write that was in time wrote all.
        while stream
            .write(&PIECE)
            .is_ok_and(|written| written == PIECE.len())
        {}
        waited.send(()).unwrap();
    }
}

/// What is charged, in msat, to a client that reads a few MiB each time that its upstream has waited,
/// and all there is once that has broken off, after so many waits.
fn charge_after(waits: usize, price: &str) -> i64 {
    let (upstream, waited) = impatient_upstream(waits);
    let route = Route::to("/paid", &format!("http://{upstream}")).line(price);
    let gateway = TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route));
    let call = Call::get("/paid/film");
    let token = gateway.buy(&call);
    let mut client = Connection::open(gateway.address).unwrap();
    client.send(&call.with(&token)).unwrap();
    client.read_head().unwrap().expect(200);
    for round in 1..=waits {
        waited.recv().expect("the upstream cannot write on");
        if round < waits {
            client.read_exactly(4 * MIB).unwrap();
        }
    }
    // What is left on its way, and then the break.
    client.read_exactly(LONG).unwrap_err();
    let charged = i64::try_from(gateway.charged(&token)).unwrap();
    let account = gateway.find_account(&token).unwrap();
    let paid_in = account["amount_msat"].as_i64().unwrap();
    books_when(&gateway, &Books::settled(paid_in, charged));
    charged
}

#[test]
fn who_lets_the_upstream_wait_until_it_breaks_off_pays_as_for_leaving() {
    let fixed = format!("price = {{ msat = {PRICE} }}");
    let told = format!(
        "price = {{ upstream_header = \"x-cost\", unit = \"msat\", at_most = {{ msat = {AT_MOST} }} }}"
    );
    let charges = std::thread::scope(|scope| {
        let cases = [(1, &fixed), (3, &fixed), (3, &told)];
        let charges = cases.map(|(waits, price)| scope.spawn(move || charge_after(waits, price)));
        charges.map(|charge| charge.join().unwrap())
    });
    assert_eq!(charges, [0, PRICE, AT_MOST]);
}
