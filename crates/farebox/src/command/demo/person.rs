//! The sale to a person: the invoice is shown, and the answer fetched as soon as the node says that
//! it is settled. No preimage changes hands: the claim that came with the challenge is the proof of
//! who asked.

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::Value;

use super::sale::{WEATHER, read_challenge};
use crate::command::admin::Client;
use crate::output;

const CLAIM: &str = "farebox-claim";
const STATUS: &str = "farebox-claim-status";

/// Sells calls for a payment that somebody makes with a wallet of their own.
pub(super) async fn sell(gateway: &Client, url: &str) -> anyhow::Result<()> {
    let reply = gateway
        .send(Method::GET, WEATHER, &[], &Value::Null)
        .await?;
    let challenge = read_challenge(&reply)?;
    let claim = reply
        .headers
        .get(CLAIM)
        .and_then(|claim| claim.to_str().ok());
    let claim = claim.context("no claim in the challenge: the node cannot look invoices up")?;
    output::line(format_args!("1. GET {WEATHER}  ->  {}", reply.status))?;
    output::line(format_args!(
        "   pay {} with any wallet, or open {url}{WEATHER} in a browser and pay there:\n\n{}\n",
        challenge.invoice.amount, challenge.bolt11
    ))?;
    wait(gateway, claim).await?;
    let headers = [(CLAIM, claim)];
    let reply = gateway
        .send(Method::GET, WEATHER, &headers, &Value::Null)
        .await?;
    if !reply.status.is_success() {
        bail!("the paid call failed: {}", reply.status);
    }
    output::line(format_args!(
        "3. the same request with its claim  ->  {}",
        reply.status
    ))?;
    output::line(format_args!(
        "   answer    {}",
        String::from_utf8_lossy(&reply.body)
    ))?;
    Ok(())
}

/// Asks until it is paid; the gateway answers each question only when there is news, or after a
/// while.
async fn wait(gateway: &Client, claim: &str) -> anyhow::Result<()> {
    let headers = [(CLAIM, claim), (STATUS, "wait")];
    loop {
        let reply = gateway
            .send(Method::GET, WEATHER, &headers, &Value::Null)
            .await?;
        let report = reply.json();
        match report["state"].as_str() {
            Some("paid") => break,
            Some("open") => {
                let left = report["expires_in"].as_u64().unwrap_or_default();
                output::line(format_args!("   waiting; {left} seconds left"))?;
            }
            Some(other) => bail!("the invoice is {other}"),
            None => bail!("no state of the invoice: {}", reply.status),
        }
    }
    Ok(output::line(
        "2. paid: the node says that the invoice is settled",
    )?)
}
