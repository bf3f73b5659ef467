//! From what was written to what will run, in one fallible step that finds every mistake.
//!
//! The result has two parts: the [`Plan`], which a reload replaces, and the [`Settings`], which
//! hold for the life of the process. Nothing is opened, bound or called here; secrets and
//! certificates are read.

mod abilities;
mod at;
mod by_use;
mod capabilities;
mod lightning;
mod lookalikes;
mod mints;
mod models;
mod overlap;
mod rates;
mod refunds;
mod route;
mod sale;
mod server;
mod shape;
mod upstream;
mod webhook;

pub use lightning::{BuiltBackend, BuiltNode, Money, NodeKind};
pub use models::Market;
pub use server::{ConsoleSettings, LogSettings, Settings};

use std::cell::RefCell;
use std::sync::Arc;

use farebox_core::Clock;
use farebox_gateway::plan::Plan;
use farebox_http::routes::{RouteTable, RouteTableError};
use farebox_paywall::payout::RefundRules;

use crate::document::Document;
use crate::file::ConfigFile;
use crate::load;
use crate::mistake::Mistakes;
use at::At;

/// What a configuration is built in.
#[derive(Clone)]
pub struct Context {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Whether invoices may be paid with test money.
    pub money: Money,
    /// Whether secrets, certificates and authorities are read.
    pub lookups: Lookups,
    /// The backends of the plan before, used again where its settings are the same: it remembers
    /// payment hashes.
    pub node: Option<BuiltNode>,
}

/// Whether secrets, certificates and authorities are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookups {
    /// They are, and one that is missing is a mistake.
    Real,
    /// They are not, to check a file where they are not at hand. The result cannot be run.
    Skipped,
}

/// Everything to run a gateway from.
pub struct Built {
    /// What was written.
    pub file: ConfigFile,
    /// What a reload replaces.
    pub plan: Plan,
    /// What stays for the life of the process.
    pub settings: Settings,
    /// The rules for money that goes back to holders of tokens.
    pub refunds: RefundRules,
    /// Prices and rates: followed, and kept by the next reload.
    pub market: Market,
    /// The Lightning backends: followed, paid with, and kept by the next reload.
    pub node: Option<BuiltNode>,
}

/// Reads and builds the text of a file.
///
/// # Errors
/// Every mistake, with its line.
pub fn build_text(text: &str, context: &Context) -> Result<Built, Mistakes> {
    let loaded = load::load(text);
    let mut mistakes = loaded.mistakes;
    // What is not TOML says nothing, and so would everything that is missing from it.
    let Ok(document) = Document::parse(text) else {
        return Err(mistakes);
    };
    let noting = RefCell::new(mistakes);
    let built = build_noting(loaded.file, context, &At::root(&noting));
    mistakes = noting.into_inner();
    mistakes.locate(&document);
    finish(built, mistakes)
}

/// Builds a configuration that came from elsewhere than a file.
///
/// # Errors
/// Every mistake.
pub fn build(file: ConfigFile, context: &Context) -> Result<Built, Mistakes> {
    let mistakes = RefCell::default();
    let built = build_noting(file, context, &At::root(&mistakes));
    finish(built, mistakes.into_inner())
}

fn finish(built: Option<Built>, mut mistakes: Mistakes) -> Result<Built, Mistakes> {
    match built {
        Some(built) => mistakes.into_result(built),
        None => {
            if mistakes.is_empty() {
                mistakes.note_unkeyed(None, "the configuration cannot be built".to_owned());
            }
            Err(mistakes)
        }
    }
}

fn build_noting(file: ConfigFile, context: &Context, root: &At<'_>) -> Option<Built> {
    let settings = server::settings(&file, context, root);
    let node = lightning::node(&file, context, &root.key("lightning"));
    let refunds = refunds::rules(&file, &root.key("refunds"));
    let rules = server::rules(&file, &root.key("server"));
    let backends = node.as_ref().map(|node| Arc::clone(&node.backends));
    let mints = mints::mints(&file, context, &root.key("mint"));
    mints::check(&file, root);
    let key = root.key("server").key("invoice_expiry");
    let payments = server::payments(&file, backends, mints, &key);
    if let Some(node) = &node {
        abilities::check(&file, node, root);
    }
    let market = Market::of(&file, root);
    let routes = routes(&file, node.as_ref(), context, &market, root);
    overlap::check(&file, &root.key("route"));
    let plan = Plan {
        server: rules?,
        routes: routes?,
        payments,
    };
    let mut built = Built {
        plan,
        settings: settings?,
        refunds: refunds?,
        market,
        node,
        file,
    };
    built.refunds.enabled = built.refunds_are_on();
    built.plan.server.prepaid_keys = built.keys_are_sold();
    Some(built)
}

fn routes(
    file: &ConfigFile,
    node: Option<&BuiltNode>,
    context: &Context,
    market: &Market,
    root: &At<'_>,
) -> Option<RouteTable<Arc<farebox_gateway::plan::Route>>> {
    let key = root.key("route");
    if file.route.is_empty() {
        key.note("no route: nothing would be served");
        return None;
    }
    let mut builder = route::Builder::new(file, node, context, market.clone());
    let entries = file.route.iter().enumerate();
    let entries: Vec<_> = entries
        .map(|(place, route)| builder.entry(place, route, &key.index(place)))
        .collect();
    // Only a complete list has the same places as the file.
    let entries: Option<Vec<_>> = entries.into_iter().collect();
    match RouteTable::build(entries?) {
        Ok(table) => Some(table),
        Err(errors) => {
            for error in &errors {
                note_table_error(file, error, &key);
            }
            None
        }
    }
}

fn note_table_error(file: &ConfigFile, error: &RouteTableError, at: &At<'_>) {
    let path_of = |entry: usize| at.index(entry).key("path");
    let named = |entry: usize| {
        file.route
            .get(entry)
            .map_or("", |route| route.name.as_str())
    };
    match error {
        RouteTableError::Path { entry, source } => {
            path_of(*entry).note(format!("no request has this path: {source}"));
        }
        RouteTableError::NotCanonical { entry, canonical } => {
            path_of(*entry).note(format!("not in canonical form; write {canonical:?}"));
        }
        RouteTableError::Duplicate { first, second } => {
            path_of(*second).note(format!(
                "the same host and path as route {:?}",
                named(*first)
            ));
        }
    }
}

#[cfg(test)]
mod tests;
