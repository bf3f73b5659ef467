//! What the backends can do, against what the file asks of them; and the same in words.

use farebox_core::{Kind, Msat};
use farebox_gateway::plan::Route;
use farebox_lightning::AmountLimits;
use farebox_paywall::mints::TrustedMint;
use farebox_paywall::sale::Offer;

use super::at::At;
use super::{Built, BuiltBackend, BuiltNode, NodeKind, by_use, lookalikes, models};
use crate::file::{ConfigFile, OnFailureSetting};

/// Notes everything that is asked for and cannot be done.
pub(super) fn check(file: &ConfigFile, node: &BuiltNode, root: &At<'_>) {
    check_strict(file, node, root);
    let refunds_are_wanted = file.refunds.enabled == Some(true);
    if let Some(reason) = why_no_refunds(node).filter(|_| refunds_are_wanted) {
        let key = root.key("refunds").key("enabled");
        key.note(reason);
    }
    let keys_are_wanted = file.keys.enabled == Some(true);
    if let Some(reason) = why_no_keys(node).filter(|_| keys_are_wanted) {
        let key = root.key("keys").key("enabled");
        key.note(reason);
    }
    let cancel = |on_failure| on_failure == OnFailureSetting::Cancel;
    for (place, route) in file.route.iter().enumerate() {
        if cancel(route.on_failure) && node.backends.holder().is_none() {
            let key = root.key("route").index(place).key("on_failure");
            key.note("no backend can hold a payment; `lnd` can");
        }
    }
}

fn check_strict(file: &ConfigFile, node: &BuiltNode, root: &At<'_>) {
    if !file
        .lightning
        .as_ref()
        .is_some_and(|lightning| lightning.strict)
    {
        return;
    }
    for backend in node
        .iter()
        .filter(|backend| !backend.says_what_was_received())
    {
        let reason = format!(
            "backend {:?} does not tell whether an invoice is settled: no token that it made an \
             invoice for would ever count",
            backend.name
        );
        let key = root.key("lightning").key("strict");
        key.note(reason);
    }
}

/// Notes a sale whose amount a backend cannot take and that cannot be made a bundle.
pub(super) fn check_amounts(offer: &Offer, node: &BuiltNode, at: &At<'_>) {
    let Some(asked) = asked_in_bitcoin(offer) else {
        return;
    };
    for backend in node.iter() {
        let Some(limits) = backend.limits() else {
            continue;
        };
        let name = &backend.name;
        match limits.cover(asked) {
            Some(amount) if amount == asked => {}
            Some(amount) if matches!(offer.kind(), Kind::Pass(_)) => {
                let reason = format!(
                    "backend {name:?} takes {amount} at least, or only multiples of {}; a pass has \
                     one price and cannot be sold in bundles",
                    limits.step
                );
                at.key("price").note(reason);
            }
            Some(amount) if offer.holds_payment() => {
                let reason = format!(
                    "backend {name:?} takes {amount} at least, or only multiples of {}; \
                     on_failure = \"cancel\" sells one call and no bundles",
                    limits.step
                );
                at.key("price").note(reason);
            }
            Some(_) => {}
            None => {
                at.key("price")
                    .note(format!("more than backend {name:?} takes ({})", limits.max));
            }
        }
    }
}

/// What one payment asks for, where the price of a request is fixed in bitcoin.
fn asked_in_bitcoin(offer: &Offer) -> Option<Msat> {
    offer.asks(offer.fixed_price()?)
}

/// Why no prepaid keys can be sold, if so: nobody could say that one was paid.
fn why_no_keys(node: &BuiltNode) -> Option<&'static str> {
    let silent = node.iter().any(|backend| !backend.says_what_was_received());
    silent.then_some("a backend cannot tell how much was received for an invoice")
}

