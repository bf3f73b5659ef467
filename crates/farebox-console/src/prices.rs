//! The price lists of others: taken over, looked at, approved.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use farebox_core::UnixMillis;
use farebox_market::prices::book::{BookError, Import, Imported, PriceBook};
use farebox_market::prices::file::{Kept, KeptPrice};
use farebox_market::table::list::{LeftOut, ListForm};
use farebox_market::table::review::{self, Change};
use farebox_market::table::select::Selection;
use farebox_market::table::stored::StoredPrice;
use farebox_meter::{Decimal, ModelPrice};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::view::rfc3339;
use crate::{ConsoleError, Shared};

/// Ten times the price is the most that a markup makes of it, in percent.
const MAX_MARKUP: u64 = 1_000;

/// A list, and what of it is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportBody {
    source: SourceName,
    /// The list as JSON, or as text that is JSON.
    body: Option<Box<RawValue>>,
    url: Option<String>,
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    rename: Vec<(String, String)>,
    markup_percent: Option<Decimal>,
    #[serde(default)]
    add: bool,
}

#[derive(Clone, Copy, Deserialize)]
enum SourceName {
    #[serde(rename = "models.dev")]
    ModelsDev,
    #[serde(rename = "litellm")]
    LiteLlm,
    #[serde(rename = "openrouter")]
    OpenRouter,
    #[serde(rename = "upstream")]
    Upstream,
}

/// What is approved: some models, or everything that waits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApproveBody {
    models: Option<Vec<String>>,
    #[serde(default)]
    all: bool,
    revision: Option<u64>,
}

impl SourceName {
    const fn form(self) -> (ListForm, &'static str) {
        match self {
            Self::ModelsDev => (ListForm::ModelsDev, "models.dev"),
            Self::LiteLlm => (ListForm::LiteLlm, "litellm"),
            Self::OpenRouter => (ListForm::OpenRouter, "openrouter"),
            Self::Upstream => (ListForm::OpenRouter, "upstream"),
        }
    }

    /// Where the list is published.
    const fn url(self) -> Option<&'static str> {
        match self {
            Self::ModelsDev => Some("https://models.dev/api.json"),
            Self::LiteLlm => Some(
                "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",
            ),
            Self::OpenRouter => Some("https://openrouter.ai/api/v1/models"),
            Self::Upstream => None,
        }
    }
}

/// Takes a list over.
pub(crate) async fn import(
    State(state): State<Shared>,
    body: Bytes,
) -> Result<Json<Value>, ConsoleError> {
    // Not through a tree of values: the numbers of the list stay as they are written.
    let body: ImportBody = serde_json::from_slice(&body).map_err(|error| bad_request(&error))?;
    let book = book(&state)?;
    let (form, source) = body.source.form();
    let import = Import {
        form,
        source: source.to_owned(),
        selection: Selection {
            only: body.only.clone(),
            rename: body.rename.clone(),
            markup: body.markup_percent.map_or(Ok(0), markup)?,
        },
        add: body.add,
        list: list(&book, &body).await?,
    };
    // It reads millions of bytes, writes a file and waits for the disk.
    let imported = tokio::task::spawn_blocking(move || book.import(&import)).await??;
    tracing::info!(
        source,
        added = imported.added.len(),
        changed = imported.changed.len(),
        waiting = imported.waiting.len(),
        "prices were imported"
    );
    Ok(Json(tell(&imported)))
}

async fn list(book: &PriceBook, body: &ImportBody) -> Result<Bytes, ConsoleError> {
    match (&body.body, &body.url) {
        (Some(list), None) if list.get().starts_with('"') => {
            let text: String =
                serde_json::from_str(list.get()).map_err(|error| bad_request(&error))?;
            Ok(text.into())
        }
        (Some(list), None) => Ok(list.get().to_owned().into()),
        (None, url) => {
            let url = url.as_deref().or(body.source.url());
            let url = url.ok_or_else(|| bad_request(&"an upstream's list needs body or url"))?;
            let url = url
                .parse()
                .map_err(|error| bad_request(&format!("url: {error}")))?;
            Ok(book.fetch(&url).await?)
        }
        (Some(_), Some(_)) => Err(bad_request(&"either body or url")),
    }
}

