//! What may be asked of a route, by name: names that fit into a token, and requests that need them.

use farebox_core::RouteName;
use farebox_paywall::capability::{CapabilityRule, RouteCapabilities};
use farebox_paywall::sale::Sale;
use farebox_wire::caveat::{Capabilities, MAX_CAVEAT_LENGTH};
use http::Method;

use super::at::At;
use crate::choice::CapabilityTable;
use crate::file::RouteSection;

/// The capabilities of a route, if it names any.
pub(super) fn capabilities(
    route: &RouteSection,
    sale: Option<&Sale>,
    at: &At<'_>,
) -> Option<Box<RouteCapabilities>> {
    let written = route.capabilities.as_ref()?;
    let key = at.key("capabilities");
    if sale.is_none() {
        key.note("makes no sense on a route whose price is \"free\": nobody brings a token");
        return None;
    }
    let rules = written.rules();
    let names = rules.iter().map(|(name, _)| *name);
    let sold = match Capabilities::new(names) {
        Ok(sold) => sold,
        Err(error) => {
            key.note(error);
            return None;
        }
    };
    let fits = |name: &RouteName| sold.caveat(name).len() <= MAX_CAVEAT_LENGTH;
    if RouteName::parse(&route.name).is_ok_and(|name| !fits(&name)) {
        key.note(format!(
            "longer together than a caveat may be ({MAX_CAVEAT_LENGTH} bytes)"
        ));
        return None;
    }
    let rules = rules.iter();
    let rules = rules.map(|(name, table)| rule(name, table, &key.key(name)));
    let rules: Option<Vec<_>> = rules.collect::<Vec<_>>().into_iter().collect();
    let rules = rules?;
    Some(Box::new(RouteCapabilities { sold, rules }))
}

fn rule(name: &str, table: &CapabilityTable, at: &At<'_>) -> Option<CapabilityRule> {
    let before = at.mistakes();
    let methods = table.http_methods.as_ref().map(|written| {
        let key = at.key("http_methods");
        if written.is_empty() {
            key.note("no request would need it");
        }
        let parse = |text: &String| key.take(Method::from_bytes(text.as_bytes()));
        written.iter().filter_map(parse).collect()
    });
    let paths = table.paths.iter().enumerate();
    for (place, _) in paths.filter(|(_, path)| !path.starts_with('/')) {
        let key = at.key("paths").index(place);
        key.note("paths begin with a slash");
    }
    (at.mistakes() == before).then(|| CapabilityRule {
        name: name.to_owned(),
        http_methods: methods,
        paths: table.paths.clone(),
    })
}
