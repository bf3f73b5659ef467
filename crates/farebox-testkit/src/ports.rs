//! Ports that stay free between a stop and a start on the same one. The system takes the ports of
//! outgoing connections from a range of its own, so that a port from there may be in use by then.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that systems take outgoing ports from by themselves.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A port that nobody listens at, and that no other test of this process gets.
///
/// # Panics
/// When none is left.
pub fn free() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(start()));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// Somewhere else in each process, so that test programs that run together do not meet.
fn start() -> u16 {
    let process = std::process::id().wrapping_mul(2_654_435_761);
    u16::try_from(process >> 16).unwrap_or_default() % COUNT
}
