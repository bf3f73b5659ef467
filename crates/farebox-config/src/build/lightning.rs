//! The Lightning nodes and wallets: each of them, and all together as the gateway sees them.

mod adapters;
mod site;

use std::sync::Arc;

use farebox_core::RouteName;
use farebox_http::client::{AllowedHost, AllowedHosts};
use farebox_lightning::backends::{Backends, NamedBackend};
use farebox_lightning::lnurl::LightningAddress;
use farebox_lightning::mock::MockNode;
use farebox_lightning::{Backend, Network};

use super::Context;
use super::at::At;
use crate::choice::PriceSetting;
use crate::file::{
    BackendSection, ConfigFile, LightningSection, OnFailureSetting, PaymentMethod, RouteSection,
};
use site::{Fingerprint, Site};

/// More backends than this is a slip.
const MAX_BACKENDS: usize = 16;

/// Whether invoices may be paid with test money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Money {
    /// Only real money.
    Real,
    /// Test money: whoever asks the console's pay door gets a preimage.
    Test,
}

impl Money {
    /// Test money where it was asked for.
    #[must_use]
    pub const fn of(is_test: bool) -> Self {
        if is_test { Self::Test } else { Self::Real }
    }
}

/// What the file asks of all backends, and so what their credentials have to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// What invoices must be for.
    network: Network,
    /// What is written about refunds, if anything.
    refunds: Option<bool>,
    /// Whether payments are held.
    hold: bool,
}

/// All backends, and the settings that they were built from.
#[derive(Clone)]
pub struct BuiltNode {
    parts: Vec<BuiltBackend>,
    /// All of them together.
    pub backends: Arc<Backends>,
}

/// One backend, and the settings that it was built from.
#[derive(Clone)]
pub struct BuiltBackend {
    /// What was written.
    pub section: BackendSection,
    fingerprint: Fingerprint,
    needs: Needs,
    /// What it is called in logs, metrics and the journal of payments.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// What it can do.
    pub node: Arc<Backend>,
}

/// Which kind of backend it is, where somebody has to know.
#[derive(Clone)]
pub enum NodeKind {
    /// A node, or a wallet with an API.
    Node,
    /// A wallet with a Lightning Address.
    Address(Arc<LightningAddress>),
    /// Test money.
    Mock(Arc<MockNode>),
}

impl BuiltNode {
    /// Each of them, in the order in which they are asked.
    pub fn iter(&self) -> std::slice::Iter<'_, BuiltBackend> {
        self.parts.iter()
    }

    /// The test money, if any of it is.
    #[must_use]
    pub fn mock(&self) -> Option<&Arc<MockNode>> {
        self.parts.iter().find_map(|part| match &part.kind {
            NodeKind::Mock(node) => Some(node),
            NodeKind::Node | NodeKind::Address(_) => None,
        })
    }

    fn is_made_of(&self, parts: &[BuiltBackend]) -> bool {
        let same = |(one, other): (&BuiltBackend, &BuiltBackend)| {
            one.name == other.name && Arc::ptr_eq(&one.node, &other.node)
        };
        self.parts.len() == parts.len() && self.parts.iter().zip(parts).all(same)
    }
}

impl BuiltBackend {
    fn is_built_like(&self, other: &Self) -> bool {
        self.section == other.section
            && self.fingerprint == other.fingerprint
            && self.needs == other.needs
    }
}

/// Builds the backends, or takes those of the plan before whose settings are the same: they
/// remember payment hashes, and hold connections.
pub(super) fn node(file: &ConfigFile, context: &Context, at: &At<'_>) -> Option<BuiltNode> {
    let Some(section) = &file.lightning else {
        note_missing(file, at);
        return None;
    };
    let sections = all_sections(section, at);
    let needs = Needs::of(file, section);
    check_names(&sections);
    let parts: Vec<_> = sections
        .iter()
        .map(|(at, section)| part(section, needs, context, at))
        .collect();
    let parts: Vec<_> = parts.into_iter().collect::<Option<_>>()?;
    if let Some(before) = context
        .node
        .as_ref()
        .filter(|before| before.is_made_of(&parts))
    {
        return Some(before.clone());
    }
    let named = |part: &BuiltBackend| NamedBackend {
        name: part.name.clone(),
        node: Arc::clone(&part.node),
    };
    // What could be wrong here, two of one name, was noted above.
    let backends = Backends::new(parts.iter().map(named).collect()).ok()?;
    Some(BuiltNode {
        parts,
        backends: Arc::new(backends),
    })
}

fn note_missing(file: &ConfigFile, at: &At<'_>) {
    let takes_lightning = |route: &RouteSection| {
        let price = route.price.as_ref();
        let is_priced = price.is_some_and(|price| !matches!(price, PriceSetting::Free(_)));
        is_priced && route.methods.contains(&PaymentMethod::L402)
    };
    if file.route.iter().any(takes_lightning) {
        at.note("is missing: a route has a price, so somebody has to be paid");
    }
}

/// All backends with their places, in the order in which they are asked.
fn all_sections<'a>(
    section: &'a LightningSection,
    at: &At<'a>,
) -> Vec<(At<'a>, &'a BackendSection)> {
    if section.fallback.len() >= MAX_BACKENDS {
        at.key("fallback")
            .note(format!("at most {} of them", MAX_BACKENDS - 1));
    }
    let fallbacks = section.fallback.iter().enumerate();
    let fallbacks = fallbacks.map(|(place, section)| (at.key("fallback").index(place), section));
    std::iter::once((at.clone(), &section.first))
        .chain(fallbacks)
        .collect()
}

fn check_names(sections: &[(At<'_>, &BackendSection)]) {
    for (place, (at, section)) in sections.iter().enumerate() {
        let name = section.name();
        if RouteName::parse(name).is_err() {
            at.key("name")
                .note("a name is 1 to 64 of A-Z, a-z, 0-9, `_` and `-`");
        }
        let mut before = sections[..place].iter();
        if before.any(|(_, before)| before.name() == name) {
            at.key("name").note(format!(
                "another backend is called {name:?}; give each a name"
            ));
        }
    }
}

impl Needs {
    fn of(file: &ConfigFile, section: &LightningSection) -> Self {
        let mut routes = file.route.iter();
        Self {
            network: section.network.into(),
            refunds: file.refunds.enabled,
            hold: routes.any(|route| route.on_failure == OnFailureSetting::Cancel),
        }
    }
}

fn part(
    section: &BackendSection,
    needs: Needs,
    context: &Context,
    at: &At<'_>,
) -> Option<BuiltBackend> {
    let mut site = Site::new(section, needs, context, at);
    // Built in any case: that is where its mistakes are found.
    let (kind, node) = adapters::build(&mut site)?;
    let built = BuiltBackend {
        section: section.clone(),
        fingerprint: site.fingerprint(),
        needs,
        name: section.name().to_owned(),
        kind,
        node: Arc::new(node),
    };
    let mut before = context.node.iter().flat_map(BuiltNode::iter);
    let same = before.find(|before| before.is_built_like(&built));
    Some(same.cloned().unwrap_or(built))
}

/// Hosts that are exempt from a rule, as they are written under `allow_hosts`.
pub(super) fn allowed_hosts(written: &[String], at: &At<'_>) -> AllowedHosts {
    let parse = |(place, text): (usize, &String)| {
        let host: Result<AllowedHost, _> = text.parse();
        at.key("allow_hosts").index(place).take(host)
    };
    AllowedHosts::new(written.iter().enumerate().filter_map(parse).collect())
}

#[cfg(test)]
mod tests;
