//! Ecash that pays for requests, at a mint that many run, with its wallet.

mod balance;
mod cashu_ts;
#[cfg(feature = "crash-points")]
mod crash;
mod faults;
mod last_word;
mod nutshell;
mod refused;
mod sales;
mod sdks;
mod sums;
mod till;

use std::sync::Arc;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Reply, Route, Setup, TestGateway};
use nutshell::Nutshell;

/// A seller who takes coins of this mint and nothing else.
fn shop(mint: &Nutshell, routes: impl IntoIterator<Item = Route>) -> TestGateway {
    let mut setup = Setup::new().section(&format!("[[mint]]\nurl = \"{}/\"", mint.url()));
    for route in routes {
        setup = setup.route(route.line("methods = [\"cashu\", \"l402\"]"));
    }
    TestGateway::start(setup)
}

/// A mint, an upstream, and a seller who takes 1,500 msat for what is below `/paid`.
fn opened() -> Option<(Arc<Nutshell>, ScriptedUpstream, TestGateway)> {
    let mint = Nutshell::shared()?;
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(&mint, [Route::at("/paid", &upstream).msat(1_500)]);
    Some((mint, upstream, gateway))
}

/// The call with a token, as NUT-24 has it.
fn with_token(call: &Call, token: &str) -> Call {
    call.clone().header("X-Cashu", token)
}

/// The change in the answer.
#[track_caller]
fn change(reply: &Reply) -> String {
    reply.find("x-cashu").expect("change").to_owned()
}
