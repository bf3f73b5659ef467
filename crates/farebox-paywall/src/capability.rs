//! What a request needs to be allowed on its route, and whether a token still allows it.
//!
//! A route names its capabilities; tokens carry all of them, and a holder may leave fewer. A token
//! that nobody narrowed buys whatever its route sells, so that a seller who names a capability later
//! takes nothing from tokens that were sold without any.

use farebox_http::lenient::{LenientReading, has_short_name};
use farebox_wire::caveat::{Capabilities, Granted};
use http::Method;

use crate::error::Owed;

/// The capabilities of a route.
#[derive(Clone)]
pub struct RouteCapabilities {
    /// Their names, as tokens carry them.
    pub sold: Capabilities,
    /// Which requests need which.
    pub rules: Vec<CapabilityRule>,
}

/// Which requests need a capability.
#[derive(Clone)]
pub struct CapabilityRule {
    /// Its name.
    pub name: String,
    /// Requests with one of these methods; with any when absent.
    pub http_methods: Option<Vec<Method>>,
    /// Requests for one of these canonical paths or for what lies under it; for any when empty.
    pub paths: Vec<String>,
}

impl CapabilityRule {
    /// Whether it speaks of exactly this request.
    fn is_for(&self, method: &Method, path: &str) -> bool {
        let methods = self.http_methods.as_ref();
        let by_method = methods.is_none_or(|methods| methods.contains(method));
        let by_path = self.paths.is_empty() || self.paths.iter().any(|at| lies_under(at, path));
        by_method && by_path
    }

    /// Whether an upstream may take the request for one that it speaks of: many do not tell `/FILES`,
    /// `/files.json` and `/files` apart, nor `get` and `GET`.
    fn may_be_for(&self, method: &Method, path: &str) -> bool {
        let is_like = |own: &Method| own.as_str().eq_ignore_ascii_case(method.as_str());
        let methods = self.http_methods.as_ref();
        let by_method = methods.is_none_or(|methods| methods.iter().any(is_like));
        let reading = LenientReading::always(path);
        let may_lie_under = |at: &String| {
            let lenient = LenientReading::always(at);
            lies_under(at, path) || reading.paths().any(|path| lies_under(lenient.path(), path))
        };
        let by_path =
            self.paths.is_empty() || has_short_name(path) || self.paths.iter().any(may_lie_under);
        by_method && by_path
    }
}

fn lies_under(at: &str, path: &str) -> bool {
    let rest = path.strip_prefix(at.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a token has what this request needs.
pub fn check(
    granted: &Granted,
    route: Option<&RouteCapabilities>,
    method: &Method,
    path: &str,
) -> Result<(), Owed> {
    let Some(left) = &granted.holder.capabilities else {
        return Ok(());
    };
    let rules = || route.into_iter().flat_map(|route| &route.rules);
    let mut needed = rules().filter(|rule| rule.may_be_for(method, path));
    let has_all = needed.all(|rule| left.contains(&rule.name));
    // What no capability speaks of, by exactly this name, is for those who were left all of them.
    let is_whole = granted.capabilities.as_ref() == Some(left);
    if has_all && (is_whole || rules().any(|rule| rule.is_for(method, path))) {
        Ok(())
    } else {
        Err(Owed::MissingCapability)
    }
}

#[cfg(test)]
mod tests {
    use farebox_wire::caveat::read_caveats;

    use super::*;

    const OWN: [&str; 7] = [
        "amount_msat=5000",
        "kind=balance",
        "route=r",
        "methods=any",
        "terms=0000002a",
        "valid_for=3600",
        "claim_by=1893456000",
    ];

    fn route() -> RouteCapabilities {
        let rule = |name: &str, methods: &[Method], paths: &[&str]| CapabilityRule {
            name: name.to_owned(),
            http_methods: (!methods.is_empty()).then(|| methods.to_vec()),
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        };
        RouteCapabilities {
            sold: Capabilities::new(["read", "write", "files"]).unwrap(),
            rules: vec![
                rule("read", &[Method::GET], &[]),
                rule("write", &[Method::POST], &[]),
                rule("files", &[], &["/v1/files"]),
            ],
        }
    }

    /// A token as sold, and what was appended.
    fn token(sold: Option<&str>, appended: &[&str]) -> Granted {
        let mut caveats = OWN.to_vec();
        if let Some(sold) = sold {
            caveats.insert(3, sold);
        }
        caveats.extend(appended);
        read_caveats(caveats).unwrap()
    }

    fn may(token: &Granted, method: &Method, path: &str) -> bool {
        check(token, Some(&route()), method, path).is_ok()
    }

    #[test]
    fn a_token_as_sold_may_everything() {
        let all = token(Some("r_capabilities=files,read,write"), &[]);
        for whole in [&all, &token(None, &[])] {
            assert!(may(whole, &Method::GET, "/v1/files/1"));
            assert!(may(whole, &Method::DELETE, "/elsewhere"));
        }
    }

    #[test]
    fn a_narrowed_token_may_only_what_it_was_left() {
        let reading = token(
            Some("r_capabilities=files,read,write"),
            &["r_capabilities=read"],
        );
        assert!(may(&reading, &Method::GET, "/v1"));
        assert!(!may(&reading, &Method::POST, "/v1"));
        assert!(!may(&reading, &Method::GET, "/v1/files"));
        assert!(!may(&reading, &Method::GET, "/v1/files/1"));
        assert!(may(&reading, &Method::GET, "/v1/filesystem"));
        assert!(!may(&reading, &Method::DELETE, "/v1"));
    }

    #[test]
    fn no_spelling_of_a_path_or_method_gets_around_a_capability() {
        let sold = Some("r_capabilities=files,read,write");
        let reading = token(sold, &["r_capabilities=read"]);
        for path in [
            "/V1/FILES",
            "/v1/files.",
            "/v1/files%20",
            "/v1/files.json",
            "/v1/files::$DATA",
            "/v1//files/1",
            "/v1/FILES~1",
        ] {
            assert!(!may(&reading, &Method::GET, path), "{path}");
        }
        let write = Method::from_bytes(b"post").unwrap();
        assert!(!may(&reading, &write, "/v1"));
        let files = token(sold, &["r_capabilities=files"]);
        // Where an upstream tells them apart, this is something that nobody named.
        assert!(!may(&files, &Method::PUT, "/V1/FILES"));
        assert!(may(&files, &Method::PUT, "/v1/files"));
    }

    #[test]
    fn a_capability_that_was_not_sold_yet_is_not_had() {
        let old = token(Some("r_capabilities=read"), &[]);
        assert!(may(&old, &Method::GET, "/v1"));
        assert!(!may(&old, &Method::POST, "/v1"));
        assert!(may(&old, &Method::DELETE, "/v1"));
    }

    #[test]
    fn a_restriction_that_its_route_does_not_know_is_not_ignored() {
        let narrowed = token(None, &["r_capabilities=read"]);
        assert!(check(&narrowed, None, &Method::GET, "/v1").is_err());
        let sold = token(Some("r_capabilities=read"), &[]);
        assert!(check(&sold, None, &Method::GET, "/v1").is_ok());
    }
}
