//! One service: the route that sells it, and those of its paths that are free.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use farebox_core::Msat;
use farebox_wire::caveat::Capabilities;
use yaml_rust2::Yaml;

use super::pattern::{self, Host};
use crate::choice::{
    Amount, CapabilitiesSetting, Free, HeaderText, PathMatch, PriceSetting, Texts,
};
use crate::file::{CorsSection, ProtocolSetting, RouteSection};
use crate::import::{Notes, note_rest, route_name};
use crate::units::{Lasting, PerPeriod};

/// What Aperture asks for where it says nothing, or nothing at all, in satoshis.
const DEFAULT_PRICE: i64 = 1;
/// How long a pass lasts where a token never timed out.
const WITHOUT_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);

/// Settings that are turned into ours, or speak of themselves.
const TAKEN: [&str; 16] = [
    "name",
    "hostregexp",
    "pathregexp",
    "address",
    "protocol",
    "auth",
    "authscheme",
    "headers",
    "capabilities",
    "rewrite",
    "tlscertpath",
    "timeout",
    "price",
    "dynamicprice",
    "authwhitelistpaths",
    "ratelimits",
];

/// What has to be said of settings that have no counterpart.
const INSTEAD: [(&str, &str); 2] = [
    (
        "constraints",
        "Aperture wrote them into tokens and left it to the service to read them",
    ),
    (
        "authskipinvoicecreationpaths",
        "these paths answer with an invoice as well",
    ),
];

/// The routes of all services, in the order in which they are tried.
pub(super) fn routes(services: &[Yaml], all: &mut Vec<String>) -> Vec<RouteSection> {
    let mut routes: Vec<RouteSection> = Vec::new();
    for (place, service) in services.iter().enumerate() {
        let mut name = route_name(service["name"].as_str().unwrap_or_default(), place);
        if routes.iter().any(|route| route.name == name) {
            name = format!("route-{}", place + 1);
        }
        let notes = Notes {
            about: format!("service {name}"),
            all,
        };
        routes.extend(read(service, &name, notes));
    }
    routes
}

fn read(service: &Yaml, name: &str, mut notes: Notes) -> Vec<RouteSection> {
    note_without_counterpart(service, &mut notes);
    let pattern = pattern::path(service["pathregexp"].as_str().unwrap_or_default());
    let sold = RouteSection {
        path: regex(&pattern),
        host: host(service, name, &mut notes),
        upstream: upstream(service, &mut notes),
        protocol: protocol(service),
        ca_file: service["tlscertpath"].as_str().map(PathBuf::from),
        headers: headers(service, name, &mut notes),
        price: price(service, &mut notes),
        cors: Some(CorsSection {
            origins: Texts::One("*".to_owned()),
            ..CorsSection::default()
        }),
        name: name.to_owned(),
        ..RouteSection::default()
    };
    let mut routes = free_paths(service, &sold, &pattern, &mut notes);
    if sold.price == Some(PriceSetting::Free(Free::Free)) {
        note_tokens_of_nothing(service, &mut notes);
        routes.push(sold);
        return routes;
    }
    routes.push(RouteSection {
        pass: Some(pass(&service["timeout"], &mut notes)),
        rate: rate(&service["ratelimits"], &mut notes),
        capabilities: capabilities(&service["capabilities"], &mut notes),
        ..sold
    });
    routes
}

fn regex(pattern: &str) -> PathMatch {
    PathMatch::Regex {
        regex: pattern.to_owned(),
    }
}

fn note_without_counterpart(service: &Yaml, notes: &mut Notes) {
    note_rest(service, &TAKEN, &INSTEAD, |key, text| notes.add(key, text));
    match service["authscheme"].as_str() {
        None | Some("" | "l402") => {}
        Some(_) => notes.add("authscheme", "no counterpart; L402 is spoken"),
    }
}

