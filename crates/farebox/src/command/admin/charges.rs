//! `farebox admin charges` and `farebox admin receipt`.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::anyhow;
use farebox_api::{Charge, Charges};
use farebox_core::{HoldId, RouteName};

use super::{Client, checked, get, keys, show_all, typed};
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
        let mut page: Charges = get(client, &path).await?;
        charges.append(&mut page.charges);
        next = page.next;
        if next.is_none() || charges.len() >= usize::from(args.limit) {
            break;
        }
    }
    if as_json {
        return Ok(output::json(&Charges { charges, next })?);
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
    let path = format!("{CHARGES}/{}", receipt_id(id)?);
    show_all(&get::<Charge>(client, &path).await?, as_json)
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

fn line(charge: &Charge) -> String {
    let Charge {
        receipt, account, ..
    } = charge;
    let rate = receipt.rate.as_ref();
    let rate = rate.map(|rate| format!("{} {}", rate.currency, rate.bitcoin_price));
    let more = [receipt.model.clone(), receipt.ended.clone(), rate];
    let more = more.into_iter().flatten().map(|word| format!("  {word}"));
    format!(
        "{} {} {:<16} {:>10} msat  {account}{}",
        receipt.id,
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(receipt.at)),
        receipt.route,
        receipt.charged_msat,
        more.collect::<String>(),
    )
}
