//! `farebox admin ecash`.

use anyhow::{Context, anyhow};
use farebox_api::{EcashStock, EcashStocks, Withdraw, Withdrawal, WithdrawalState, Withdrawals};
use farebox_core::{Clock, WithdrawalId};
use http::Method;
use serde_json::json;

use super::{Client, get, list, reason, show_all, typed};
use crate::cli::{EcashCommand, WithdrawArgs};
use crate::clock::SystemClock;
use crate::command::Failure;
use crate::output;

pub(super) async fn run(
    client: &Client,
    command: &EcashCommand,
    as_json: bool,
) -> Result<(), Failure> {
    match command {
        EcashCommand::List => {
            let all: EcashStocks = get(client, "/admin/v1/ecash").await?;
            list(&all, as_json, all.stock.iter().map(stock), None)
        }
        EcashCommand::Withdraw(args) => withdraw(client, args, as_json).await,
        EcashCommand::Withdrawals => {
            let all: Withdrawals = get(client, "/admin/v1/ecash/withdrawals").await?;
            list(&all, as_json, all.withdrawals.iter().map(line), None)
        }
        EcashCommand::Show { id } => {
            let id = typed(id, WithdrawalId::parse(id))?;
            let path = format!("/admin/v1/ecash/withdrawals/{id}");
            show_all(&get::<Withdrawal>(client, &path).await?, as_json)
        }
    }
}

async fn withdraw(client: &Client, args: &WithdrawArgs, as_json: bool) -> Result<(), Failure> {
    let id = match &args.id {
        Some(id) => typed(id, WithdrawalId::parse(id))?,
        None => new_id()?,
    };
    let body = Withdraw {
        id: id.to_string(),
        mint: args.mint.clone(),
        unit: args.unit.clone(),
        amount: args.amount,
    };
    // Told before it is sent: with the id a lost answer is asked for again.
    output::note(format_args!("withdrawal {id}"));
    let path = "/admin/v1/ecash/withdrawals";
    let reply = client.send(Method::POST, path, &[], &json!(body)).await?;
    let Ok(told) = reply.read::<Withdrawal>() else {
        let (status, reason) = (reply.status, reason(&reply));
        let again = if status.is_server_error() {
            format!("; what became of it: farebox admin ecash show {id}")
        } else {
            String::new()
        };
        return Err(anyhow!("no token: {reason} ({status}){again}").into());
    };
    let Some(token) = told
        .token
        .as_ref()
        .filter(|_| told.state == WithdrawalState::Done)
    else {
        let state = word(told.state);
        return Err(anyhow!("withdrawal {id} is {state}: farebox admin ecash show {id}").into());
    };
    if as_json {
        return Ok(output::json(&told)?);
    }
    let (amount, fee) = (told.amount_msat, told.fee_msat);
    output::note(format_args!(
        "{amount} msat, for a fee of {fee} msat to the mint"
    ));
    Ok(output::line(token)?)
}

fn new_id() -> Result<WithdrawalId, Failure> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).context("the system has no randomness")?;
    Ok(WithdrawalId::new(SystemClock.now(), random))
}

fn stock(stock: &EcashStock) -> String {
    let unit = stock.unit.as_deref().unwrap_or("not in the configuration");
    let doubt = match &stock.oldest_doubt_at {
        Some(since) => format!("  {} swaps in doubt since {since}", stock.in_doubt),
        None => String::new(),
    };
    format!(
        "{} {unit}: {} msat free, {} reserved, {} given as change, {} taken out{}{doubt}",
        stock.mint,
        stock.free_msat,
        stock.reserved_msat,
        stock.given_msat,
        stock.withdrawn_msat,
        stock
            .most_msat
            .map_or_else(String::new, |most| format!(", {most} at most")),
    )
}

fn line(withdrawal: &Withdrawal) -> String {
    format!(
        "{} {:<6} {:>10} msat  {}  {}",
        withdrawal.id,
        word(withdrawal.state),
        withdrawal.amount_msat,
        withdrawal.begun_at,
        withdrawal.mint,
    )
}

const fn word(state: WithdrawalState) -> &'static str {
    match state {
        WithdrawalState::Open => "open",
        WithdrawalState::Done => "done",
        WithdrawalState::Undone => "undone",
        WithdrawalState::Lost => "lost",
    }
}
