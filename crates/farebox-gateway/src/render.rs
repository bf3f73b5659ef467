//! Refusals and challenges as whoever asks reads them: a problem document for programs, with the
//! `error` of the providers' SDKs where models are sold; trailers for gRPC; a page for people.
//!
//! Every answer of ours that says no is written here, and nowhere else.

mod sdk;

use std::error::Error;
use std::fmt;

use farebox_core::Msat;
use farebox_wire::grpc;
use farebox_wire::problem::{self, Problem};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, Method, Response};

use crate::access_log::{Audience, Exchange};
use crate::answer::AnswerBody;
use crate::forward::write_charge;
use crate::outcome::Outcome;
use crate::page;
use crate::refusal::{Blame, Entry, Refusal};
use farebox_http::limits::RetryAfter;

const REASON: HeaderName = HeaderName::from_static(problem::REASON_HEADER);

/// Refuses a request: the answer, what the log says of it, and the cause for the operator.
pub(crate) fn refuse(exchange: &mut Exchange, refusal: &Refusal) -> Response<AnswerBody> {
    let entry = refusal.entry();
    exchange.outcome = match entry.blame {
        Blame::Client => Outcome::Refused,
        Blame::Upstream => Outcome::UpstreamFailed,
        Blame::Gateway => Outcome::Fault,
    };
    exchange.reason = entry.word();
    if entry.blame != Blame::Client {
        complain(exchange, refusal);
    }
    let problem = entry.problem(exchange.request_id);
    let mut detail = refusal.to_string();
    if entry.blame == Blame::Upstream {
        detail.push_str(&match exchange.charged().msat {
            Msat::ZERO => "; nothing was charged".to_owned(),
            charged => format!("; {charged} were charged, for the request was forwarded"),
        });
    }
    let problem = refusal.describe(problem.with_detail(detail));
    let mut response = render(exchange, &entry, problem);
    // Where an act was sold, or its client let too many come to nothing.
    if let Some(hold) = exchange.hold.filter(|_| !exchange.charged().msat.is_zero()) {
        write_charge(response.headers_mut(), exchange.charged().msat, hold);
    }
    if let Some(list) = refusal.allowed().and_then(names) {
        response.headers_mut().insert(ALLOW, list);
    }
    response
}

/// A problem as an answer to whoever asks.
pub(crate) fn render(exchange: &Exchange, entry: &Entry, problem: Problem) -> Response<AnswerBody> {
    let spoken = problem.spoken_reason();
    let mut response = match exchange.audience {
        Audience::Program => document(&sdk::with_error(exchange, problem)),
        Audience::Grpc(kind) => {
            let mut response = Response::new(AnswerBody::empty());
            *response.headers_mut() = grpc::refusal(kind, entry.grpc, problem.sentence());
            response
        }
        Audience::Person => {
            let mut response =
                Response::new(AnswerBody::own(page::problem(&problem, entry.retry_after)));
            *response.status_mut() = problem.status();
            page::headers(response.headers_mut());
            response
        }
    };
    let headers = response.headers_mut();
    if let Some(Ok(reason)) = spoken.map(HeaderValue::try_from) {
        headers.insert(REASON, reason);
    }
    if let Some(wait) = entry.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(RetryAfter(wait).as_secs()));
    }
    for scheme in entry.authenticate {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

fn document(problem: &Problem) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(problem.to_json()));
    *response.status_mut() = problem.status();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(problem::CONTENT_TYPE),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells the operator what the client is not told: the error with all its causes, once.
fn complain(exchange: &Exchange, refusal: &Refusal) {
    let route = exchange.route.as_ref();
    tracing::warn!(
        request_id = %exchange.request_id,
        route = route.map_or("-", |route| route.name.as_str()),
        error = %WithCauses(refusal),
        charged.msat = exchange.charged().msat.get(),
        "a request could not be served"
    );
}

/// An error with its causes, on one line.
struct WithCauses<'a>(&'a dyn Error);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        out.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let more = error.to_string();
            // Some name their cause themselves.
            if !said.ends_with(&more) {
                write!(out, ": {more}")?;
            }
            (said, cause) = (more, error.source());
        }
        Ok(())
    }
}

fn names(methods: &[Method]) -> Option<HeaderValue> {
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use farebox_lightning::NodeError;

    use super::*;
    use crate::refusal::{PaymentError, UpstreamError};

    #[test]
    fn the_operator_reads_an_error_with_all_its_causes_on_one_line() {
        let late = NodeError::Unavailable {
            host: "lnd:8080".to_owned(),
            status: 503,
        };
        let refusal = Refusal::from(PaymentError::from(late));
        assert_eq!(
            WithCauses(&refusal).to_string(),
            "the Lightning node does not make invoices at the moment: \
             lnd:8080 is not able to serve at the moment (HTTP status 503)"
        );
        let refusal = Refusal::from(UpstreamError::broken("it hung up"));
        let told = WithCauses(&refusal).to_string();
        assert!(told.ends_with("broke the protocol: it hung up"), "{told}");
    }
}
