//! `farebox db`: the store of a gateway that does not run.

use std::sync::Arc;

use anyhow::anyhow;
use farebox_api::TrialBalance;
use farebox_config::file::StoreSection;
use farebox_console::trial_balance;
use farebox_ledger::{Ledger, OpenError, OpenOptions};
use serde_json::json;

use crate::cli::{DbArgs, DbCommand};
use crate::clock::SystemClock;
use crate::command::{Failure, block_on, load_or_default};
use crate::output;

/// Runs one of the commands.
pub(crate) fn run(command: &DbCommand) -> Result<(), Failure> {
    match command {
        DbCommand::Verify(args) => block_on(verify(args)),
        DbCommand::Migrate(args) => block_on(migrate(args)),
    }
}

/// The file first: sums over a damaged one may come out even.
async fn verify(args: &DbArgs) -> Result<(), Failure> {
    let damage = with_store(args, farebox_ledger::examine)?;
    if !damage.is_empty() {
        return show_damage(&damage, args.json);
    }
    let ledger = open(args)?;
    let balance = ledger.trial_balance().await;
    ledger.close().await;
    let balance = trial_balance(&balance.map_err(anyhow::Error::from)?);
    show_balance(&balance, args.json)
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
pub(crate) fn show_balance(balance: &TrialBalance, as_json: bool) -> Result<(), Failure> {
    if as_json {
        output::json(balance)?;
    } else {
        print_balance(balance)?;
    }
    if balance.sound {
        Ok(())
    } else {
        Err(Failure::Unsound)
    }
}

fn print_balance(balance: &TrialBalance) -> Result<(), Failure> {
    output::line("account                          msat")?;
    let house = balance.house_msat.iter();
    let house = house.map(|(name, msat)| (name.as_str(), i128::from(*msat)));
    let sums = [
        ("payers", i128::from(balance.payers_msat)),
        ("sum", balance.sum_msat),
    ];
    for (name, msat) in house.chain(sums) {
        output::line(format_args!("{name:<24} {msat:>12}"))?;
    }
    output::line(format_args!(
        "accounts {}, transfers {}, open holds {} ({} msat)",
        balance.accounts, balance.transfers, balance.open_holds, balance.held_msat
    ))?;
    let verdict = if balance.sound {
        "sound: yes".to_owned()
    } else {
        let (unproven, overdrawn) = (balance.unproven, balance.overdrawn);
        format!("sound: NO, unproven {unproven}, overdrawn {overdrawn}")
    };
    Ok(output::line(verdict)?)
}

fn show_damage(damage: &[String], as_json: bool) -> Result<(), Failure> {
    if as_json {
        output::json(&json!({ "sound": false, "damage": damage }))?;
    } else {
        for line in damage {
            output::line(format_args!("damaged: {line}"))?;
        }
        output::line("sound: NO, the file is damaged; restore a backup")?;
    }
    Err(Failure::Damaged)
}

fn open(args: &DbArgs) -> Result<Ledger, Failure> {
    with_store(args, farebox_ledger::open).map(|(ledger, _)| ledger)
}

/// Does something with a store that must be there and that nobody may have open.
fn with_store<T>(
    args: &DbArgs,
    work: impl FnOnce(&OpenOptions) -> Result<T, OpenError>,
) -> Result<T, Failure> {
    let section = store_section(args)?;
    let path = section.path().map_err(anyhow::Error::from)?;
    if !path.exists() {
        return Err(anyhow!("there is no store at {}", path.display()).into());
    }
    let options = OpenOptions {
        retention: section.retention.0,
        ..OpenOptions::new(path, Arc::new(SystemClock))
    };
    let done = work(&options);
    if let Err(OpenError::InUse { .. }) = done {
        output::note("a gateway runs on this store; ask it with `farebox admin trial-balance`");
    }
    Ok(done?)
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
