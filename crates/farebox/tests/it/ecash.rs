//! Ecash that pays for requests, at mints that many run, with their wallets.

/// The same tests at every mint that many run: at nutshell in the gate, and at CDK with `--all`.
macro_rules! at_each_mint {
    ($($test:ident),* $(,)?) => {
        mod nutshell {
            $(
                #[test]
                fn $test() {
                    if let Some(mint) = crate::ecash::real_mint::Mint::nutshell() {
                        super::$test(&mint);
                    }
                }
            )*
        }

        mod cdk {
            $(
                #[test]
                #[ignore = "long"]
                fn $test() {
                    if let Some(mint) = crate::ecash::real_mint::Mint::cdk() {
                        super::$test(&mint);
                    }
                }
            )*
        }
    };
}

mod balance;
mod cashu_ts;
mod cdk;
#[cfg(feature = "crash-points")]
mod crash;
mod curl;
mod faults;
mod fees;
mod forms;
mod last_word;
mod late;
mod lies;
mod operator;
mod orders;
mod real_mint;
mod refused;
mod sales;
mod sdks;
mod sums;
mod till;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Reply, Route, Setup, TestGateway};
use real_mint::Mint;

/// A seller who takes coins of this mint and nothing else.
fn shop(mint: &Mint, routes: impl IntoIterator<Item = Route>) -> TestGateway {
    let mut setup = Setup::new().section(&format!("[[mint]]\nurl = \"{}/\"", mint.url()));
    for route in routes {
        setup = setup.route(route.line("methods = [\"cashu\", \"l402\"]"));
    }
    TestGateway::start(setup)
}

/// An upstream, and a seller who takes 1,500 msat for what is below `/paid`.
fn opened(mint: &Mint) -> (ScriptedUpstream, TestGateway) {
    let upstream = ScriptedUpstream::start().unwrap();
    let gateway = shop(mint, [Route::at("/paid", &upstream).msat(1_500)]);
    (upstream, gateway)
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
