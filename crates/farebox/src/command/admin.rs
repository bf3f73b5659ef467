//! `farebox admin`: a running gateway over its admin API.

mod charges;
mod client;
mod keys;
mod payouts;

pub use client::{Client, ClientError, Reply};

use std::fmt::Display;

use anyhow::anyhow;
use farebox_config::file::{ConfigFile, DEFAULT_CONSOLE};
use farebox_console::AdminToken;
use farebox_core::PaymentHash;
use http::Method;
use serde_json::{Value, json};

use crate::cli::{AdminArgs, AdminCommand, TokensCommand};
use crate::command::{Failure, block_on, db, load_or_default};
use crate::output;
use crate::token_file;

/// Runs one of the commands.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &AdminArgs) -> Result<(), Failure> {
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
        AdminCommand::Charges(which) => charges::list(client, which, args.json).await,
        AdminCommand::Receipt { id } => charges::receipt(client, id, args.json).await,
    }
}

async fn tokens(client: &Client, command: &TokensCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        TokensCommand::List { cursor, limit } => {
            let path = format!("/admin/v1/accounts?cursor={cursor}&limit={limit}");
            list(
                &get(client, &path).await?,
                "accounts",
                as_json,
                account_line,
            )
        }
        TokensCommand::Show { hash } => {
            let account = get(client, &format!("/admin/v1/tokens/{}", checked(hash)?)).await?;
            show(&account, as_json, &lines(&account))
        }
        TokensCommand::Revoke { hash } => {
            let path = format!("/admin/v1/tokens/{}/revoke", checked(hash)?);
            let answer = ask(client, Method::POST, &path, &json!({})).await?;
            let known = answer["known"] == true;
            let text = if known {
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

async fn get(client: &Client, path: &str) -> Result<Value, Failure> {
    ask(client, Method::GET, path, &Value::Null).await
}

async fn ask(client: &Client, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
    let reply = client
        .send(method, path, &[], body)
        .await
        .map_err(anyhow::Error::from)?;
    let value = reply.json();
    if reply.status.is_success() {
        return Ok(value);
    }
    let message = value["message"].as_str().unwrap_or("no reason given");
    Err(anyhow!("the console answers {}: {message}", reply.status).into())
}

fn show(value: &Value, as_json: bool, text: &str) -> Result<(), Failure> {
    if as_json {
        return Ok(output::json(value)?);
    }
    Ok(output::line(text)?)
}

fn lines(value: &Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    let line = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key:<14} {text}"),
        other => format!("{key:<14} {other}"),
    };
    fields.map(line).collect::<Vec<_>>().join("\n")
}

fn account_line(account: &Value) -> String {
    let text = |key: &str| account[key].as_str().unwrap_or_default();
    format!(
        "{} {:<8} {:<8} {:<16} {:>10} of {} msat  {}",
        text("payment_hash"),
        text("state"),
        text("kind"),
        text("route"),
        account["balance_msat"],
        account["amount_msat"],
        text("claimed_at"),
    )
}

/// Prints a page of a list, a line for each item, and how to go on.
fn list(
    value: &Value,
    name: &str,
    as_json: bool,
    line: impl Fn(&Value) -> String,
) -> Result<(), Failure> {
    if as_json {
        return Ok(output::json(value)?);
    }
    for item in value[name].as_array().into_iter().flatten() {
        output::line(line(item))?;
    }
    if let Some(next) = value["next"].as_u64() {
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