/// The free routes stand before the one that sells, as each of them is tried first.
fn free_paths(
    service: &Yaml,
    sold: &RouteSection,
    pattern: &str,
    notes: &mut Notes,
) -> Vec<RouteSection> {
    let listed = service["authwhitelistpaths"].as_vec();
    let listed: Vec<_> = listed
        .into_iter()
        .flatten()
        .filter_map(Yaml::as_str)
        .collect();
    if !listed.is_empty() && !pattern::is_everything(pattern) {
        notes.add(
            "authwhitelistpaths",
            "free on all paths of their own, whatever pathregexp says: see that none of them takes \
             more than the service had",
        );
    }
    let free = |(place, go): (usize, &&str)| RouteSection {
        name: route_name(&format!("{}-free-{}", sold.name, place + 1), place),
        path: regex(&pattern::path(go)),
        price: Some(PriceSetting::Free(Free::Free)),
        ..sold.clone()
    };
    listed.iter().enumerate().map(free).collect()
}

/// A service without authentication has no tokens to time out or to limit.
fn note_tokens_of_nothing(service: &Yaml, notes: &mut Notes) {
    for key in ["timeout", "ratelimits", "capabilities"] {
        if !service[key].is_badvalue() {
            notes.add(key, "no counterpart on a free route");
        }
    }
}

fn host(service: &Yaml, name: &str, notes: &mut Notes) -> Option<String> {
    match pattern::host(service["hostregexp"].as_str().unwrap_or_default()) {
        Host::Any => None,
        Host::Name(host) => Some(host),
        Host::Other => {
            let placeholder = format!("{}.change-me.invalid", name.to_ascii_lowercase());
            let placeholder = placeholder.replace('_', "-");
            notes.add(
                "hostregexp",
                format!(
                    "a host is a name or `*.name` here; write it in the place of {placeholder}"
                ),
            );
            Some(placeholder)
        }
    }
}

fn upstream(service: &Yaml, notes: &mut Notes) -> String {
    let address = service["address"].as_str().unwrap_or_default();
    let is_https = service["protocol"].as_str() == Some("https");
    if is_https && service["tlscertpath"].as_str().is_none() {
        notes.add(
            "protocol",
            "Aperture believed every certificate of the service; Farebox believes those of public \
             authorities, or the one named by ca_file",
        );
    }
    let prefix = service["rewrite"]["prefix"].as_str().unwrap_or_default();
    let scheme = if is_https { "https" } else { "http" };
    format!("{scheme}://{address}{}", prefix.trim_end_matches('/'))
}

fn protocol(service: &Yaml) -> ProtocolSetting {
    match service["protocol"].as_str() {
        Some("h2c" | "http2") => ProtocolSetting::Http2,
        _ => ProtocolSetting::Auto,
    }
}

fn headers(service: &Yaml, name: &str, notes: &mut Notes) -> BTreeMap<String, HeaderText> {
    let written = service["headers"].as_hash().into_iter().flatten();
    let written = written.filter_map(|(key, value)| Some((key.as_str()?, value.as_str())));
    let mut headers = BTreeMap::new();
    for (header, value) in written {
        let key = format!("headers.{header}");
        let Some(value) = value.filter(|_| http::HeaderName::try_from(header).is_ok()) else {
            notes.add(&key, "not a header, and left out");
            continue;
        };
        let text = match encoded_file(value) {
            Some((encoding, file)) => {
                let env = variable(name, header);
                notes.add(
                    &key,
                    format!("put the bytes of {file} in {encoding} into the variable {env}"),
                );
                HeaderText::Env {
                    env,
                    prefix: String::new(),
                }
            }
            None => notes.header(header, value),
        };
        headers.insert(header.to_owned(), text);
    }
    headers
}

/// A header whose value is the content of a file.
fn encoded_file(value: &str) -> Option<(&'static str, &str)> {
    let file = value.strip_prefix("!file+")?;
    let hex = file.strip_prefix("hex:").map(|file| ("hex", file));
    hex.or_else(|| Some(("base64", file.strip_prefix("base64:")?)))
}

