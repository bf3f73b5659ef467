//! People with browsers: the challenge as a page, the claim that leads back to it, and what a
//! stranger learns about either, which is nothing.

mod browser;
mod chromium;
mod claims;
mod forgeries;
mod forms;
mod jar;
mod offers;
mod retries;
mod sites;
mod status;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Route, Setup, TestGateway};
use crate::rules::MANY_CHALLENGES;
pub(crate) use jar::Visitor;

const PRICE: u64 = 2000;

/// What browsers say they want when somebody goes to an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn shop(upstream: &ScriptedUpstream) -> Route {
    Route::at("/paid", upstream).msat(PRICE)
}

fn start(route: Route) -> TestGateway {
    TestGateway::start(Setup::new().section(MANY_CHALLENGES).route(route))
}

/// How many invoices the gateway has made.
fn invoices(gateway: &TestGateway) -> i64 {
    gateway.metric("farebox_challenges_total", &[]).unwrap_or(0)
}
