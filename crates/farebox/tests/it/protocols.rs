//! What travels how: HTTP/1.1 and HTTP/2 on both sides, TLS on both sides, streams with
//! back-pressure, upgrades, and the limits on connections.

mod heads;
mod http1;
mod http2;
mod limits;
mod streaming;
mod tls;
mod upgrade;

use std::fs;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Route, Setup, TestGateway};

const PRICE: u64 = 2000;

fn shop(upstream: &ScriptedUpstream) -> Setup {
    Setup::new().route(Route::at("/paid", upstream).msat(PRICE))
}

/// The memory of a running gateway, in KiB.
fn resident_kib(gateway: &TestGateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process_id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    words
        .and_then(|kib| kib.parse().ok())
        .expect("VmRSS in KiB")
}