fn variable(name: &str, header: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    format!("{name}_{header}").chars().map(letter).collect()
}

/// None, so that the check asks for it, where another program was asked for each price.
fn price(service: &Yaml, notes: &mut Notes) -> Option<PriceSetting> {
    let free = Some(PriceSetting::Free(Free::Free));
    match &service["auth"] {
        Yaml::Boolean(false) => return free,
        Yaml::String(level) => match level.to_ascii_lowercase() {
            level if level == "off" || level == "false" => return free,
            level if level.starts_with("freebie") => {
                notes.add(
                    "auth",
                    "no counterpart; there are no free calls before the first sale",
                );
            }
            _ => {}
        },
        _ => {}
    }
    let dynamic = &service["dynamicprice"];
    if dynamic["enabled"].as_bool() == Some(true) {
        let reason = "no counterpart; write a price, or let a program of yours say it over HTTP: \
                      { webhook = … }";
        notes.add("dynamicprice", reason);
        return None;
    }
    if !dynamic.is_badvalue() {
        notes.add("dynamicprice", "no counterpart; it was not enabled either");
    }
    let price = &service["price"];
    let sat = match price.as_i64().or_else(|| price.is_badvalue().then_some(0)) {
        Some(0) => {
            notes.add(
                "price",
                "1 satoshi, as Aperture asks where nothing or 0 is written",
            );
            Some(DEFAULT_PRICE)
        }
        sat => sat,
    };
    let amount = sat.and_then(|sat| Msat::from_sat(u64::try_from(sat).ok()?).ok());
    if amount.is_none() {
        notes.add("price", "no amount of satoshis; write a price");
    }
    amount.map(|amount| PriceSetting::Fixed(Amount(amount)))
}

fn pass(timeout: &Yaml, notes: &mut Notes) -> Lasting {
    let seconds = timeout
        .as_i64()
        .and_then(|seconds| u64::try_from(seconds).ok());
    match seconds.filter(|seconds| *seconds > 0) {
        Some(seconds) => Lasting::seconds(seconds),
        None => {
            notes.add(
                "timeout",
                "tokens never timed out; a pass of a year was put in its place",
            );
            Lasting(WITHOUT_TIMEOUT)
        }
    }
}

/// As Aperture wrote them into tokens, `<name>_capabilities=add,subtract`.
fn capabilities(written: &Yaml, notes: &mut Notes) -> Option<CapabilitiesSetting> {
    let names: Vec<_> = written.as_str()?.split(',').map(str::trim).collect();
    if names == [""] {
        return None;
    }
    if let Err(error) = Capabilities::new(names.iter().copied()) {
        notes.add("capabilities", format!("no counterpart: {error}"));
        return None;
    }
    notes.add(
        "capabilities",
        "every request needs all of them; say which requests need which, since the service is not \
         shown the token any more",
    );
    let names = names.into_iter().map(str::to_owned).collect();
    Some(CapabilitiesSetting::Listed(names))
}

/// The limit for all paths of the service, if there is one.
fn rate(limits: &Yaml, notes: &mut Notes) -> Option<PerPeriod> {
    let mut rate = None;
    for limit in limits.as_vec().into_iter().flatten() {
        let is_for_all = limit["pathregexp"].as_str().unwrap_or_default().is_empty();
        let read = per_period(limit).filter(|_| is_for_all && rate.is_none());
        if read.is_none() {
            let reason = "no counterpart for a limit on some paths, or a second one; a route has \
                          one rate for each token";
            notes.add("ratelimits", reason);
            continue;
        }
        if !limit["burst"].is_badvalue() {
            notes.add("ratelimits.burst", "no counterpart");
        }
        rate = read;
    }
    rate
}

fn per_period(limit: &Yaml) -> Option<PerPeriod> {
    let count = u32::try_from(limit["requests"].as_i64()?).ok()?;
    let period = humantime::parse_duration(limit["per"].as_str()?).ok()?;
    (count > 0 && !period.is_zero()).then_some(PerPeriod { count, period })
}
