//! What `farebox doctor` finds out about the Lightning backends: who they are, what we may do
//! there, and whether they really make an invoice. The invoice is the least one there is, lives
//! for a minute, and nobody sees it.

use std::time::Duration;

use farebox_config::build::{Built, BuiltBackend, NodeKind};
use farebox_core::{Clock, Msat, UnixMillis};
use farebox_http::client::CallError;
use farebox_lightning::{
    AccessReport, CreateInvoice, CreatedInvoice, InvoiceFault, InvoiceRequest, NodeError,
    parse_invoice,
};

use super::Finding;
use crate::output::chain;

/// How long the invoice of the examination can be paid.
const EXPIRY: Duration = Duration::from_secs(60);
/// How long one backend is examined at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// Clocks that differ by more make invoices expire at the wrong time.
const MAX_SKEW: Duration = Duration::from_secs(30);

/// Examines every backend.
pub(super) async fn examine(built: &Built, clock: &dyn Clock) -> Vec<Finding> {
    let Some(node) = &built.node else {
        let detail = if built.plan.payments.mints.is_empty() {
            "none: nothing is sold"
        } else {
            "none: sold for ecash alone"
        };
        return vec![Finding::ok("lightning", detail)];
    };
    let mut findings = Vec::new();
    for backend in node.iter() {
        let what = format!("lightning {}", backend.name);
        let found = tokio::time::timeout(PATIENCE, examine_one(&what, backend, clock)).await;
        findings.extend(found.unwrap_or_else(|_| {
            let detail = format!("no answer within {} seconds", PATIENCE.as_secs());
            vec![Finding::wrong(&what, detail)]
        }));
    }
    let words = built.describe();
    findings.extend(words.iter().filter_map(|line| {
        let detail = line.strip_prefix("refunds: ")?;
        Some(Finding::ok("refunds", detail))
    }));
    findings
}

async fn examine_one(what: &str, backend: &BuiltBackend, clock: &dyn Clock) -> Vec<Finding> {
    match &backend.kind {
        NodeKind::Mock(_) => vec![Finding::ok(what, "test money: anybody can pay for nothing")],
        NodeKind::Address(node) => match node.resolve().await {
            Ok(limits) => {
                let detail = format!("the address takes {} to {}", limits.min, limits.max);
                vec![
                    Finding::ok(what, detail),
                    examine_invoice(what, backend, node.as_ref(), clock).await,
                ]
            }
            Err(error) => vec![failed(what, backend, &error)],
        },
        NodeKind::Node => examine_node(what, backend, clock).await,
    }
}

async fn examine_node(what: &str, backend: &BuiltBackend, clock: &dyn Clock) -> Vec<Finding> {
    let mut findings = match &backend.node.check {
        None => Vec::new(),
        Some(check) => match check.check_access().await {
            Ok(report) => tell_access(what, report),
            // A backend that does not answer makes no invoice either.
            Err(error) => return vec![failed(what, backend, &error)],
        },
    };
    if let Some(maker) = &backend.node.invoices {
        findings.push(examine_invoice(what, backend, maker.as_ref(), clock).await);
    }
    findings
}

async fn examine_invoice(
    what: &str,
    backend: &BuiltBackend,
    maker: &dyn CreateInvoice,
    clock: &dyn Clock,
) -> Finding {
    match make_invoice(maker).await {
        Ok(created) => tell_invoice(what, &created, clock.now()),
        Err(error) => failed(what, backend, &error),
    }
}

fn tell_access(what: &str, report: AccessReport) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(what, report.identity)];
    let missing = report.missing.into_iter();
    findings.extend(missing.map(|it| Finding::wrong(what, format!("missing permission: {it}"))));
    if !report.needless.is_empty() {
        let detail = format!(
            "more permissions than needed, and whoever steals the credential has them too: {}",
            report.needless.join(", ")
        );
        findings.push(Finding::warning(what, detail));
    }
    let remarks = report.remarks.into_iter();
    findings.extend(remarks.map(|remark| Finding::warning(what, remark)));
    findings
}

async fn make_invoice(maker: &dyn CreateInvoice) -> Result<CreatedInvoice, NodeError> {
    let least = Msat::new(1_000).unwrap_or_default();
    let request = InvoiceRequest {
        amount: maker.limits().cover(least).unwrap_or(least),
        memo: "farebox doctor".to_owned(),
        expiry: EXPIRY,
    };
    maker.create_invoice(request).await
}

fn tell_invoice(what: &str, created: &CreatedInvoice, now: UnixMillis) -> Finding {
    match parse_invoice(&created.bolt11) {
        Ok(invoice) => tell_skew(what, created.amount, now, invoice.created_at),
        Err(fault) => Finding::wrong(what, chain(&fault)),
    }
}

fn tell_skew(what: &str, amount: Msat, now: UnixMillis, made_at: UnixMillis) -> Finding {
    let skew = Duration::from_millis(now.get().abs_diff(made_at.get()));
    if skew <= MAX_SKEW {
        return Finding::ok(what, format!("made an invoice for {amount}"));
    }
    let detail = format!(
        "its clock and ours differ by {} seconds: invoices would expire too early or too late; \
         let both machines keep time with NTP",
        skew.as_secs()
    );
    Finding::wrong(what, detail)
}

/// What failed, and what the operator can do about it.
fn failed(what: &str, backend: &BuiltBackend, error: &NodeError) -> Finding {
    let advice = match error {
        NodeError::Call(CallError::NotConnected { .. }) => {
            let api = backend.section.kind.api();
            match api.map(|api| (&api.url, &api.tls_cert)) {
                Some((Some(url), Some(_))) if url.starts_with("https") => {
                    "is it running, is `url` its REST address, and is `tls_cert` the certificate \
                     that it uses now?"
                }
                _ => "is it running, and is the address right?",
            }
        }
        NodeError::BadInvoice(InvoiceFault::DescriptionHash) => {
            "nothing can be sold by it, unless `description_hash` lets such invoices through"
        }
        NodeError::Forbidden { .. } => "is the credential the right one, and still valid?",
        NodeError::Call(CallError::TimedOut { .. }) => {
            "is it busy, still starting, or behind a firewall?"
        }
        _ => "",
    };
    let error = chain(error);
    Finding::wrong(
        what,
        if advice.is_empty() {
            error
        } else {
            format!("{error}; {advice}")
        },
    )
}
