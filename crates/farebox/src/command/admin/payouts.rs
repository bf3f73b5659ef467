//! `farebox admin refund` and `farebox admin payouts`.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use farebox_core::PayoutId;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Client, ask, checked, get, keys, lines, list, show, typed};
use crate::cli::{PayoutsCommand, RefundArgs, RefundEnd};
use crate::command::Failure;
use crate::output;

/// How often a payment that is waited for is asked about.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often its waiter is told that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Pays back, and waits for the end if that was asked for.
pub(super) async fn refund(
    client: &Client,
    args: &RefundArgs,
    as_json: bool,
) -> Result<(), Failure> {
    let path = if args.payer.starts_with("fk_") {
        format!("/admin/v1/keys/{}/refund", keys::checked(&args.payer)?)
    } else if args.payer.starts_with("sk-") {
        return Err(keys::by_id().into());
    } else {
        format!("/admin/v1/tokens/{}/refund", checked(&args.payer)?)
    };
    let mut body = json!({ "to": args.to });
    if let Some(amount) = args.amount {
        body["amount_msat"] = amount.into();
    }
    let reply = client
        .send(Method::POST, &path, &[], &body)
        .await
        .map_err(anyhow::Error::from)?;
    let mut payout = reply.json();
    if payout["id"].is_null() {
        return Err(refused(reply.status, &payout));
    }
    if args.wait {
        payout = wait_for_end(client, payout).await?;
    }
    tell(&payout, as_json)
}

fn refused(status: StatusCode, answer: &Value) -> Failure {
    let message = answer["message"].as_str().unwrap_or("no reason given");
    anyhow!("nothing was begun: {message} ({status})").into()
}

async fn wait_for_end(client: &Client, mut payout: Value) -> Result<Value, Failure> {
    let began = Instant::now();
    let mut told = Duration::ZERO;
    while payout["state"] == "open" {
        if began.elapsed() >= told {
            output::note(format_args!(
                "refund {} is under way since {} s",
                payout["id"].as_str().unwrap_or_default(),
                began.elapsed().as_secs()
            ));
            told += TELL_EVERY;
        }
        tokio::time::sleep(ASK_EVERY).await;
        payout = find(client, payout["id"].as_str().unwrap_or_default()).await?;
    }
    Ok(payout)
}

fn tell(payout: &Value, as_json: bool) -> Result<(), Failure> {
    let text = match payout["state"].as_str() {
        Some("paid") => format!(
            "paid back {} msat for a fee of {} msat",
            payout["amount_msat"], payout["fee_msat"]
        ),
        Some("open") => format!(
            "{} msat are under way: farebox admin payouts show {}",
            payout["amount_msat"],
            payout["id"].as_str().unwrap_or_default()
        ),
        _ => "the payment failed; the money is back".to_owned(),
    };
    show(payout, as_json, &text)?;
    if payout["state"] == "failed" {
        return Err(anyhow!(
            "refund {} failed",
            payout["id"].as_str().unwrap_or_default()
        )
        .into());
    }
    Ok(())
}

/// Lists refunds, shows one, or closes one.
pub(super) async fn look(
    client: &Client,
    command: &PayoutsCommand,
    as_json: bool,
) -> Result<(), Failure> {
    match command {
        PayoutsCommand::List { cursor, limit } => {
            let path = format!("/admin/v1/payouts?after={cursor}&limit={limit}");
            list(&get(client, &path).await?, "payouts", as_json, line)
        }
        PayoutsCommand::Close { id, end, fee } => {
            let word = match end {
                RefundEnd::Paid => "paid",
                RefundEnd::Failed => "failed",
            };
            let body = json!({ "as": word, "fee_msat": fee });
            let path = format!("/admin/v1/payouts/{}/close", parsed(id)?);
            let payout = ask(client, Method::POST, &path, &body).await?;
            show(&payout, as_json, &format!("closed as {word}"))
        }
        PayoutsCommand::Show { id } => {
            let payout = find(client, id).await?;
            show(&payout, as_json, &lines(&payout))
        }
    }
}

async fn find(client: &Client, id: &str) -> Result<Value, Failure> {
    get(client, &format!("/admin/v1/payouts/{}", parsed(id)?)).await
}

fn parsed(id: &str) -> Result<PayoutId, Failure> {
    typed(id, PayoutId::parse(id))
}

fn payer(payout: &Value) -> String {
    match payout["key"].as_str() {
        Some(key) => format!("key {key}"),
        None => format!(
            "token {}",
            payout["payment_hash"].as_str().unwrap_or_default()
        ),
    }
}

fn line(payout: &Value) -> String {
    let text = |key: &str| payout[key].as_str().unwrap_or_default();
    format!(
        "{} {:<6} {:>10} msat  {}  by {:<8} {}",
        text("id"),
        text("state"),
        payout["amount_msat"],
        payer(payout),
        text("asked_by"),
        text("asked_at"),
    )
}
