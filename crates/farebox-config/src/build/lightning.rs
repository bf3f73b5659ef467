//! The Lightning nodes and wallets: each of them, and all together as the gateway sees them.

mod adapters;
mod credentials;
mod fields;

use std::sync::Arc;

use farebox_core::RouteName;
use farebox_lightning::Backend;
use farebox_lightning::backends::{Backends, NamedBackend};
use farebox_lightning::lnurl::LightningAddress;
use farebox_lightning::mock::MockNode;

use super::Context;
use crate::choice::PriceSetting;
use crate::file::{ConfigFile, LightningSection, OnFailureSetting};
use crate::mistake::{KeyPath, Mistakes};
pub(crate) use adapters::{allowed_hosts, network};
use credentials::Fingerprint;

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

/// What else the file asks of the backends, and so what their credentials have to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// What is written about refunds, if anything.
    refunds: Option<bool>,
    /// Whether payments are held.
    hold: bool,
}

/// All backends, and the settings that they were built from.
#[derive(Clone)]
pub struct BuiltNode {
    parts: Vec<BuiltBackend>,
    backends: Arc<Backends>,
}

/// One backend, and the settings that it was built from.
#[derive(Clone)]
pub struct BuiltBackend {
    /// What was written, with what it inherits.
    section: LightningSection,
    fingerprint: Fingerprint,
    needs: Needs,
    /// What it is called in logs, metrics and the journal of payments.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    node: Arc<Backend>,
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
    /// All of them together.
    #[must_use]
    pub const fn backends(&self) -> &Arc<Backends> {
        &self.backends
    }

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
    /// What it can do.
    #[must_use]
    pub const fn node(&self) -> &Arc<Backend> {
        &self.node
    }

    /// What was written.
    #[must_use]
    pub const fn section(&self) -> &LightningSection {
        &self.section
    }

    fn is_built_from(
        &self,
        section: &LightningSection,
        fingerprint: &Fingerprint,
        needs: Needs,
    ) -> bool {
        self.section == *section && self.fingerprint == *fingerprint && self.needs == needs
    }
}

/// Builds the backends, or takes those of the plan before whose settings are the same: they
/// remember payment hashes, and hold connections.
pub(super) fn node(
    file: &ConfigFile,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<BuiltNode> {
    let Some(section) = &file.lightning else {
        note_missing(file, mistakes);
        return None;
    };
    let sections = all_sections(section, mistakes);
    let needs = Needs::of(file);
    check_names(&sections, mistakes);
    let parts: Vec<_> = sections
        .iter()
        .map(|(at, section)| part(section, needs, at, context, mistakes))
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

fn note_missing(file: &ConfigFile, mistakes: &mut Mistakes) {
    let is_priced = |price: &Option<PriceSetting>| {
        let price = price.as_ref();
        price.is_some_and(|price| !matches!(price, PriceSetting::Free(_)))
    };
    if file.route.iter().any(|route| is_priced(&route.price)) {
        let reason = "is missing: a route has a price, so somebody has to be paid";
        mistakes.note(KeyPath::of("lightning"), None, reason);
    }
}

/// The section and its fallbacks, each with its place and with what it inherits.
fn all_sections(
    section: &LightningSection,
    mistakes: &mut Mistakes,
) -> Vec<(KeyPath, LightningSection)> {
    let at = KeyPath::of("lightning");
    if section.fallback.len() >= MAX_BACKENDS {
        let reason = format!("at most {} of them", MAX_BACKENDS - 1);
        mistakes.note(at.key("fallback"), None, reason);
    }
    let network = section.network.unwrap_or_default();
    let mut all = vec![(at.clone(), section.clone())];
    for (place, fallback) in section.fallback.iter().enumerate() {
        let at = at.key("fallback").index(place);
        note_not_of_a_fallback(section, fallback, &at, mistakes);
        all.push((at, fallback.clone()));
    }
    for (_, section) in &mut all {
        section.network = section.network.or(Some(network));
        section.fallback = Vec::new();
    }
    all
}

fn note_not_of_a_fallback(
    section: &LightningSection,
    fallback: &LightningSection,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) {
    if !fallback.fallback.is_empty() {
        let reason = "a fallback has none of its own; write another [[lightning.fallback]]";
        mistakes.note(at.key("fallback"), None, reason);
    }
    if fallback.strict {
        mistakes.note(
            at.key("strict"),
            None,
            "belongs into [lightning], and holds for all",
        );
    }
    let (own, main) = (fallback.network, section.network.unwrap_or_default());
    if own.is_some_and(|own| own != main) {
        let reason = "another network than that of [lightning]: a route cannot be sold for both";
        mistakes.note(at.key("network"), None, reason);
    }
}

fn check_names(sections: &[(KeyPath, LightningSection)], mistakes: &mut Mistakes) {
    for (place, (at, section)) in sections.iter().enumerate() {
        let name = section.name();
        if RouteName::parse(name).is_err() {
            let reason = "a name is 1 to 64 of A-Z, a-z, 0-9, `_` and `-`";
            mistakes.note(at.key("name"), Some(format!("{name:?}")), reason);
        }
        if sections[..place]
            .iter()
            .any(|(_, before)| before.name() == name)
        {
            let reason = format!("another backend is called {name:?}; give each a name");
            mistakes.note(at.key("name"), None, reason);
        }
    }
}

impl Needs {
    fn of(file: &ConfigFile) -> Self {
        let mut routes = file.route.iter();
        Self {
            refunds: file.refunds.enabled,
            hold: routes.any(|route| route.on_failure == OnFailureSetting::Cancel),
        }
    }
}

fn part(
    section: &LightningSection,
    needs: Needs,
    at: &KeyPath,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<BuiltBackend> {
    fields::check(section, at, mistakes);
    let credentials = credentials::read(section, at, context, mistakes)?;
    let fingerprint = credentials.fingerprint();
    let before = context.node.as_ref().and_then(|before| {
        let mut parts = before.parts.iter();
        parts.find(|part| part.is_built_from(section, &fingerprint, needs))
    });
    // Built in any case: that is where the rest of the mistakes is found.
    let (kind, node) = adapters::build(section, credentials, needs, at, context, mistakes)?;
    Some(before.cloned().unwrap_or_else(|| BuiltBackend {
        section: section.clone(),
        fingerprint,
        needs,
        name: section.name().to_owned(),
        kind,
        node: Arc::new(node),
    }))
}

#[cfg(test)]
mod tests;
