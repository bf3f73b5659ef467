//! `farebox admin refund` and `farebox admin payouts`.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use farebox_api::{Close, Payout, PayoutState, Payouts, Refund};
use farebox_core::PayoutId;
use http::Method;
use serde_json::json;

use super::{Client, checked, get, get_page, keys, list, post, reason, show, show_all, typed};
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
    let body = Refund {
        to: args.to.clone(),
        amount_msat: args.amount,
    };
    let reply = client.send(Method::POST, &path, &[], &json!(body)).await?;
    // Whatever its status: one that failed at once was begun as well.
    let Ok(mut payout) = reply.read::<Payout>() else {
        let (status, reason) = (reply.status, reason(&reply));
        return Err(anyhow!("nothing was begun: {reason} ({status})").into());
    };
    if args.wait {
        payout = wait_for_end(client, payout).await?;
    }
    tell(&payout, as_json)
}

async fn wait_for_end(client: &Client, mut payout: Payout) -> Result<Payout, Failure> {
    let began = Instant::now();
    let mut told = Duration::ZERO;
    while payout.state == PayoutState::Open {
        if began.elapsed() >= told {
            let (id, seconds) = (&payout.id, began.elapsed().as_secs());
            output::note(format_args!("refund {id} is under way since {seconds} s"));
            told += TELL_EVERY;
        }
        tokio::time::sleep(ASK_EVERY).await;
        payout = find(client, &payout.id).await?;
    }
    Ok(payout)
}

fn tell(payout: &Payout, as_json: bool) -> Result<(), Failure> {
    let (id, amount) = (&payout.id, payout.amount_msat);
    let text = match payout.state {
        PayoutState::Paid => {
            let fee = payout.fee_msat.unwrap_or_default();
            format!("paid back {amount} msat for a fee of {fee} msat")
        }
        PayoutState::Open => {
            format!("{amount} msat are under way: farebox admin payouts show {id}")
        }
        PayoutState::Failed => "the payment failed; the money is back".to_owned(),
    };
    show(payout, as_json, &text)?;
    if payout.state == PayoutState::Failed {
        return Err(anyhow!("refund {id} failed").into());
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
        PayoutsCommand::List(args) => {
            let page: Payouts = get_page(client, "/admin/v1/payouts", args).await?;
            list(&page, as_json, page.payouts.iter().map(line), page.next)
        }
        PayoutsCommand::Close { id, end, fee } => {
            let (end, text) = match end {
                RefundEnd::Paid => (PayoutState::Paid, "closed as paid"),
                RefundEnd::Failed => (PayoutState::Failed, "closed as failed"),
            };
            let fee_msat = Some(*fee);
            let path = format!("/admin/v1/payouts/{}/close", parsed(id)?);
            let payout: Payout = post(client, &path, &Close { end, fee_msat }).await?;
            show(&payout, as_json, text)
        }
        PayoutsCommand::Show { id } => show_all(&find(client, id).await?, as_json),
    }
}

async fn find(client: &Client, id: &str) -> Result<Payout, Failure> {
    get(client, &format!("/admin/v1/payouts/{}", parsed(id)?)).await
}

fn parsed(id: &str) -> Result<PayoutId, Failure> {
    typed(id, PayoutId::parse(id))
}

fn line(payout: &Payout) -> String {
    let payer = match &payout.key {
        Some(key) => format!("key {key}"),
        None => format!("token {}", payout.payment_hash),
    };
    let state = match payout.state {
        PayoutState::Open => "open",
        PayoutState::Paid => "paid",
        PayoutState::Failed => "failed",
    };
    format!(
        "{} {state:<6} {:>10} msat  {payer}  by {:<8} {}",
        payout.id, payout.amount_msat, payout.asked_by, payout.asked_at,
    )
}
