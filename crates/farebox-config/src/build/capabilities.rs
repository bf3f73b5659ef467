//! What may be asked of a route, by name: names that fit into a token, and requests that need them.

use farebox_core::RouteName;
use farebox_paywall::capability::{CapabilityRule, RouteCapabilities};
use farebox_paywall::sale::Sale;
use farebox_wire::caveat::{Capabilities, MAX_CAVEAT_LENGTH};
use http::Method;

use crate::choice::CapabilityTable;
use crate::file::RouteSection;
use crate::mistake::{KeyPath, Mistakes};

/// The capabilities of a route, if it names any.
pub(super) fn capabilities(
    route: &RouteSection,
    sale: Option<&Sale>,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<Box<RouteCapabilities>> {
    let written = route.capabilities.as_ref()?;
    let key = at.key("capabilities");
    if sale.is_none() {
        let reason = "makes no sense on a route whose price is \"free\": nobody brings a token";
        mistakes.note(key, reason);
        return None;
    }
    let rules = written.rules();
    let names = rules.iter().map(|(name, _)| *name);
    let sold = match Capabilities::new(names) {
        Ok(sold) => sold,
        Err(error) => {
            mistakes.note(key, error);
            return None;
        }
    };
    let fits = |name: &RouteName| sold.caveat(name).len() <= MAX_CAVEAT_LENGTH;
    if RouteName::parse(&route.name).is_ok_and(|name| !fits(&name)) {
        let reason = format!("longer together than a caveat may be ({MAX_CAVEAT_LENGTH} bytes)");
        mistakes.note(key, reason);
        return None;
    }
    let rules = rules.iter();
    let rules = rules.map(|(name, table)| rule(name, table, &key.key(name), mistakes));
    let rules: Option<Vec<_>> = rules.collect::<Vec<_>>().into_iter().collect();
    let rules = rules?;
    Some(Box::new(RouteCapabilities { sold, rules }))
}

fn rule(
    name: &str,
    table: &CapabilityTable,
    at: &KeyPath,
    mistakes: &mut Mistakes,
) -> Option<CapabilityRule> {
    let before = mistakes.len();
    let methods = table.http_methods.as_ref().map(|written| {
        let key = at.key("http_methods");
        if written.is_empty() {
            mistakes.note(key.clone(), "no request would need it");
        }
        let parse = |text: &String| mistakes.take(key.clone(), Method::from_bytes(text.as_bytes()));
        written.iter().filter_map(parse).collect()
    });
    let paths = table.paths.iter().enumerate();
    for (place, _) in paths.filter(|(_, path)| !path.starts_with('/')) {
        let key = at.key("paths").index(place);
        mistakes.note(key, "paths begin with a slash");
    }
    (mistakes.len() == before).then(|| CapabilityRule {
        name: name.to_owned(),
        http_methods: methods,
        paths: table.paths.clone(),
    })
}
