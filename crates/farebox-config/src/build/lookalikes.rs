//! Routes between which a path may be taken for another: what `config check` says of them.

use farebox_gateway::plan::Route;
use farebox_http::lenient::LenientReading;
use farebox_http::routes::RouteTable;
use std::sync::Arc;

/// A sentence for each free route that leads to what another one sells.
pub(super) fn describe(routes: &RouteTable<Arc<Route>>) -> Vec<String> {
    let free = routes.iter().filter(|route| route.sale.is_none());
    free.flat_map(|free| {
        let priced = routes.iter().filter(|route| route.sale.is_some());
        priced.filter_map(|priced| between(free, priced))
    })
    .collect()
}

fn between(free: &Route, priced: &Route) -> Option<String> {
    if free.upstream.pool.authority() != priced.upstream.pool.authority() {
        return None;
    }
    let (open, sold) = (reach(free)?, reach(priced)?);
    let (name, other) = (&free.name, &priced.name);
    if open == sold {
        return Some(format!(
            "route {name}: free, and forwards to what route {other} sells ({sold})"
        ));
    }
    let under = sold.strip_prefix(open.as_str())?;
    let lies_under = open == "/" || under.starts_with('/');
    lies_under.then(|| {
        format!(
            "route {name}: free, with what route {other} sells under it; paths that the upstream may \
             take for {sold} are refused there (capitals, dots, formats such as .json, another prefix)"
        )
    })
}

/// The path in front of all that a route forwards, as a lenient server reads it.
fn reach(route: &Route) -> Option<String> {
    let root = route.root.as_deref()?;
    let forwarded = route.upstream.mapping.forwarded(root, 0);
    Some(LenientReading::always(&forwarded).path().to_owned())
}
