//! The price lists that the seller took over from others: reviewed, kept, and put in force.
//!
//! `[[model]]` of the configuration always wins. A model is added only where that was asked for,
//! none is ever removed, and a price beyond the guard band waits. Every change is on the disk
//! before it counts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use farebox_core::Clock;
use farebox_http::client::{AllowedHosts, CallError, FetchLimits, GuardedClient};
use farebox_meter::ModelPrice;
use http::{StatusCode, Uri};

use super::Prices;
use super::file::{self, FileError, Kept, KeptPrice};
use crate::PriceTable;
use crate::rates::Rates;
use crate::table::list::{BadList, LeftOut, ListForm, PriceList};
use crate::table::review::{self, Change};
use crate::table::select::Selection;
use crate::table::stored::StoredPrice;

/// The longest list that is read, in bytes; those of today have two million.
pub const MAX_LIST_BYTES: usize = 32 << 20;
/// What fetching one may take.
const FETCH: FetchLimits = FetchLimits {
    time: Duration::from_secs(45),
    body: MAX_LIST_BYTES,
};

/// What a plan brings to the book.
#[derive(Clone)]
pub struct BookRules {
    /// The prices of the configuration, which win.
    pub configured: PriceTable,
    /// What routes sell by.
    pub prices: Arc<Prices>,
    /// What a bitcoin costs.
    pub rates: Arc<Rates>,
    /// How far a price may move by itself, in millionths.
    pub guard: u64,
    /// Hosts that lists may be fetched from in clear and at private addresses.
    pub allow_hosts: AllowedHosts,
}

/// The kept prices of a running gateway.
pub struct PriceBook {
    file: PathBuf,
    clock: Arc<dyn Clock>,
    open: Mutex<Open>,
}

struct Open {
    kept: Kept,
    rules: BookRules,
}

/// A list to be taken over.
pub struct Import {
    /// Its form.
    pub form: ListForm,
    /// What it is called in the file.
    pub source: String,
    /// Its bytes.
    pub list: Bytes,
    /// Which models of it.
    pub selection: Selection,
    /// Whether models that have no price yet are added.
    pub add: bool,
}

