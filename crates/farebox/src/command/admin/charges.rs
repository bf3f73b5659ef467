//! `farebox admin charges` and `farebox admin receipt`.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::anyhow;
use farebox_core::{HoldId, RouteName};
use serde_json::{Value, json};

use super::{Client, checked, get, keys, lines, show, typed};
use crate::cli::ChargesArgs;
use crate::command::Failure;
use crate::output;

const CHARGES: &str = "/admin/v1/charges";

/// Lists charges, the latest first. The console looks at a part of the ledger for each page, so it
/// is asked until there are enough, or no more.
pub(super) async fn list(
    client: &Client,
    args: &ChargesArgs,
    as_json: bool,
) -> Result<(), Failure> {
    let filters = filters(args)?;
    let (mut charges, mut next) = (Vec::new(), args.before.clone());
    loop {
        let left = usize::from(args.limit).saturating_sub(charges.len());
        let mut path = format!("{CHARGES}?limit={left}{filters}");
        if let Some(before) = &next {
            path = format!("{path}&before={}", receipt_id(before)?);
        }
        let mut page = get(client, &path).await?;
        if let Some(found) = page["charges"].as_array_mut() {
            charges.append(found);
        }
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() || charges.len() >= usize::from(args.limit) {
            break;
        }
    }
    if as_json {
        return Ok(output::json(&json!({ "charges": charges, "next": next }))?);
    }
    for charge in &charges {
        output::line(line(charge))?;
    }
    if let Some(next) = next {
        output::line(format_args!("more with --before {next}"))?;
    }
    Ok(())
}

/// Shows one charge.
pub(super) async fn receipt(client: &Client, id: &str, as_json: bool) -> Result<(), Failure> {
    let charge = get(client, &format!("{CHARGES}/{}", receipt_id(id)?)).await?;
    show(&charge, as_json, &lines(&charge))
}

fn receipt_id(text: &str) -> Result<HoldId, Failure> {
    typed(text, HoldId::parse(text))
}

fn filters(args: &ChargesArgs) -> Result<String, Failure> {
    let account = match args.account.as_deref() {
        Some(id) if id.starts_with("fk_") => Some(keys::checked(id)?.to_owned()),
        // What was typed is not repeated: it may be the key itself.
        Some(secret) if secret.starts_with("sk-") => return Err(keys::by_id().into()),
        Some(hash) => Some(checked(hash)?.to_string()),
        None => None,
    };
    let route = args.route.as_deref().map(RouteName::parse).transpose();
    let route = route.map_err(|error| anyhow!("--route: {error}"))?;
    let named = [
        ("account", account),
        ("route", route.map(|route| route.to_string())),
        ("since", args.since.map(|since| since.to_string())),
        ("until", args.until.map(|until| until.to_string())),
    ];
    let said = named.into_iter().filter_map(|(name, value)| {
        let value = value?;
        Some(format!("&{name}={value}"))
    });
    Ok(said.collect())
}

fn line(charge: &Value) -> String {
    let text = |name: &str| charge[name].as_str().unwrap_or_default().to_owned();
    let rate = match charge["rate"]["bitcoin_price"].as_str() {
        Some(price) => format!(
            "  {} {price}",
            charge["rate"]["currency"].as_str().unwrap_or("")
        ),
        None => String::new(),
    };
    format!(
        "{} {} {:<16} {:>10} msat  {}{}{}",
        text("id"),
        instant(charge["at"].as_u64().unwrap_or_default()),
        text("route"),
        charge["charged_msat"],
        text("account"),
        spaced(&text("model")),
        spaced(&text("ended")) + &rate,
    )
}

fn instant(seconds: u64) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn spaced(word: &str) -> String {
    if word.is_empty() {
        String::new()
    } else {
        format!("  {word}")
    }
}
