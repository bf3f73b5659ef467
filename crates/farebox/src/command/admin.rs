//! `farebox admin`: a running gateway over its admin API.

mod charges;
mod client;
mod ecash;
mod keys;
mod payouts;

pub(crate) use client::{Client, ClientError, Reply};

use std::fmt::Display;

use anyhow::anyhow;
use farebox_api::{Account, Accounts, ErrorBody, Revoked, Token};
use farebox_config::file::{ConfigFile, DEFAULT_CONSOLE};
use farebox_console::AdminToken;
use farebox_core::PaymentHash;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cli::{AdminArgs, AdminCommand, PageArgs, TokensCommand};
use crate::command::{Failure, block_on, db, load_or_default};
use crate::output;
use crate::token_file;

/// Runs one of the commands.
pub(crate) fn run(args: &AdminArgs) -> Result<(), Failure> {
    let (address, token) = door(args)?;
    block_on(async {
        let client = Client::new(address, Some(token));
        dispatch(&client, args).await
    })
}

async fn dispatch(client: &Client, args: &AdminArgs) -> Result<(), Failure> {
    match &args.command {
        AdminCommand::TrialBalance => {
            let balance = get(client, "/admin/v1/ledger/trial-balance").await?;
            db::show_balance(&balance, args.json)
        }
        AdminCommand::Keys(command) => keys::run(client, command, args.json).await,
        AdminCommand::Tokens(command) => tokens(client, command, args.json).await,
        AdminCommand::Refund(refund) => payouts::refund(client, refund, args.json).await,
        AdminCommand::Payouts(command) => payouts::look(client, command, args.json).await,
        AdminCommand::Ecash(command) => ecash::run(client, command, args.json).await,
        AdminCommand::Charges(which) => charges::list(client, which, args.json).await,
        AdminCommand::Receipt { id } => charges::receipt(client, id, args.json).await,
    }
}

async fn tokens(client: &Client, command: &TokensCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        TokensCommand::List(args) => {
            let page: Accounts = get_page(client, "/admin/v1/accounts", args).await?;
            list(
                &page,
                as_json,
                page.accounts.iter().map(account_line),
                page.next,
            )
        }
        TokensCommand::Show { hash } => {
            let path = format!("/admin/v1/tokens/{}", checked(hash)?);
            show_all(&get::<Token>(client, &path).await?, as_json)
        }
        TokensCommand::Revoke { hash } => {
            let path = format!("/admin/v1/tokens/{}/revoke", checked(hash)?);
            let answer: Revoked = post(client, &path, &json!({})).await?;
            let text = if answer.known {
                "revoked"
            } else {
                "revoked before its first use"
            };
            show(&answer, as_json, text)
        }
    }
}

/// A payment hash that was typed.
fn checked(hash: &str) -> Result<PaymentHash, Failure> {
    typed(hash, PaymentHash::from_hex(hash))
}

/// What was typed goes into a path, so it must be nothing else.
fn typed<T, E: Display>(text: &str, parsed: Result<T, E>) -> Result<T, Failure> {
    parsed.map_err(|error| anyhow!("{text:?}: {error}").into())
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, Failure> {
    done(&client.send(Method::GET, path, &[], &Value::Null).await?)
}

async fn get_page<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    PageArgs { cursor, limit }: &PageArgs,
) -> Result<T, Failure> {
    get(client, &format!("{path}?cursor={cursor}&limit={limit}")).await
}

async fn post<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Failure> {
    done(&client.send(Method::POST, path, &[], &json!(body)).await?)
}

/// What the console answers, unless it refuses.
fn done<T: DeserializeOwned>(reply: &Reply) -> Result<T, Failure> {
    if reply.status.is_success() {
        return Ok(reply.read()?);
    }
    Err(anyhow!("the console answers {}: {}", reply.status, reason(reply)).into())
}

fn reason(reply: &Reply) -> String {
    let body = reply.read::<ErrorBody>();
    body.map_or_else(|_| "no reason given".to_owned(), |body| body.message)
}

fn show(value: &impl Serialize, as_json: bool, text: &str) -> Result<(), Failure> {
    if as_json {
        return Ok(output::json(value)?);
    }
    Ok(output::line(text)?)
}

/// Shows every field, a line for each.
fn show_all(value: &impl Serialize, as_json: bool) -> Result<(), Failure> {
    let fields = json!(value);
    let fields = fields.as_object().into_iter().flatten();
    let line = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key:<14} {text}"),
        other => format!("{key:<14} {other}"),
    };
    show(
        value,
        as_json,
        &fields.map(line).collect::<Vec<_>>().join("\n"),
    )
}

fn account_line(account: &Account) -> String {
    let Account {
        payment_hash,
        state,
        kind,
        route,
        balance_msat,
        amount_msat,
        claimed_at,
        ..
    } = account;
    format!(
        "{payment_hash} {state:<8} {kind:<8} {route:<16} {balance_msat:>10} of {amount_msat} msat  \
         {claimed_at}"
    )
}

/// Prints a page of a list, a line for each item, and how to go on.
fn list(
    page: &impl Serialize,
    as_json: bool,
    lines: impl Iterator<Item = String>,
    next: Option<u64>,
) -> Result<(), Failure> {
    if as_json {
        return Ok(output::json(page)?);
    }
    for line in lines {
        output::line(line)?;
    }
    if let Some(next) = next {
        output::line(format_args!("more with --cursor {next}"))?;
    }
    Ok(())
}

/// Where the console is, and what opens it.
fn door(args: &AdminArgs) -> Result<(String, AdminToken), Failure> {
    let file = load_or_default(args.config.as_deref())?;
    let address = args.console.clone().unwrap_or_else(|| console_of(&file));
    let token = args.token_file.clone().unwrap_or_else(|| file.token_file());
    let token = token_file::read(&token).map_err(anyhow::Error::from)?;
    Ok((address, token))
}

fn console_of(file: &ConfigFile) -> String {
    let mut address = file.console.listen;
    if address.ip().is_unspecified() {
        address.set_ip(DEFAULT_CONSOLE.ip());
    }
    address.to_string()
}