/// Percent as millionths.
fn markup(percent: Decimal) -> Result<u64, ConsoleError> {
    let (digits, scale) = percent.parts();
    let parts = digits
        .checked_mul(10_000)
        .map(|parts| parts / 10_u128.pow(scale))
        .filter(|parts| scale <= 4 && *parts <= u128::from(MAX_MARKUP) * 10_000);
    parts
        .and_then(|parts| u64::try_from(parts).ok())
        .ok_or_else(|| bad_request(&"markup_percent: 1000 at most, four digits behind the point"))
}

/// Everything that is kept.
pub(crate) async fn show(State(state): State<Shared>) -> Result<Json<Value>, ConsoleError> {
    let book = book(&state)?;
    let (kept, configured) = (book.kept(), book.configured());
    let configured: Value = configured
        .iter()
        .map(|(name, price)| (name.to_owned(), json!(StoredPrice::from(price))))
        .collect();
    let table = |prices: &std::collections::BTreeMap<String, KeptPrice>| -> Value {
        let rows = prices.iter();
        rows.map(|(name, kept)| (name.clone(), one(kept))).collect()
    };
    Ok(Json(json!({
        "revision": kept.revision,
        "configured": configured,
        "approved": table(&kept.approved),
        "waiting": table(&kept.waiting),
        "changes": changes(&kept),
    })))
}

fn one(kept: &KeptPrice) -> Value {
    json!({
        "source": kept.source,
        "at": rfc3339(UnixMillis::new(kept.at)),
        "price": kept.price,
    })
}

/// What approving everything would change.
fn changes(kept: &Kept) -> Vec<Value> {
    let waiting = kept.waiting.iter().filter_map(|(model, new)| {
        let old = ModelPrice::try_from(&kept.approved.get(model)?.price).ok()?;
        let new = ModelPrice::try_from(&new.price).ok()?;
        Some(difference(model, &review::changes(&old, &new, 0)))
    });
    waiting.collect()
}

/// Puts in force what waits.
pub(crate) async fn approve(
    State(state): State<Shared>,
    body: Bytes,
) -> Result<Json<Value>, ConsoleError> {
    let body: ApproveBody = serde_json::from_slice(&body).map_err(|error| bad_request(&error))?;
    if body.all == body.models.is_some() {
        return Err(bad_request(&"either models or all"));
    }
    let book = book(&state)?;
    let approved =
        tokio::task::spawn_blocking(move || book.approve(body.models.as_deref(), body.revision))
            .await??;
    tracing::info!(models = approved.len(), "prices were approved");
    Ok(Json(json!({ "approved": approved })))
}

fn book(state: &Shared) -> Result<Arc<PriceBook>, ConsoleError> {
    let book = state.options.prices.as_ref();
    book.map(Arc::clone).ok_or(ConsoleError::NotFound)
}

fn tell(imported: &Imported) -> Value {
    let differences = |list: &[(String, Vec<Change>)]| -> Vec<Value> {
        list.iter()
            .map(|(model, changes)| difference(model, changes))
            .collect()
    };
    let left_out = |left: &LeftOut| json!({ "model": left.model, "reason": left.reason });
    json!({
        "revision": imported.revision,
        "added": imported.added,
        "changed": differences(&imported.changed),
        "waiting": differences(&imported.waiting),
        "unchanged": imported.unchanged,
        "not_added": imported.not_added,
        "overridden": imported.overridden,
        "left_out": imported.left_out.iter().map(left_out).collect::<Vec<_>>(),
        "needs_rate": imported.needs_rate,
    })
}

fn difference(model: &str, changes: &[Change]) -> Value {
    let change = |change: &Change| {
        json!({
            "unit": change.unit,
            "from": change.from,
            "to": change.to,
            "waits": change.waits,
        })
    };
    let changes: Vec<_> = changes.iter().map(change).collect();
    json!({ "model": model, "changes": changes })
}

impl From<BookError> for ConsoleError {
    fn from(error: BookError) -> Self {
        Self::Prices(Box::new(error))
    }
}

fn bad_request(error: &impl ToString) -> ConsoleError {
    ConsoleError::BadRequest {
        what: error.to_string(),
    }
}
