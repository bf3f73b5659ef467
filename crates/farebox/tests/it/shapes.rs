//! Routes that write their requests from a template and sell a part of the answer: what reaches the
//! upstream, what the client gets, and what is charged.

mod answers;
mod capabilities;
mod imported;
mod reasons;
mod requests;

use farebox_testkit::ScriptedUpstream;

use crate::harness::{Call, Route};

/// A completion's template, as sellers write it.
const TEMPLATE: &str = r#"request = { body = '{"model":"m","prompt":"Say this","max_tokens":57}', pass_fields = { prompt = "string", max_tokens = "int", temperature = "float" } }"#;

/// A route with the template, whose upstream tells what it was asked.
fn templated(upstream: &ScriptedUpstream) -> Route {
    Route::at("/gpt", upstream).msat(2000).line(TEMPLATE)
}

/// One that answers with the body that its upstream was sent, as text.
fn telling(upstream: &ScriptedUpstream) -> Route {
    templated(upstream).line("response = { fields = \"body\" }")
}

fn ask(body: &str) -> Call {
    Call::post("/gpt", body).header("Content-Type", "application/json")
}
