//! `farebox prices`: a price list made from somebody's, and two lists compared. No gateway is asked.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use farebox_config::choice::PriceSetting;
use farebox_config::load::load;
use farebox_market::diff::{Change, Diff};
use farebox_market::import::{LeftOut, PriceList, Selection};
use farebox_market::{PriceTable, price_file};
use serde_json::{Value, json};

use crate::cli::{PricesCommand, PricesDiffArgs, PricesImportArgs};
use crate::command::{DEFAULT_FILE, Failure, read};
use crate::output;

/// The most models that were left out that are told; --json has all.
const MAX_LEFT_OUT: usize = 20;

/// Imports or compares.
pub(crate) fn run(command: &PricesCommand) -> Result<(), Failure> {
    match command {
        PricesCommand::Import(args) => import(args),
        PricesCommand::Diff(args) => diff(args),
    }
}

fn import(args: &PricesImportArgs) -> Result<(), Failure> {
    let selection = Selection {
        only: args.only.clone(),
        rename: args.rename.clone(),
        markup: args.markup.millionths(),
    };
    let list = PriceList::read(args.from, &read_list(&args.list)?, &selection)?;
    if list.table.is_empty() {
        tell_left_out(&list.left_out);
        return Err(Failure::NoPrices);
    }
    let Some(path) = &args.output else {
        tell_left_out(&list.left_out);
        return Ok(output::line(price_file::text(&list.table).trim_end())?);
    };
    let old = if path.exists() {
        price_file::read(path)?
    } else {
        PriceTable::default()
    };
    let diff = Diff::between(&old, &list.table, args.guard.millionths());
    let is_taken = args.accept || old.is_empty() || !diff.is_steep();
    let is_written = is_taken && !diff.is_empty();
    if is_written {
        price_file::write(path, &list.table)?;
    }
    if args.json {
        let mut said = json!({ "written": is_written, "left_out": list.left_out });
        add(&mut said, &diff)?;
        output::json(&said)?;
    } else {
        tell(&diff)?;
        tell_left_out(&list.left_out);
    }
    if is_taken {
        Ok(())
    } else {
        Err(Failure::Steep)
    }
}

/// All of a file, or of standard input.
fn read_list(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return Ok(read(path)?.into_bytes());
    }
    let mut list = Vec::new();
    std::io::stdin().lock().read_to_end(&mut list)?;
    Ok(list)
}

fn diff(args: &PricesDiffArgs) -> Result<(), Failure> {
    let (old, new) = match args.lists.as_slice() {
        [old, new] if args.config.is_none() && args.route.is_none() => (old.clone(), new),
        [new] => (included(args)?, new),
        _ => return Err(Failure::TwoOldLists),
    };
    let diff = Diff::between(
        &price_file::read(&old)?,
        &price_file::read(new)?,
        args.guard.millionths(),
    );
    if args.json {
        let mut said = json!({ "old": old, "new": new });
        add(&mut said, &diff)?;
        output::json(&said)?;
    } else {
        tell(&diff)?;
    }
    if diff.is_empty() {
        Ok(())
    } else {
        Err(Failure::Differ)
    }
}

/// The price list that the configuration includes.
fn included(args: &PricesDiffArgs) -> Result<PathBuf, Failure> {
    let path = args.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let loaded = load(&read(path)?);
    if !loaded.mistakes.is_empty() {
        return Err(Failure::Config {
            origin: path.display().to_string(),
            mistakes: loaded.mistakes,
        });
    }
    let wanted = |name: &str| args.route.as_deref().is_none_or(|route| route == name);
    let routes = loaded.file.route.iter().filter(|route| wanted(&route.name));
    let lists: BTreeSet<_> = routes
        .filter_map(|route| match &route.price {
            Some(PriceSetting::Models { model_tokens }) => model_tokens.prices.as_ref(),
            _ => None,
        })
        .collect();
    match Vec::from_iter(lists).as_slice() {
        [list] => Ok((*list).clone()),
        [] => Err(Failure::NoOldList("includes no price list")),
        _ => Err(Failure::NoOldList(
            "includes several price lists: say which with --route",
        )),
    }
}

/// Adds what differs to what is said.
fn add(said: &mut Value, diff: &Diff) -> Result<(), Failure> {
    let more = serde_json::to_value(diff).map_err(anyhow::Error::from)?;
    let (Value::Object(said), Value::Object(more)) = (said, more) else {
        return Err(anyhow!("a comparison is no JSON object").into());
    };
    said.insert("steep".to_owned(), diff.is_steep().into());
    said.extend(more);
    Ok(())
}

fn tell(diff: &Diff) -> Result<(), Failure> {
    for (model, prices) in &diff.added {
        let prices: Vec<_> = prices
            .iter()
            .map(|price| format!("{} {}", price.what, shown(&price.to)))
            .collect();
        output::line(format_args!("added: {model} {}", prices.join(", ")))?;
    }
    for model in &diff.removed {
        output::line(format_args!("removed: {model}"))?;
    }
    for (model, changes) in &diff.changed {
        for change in changes {
            output::line(format_args!("changed: {model} {}", moved(change)))?;
        }
    }
    output::line(format_args!("unchanged: {}", diff.unchanged))?;
    Ok(())
}

fn moved(change: &Change) -> String {
    let percent = change.percent.as_ref();
    let percent = percent.map_or_else(String::new, |percent| format!(" ({percent} %)"));
    let steep = if change.is_steep { " steep" } else { "" };
    let (from, to) = (shown(&change.from), shown(&change.to));
    format!("{}: {from} -> {to}{percent}{steep}", change.what)
}

fn shown(price: &Option<String>) -> &str {
    price.as_deref().unwrap_or("none")
}

/// On standard error: the list itself may be on standard output.
fn tell_left_out(left_out: &[LeftOut]) {
    for LeftOut { model, reason } in left_out.iter().take(MAX_LEFT_OUT) {
        output::note(format_args!("left out: {model}: {reason}"));
    }
    if left_out.len() > MAX_LEFT_OUT {
        let more = left_out.len() - MAX_LEFT_OUT;
        output::note(format_args!("left out: {more} more; --json names them all"));
    }
}