/// Why nothing can be paid back, if so.
fn why_no_refunds(node: &BuiltNode) -> Option<&'static str> {
    if node.backends.payer().is_none() {
        return Some(
            "no backend can pay: a Lightning Address, and a credential for invoices alone, only receive",
        );
    }
    let can_confirm = node.iter().any(BuiltBackend::says_what_was_received);
    (!can_confirm).then_some("no backend can tell how much was received for an invoice")
}

impl BuiltBackend {
    /// Whether it can be asked how much was received. A Lightning Address tells at most that its
    /// invoice was paid.
    pub(crate) fn says_what_was_received(&self) -> bool {
        self.node.lookup.is_some() && !matches!(self.kind, NodeKind::Address(_))
    }

    /// What one of its invoices may ask for, where it makes any.
    fn limits(&self) -> Option<AmountLimits> {
        Some(self.node.invoices.as_ref()?.limits())
    }
}

impl Built {
    /// Whether holders of tokens may ask for refunds.
    #[must_use]
    pub fn refunds_are_on(&self) -> bool {
        let possible = self
            .node
            .as_ref()
            .is_some_and(|node| why_no_refunds(node).is_none());
        possible && self.file.refunds.enabled != Some(false)
    }

    /// Whether prepaid keys are sold.
    pub(super) fn keys_are_sold(&self) -> bool {
        let node = self.node.as_ref();
        let possible = node.is_some_and(|node| why_no_keys(node).is_none());
        possible && self.file.keys.enabled != Some(false)
    }

    /// What the backends can do and what is therefore on, off or impossible, a sentence each.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mints: Vec<_> = self.plan.payments.mints.iter().map(describe_mint).collect();
        let mut lines = match &self.node {
            Some(node) => self.describe_node(node),
            None if mints.is_empty() => vec!["lightning: none; nothing is sold".to_owned()],
            None => vec!["lightning: none; sold for ecash alone".to_owned()],
        };
        lines.extend(mints);
        if self.node.is_some() || !self.plan.payments.mints.is_empty() {
            lines.extend(self.describe_routes());
            lines.extend(self.market.describe(&self.file));
        }
        lines
    }

    fn describe_routes(&self) -> Vec<String> {
        let routes = || self.plan.routes.iter();
        let mut lines: Vec<_> = routes()
            .filter_map(|route| by_use::describe(route))
            .collect();
        lines.extend(routes().filter_map(|route| models::describe(route)));
        lines.extend(lookalikes::describe(&self.plan.routes));
        lines
    }

    fn describe_node(&self, node: &BuiltNode) -> Vec<String> {
        let mut lines: Vec<_> = node.iter().map(describe_backend).collect();
        lines.push(describe_refunds(self, node));
        lines.push(describe_keys(self, node));
        lines.push(describe_strict(self));
        lines.extend(describe_held(self, node));
        let routes = self.plan.routes.iter();
        lines.extend(routes.flat_map(|route| describe_bundles(route, node)));
        lines
    }
}

fn describe_mint(trusted: &TrustedMint) -> String {
    let units = trusted.mint.units().iter().map(|unit| unit.as_str());
    format!(
        "ecash: {} in {}, at most {} of each",
        trusted.mint.url(),
        units.collect::<Vec<_>>().join(" and "),
        trusted.most,
    )
}

fn describe_backend(backend: &BuiltBackend) -> String {
    let node = &backend.node;
    let look_up = if backend.says_what_was_received() {
        "look them up"
    } else {
        "look them up where the provider lets it (LUD-21)"
    };
    let words = [
        (node.invoices.is_some(), "make invoices"),
        (node.lookup.is_some(), look_up),
        (node.pay.is_some(), "pay"),
        (node.hold.is_some(), "hold payments"),
        (node.watch.is_some(), "tell of settlements"),
    ];
    let list = |wanted: bool| {
        let words = words.iter().filter(|(can, _)| *can == wanted);
        words.map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
    };
    let (can, cannot) = (list(true), list(false));
    let mut line = format!(
        "lightning: {:?} ({}) can {can}",
        backend.name,
        backend.section.kind.as_str(),
    );
    if !cannot.is_empty() {
        line.push_str(&format!("; it cannot {cannot}"));
    }
    let Some(limits) = backend.limits() else {
        return line;
    };
    if limits.min.get() > 1 {
        line.push_str(&format!("; least amount {}", limits.min));
    }
    if limits.step.get() > 1 {
        line.push_str(&format!("; only multiples of {}", limits.step));
    }
    line
}

