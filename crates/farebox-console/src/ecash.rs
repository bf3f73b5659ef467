//! The seller's own coins: what there is, and how they leave as a token.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use farebox_api::{EcashStock, EcashStocks, Withdraw, Withdrawal, WithdrawalState, Withdrawals};
use farebox_core::WithdrawalId;
use farebox_ecash::{MintUrl, Unit};
use farebox_ledger::WithdrawalView;
use farebox_paywall::ecash::{Shelf, Till, Wish};

use crate::Shared;
use crate::error::ConsoleError;
use crate::view::rfc3339;

/// What there is of every unit of every mint.
pub(crate) async fn list(State(state): State<Shared>) -> Result<Json<EcashStocks>, ConsoleError> {
    state.settled().await?;
    let shelves = till(&state)?.stock().await?;
    let stock = shelves.iter().map(stock).collect();
    Ok(Json(EcashStocks { stock }))
}

/// Takes coins out. 200 once the token is there.
pub(crate) async fn withdraw(
    State(state): State<Shared>,
    body: Result<Json<Withdraw>, JsonRejection>,
) -> Result<Response, ConsoleError> {
    let Json(body) = body?;
    let unit = Unit::parse(&body.unit);
    let wish = Wish {
        id: WithdrawalId::parse(&body.id).map_err(ConsoleError::bad)?,
        mint: MintUrl::parse(&body.mint).map_err(ConsoleError::bad)?,
        unit: unit.ok_or_else(|| ConsoleError::bad("unit: sat or msat"))?,
        amount: body.amount,
    };
    let till = till(&state)?;
    let view = till.withdraw(wish).await?;
    let told = withdrawal(&view, &names(till).await?, true);
    let status = match told.state {
        WithdrawalState::Done => StatusCode::OK,
        WithdrawalState::Open => StatusCode::ACCEPTED,
        WithdrawalState::Undone | WithdrawalState::Lost => StatusCode::CONFLICT,
    };
    Ok((status, Json(told)).into_response())
}

/// The latest withdrawals, without their tokens.
pub(crate) async fn withdrawals(
    State(state): State<Shared>,
) -> Result<Json<Withdrawals>, ConsoleError> {
    let till = till(&state)?;
    let names = names(till).await?;
    let views = till.withdrawals().await?;
    let told = views.iter().map(|view| withdrawal(view, &names, false));
    Ok(Json(Withdrawals {
        withdrawals: told.collect(),
    }))
}

/// One withdrawal, with its token.
pub(crate) async fn withdrawal_of(
    State(state): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Withdrawal>, ConsoleError> {
    let id = WithdrawalId::parse(&id).map_err(ConsoleError::bad)?;
    let till = till(&state)?;
    let view = till.withdrawal(id).await?;
    let view = view.ok_or(ConsoleError::NoWithdrawal)?;
    Ok(Json(withdrawal(&view, &names(till).await?, true)))
}

fn till(state: &Shared) -> Result<&Till, ConsoleError> {
    state.options.till.as_ref().ok_or(ConsoleError::NotFound)
}

async fn names(till: &Till) -> Result<Vec<Shelf>, ConsoleError> {
    Ok(till.stock().await?)
}

pub(crate) fn stock(shelf: &Shelf) -> EcashStock {
    let stock = &shelf.stock;
    let (mint, unit) = name(shelf);
    EcashStock {
        mint,
        unit,
        most_msat: shelf.of.as_ref().map(|(trusted, _)| trusted.most.get()),
        free_coins: stock.free.count,
        free_msat: stock.free.worth.get(),
        reserved_coins: stock.reserved.count,
        reserved_msat: stock.reserved.worth.get(),
        leaving_msat: stock.leaving.worth.get(),
        given_coins: stock.given.count,
        given_msat: stock.given.worth.get(),
        withdrawn_msat: stock.withdrawn.worth.get(),
        in_doubt: stock.in_doubt.count,
        in_doubt_msat: stock.in_doubt.worth.get(),
        oldest_doubt_at: stock.oldest_doubt.map(rfc3339),
    }
}

/// A mint that the configuration does not have any more is known by its number alone.
fn name(shelf: &Shelf) -> (String, Option<String>) {
    match &shelf.of {
        Some((trusted, unit)) => (
            trusted.mint.url().as_str().to_owned(),
            Some(unit.as_str().to_owned()),
        ),
        None => (format!("{:016x}", shelf.stock.mint.number()), None),
    }
}

fn withdrawal(view: &WithdrawalView, names: &[Shelf], with_token: bool) -> Withdrawal {
    let shelf = names.iter().find(|shelf| shelf.stock.mint == view.mint);
    let number = || (format!("{:016x}", view.mint.number()), None);
    let (mint, unit) = shelf.map_or_else(number, name);
    Withdrawal {
        id: view.id.to_string(),
        mint,
        unit,
        state: match view.state {
            farebox_ledger::WithdrawalState::Open => WithdrawalState::Open,
            farebox_ledger::WithdrawalState::Done => WithdrawalState::Done,
            farebox_ledger::WithdrawalState::Undone => WithdrawalState::Undone,
            farebox_ledger::WithdrawalState::Lost => WithdrawalState::Lost,
        },
        amount_msat: view.amount.get(),
        fee_msat: view.fee.get(),
        begun_at: rfc3339(view.begun_at),
        ended_at: view.ended_at.map(rfc3339),
        token: Some(view.token.to_string()).filter(|token| with_token && !token.is_empty()),
    }
}
