//! What is owed as whoever asks reads it: a 402 with the price, the invoice and the token, and the way
//! back to it.

use std::time::Duration;

use farebox_core::Msat;
use farebox_ecash::payment_request;
use farebox_paywall::ask::is_probe;
use farebox_paywall::challenge::{Amount, Challenge, Offered};
use farebox_paywall::claim::OpenClaim;
use farebox_wire::challenge::{L402Challenge, LegacyLsat};
use farebox_wire::grpc::{self, Code};
use farebox_wire::problem::Problem;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::access_log::{Audience, Exchange};
use crate::answer::AnswerBody;
use crate::claim::Claims;
use crate::claim::visit::Visit;
use crate::outcome::Outcome;
use crate::plan::{BadCredential, Plan, Sold};
use crate::refusal::{Entry, Owed};
use crate::render::render;

const PRICE: HeaderName = HeaderName::from_static("farebox-price-msat");
const METHODS: HeaderName = HeaderName::from_static("farebox-methods");
const CASHU: HeaderName = HeaderName::from_static("x-cashu");

/// What is asked of somebody who has to pay.
pub(crate) struct Demand<'a> {
    pub(crate) sold: Sold<'a>,
    /// What the request costs, at most.
    pub(crate) price: Msat,
    pub(crate) owed: Owed,
    pub(crate) method: &'a Method,
    /// Who asks, where that is a browser or somebody with a claim.
    pub(crate) visit: Option<&'a Visit>,
}

/// Shows somebody what has to be paid.
pub(crate) fn show_challenge(
    claims: &Claims,
    exchange: &mut Exchange,
    demand: &Demand<'_>,
    challenge: &Challenge,
) -> Response<AnswerBody> {
    match challenge {
        Challenge::Price { retry_after } => price_alone(exchange, demand, *retry_after),
        Challenge::Invoice(offered) => show_invoice(claims, exchange, demand, offered),
    }
}

/// Shows somebody the challenge that was made for him before, as long as it can be paid.
pub(crate) fn show_again(
    claims: &Claims,
    exchange: &mut Exchange,
    demand: &Demand<'_>,
    OpenClaim { claim, told }: OpenClaim,
) -> Response<AnswerBody> {
    let Some(invoice) = claim.invoice().cloned() else {
        let entry = entry(demand.sold.plan, demand.owed);
        (exchange.outcome, exchange.reason) = (Outcome::Owed, entry.word());
        let problem = problem(exchange, &entry, demand);
        return render(exchange, &entry, problem);
    };
    let offered = Offered {
        terms: claim.token.granted.terms.clone(),
        invoice,
        expires_at: claim.expires_at(),
        macaroon: claim.macaroon,
        told,
        bundle: None,
        held: None,
    };
    show_invoice(claims, exchange, demand, &offered)
}

fn show_invoice(
    claims: &Claims,
    exchange: &mut Exchange,
    demand: &Demand<'_>,
    offered: &Offered,
) -> Response<AnswerBody> {
    let entry = entry(demand.sold.plan, demand.owed);
    (exchange.outcome, exchange.reason) = (Outcome::Owed, entry.word());
    let legacy = if demand.sold.plan.server.legacy_challenge {
        LegacyLsat::Lead
    } else {
        LegacyLsat::Omit
    };
    let challenge = L402Challenge::new(&offered.macaroon, offered.invoice.clone());
    let mut problem = problem(exchange, &entry, demand);
    if demand.sold.route.challenge_in_body {
        problem = problem
            .with("invoice", offered.invoice.as_str())
            .with("macaroon", challenge.macaroon());
    }
    if let Some(bundle) = offered.bundle {
        problem = explain(bundle, demand.price, problem);
    }
    problem = problem
        .with("amount_msat", offered.terms.amount.get())
        .with("invoice_expires_at", offered.expires_at.as_secs());
    // The sentence by which gRPC clients tell a challenge from a fault.
    if let Audience::Grpc(_) = exchange.audience {
        problem = problem.with_detail(grpc::MESSAGE);
    }
    let mut response = render(exchange, &entry.with_grpc(grpc::UNPAID), problem);
    tell_price(demand, &mut response);
    challenge.append_to(response.headers_mut(), legacy);
    ask_for_coins(demand, &mut response);
    claims.add_way_back(exchange, demand, offered, &mut response);
    response
}

