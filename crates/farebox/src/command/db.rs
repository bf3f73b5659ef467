//! `farebox db`: the store of a gateway that does not run.

use std::sync::Arc;

use anyhow::anyhow;
use farebox_config::file::StoreSection;
use farebox_console::TrialBalanceJson;
use farebox_ledger::{Ledger, OpenError, OpenOptions};
use serde_json::json;

use crate::cli::{DbArgs, DbCommand};
use crate::clock::SystemClock;
use crate::command::{Failure, block_on, load_or_default};
use crate::output;

/// Runs one of the commands.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &DbCommand) -> Result<(), Failure> {
    match command {
        DbCommand::Verify(args) => block_on(verify(args)),
        DbCommand::Migrate(args) => block_on(migrate(args)),
    }
}

async fn verify(args: &DbArgs) -> Result<(), Failure> {
    let ledger = open(args)?;
    let balance = ledger.trial_balance().await;
    ledger.close().await;
    let balance = TrialBalanceJson::new(&balance.map_err(anyhow::Error::from)?);
    let value = serde_json::to_value(&balance).map_err(anyhow::Error::from)?;
    show_balance(&value, args.json)
}

async fn migrate(args: &DbArgs) -> Result<(), Failure> {
    let ledger = open(args)?;
    ledger.close().await;
    if args.json {
        return Ok(output::json(&json!({ "migrated": true }))?);
    }
    Ok(output::line("the store has the form of this version")?)
}

/// Prints a trial balance; one that is not sound is a failure.
///
/// # Errors
/// [`Failure::Unsound`].
pub fn show_balance(value: &serde_json::Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        output::json(value)?;
    } else {
        print_balance(value)?;
    }
    if value["sound"] == true {
        Ok(())
    } else {
        Err(Failure::Unsound)
    }
}

fn print_balance(value: &serde_json::Value) -> Result<(), Failure> {
    output::line("account                          msat")?;
    for (name, msat) in value["house_msat"].as_object().into_iter().flatten() {
        output::line(format_args!("{name:<24} {:>12}", msat.to_string()))?;
    }
    let figure = |key: &str| value[key].to_string();
    output::line(format_args!(
        "{:<24} {:>12}",
        "payers",
        figure("payers_msat")
    ))?;
    output::line(format_args!("{:<24} {:>12}", "sum", figure("sum_msat")))?;
    let (accounts, transfers) = (figure("accounts"), figure("transfers"));
    let (holds, held) = (figure("open_holds"), figure("held_msat"));
    output::line(format_args!(
        "accounts {accounts}, transfers {transfers}, open holds {holds} ({held} msat)"
    ))?;
    let verdict = if value["sound"] == true {
        "sound: yes".to_owned()
    } else {
        format!(
            "sound: NO, unproven {}, overdrawn {}",
            figure("unproven"),
            figure("overdrawn")
        )
    };
    Ok(output::line(verdict)?)
}

fn open(args: &DbArgs) -> Result<Ledger, Failure> {
    let section = store_section(args)?;
    let path = section.path().map_err(anyhow::Error::from)?;
    if !path.exists() {
        return Err(anyhow!("there is no store at {}", path.display()).into());
    }
    let options = OpenOptions {
        retention: section.retention.0,
        ..OpenOptions::new(path, Arc::new(SystemClock))
    };
    match farebox_ledger::open(&options) {
        Ok((ledger, _)) => Ok(ledger),
        Err(error @ OpenError::InUse { .. }) => {
            output::note("a gateway runs on this store; ask it with `farebox admin trial-balance`");
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn store_section(args: &DbArgs) -> Result<StoreSection, Failure> {
    if let Some(url) = &args.store {
        return Ok(StoreSection {
            url: url.clone(),
            ..StoreSection::default()
        });
    }
    Ok(load_or_default(args.config.as_deref())?.store)
}
