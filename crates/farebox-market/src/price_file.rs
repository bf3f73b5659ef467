//! The file of a price list, which the configuration includes: every number as text, exactly.
//!
//! It is replaced as a whole or not at all, so that a gateway that reads it meanwhile sees the old
//! list or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use farebox_meter::price::{BadCurrency, ModelPrice};
use farebox_meter::{Decimal, Unit};
use serde::{Deserialize, Serialize};

use crate::absurd::absurd;
use crate::table::PriceTable;

/// The form of the file.
const VERSION: u32 = 1;
/// The longest file that is read, in bytes; the longest list of today is two million.
const MAX_BYTES: u64 = 64 << 20;

/// What is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    models: BTreeMap<String, StoredPrice>,
}

/// The price of one model.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPrice {
    /// In what the rows are written.
    currency: String,
    /// The price of one unit of each class.
    rows: BTreeMap<Unit, Decimal>,
    /// Prices of pictures by `quality/size`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    images: BTreeMap<String, Decimal>,
    /// The most tokens of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context_tokens: Option<u64>,
    /// The most tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading.
    #[error("the price list at {} cannot be read", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its text.
    #[error("{} is not a price list that this version understands", path.display())]
    Form {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A currency, a version, a size, a price.
    #[error("{}: {what}", path.display())]
    Content {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Writing; the file is as it was.
    #[error("the price list at {} cannot be written", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a price list.
///
/// # Errors
/// [`FileError`], also for a price that nobody means.
pub fn read(path: &Path) -> Result<PriceTable, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let wrong = |what: String| FileError::Content {
        path: path.to_owned(),
        what,
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("longer than {MAX_BYTES} bytes")));
    }
    let content: Content = serde_json::from_slice(&text).map_err(|source| FileError::Form {
        path: path.to_owned(),
        source,
    })?;
    if content.version != VERSION {
        let version = content.version;
        return Err(wrong(format!("version {version} is not known here")));
    }
    let mut table = PriceTable::default();
    for (model, stored) in content.models {
        let price = stored
            .check()
            .map_err(|what| wrong(format!("{model}: {what}")))?;
        table.insert(model, price);
    }
    Ok(table)
}

/// The text of a file with these prices.
///
/// # Panics
/// Never: names and numbers are text in JSON.
#[must_use]
pub fn text(table: &PriceTable) -> String {
    let models = table.iter();
    let content = Content {
        version: VERSION,
        models: models
            .map(|(name, price)| (name.to_owned(), StoredPrice::from(price)))
            .collect(),
    };
    let mut text = serde_json::to_string_pretty(&content).expect("names and numbers are text");
    text.push('\n');
    text
}

/// Writes everything beside the file, then puts it in its place.
///
/// # Errors
/// [`FileError::Write`]; the file is as it was.
pub fn write(path: &Path, table: &PriceTable) -> Result<(), FileError> {
    replace(path, &text(table)).map_err(|source| FileError::Write {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    // What a crash left there was never in force.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

impl StoredPrice {
    /// The price, if anybody can mean it. Only the configuration gives away.
    fn check(self) -> Result<ModelPrice, String> {
        let currency = self.currency.parse();
        let price = ModelPrice {
            currency: currency.map_err(|error: BadCurrency| error.to_string())?,
            rows: self.rows,
            images: self.images,
            context_tokens: self.context_tokens,
            max_output_tokens: self.max_output_tokens,
            is_free: false,
        };
        match absurd(&price) {
            Some(why) => Err(why),
            None if !price.is_sellable() => Err("costs nothing".to_owned()),
            None => Ok(price),
        }
    }
}

impl From<&ModelPrice> for StoredPrice {
    fn from(price: &ModelPrice) -> Self {
        Self {
            currency: price.currency.name(),
            rows: price.rows.clone(),
            images: price.images.clone(),
            context_tokens: price.context_tokens,
            max_output_tokens: price.max_output_tokens,
        }
    }
}

#[cfg(test)]
mod tests;
