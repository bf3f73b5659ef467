//! The vocabulary of the end-to-end tests in `tests/it`; these tests need a part of it.

#![expect(dead_code, reason = "shared with tests that look at more than these")]

#[path = "../it/harness/clock.rs"]
mod clock;
#[path = "../it/harness/connection.rs"]
mod connection;
#[path = "../it/harness/gateway.rs"]
mod gateway;
#[path = "../it/harness/http.rs"]
mod http;
#[path = "../it/harness/l402.rs"]
mod l402;
#[path = "../it/harness/log.rs"]
mod log;
#[path = "../it/harness/metrics.rs"]
mod metrics;
#[path = "../it/harness/setup.rs"]
mod setup;

pub(crate) use clock::{HOUR, TestClock};
pub(crate) use connection::Connection;
pub(crate) use gateway::{TestGateway, farebox};
pub(crate) use http::{Call, Reply};
pub(crate) use l402::{Challenge, Token};
pub(crate) use setup::{Route, Setup};

pub(crate) use farebox_testkit::ports;
