//! `farebox admin prices`.

use std::path::Path;

use anyhow::anyhow;
use clap::ValueEnum;
use http::Method;
use serde_json::{Value, json};

use super::{Client, ask, get, show};
use crate::cli::{PricesCommand, PricesImportArgs};
use crate::command::{Failure, read};
use crate::output;

/// The most names that are printed in a line; --json has all.
const MAX_NAMES: usize = 20;

/// Imports, shows, compares, approves.
pub(super) async fn run(
    client: &Client,
    command: &PricesCommand,
    as_json: bool,
) -> Result<(), Failure> {
    match command {
        PricesCommand::Import(args) => {
            let answer = ask(
                client,
                Method::POST,
                "/admin/v1/prices/import",
                &body(args)?,
            )
            .await?;
            if as_json {
                return Ok(output::json(&answer)?);
            }
            tell_import(&answer)
        }
        PricesCommand::Diff => {
            let kept = get(client, "/admin/v1/prices").await?;
            if as_json {
                let revision = &kept["revision"];
                let changes = &kept["changes"];
                return Ok(output::json(
                    &json!({ "revision": revision, "changes": changes }),
                )?);
            }
            tell_diff(&kept)
        }
        PricesCommand::Show => {
            let kept = get(client, "/admin/v1/prices").await?;
            if as_json {
                return Ok(output::json(&kept)?);
            }
            tell_kept(&kept)
        }
        PricesCommand::Approve {
            models,
            all,
            revision,
        } => {
            let mut body = if *all {
                json!({ "all": true })
            } else {
                json!({ "models": models })
            };
            if let Some(revision) = revision {
                body["revision"] = (*revision).into();
            }
            let answer = ask(client, Method::POST, "/admin/v1/prices/approve", &body).await?;
            let text = format!("approved: {}", names(&answer["approved"]));
            show(&answer, as_json, &text)
        }
    }
}

fn body(args: &PricesImportArgs) -> Result<Value, Failure> {
    let source = args.from.to_possible_value();
    let mut body = json!({
        "source": source.as_ref().map(clap::builder::PossibleValue::get_name),
        "only": args.only,
        "rename": renames(&args.rename)?,
        "add": args.add,
    });
    if let Some(markup) = &args.markup {
        body["markup_percent"] = markup.as_str().into();
    }
    match &args.list {
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            body["url"] = url.as_str().into();
        }
        // As text, so that its numbers arrive as they are written.
        Some(file) => body["body"] = read(Path::new(file))?.into(),
        None => {}
    }
    Ok(body)
}

fn renames(written: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    let pairs = written.iter().map(|pair| {
        let pair = pair.split_once('=');
        pair.ok_or_else(|| anyhow!("--rename is written NAME=NEW").into())
    });
    pairs.collect()
}

fn tell_import(answer: &Value) -> Result<(), Failure> {
    output::line(format_args!("added: {}", names(&answer["added"])))?;
    output::line(format_args!("unchanged: {}", answer["unchanged"]))?;
    for (title, key) in [("changed", "changed"), ("waits for approval", "waiting")] {
        differences(title, &answer[key])?;
    }
    let listed = [
        ("new, and not added without --add", "not_added"),
        ("the configuration's own price wins", "overridden"),
    ];
    for (title, key) in listed {
        if answer[key]
            .as_array()
            .is_some_and(|names| !names.is_empty())
        {
            output::line(format_args!("{title}: {}", names(&answer[key])))?;
        }
    }
    let left_out = answer["left_out"].as_array().map_or(&[][..], Vec::as_slice);
    for left in left_out.iter().take(MAX_NAMES) {
        let (model, reason) = (text(&left["model"]), text(&left["reason"]));
        output::line(format_args!("left out: {model}: {reason}"))?;
    }
    if left_out.len() > MAX_NAMES {
        let more = left_out.len() - MAX_NAMES;
        output::line(format_args!("left out: {more} more, see --json"))?;
    }
    if answer["needs_rate"] == true {
        output::note("no exchange rate is known for these prices: set rates.live or rates.fixed");
    }
    Ok(())
}

fn tell_diff(kept: &Value) -> Result<(), Failure> {
    let changes = kept["changes"].as_array().map_or(0, Vec::len);
    output::line(format_args!(
        "revision {}, waiting: {changes}",
        kept["revision"]
    ))?;
    differences("waits", &kept["changes"])
}

fn differences(title: &str, list: &Value) -> Result<(), Failure> {
    for model in list.as_array().into_iter().flatten() {
        for change in model["changes"].as_array().into_iter().flatten() {
            output::line(format_args!(
                "{title}: {} {}: {} -> {}",
                text(&model["model"]),
                text(&change["unit"]),
                text(&change["from"]),
                text(&change["to"]),
            ))?;
        }
    }
    Ok(())
}

fn tell_kept(kept: &Value) -> Result<(), Failure> {
    let table = |key: &str| kept[key].as_object().into_iter().flatten();
    for (name, price) in table("configured") {
        output::line(format_args!("{name}  {}  (configuration)", rows(price)))?;
    }
    for (name, kept) in table("approved") {
        let (source, at) = (text(&kept["source"]), text(&kept["at"]));
        output::line(format_args!(
            "{name}  {}  ({source}, {at})",
            rows(&kept["price"])
        ))?;
    }
    for (name, kept) in table("waiting") {
        output::line(format_args!("{name}  {}  (waits)", rows(&kept["price"])))?;
    }
    Ok(())
}

fn rows(price: &Value) -> String {
    let rows = price["rows"].as_object().into_iter().flatten();
    let rows: Vec<_> = rows
        .map(|(unit, price)| format!("{unit} {}", text(price)))
        .collect();
    format!("{} {}", text(&price["currency"]), rows.join(", "))
}

fn names(list: &Value) -> String {
    let all = list.as_array().map_or(&[][..], Vec::as_slice);
    let some: Vec<_> = all.iter().take(MAX_NAMES).map(text).collect();
    match all.len() {
        0 => "none".to_owned(),
        count if count > MAX_NAMES => {
            format!("{} and {} more", some.join(", "), count - MAX_NAMES)
        }
        _ => some.join(", "),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("none")
}
