//! A configuration as text for people: without its defaults, or with all of them; never with its
//! secrets.

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::choice::{HeaderText, SecretSource};
use crate::file::{ConfigFile, LightningSection, ModelSection, ModelTokensTable, RouteSection};
use crate::secrets;

/// Parts of header names that hold secrets.
const SENSITIVE: [&str; 7] = [
    "auth", "key", "token", "secret", "cookie", "pass", "macaroon",
];

/// Whether a header of this name usually holds a secret.
pub fn is_sensitive(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    SENSITIVE.iter().any(|part| header.contains(part))
}

/// The configuration as TOML, only with what differs from the defaults.
///
/// # Errors
/// When a value has no form in TOML.
pub fn to_sparse_toml(file: &ConfigFile) -> Result<String, toml::ser::Error> {
    let mut table = Table::try_from(file)?;
    let default = Table::try_from(ConfigFile::default())?;
    let one_route = Table::try_from(RouteSection::default())?;
    let one_model = Table::try_from(ModelSection::default())?;
    let by_tokens = Table::try_from(ModelTokensTable::default())?;
    for route in tables_in(&mut table, "route") {
        drop_defaults(route, &one_route);
        let tokens = route
            .get_mut("price")
            .and_then(|price| price.get_mut("model_tokens"));
        if let Some(Value::Table(tokens)) = tokens {
            drop_defaults(tokens, &by_tokens);
        }
    }
    for model in tables_in(&mut table, "model") {
        drop_defaults(model, &one_model);
    }
    drop_defaults(&mut table, &default);
    if let (Some(Value::Table(lightning)), Some(written)) =
        (table.get_mut("lightning"), &file.lightning)
    {
        drop_lightning_defaults(lightning, written)?;
    }
    toml::to_string_pretty(&table)
}

fn tables_in<'a>(table: &'a mut Table, name: &str) -> impl Iterator<Item = &'a mut Table> {
    let listed = table.get_mut(name).and_then(Value::as_array_mut);
    listed.into_iter().flatten().filter_map(Value::as_table_mut)
}

fn drop_lightning_defaults(
    table: &mut Table,
    written: &LightningSection,
) -> Result<(), toml::ser::Error> {
    let default = Table::try_from(LightningSection::default())?;
    drop_defaults(table, &default);
    table.insert("backend".to_owned(), Value::try_from(written.backend)?);
    if let Some(Value::Array(fallbacks)) = table.get_mut("fallback") {
        let tables = fallbacks.iter_mut().filter_map(Value::as_table_mut);
        for (table, written) in tables.zip(&written.fallback) {
            drop_lightning_defaults(table, written)?;
        }
    }
    Ok(())
}

fn drop_defaults(table: &mut Table, default: &Table) {
    table.retain(|key, value| {
        let Some(default) = default.get(key) else {
            return true;
        };
        if let (Value::Table(inner), Value::Table(default)) = (&mut *value, default) {
            drop_defaults(inner, default);
            return !inner.is_empty();
        }
        value != default
    });
}

/// The configuration with its defaults in place of what was left out, and fingerprints in place of
/// secrets. With `look_up`, secrets are fetched for that.
pub fn for_people(file: &ConfigFile, look_up: bool) -> ConfigFile {
    let mut shown = file.clone();
    for route in &mut shown.route {
        for (name, value) in &mut route.headers {
            hide(name, value, look_up);
        }
    }
    if let Some(lightning) = &mut shown.lightning {
        lightning
            .fallback
            .iter_mut()
            .for_each(|fallback| hide_credentials(fallback, look_up));
        hide_credentials(lightning, look_up);
    }
    shown
}

/// The file names only where a credential is; looked up, it becomes a fingerprint.
fn hide_credentials(section: &mut LightningSection, look_up: bool) {
    if !look_up {
        return;
    }
    if let Some(macaroon) = &mut section.macaroon {
        let fetched = secrets::fetch_macaroon(macaroon);
        *macaroon = SecretSource::Shown(shown(fetched.map(|bytes| fingerprint(bytes.reveal()))));
    }
    let texts = [
        &mut section.rune,
        &mut section.password,
        &mut section.webhook_secret,
        &mut section.key,
        &mut section.admin_key,
        &mut section.uri,
    ];
    for source in texts.into_iter().flatten() {
        let fetched = secrets::fetch(source);
        *source = SecretSource::Shown(shown(fetched.map(|text| fingerprint(text.reveal()))));
    }
}

fn shown(fingerprint: Result<String, secrets::SecretError>) -> String {
    fingerprint.unwrap_or_else(|error| format!("({error})"))
}

fn hide(name: &str, value: &mut HeaderText, look_up: bool) {
    let sensitive = match value {
        HeaderText::Text(_) => is_sensitive(name),
        HeaderText::Env { .. } | HeaderText::File { .. } => look_up,
    };
    if !sensitive {
        return;
    }
    let secret = secrets::resolve(value);
    *value = HeaderText::Text(shown(secret.map(|secret| fingerprint(secret.reveal()))));
}

/// Tells two secrets apart without telling either.
fn fingerprint(secret: impl AsRef<[u8]>) -> String {
    let digest = Sha256::digest(secret);
    format!("(secret, sha256 {}…)", hex::encode(&digest[..4]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::load;

    #[test]
    fn a_sparse_file_reads_back_as_the_same_configuration() {
        let text = "[server]\nthreads = 3\n[lightning]\nbackend = \"mock\"\n\
            [[route]]\nname = \"a\"\npath = { exact = \"/a\" }\nprice = { msat = 5 }\nreplay = false\n\
            [[route]]\nname = \"b\"\npath = \"/b\"\nprice = { model_tokens = {} }\n\
            [[model]]\nname = \"m\"\ninput = \"2\"\n";
        let file = load(text).file;
        let sparse = to_sparse_toml(&file).unwrap();
        assert!(load(&sparse).file == file, "{sparse}");
        for default in ["drain_timeout", "markup_percent", "currency"] {
            assert!(!sparse.contains(default), "{sparse}");
        }
    }

    #[test]
    fn secrets_are_shown_as_fingerprints() {
        let text =
            "[[route]]\nheaders = { Authorization = \"Bearer sk-123\", Accept = \"text/plain\" }\n";
        let shown = toml::to_string(&for_people(&load(text).file, true)).unwrap();
        assert!(
            !shown.contains("sk-123") && shown.contains("sha256"),
            "{shown}"
        );
        assert!(shown.contains("text/plain"));
    }
}
