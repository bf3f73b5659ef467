//! The configuration reference as Markdown, made from the schema, so that it cannot go stale.

use std::fmt::Write;

use serde_json::Value;

use crate::schema;

const HEAD: &str = "\
# Configuration

`farebox serve -c farebox.toml`. The file is TOML; relative paths are relative to the working
directory. Unknown keys are errors. `farebox config check` reports every mistake at once, and
`farebox config show --resolved` prints what will run. This page is made from the code: change the
comments in `crates/farebox-config/src/file.rs` and run `cargo xtask bless`.

A **duration** is text with a unit: `\"500ms\"`, `\"30s\"`, `\"10m\"`, `\"24h\"`, `\"90d\"`. A **size** is
text such as `\"64KiB\"` or `\"8MiB\"`, or a number of bytes. A **rate** is a number in a period, such as
`\"30/1m\"`. An **amount** is `{ msat = 2000 }` or `{ sat = 2 }`.

SIGHUP reads the file again: routes, prices, `[rates]`, `[lightning]`, `[refunds]`, `[keys]` and, of `[server]`, `bad_credential`,
`invoice_expiry`, `legacy_challenge`, `path_parameters`, `public_url` and `trusted_proxies` change at
once; everything else needs a restart, and a warning names it. A file with mistakes changes nothing.
Samples are in `samples/`.
";

/// The tables, in the order of the page: heading, name in the schema.
const TABLES: [(&str, &str); 23] = [
    ("[server]", "ServerSection"),
    ("[server.tls]", "TlsSection"),
    ("[server.challenges]", "ChallengesSection"),
    ("[console]", "ConsoleSection"),
    ("[store]", "StoreSection"),
    ("[lightning]", "LightningSection"),
    ("[refunds]", "RefundsSection"),
    ("refunds.max_fee", "MaxFeeTable"),
    ("[keys]", "KeysSection"),
    ("[held]", "HeldSection"),
    ("[rates]", "RatesSection"),
    ("[[rates.source]]", "RateSourceSection"),
    ("[prices]", "PricesSection"),
    ("[[model]]", "ModelSection"),
    ("[log]", "LogSection"),
    ("[[route]]", "RouteSection"),
    ("route.price.model_tokens", "ModelTokensTable"),
    ("route.replay", "ReplayTable"),
    ("route.cors", "CorsSection"),
    ("route.capabilities.<name>", "CapabilityTable"),
    ("route.request", "RequestSection"),
    ("route.request.pass_fields.<name>", "FieldTable"),
    ("route.response", "ResponseSection"),
];

/// The whole page.
#[must_use]
pub fn markdown() -> String {
    let definitions = &schema::whole()["$defs"];
    let mut page = HEAD.to_owned();
    for (heading, name) in TABLES {
        // Writing to a string does not fail.
        let _ = table(&mut page, heading, &definitions[name], definitions);
    }
    page
}

fn table(page: &mut String, heading: &str, table: &Value, definitions: &Value) -> std::fmt::Result {
    writeln!(
        page,
        "\n## `{heading}`\n\n{}\n",
        one_line(&table["description"])
    )?;
    writeln!(page, "| key | value | default | |\n|---|---|---|---|")?;
    let required = table["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (key, node) in table["properties"].as_object().into_iter().flatten() {
        let is_required = required.iter().any(|name| name == key);
        let default = default(node, is_required);
        let kind = cell(&kind(node, definitions));
        writeln!(
            page,
            "| `{key}` | {kind} | {default} | {} |",
            cell(&one_line(&node["description"]))
        )?;
    }
    Ok(())
}

fn default(node: &Value, is_required: bool) -> String {
    match &node["default"] {
        _ if is_required => "required".to_owned(),
        Value::Null => String::new(),
        Value::Object(table) => match (table.get("msat"), table.len()) {
            (Some(msat), 1) => format!("`{{ msat = {msat} }}`"),
            _ => "see below".to_owned(),
        },
        value => format!("`{value}`"),
    }
}

/// What may be written there.
fn kind(node: &Value, definitions: &Value) -> String {
    if let Some(name) = node["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next())
    {
        return named(name, &definitions[name], definitions);
    }
    if let Some(forms) = node["anyOf"]
        .as_array()
        .or_else(|| node["oneOf"].as_array())
    {
        let forms = forms.iter().filter(|form| form["type"] != "null");
        return forms
            .map(|form| kind(form, definitions))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    if let Some(word) = node["const"].as_str() {
        return format!("`\"{word}\"`");
    }
    if let Some(words) = node["enum"].as_array() {
        return words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    plain(node, definitions)
}

fn named(name: &str, definition: &Value, definitions: &Value) -> String {
    match name {
        "Lasting" => "duration".to_owned(),
        "ByteSize" => "size".to_owned(),
        "PerPeriod" => "rate".to_owned(),
        "Amount" => "amount".to_owned(),
        "ReplaySetting" => "table or `false`".to_owned(),
        _ if TABLES.iter().any(|(_, table)| *table == name) => "table".to_owned(),
        _ => kind(definition, definitions),
    }
}

fn plain(node: &Value, definitions: &Value) -> String {
    let types = node["type"]
        .as_array()
        .map_or_else(|| vec![&node["type"]], |list| list.iter().collect());
    let name = types
        .into_iter()
        .filter_map(Value::as_str)
        .find(|name| *name != "null");
    match name {
        Some("array") => format!("list of {}", kind(&node["items"], definitions)),
        Some("integer") => "number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") => "text".to_owned(),
        Some("object") => match node["properties"].as_object() {
            Some(keys) => {
                let keys: Vec<_> = keys.keys().map(|key| format!("{key} = …")).collect();
                format!("`{{ {} }}`", keys.join(", "))
            }
            None => "table".to_owned(),
        },
        _ => "any".to_owned(),
    }
}

fn one_line(text: &Value) -> String {
    text.as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_what_the_code_says() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/config.md"
        );
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/reference/config.md is stale: run `cargo xtask bless`"
        );
    }

    #[test]
    fn every_table_of_the_schema_is_on_the_page() {
        let definitions = schema::whole()["$defs"].as_object().unwrap();
        for name in definitions.keys().filter(|name| name.ends_with("Section")) {
            assert!(TABLES.iter().any(|(_, table)| table == name), "{name}");
        }
    }
}
