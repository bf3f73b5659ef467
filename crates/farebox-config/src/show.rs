//! A configuration as text for people: without its defaults, or with all of them; never with its
//! secrets.

use farebox_wire::credential::names_secret;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::choice::{HeaderText, SecretSource};
use crate::file::ConfigFile;
use crate::schema::Place;
use crate::secrets::{self, SecretError};

/// The configuration as data, with its defaults in the place of what was left out.
///
/// # Errors
/// When a value has no form as data.
pub fn data(file: &ConfigFile) -> Result<Value, serde_json::Error> {
    let mut data = serde_json::to_value(file)?;
    drop_nulls(&mut data);
    Ok(data)
}

/// The same without secrets that stand in it in the clear. With `look_up`, those that it names are
/// fetched, and fingerprints stand in their place.
///
/// # Errors
/// Those of [`data`].
pub fn for_people(file: &ConfigFile, look_up: bool) -> Result<Value, serde_json::Error> {
    let mut shown = data(file)?;
    hide(&mut shown, "", &Place::root(), look_up);
    Ok(shown)
}

/// Leaves only what differs from the defaults.
pub fn drop_defaults(data: &mut Value) {
    drop_defaults_at(data, &Place::root());
}

fn drop_defaults_at(value: &mut Value, place: &Place) {
    match value {
        Value::Object(table) => table.retain(|key, value| {
            let place = place.key(key);
            if place.default() == Some(value) {
                return false;
            }
            drop_defaults_at(value, &place);
            // A section of which nothing is left says no more than its absence.
            let is_default = place.default().is_some_and(Value::is_object);
            !(is_default && value.as_object().is_some_and(Map::is_empty))
        }),
        Value::Array(list) => {
            let place = place.item();
            list.iter_mut()
                .for_each(|item| drop_defaults_at(item, &place));
        }
        _ => {}
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn hide(value: &mut Value, key: &str, place: &Place, look_up: bool) {
    if place.is("HeaderText") {
        let secret = value.as_str().filter(|_| names_secret(key));
        let secret = secret.map(|text| Ok(fingerprint(text.as_bytes())));
        replace(value, secret.or_else(|| look_up.then(|| of_header(value))?));
    } else if place.is("SecretSource") {
        replace(value, look_up.then(|| of_source(value)).flatten());
    } else if let Value::Object(table) = value {
        for (key, value) in table {
            hide(value, key, &place.key(key), look_up);
        }
    } else if let Value::Array(list) = value {
        let place = place.item();
        list.iter_mut()
            .for_each(|item| hide(item, key, &place, look_up));
    }
}

/// What stands in the place of a secret: its fingerprint, or why there is none.
type Shown = Result<String, SecretError>;

fn replace(value: &mut Value, shown: Option<Shown>) {
    if let Some(shown) = shown {
        *value = shown.unwrap_or_else(|error| format!("({error})")).into();
    }
}

fn of_header(value: &Value) -> Option<Shown> {
    let header: HeaderText = serde_json::from_value(value.clone()).ok()?;
    let is_named = !matches!(header, HeaderText::Text(_));
    let secret = is_named.then(|| secrets::resolve(&header))?;
    Some(secret.map(|secret| fingerprint(secret.reveal().as_bytes())))
}

fn of_source(value: &Value) -> Option<Shown> {
    let source: SecretSource = serde_json::from_value(value.clone()).ok()?;
    Some(secrets::fetch_bytes(&source).map(|bytes| fingerprint(bytes.reveal().trim_ascii())))
}

/// Tells two secrets apart without telling either.
fn fingerprint(secret: &[u8]) -> String {
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
        let mut sparse = data(&file).unwrap();
        drop_defaults(&mut sparse);
        let sparse = toml::to_string(&sparse).unwrap();
        assert!(load(&sparse).file == file, "{sparse}");
        for default in [
            "drain_timeout",
            "markup_percent",
            "currency",
            "[console]",
            "[log]",
        ] {
            assert!(!sparse.contains(default), "{sparse}");
        }
    }

    #[test]
    fn secrets_are_shown_as_fingerprints() {
        let text =
            "[[route]]\nheaders = { Authorization = \"Bearer sk-123\", Accept = \"text/plain\" }\n";
        let shown = toml::to_string(&for_people(&load(text).file, true).unwrap()).unwrap();
        assert!(
            !shown.contains("sk-123") && shown.contains("sha256"),
            "{shown}"
        );
        assert!(shown.contains("text/plain"));
    }
}
