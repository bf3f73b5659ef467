//! The route of a request, and whether its path leads past a price.
//!
//! Many servers take several paths for one: they cut parameters off (`/paid;x`), do not tell capitals
//! apart, take a slash, a dot or a format at the end for nothing. No such spelling may serve under a free
//! or cheaper route what has a price. What a free route forwards may also be what another one sells under
//! another prefix. A path that a route names itself is meant, and never refused.

use std::sync::Arc;

use farebox_http::lenient::{LenientReading, has_short_name};
use farebox_http::path::PathError;
use farebox_http::routes::RouteTable;

use crate::own::is_own;
use crate::plan::Route;
use crate::refusal::{Refusal, RequestError};

/// The route of a request.
///
/// # Errors
/// There is none, or the path may be another spelling of one that another route sells.
pub(crate) fn find_route<'p>(
    routes: &'p RouteTable<Arc<Route>>,
    host: &str,
    path: &str,
) -> Result<&'p Arc<Route>, Refusal> {
    let route = routes.find(host, path).ok_or(RequestError::NoRoute)?;
    if route.root.as_deref() == Some(path) {
        return Ok(route);
    }
    let is_lookalike = is_spelled_like_another(routes, host, route, path)
        || is_sold_elsewhere(routes, host, route, path)
        || (has_short_name(path) && routes.iter().any(|other| is_priced_twin(other, route)));
    if is_lookalike {
        Err(PathError::Lookalike.into())
    } else {
        Ok(route)
    }
}

/// Whether a lenient server would read a path that another route sells, or one of our own.
fn is_spelled_like_another(
    routes: &RouteTable<Arc<Route>>,
    host: &str,
    route: &Arc<Route>,
    path: &str,
) -> bool {
    let leads_past = |path: &str| {
        let other = routes.find_folded(host, path);
        is_own(path) || other.is_some_and(|other| is_priced_twin(other, route))
    };
    match LenientReading::of(path) {
        Some(reading) => reading.paths().any(leads_past),
        None => routes.is_read_leniently() && leads_past(path),
    }
}

/// Whether a free route forwards what another route sells under another prefix, and names more exactly
/// than this one does.
fn is_sold_elsewhere(
    routes: &RouteTable<Arc<Route>>,
    host: &str,
    route: &Arc<Route>,
    path: &str,
) -> bool {
    if route.neighbours.is_empty() {
        return false;
    }
    let reading = LenientReading::always(&route.upstream.mapping.forwarded(path, 0));
    route.neighbours.iter().any(|mapping| {
        reading.paths().any(|forwarded| {
            let public = mapping.public(forwarded);
            let other = public.and_then(|path| routes.find_folded(host, &path));
            other.is_some_and(|other| {
                is_priced_twin(other, route)
                    && other.upstream.mapping.lenient() == *mapping
                    && (other.begins_with.is_empty() || reach(other) > reach(route))
            })
        })
    })
}

/// How exactly a route says what it forwards: the length of the text in front of all of it.
fn reach(route: &Route) -> usize {
    let forwarded = route.upstream.mapping.forwarded(&route.begins_with, 0);
    forwarded.trim_end_matches('/').len()
}

/// Whether `other` sells what may be the same resource of the same upstream.
fn is_priced_twin(other: &Arc<Route>, route: &Arc<Route>) -> bool {
    let same_server = other.upstream.pool.authority() == route.upstream.pool.authority();
    other.sale.is_some() && same_server && !Arc::ptr_eq(other, route)
}