fn price_alone(
    exchange: &mut Exchange,
    demand: &Demand<'_>,
    wait: Option<Duration>,
) -> Response<AnswerBody> {
    // No gRPC client should take it for a challenge and try to pay.
    let is_asked = asks_for_coins(demand);
    let code = if is_asked {
        grpc::UNPAID
    } else {
        Code::ResourceExhausted
    };
    let mut entry = demand.owed.entry().with_grpc(code);
    entry = entry.with_status(StatusCode::PAYMENT_REQUIRED);
    if let Some(wait) = wait {
        entry = entry.again_in(wait);
    }
    exchange.reason = entry.word();
    exchange.outcome = if is_asked {
        Outcome::Owed
    } else {
        Outcome::OwedBriefly
    };
    let mut problem = problem(exchange, &entry, demand);
    if wait.is_some() {
        problem =
            problem.with_detail("too many invoices were asked for; this is the price without one");
    }
    let mut response = render(exchange, &entry, problem);
    tell_price(demand, &mut response);
    ask_for_coins(demand, &mut response);
    response
}

/// Tells in headers what the document tells, for those that asked by HEAD.
fn tell_price(demand: &Demand<'_>, response: &mut Response<AnswerBody>) {
    let headers = response.headers_mut();
    headers.insert(PRICE, HeaderValue::from(demand.price.get()));
    headers.insert(
        METHODS,
        HeaderValue::from_static(demand.sold.sale.ways.names()),
    );
}

/// Asks for coins in one line, in the finest unit: a line of each would be joined by some clients. The
/// document has all units.
fn ask_for_coins(demand: &Demand<'_>, response: &mut Response<AnswerBody>) {
    if !asks_for_coins(demand) {
        return;
    }
    let Some((unit, mints)) = demand.sold.plan.payments.mints.by_unit().next() else {
        return;
    };
    let amount = unit.covering(demand.price);
    let form = demand.sold.plan.payments.request_form;
    let urls: Vec<_> = mints.iter().map(|mint| mint.url()).collect();
    let asked = payment_request(amount, unit, &urls, form);
    if let Some(Ok(asked)) = asked.map(HeaderValue::try_from) {
        response.headers_mut().insert(CASHU, asked);
    }
}

/// Whether coins are asked for. A probe gets the price alone.
fn asks_for_coins(demand: &Demand<'_>) -> bool {
    demand.sold.sale.ways.ecash && !is_probe(demand.method)
}

/// What is asked in coins, unit by unit.
fn coins(demand: &Demand<'_>) -> Vec<serde_json::Value> {
    let units = demand.sold.plan.payments.mints.by_unit();
    let asked = units.map(|(unit, mints)| {
        let amount = unit.covering(demand.price);
        // Of several mints the dearest, so that it is enough at each.
        let fees: Option<Vec<_>> = mints
            .iter()
            .map(|mint| mint.fee_on_top(unit, amount))
            .collect();
        let urls: Vec<_> = mints.iter().map(|mint| mint.url().as_str()).collect();
        let mut entry = json!({ "unit": unit.as_str(), "amount": amount, "mints": urls });
        if let Some(fee) = fees.and_then(|fees| fees.into_iter().max()) {
            entry["fee"] = fee.into();
        }
        entry
    });
    asked.collect()
}

/// Says in the 402 what the larger amount is for.
fn explain(bundle: Amount, price: Msat, problem: Problem) -> Problem {
    let calls = bundle.msat.get() / price.get().max(1);
    problem
        .with(
            "bundle",
            json!({
                "amount_msat": bundle.msat.get(),
                "price_msat": price.get(),
                "calls": calls,
            }),
        )
        .with_detail(format!(
            "the Lightning node takes no less than {}: what this request does not cost stays \
             on the token as balance for further requests",
            bundle.msat
        ))
}

/// What is said of what is owed, as the seller wants it.
fn entry(plan: &Plan, owed: Owed) -> Entry {
    let entry = owed.entry();
    match plan.server.bad_credential {
        BadCredential::Unauthorized => entry,
        BadCredential::PaymentRequired => entry.with_status(StatusCode::PAYMENT_REQUIRED),
    }
}

/// The problem document of what is owed.
fn problem(exchange: &Exchange, entry: &Entry, demand: &Demand<'_>) -> Problem {
    let problem = entry
        .problem(exchange.request_id)
        .with("price_msat", demand.price.get())
        .with("methods", demand.sold.sale.ways.list());
    let problem = if demand.sold.sale.ways.ecash {
        problem.with("ecash", coins(demand))
    } else {
        problem
    };
    let detail = match demand.owed {
        Owed::Unproven(error) => Some(error.to_string()),
        _ => problem.spoken_reason(),
    };
    match detail {
        Some(detail) => problem.with_detail(detail),
        None => problem,
    }
}
