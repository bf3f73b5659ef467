//! What cheats try: each module is one kind of cheating, and in each the upstream's own log decides
//! whether it worked.

mod bodies;
pub(crate) mod chaos;
mod ends;
mod flood;
mod forgeries;
mod framing;
mod grpc_web;
mod headers;
mod http2;
mod invariant;
mod leaving;
mod pacing;
mod paid;
mod paths;
mod presentations;
mod races;
mod retries;
mod routes;
mod scope;
mod secrets;
mod shares;
mod spellings;
mod trailers;
mod usage;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_testkit::ScriptedUpstream;
use farebox_wire::macaroon::Macaroon;

use crate::harness::{Call, Connection, Reply, Route, Setup, TestGateway, Token};
use crate::rules::MANY_CHALLENGES;

/// A free route, one that sells single requests, one that sells five calls, and a costlier one.
fn shop(upstream: &ScriptedUpstream) -> TestGateway {
    let setup = Setup::new()
        .section(MANY_CHALLENGES)
        .route(Route::at("/free", upstream).free())
        .route(Route::at("/paid", upstream).msat(2000))
        .route(Route::at("/calls", upstream).msat(2000).calls(5))
        .route(Route::at("/vault", upstream).msat(9_000_000));
    TestGateway::start(setup)
}

/// `token` with the bytes of its macaroon changed by `edit`.
fn edited(token: &Token, edit: impl FnOnce(&mut Vec<u8>)) -> Token {
    let mut bytes = STANDARD.decode(&token.macaroon).unwrap();
    edit(&mut bytes);
    Token {
        macaroon: STANDARD.encode(bytes),
        preimage: token.preimage.clone(),
    }
}

fn caveats(macaroon: &Macaroon) -> Vec<String> {
    macaroon
        .caveats()
        .map(|caveat| String::from_utf8(caveat.to_vec()).unwrap())
        .collect()
}

/// Bytes on a connection of their own, and the first answer; none when the gateway just hung up.
fn send_raw(to: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let mut connection = Connection::open(to).unwrap();
    connection.write(bytes).unwrap();
    connection.read_reply("GET").ok()
}

/// The code at the end of a problem document's type.
fn problem(reply: &Reply) -> String {
    let kind = reply.json()["type"].as_str().unwrap_or_default().to_owned();
    kind.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Whether `call` with `token` is refused with `status` before anything reaches the upstream.
#[track_caller]
fn assert_refused(gateway: &TestGateway, upstream: &ScriptedUpstream, call: &Call, status: u16) {
    let before = upstream.total();
    let reply = gateway.send(call);
    assert_eq!(reply.status, status, "{call:?}: {}", reply.text());
    assert_eq!(upstream.total(), before, "{call:?} reached the upstream");
}