fn describe_refunds(built: &Built, node: &BuiltNode) -> String {
    match (
        why_no_refunds(node),
        built.file.refunds.enabled,
        node.backends.payer(),
    ) {
        (Some(reason), _, _) => format!(
            "refunds: impossible over Lightning: {reason}. They need a backend that can look up \
             and pay: lnd, cln, phoenixd, lnbits with admin_key, nwc"
        ),
        (None, Some(false), Some((payer, _))) => {
            format!("refunds: off for holders; the operator may, and {payer:?} pays")
        }
        (None, _, payer) => {
            let payer = payer.map_or("", |(payer, _)| payer);
            let without = unconfirmed(node);
            format!("refunds: on: holders may ask at /.farebox/refund, and {payer:?} pays{without}")
        }
    }
}

fn describe_keys(built: &Built, node: &BuiltNode) -> String {
    match (why_no_keys(node), built.file.keys.enabled) {
        (Some(reason), _) => format!("keys: not sold: {reason}"),
        (None, Some(false)) => "keys: not sold; those that were are good".to_owned(),
        (None, _) => "keys: sold at /.farebox/keys".to_owned(),
    }
}

/// The backends whose receipts are never proven.
fn unconfirmed(node: &BuiltNode) -> String {
    let silent = node
        .iter()
        .filter(|backend| !backend.says_what_was_received());
    let names: Vec<_> = silent
        .map(|backend| format!("{:?}", backend.name))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!("; what {} received cannot be paid back", names.join(", "))
}

fn describe_strict(built: &Built) -> String {
    let strict = built
        .file
        .lightning
        .as_ref()
        .is_some_and(|lightning| lightning.strict);
    if strict {
        "strict: a token counts only when the node says that its invoice is settled".to_owned()
    } else {
        "strict: off: whoever shows the preimage has paid".to_owned()
    }
}

fn describe_held(built: &Built, node: &BuiltNode) -> Option<String> {
    let routes = built.file.route.iter();
    let held: Vec<_> = routes
        .filter(|route| route.on_failure == OnFailureSetting::Cancel)
        .map(|route| route.name.as_str())
        .collect();
    match node.backends.holder() {
        Some((holder, _)) if !held.is_empty() => Some(format!(
            "held payments: {holder:?} holds them for {} until the answer is there",
            held.join(", ")
        )),
        Some(_) => None,
        None => Some(
            "held payments: impossible (on_failure = \"cancel\"): no backend can hold a payment; \
             lnd can"
                .to_owned(),
        ),
    }
}

/// A bundle for each backend that takes another amount than the route asks for.
fn describe_bundles(route: &Route, node: &BuiltNode) -> Vec<String> {
    let offer = route.sale.as_ref().map(|sale| &sale.offer);
    let (Some(asked), Some(price)) = (
        offer.and_then(asked_in_bitcoin),
        offer.and_then(Offer::fixed_price),
    ) else {
        return Vec::new();
    };
    let bundle = |backend: &BuiltBackend| {
        let amount = backend.limits()?.cover(asked)?;
        let calls = amount.get() / price.get().max(1);
        (amount != asked).then(|| {
            format!(
                "route {}: one payment asks for {asked}, and {:?} takes {amount} for that: a payment \
                 becomes a balance of {amount}, good for {calls} calls at {price}",
                route.name, backend.name
            )
        })
    };
    node.iter().filter_map(bundle).collect()
}