/// What an import did.
#[derive(Debug)]
pub struct Imported {
    /// The revision after it.
    pub revision: u64,
    /// Models that are sold now and were not.
    pub added: Vec<String>,
    /// Models whose price changed.
    pub changed: Vec<(String, Vec<Change>)>,
    /// Models whose new price waits.
    pub waiting: Vec<(String, Vec<Change>)>,
    /// How many are as they were.
    pub unchanged: usize,
    /// New models that were not asked for.
    pub not_added: Vec<String>,
    /// Models whose price in the configuration wins.
    pub overridden: Vec<String>,
    /// Models that the list does not price well enough.
    pub left_out: Vec<LeftOut>,
    /// Whether prices in dollars cannot be sold by, because no rate is known.
    pub needs_rate: bool,
}

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The list.
    #[error(transparent)]
    List(#[from] BadList),
    /// The list was not fetched.
    #[error("the list cannot be fetched")]
    Fetch(#[from] CallError),
    /// The list was refused.
    #[error("the list cannot be fetched: its server answers {0}")]
    Status(StatusCode),
    /// Something changed since the seller looked.
    #[error("the prices have changed since: revision {now}, not {seen}")]
    Changed {
        /// What the seller saw.
        seen: u64,
        /// What it is.
        now: u64,
    },
    /// Nothing waits under this name.
    #[error("no new price of {0:?} waits")]
    NotWaiting(String),
}

impl PriceBook {
    /// Opens the file, and puts what is approved in force.
    ///
    /// # Errors
    /// [`FileError`] when there is a file that cannot be used.
    pub fn open(
        file: PathBuf,
        rules: BookRules,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, FileError> {
        let kept = file::read(&file)?;
        for (model, price) in kept.approved.iter().chain(&kept.waiting) {
            ModelPrice::try_from(&price.price).map_err(|error| FileError::Content {
                path: file.clone(),
                what: format!("{model}: {error}"),
            })?;
        }
        let open = Open { kept, rules };
        open.publish();
        Ok(Arc::new(Self {
            file,
            clock,
            open: Mutex::new(open),
        }))
    }

    /// Goes on with another plan.
    pub fn replace(&self, rules: BookRules) {
        let mut open = self.lock();
        open.rules = rules;
        open.publish();
    }

    /// What is kept.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.lock().kept.clone()
    }

    /// The models that the configuration prices.
    #[must_use]
    pub fn configured(&self) -> PriceTable {
        self.lock().rules.configured.clone()
    }

    /// Fetches a list from where the seller says.
    ///
    /// # Errors
    /// [`BookError`].
    pub async fn fetch(&self, url: &Uri) -> Result<Bytes, BookError> {
        let client = GuardedClient::new(self.lock().rules.allow_hosts.clone());
        let answer = client.get(url, FETCH).await?;
        if answer.status.is_success() {
            Ok(answer.body)
        } else {
            Err(BookError::Status(answer.status))
        }
    }

    /// Takes a list over, as far as it may be without being seen. Waits for the disk.
    ///
    /// # Errors
    /// [`BookError`]; then nothing has changed.
    pub fn import(&self, import: &Import) -> Result<Imported, BookError> {
        let list = PriceList::read(import.form, &import.list, &import.selection)?;
        let mut open = self.lock();
        let mut kept = open.kept.clone();
        let now = self.clock.now();
        let mut imported = Imported::new(list.left_out);
        for (model, price) in list.table.iter() {
            let new = KeptPrice {
                source: import.source.clone(),
                at: now.get(),
                price: StoredPrice::from(price),
            };
            open.take(&mut kept, &mut imported, import.add, (model, price), new);
        }
        let dollars = list.table.iter().map(|(_, price)| price.currency);
        let mut dollars = dollars.map(|currency| open.rules.rates.quote(currency, now));
        imported.needs_rate = dollars.any(|quoted| quoted.is_err());
        self.put(&mut open, kept)?;
        imported.revision = open.kept.revision;
        Ok(imported)
    }

    /// Puts prices that wait in force: those of these models, or all. Answers which.
    ///
    /// # Errors
    /// [`BookError`]; then nothing has changed.
    pub fn approve(
        &self,
        models: Option<&[String]>,
        seen: Option<u64>,
    ) -> Result<Vec<String>, BookError> {
        let mut open = self.lock();
        let now = open.kept.revision;
        if let Some(seen) = seen.filter(|seen| *seen != now) {
            return Err(BookError::Changed { seen, now });
        }
        let mut kept = open.kept.clone();
        let all: Vec<String> = kept.waiting.keys().cloned().collect();
        let models = models.map_or(all, <[String]>::to_vec);
        for model in &models {
            let waiting = kept.waiting.remove(model);
            let price = waiting.ok_or_else(|| BookError::NotWaiting(model.clone()))?;
            kept.approved.insert(model.clone(), price);
        }
        self.put(&mut open, kept)?;
        Ok(models)
    }

    /// Writes, then puts in force.
    fn put(&self, open: &mut Open, mut kept: Kept) -> Result<(), FileError> {
        if kept == open.kept {
            return Ok(());
        }
        kept.revision += 1;
        file::write(&self.file, &kept)?;
        open.kept = kept;
        open.publish();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn publish(&self) {
        let mut table = PriceTable::default();
        for (model, kept) in &self.kept.approved {
            if let Ok(price) = ModelPrice::try_from(&kept.price) {
                table.insert(model, price);
            }
        }
        let table = table.overridden_by(&self.rules.configured);
        self.rules.prices.replace(table);
    }

    fn take(
        &self,
        kept: &mut Kept,
        imported: &mut Imported,
        add: bool,
        (model, price): (&str, &ModelPrice),
        new: KeptPrice,
    ) {
        let model = model.to_owned();
        if self.rules.configured.find(&model).is_some() {
            imported.overridden.push(model.clone());
        }
        let old = kept.approved.get(&model);
        let Some(old) = old.and_then(|old| ModelPrice::try_from(&old.price).ok()) else {
            if add {
                imported.added.push(model.clone());
                kept.approved.insert(model, new);
            } else {
                imported.not_added.push(model);
            }
            return;
        };
        let changes = review::changes(&old, price, self.rules.guard);
        if review::waits(&old, price, self.rules.guard) {
            imported.waiting.push((model.clone(), changes));
            kept.waiting.insert(model, new);
            return;
        }
        // What waited is overtaken by what may pass.
        kept.waiting.remove(&model);
        if old == *price {
            imported.unchanged += 1;
        } else {
            imported.changed.push((model.clone(), changes));
            kept.approved.insert(model, new);
        }
    }
}

impl Imported {
    const fn new(left_out: Vec<LeftOut>) -> Self {
        Self {
            revision: 0,
            added: Vec::new(),
            changed: Vec::new(),
            waiting: Vec::new(),
            unchanged: 0,
            not_added: Vec::new(),
            overridden: Vec::new(),
            left_out,
            needs_rate: false,
        }
    }
}

#[cfg(test)]
mod tests;
