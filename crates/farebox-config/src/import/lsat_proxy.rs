//! lsat-proxy-rs's `config.yaml`: backends with an exact path, a fixed price, header lines, a body to
//! fill in and a field to sell.

mod shape;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use farebox_core::Msat;
use yaml_rust2::{Yaml, YamlLoader};

use super::{ImportError, Imported, Notes, OldLnd, note_rest, route_name};
use crate::choice::{Amount, Free, HeaderText, PathMatch, PriceSetting, Texts};
use crate::file::{ConfigFile, CorsSection, LightningSection, RouteSection, ServerSection};
use crate::units::Lasting;

/// Settings of a backend that are turned into ours.
const TAKEN: [&str; 13] = [
    "name",
    "path",
    "upstream",
    "headers",
    "body",
    "pass_fields",
    "response_fields",
    // As lsat-proxy spells it, and as it should be.
    "capabilties",
    "capabilities",
    "price_msat",
    "price_passthrough",
    "budget_multiple",
    "constraints",
];

/// Turns a `config.yaml` (or JSON) of lsat-proxy into a configuration.
///
/// # Errors
/// [`ImportError`] when it is not one.
pub fn import(text: &str) -> Result<Imported, ImportError> {
    let documents = YamlLoader::load_from_str(text)?;
    let root = documents.first().ok_or(ImportError::NoBackends)?;
    let backends = root["backends"].as_vec().ok_or(ImportError::NoBackends)?;
    let mut notes = fixed_notes();
    note_unknown(root, "", &["server", "lnd", "backends"], &mut notes);
    note_unknown(&root["server"], "server.", &["host", "port"], &mut notes);
    let route = backends.iter().enumerate();
    let route = route
        .map(|(place, backend)| read_backend(backend, place, &mut notes))
        .collect();
    let file = ConfigFile {
        server: server(&root["server"], &mut notes),
        lightning: Some(lightning(&root["lnd"], &mut notes)),
        route,
        ..ConfigFile::default()
    };
    Ok(Imported { file, notes })
}

fn fixed_notes() -> Vec<String> {
    [
        "tokens: those sold by lsat-proxy are not accepted; new ones can be spent for 30 days \
         (`valid_for`) instead of two minutes",
        "/invoice/status: no counterpart; it gave the preimage of every invoice to whoever had the \
         invoice, paid or not. A client that is shown no preimage asks for the state of its own challenge \
         with `farebox-claim` and `farebox-claim-status`, and pays by that claim (docs/reference/http.md)",
        "cors: pages of any origin may call each route, as with lsat-proxy; to allow fewer, name them under \
         `cors.origins`",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The same node, and as strict as lsat-proxy: it asked the node about every payment.
fn lightning(lnd: &Yaml, notes: &mut Vec<String>) -> LightningSection {
    note_unknown(lnd, "lnd.", &["host", "tls_path", "mac_path"], notes);
    let old = OldLnd {
        program: "lsat-proxy",
        host: lnd["host"].as_str(),
        tls_cert: lnd["tls_path"].as_str(),
        macaroon: lnd["mac_path"].as_str().map(PathBuf::from),
        strict: true,
    };
    old.section("lnd", notes)
}

fn note_unknown(node: &Yaml, place: &str, known: &[&str], notes: &mut Vec<String>) {
    note_rest(node, known, &[], |key, text| {
        notes.push(format!("{place}{key}: {text}"));
    });
}

fn server(node: &Yaml, notes: &mut Vec<String>) -> ServerSection {
    let mut section = ServerSection {
        // Its clients know the scheme by its old name only.
        legacy_challenge: true,
        ..ServerSection::default()
    };
    let host = node["host"].as_str().map(str::parse::<IpAddr>);
    let port = node["port"].as_i64().map(u16::try_from);
    match (host, port) {
        (Some(Ok(host)), Some(Ok(port))) => section.listen = SocketAddr::new(host, port),
        _ => notes.push(format!(
            "server: no usable host and port; {} instead",
            section.listen
        )),
    }
    section
}

fn read_backend(backend: &Yaml, place: usize, all: &mut Vec<String>) -> RouteSection {
    let text = |key: &str| backend[key].as_str().unwrap_or_default();
    let name = route_name(text("name"), place);
    let notes = &mut Notes {
        about: format!("backend {name}"),
        all,
    };
    note_without_counterpart(backend, notes);
    let path = text("path").to_owned();
    RouteSection {
        path: PathMatch::Exact { exact: path },
        // The path is lsat-proxy's own; its upstream is a whole URL.
        strip_prefix: true,
        upstream: text("upstream").trim_end_matches('/').to_owned(),
        headers: headers(&backend["headers"], notes),
        price: price(&backend["price_msat"], notes),
        calls: calls(&backend["budget_multiple"], notes),
        timeout: timeout(&backend["constraints"], notes),
        cors: Some(any_origin()),
        capabilities: shape::capabilities(backend, notes),
        request: shape::request(backend, notes),
        response: shape::response(backend, notes),
        name,
        ..RouteSection::default()
    }
}

fn any_origin() -> CorsSection {
    CorsSection {
        origins: Texts::One("*".to_owned()),
        ..CorsSection::default()
    }
}

fn note_without_counterpart(backend: &Yaml, notes: &mut Notes<'_>) {
    if backend["price_passthrough"].as_bool() == Some(true) {
        let text = "lsat-proxy never asked the upstream for its price, so `price_msat` stays; Farebox \
                    can: see `price` in the configuration reference";
        notes.add("price_passthrough", text);
    }
    let instead = [("proto", "lsat-proxy did not use it either: the URL says it")];
    note_rest(backend, &TAKEN, &instead, |key, text| notes.add(key, text));
}

/// `"Name: value"` lines, split at the first colon: values may have colons of their own.
fn headers(list: &Yaml, notes: &mut Notes<'_>) -> BTreeMap<String, HeaderText> {
    let mut headers = BTreeMap::new();
    for line in list.as_vec().into_iter().flatten().filter_map(Yaml::as_str) {
        let Some((header, value)) = line.split_once(':') else {
            notes.add("headers", "a line without a colon was left out");
            continue;
        };
        let header = header.trim();
        if http::HeaderName::try_from(header).is_err() {
            notes.add("headers", format!("{header:?} is no header name"));
            continue;
        }
        headers.insert(header.to_owned(), notes.header(header, value.trim()));
    }
    headers
}

fn price(msat: &Yaml, notes: &mut Notes<'_>) -> Option<PriceSetting> {
    let msat = msat.as_i64().and_then(|msat| u64::try_from(msat).ok());
    let price = msat.and_then(|msat| Msat::new(msat).ok());
    if price.is_none() {
        notes.add("price_msat", "is missing or no amount");
    }
    Some(match price? {
        Msat::ZERO => PriceSetting::Free(Free::Free),
        msat => PriceSetting::Fixed(Amount(msat)),
    })
}

/// `price_msat` × `budget_multiple` is what one payment asks for on both sides.
fn calls(multiple: &Yaml, notes: &mut Notes<'_>) -> Option<u32> {
    let multiple = multiple.as_i64()?;
    let calls = u32::try_from(multiple).ok();
    if calls.is_none() {
        notes.add(
            "budget_multiple",
            format!("{multiple} is no number of calls"),
        );
    }
    calls.filter(|calls| *calls > 1)
}

fn timeout(constraints: &Yaml, notes: &mut Notes<'_>) -> Lasting {
    note_rest(constraints, &["timeout"], &[], |key, text| {
        notes.add(&format!("constraints.{key}"), text);
    });
    let written = &constraints["timeout"];
    let seconds = written.as_i64().or_else(|| written.as_str()?.parse().ok());
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = seconds.filter(|seconds| *seconds > 0);
    seconds.map_or(RouteSection::default().timeout, Lasting::seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::{CapabilitiesSetting, FieldType, SecretSource};
    use crate::file::{BackendKind, FormatSetting};

    const YAML: &str = r#"
server: { host: 0.0.0.0, port: 3030 }
lnd: { host: "localhost:10009", tls_path: t, mac_path: m }
backends:
  - name: "ask me"
    path: /ask
    upstream: "https://api.example.com/v1/complete"
    headers:
      - "Authorization: Bearer abc:def"
      - "X-Callback: https://me.example.com:8443/x"
      - "no colon here"
    body: '{"a": 1, "max_tokens": 57}'
    pass_fields: { prompt: string, max_tokens: int, odd: date }
    capabilties: "add, subtract"
    proto: https
    constraints: { timeout: 600, size: 3 }
    price_msat: 1500
    budget_multiple: 4
    price_passthrough: true
    response_fields: choices.0.text
"#;

    fn header(route: &RouteSection, name: &str) -> String {
        match &route.headers[name] {
            HeaderText::Text(text) => text.clone(),
            HeaderText::Env { .. } | HeaderText::File { .. } => panic!("not text"),
        }
    }

    #[test]
    fn a_backend_becomes_a_route_with_price_and_calls() {
        let imported = import(YAML).unwrap();
        let route = &imported.file.route[0];
        assert_eq!(imported.file.server.listen, "0.0.0.0:3030".parse().unwrap());
        assert!(imported.file.server.legacy_challenge);
        assert_eq!((route.name.as_str(), route.calls), ("ask-me", Some(4)));
        assert!(route.price == Some(PriceSetting::Fixed(Amount(Msat::new(1500).unwrap()))));
        assert_eq!(route.upstream, "https://api.example.com/v1/complete");
    }

    #[test]
    fn the_node_is_the_same_one_and_asked_about_every_payment() {
        let lightning = import(YAML).unwrap().file.lightning.unwrap();
        let BackendKind::Lnd(lnd) = lightning.first.kind else {
            panic!("another backend");
        };
        assert!(lightning.strict);
        assert_eq!(lnd.api.url.as_deref(), Some("https://localhost:8080"));
        assert_eq!(lnd.api.tls_cert, Some(PathBuf::from("t")));
        let file = PathBuf::from("m");
        assert!(lnd.macaroon == Some(SecretSource::File { file }));
    }

    #[test]
    fn without_a_node_somebody_has_to_be_named() {
        for lnd in ["", "lnd: { host: '' }\n", "lnd: { host: 'a@b' }\n"] {
            let yaml = format!("{lnd}backends: [{{ name: a, path: /a, upstream: 'http://b' }}]");
            let imported = import(&yaml).unwrap();
            let lightning = imported.file.lightning.unwrap();
            assert_eq!(lightning.first.kind.as_str(), "lightning-address");
            assert!(imported.notes.join("\n").contains("no usable host"));
        }
    }

    #[test]
    fn header_values_keep_their_colons() {
        let imported = import(YAML).unwrap();
        let route = &imported.file.route[0];
        assert_eq!(header(route, "Authorization"), "Bearer abc:def");
        assert_eq!(header(route, "X-Callback"), "https://me.example.com:8443/x");
    }

    #[test]
    fn the_body_its_fields_and_the_field_of_the_answer_are_kept() {
        let imported = import(YAML).unwrap();
        let route = &imported.file.route[0];
        let request = route.request.as_ref().unwrap();
        assert_eq!(request.body, r#"{"a": 1, "max_tokens": 57}"#);
        let field = |name: &str| request.pass_fields[name].table();
        assert!(field("prompt").kind == FieldType::String && field("prompt").required);
        let tokens = field("max_tokens");
        assert!(tokens.kind == FieldType::Int && tokens.from_text && !tokens.required);
        let response = route.response.as_ref().unwrap();
        assert!(response.fields == Texts::One("choices.0.text".to_owned()));
        assert!(response.format == FormatSetting::LsatProxy);
        let names = ["add", "subtract"].map(str::to_owned).to_vec();
        assert!(route.capabilities == Some(CapabilitiesSetting::Listed(names)));
    }

    #[test]
    fn pages_of_any_origin_may_call_it_as_before() {
        let cors = import(YAML).unwrap().file.route[0].cors.clone().unwrap();
        assert!(cors.origins == Texts::One("*".to_owned()) && !cors.allow_credentials);
    }

    #[test]
    fn a_backend_without_fields_sends_its_body_as_it_is() {
        let yaml = "backends: [{ name: a, path: /a, upstream: 'http://b', price_msat: 1, \
                    body: '{\"a\":1}', capabilties: '' }]";
        let imported = import(yaml).unwrap();
        let route = &imported.file.route[0];
        assert!(route.request.as_ref().unwrap().pass_fields.is_empty());
        assert!(route.response.is_none() && route.capabilities.is_none());
        assert!(imported.notes.join("\n").contains("pass_fields"));
    }

    #[test]
    fn everything_without_a_counterpart_is_listed() {
        let notes = import(YAML).unwrap().notes.join("\n");
        for part in [
            "/invoice/status: no counterpart",
            "lnd:",
            "proto:",
            "pass_fields: odd",
            "price_passthrough:",
            "constraints.size",
            "without a colon",
        ] {
            assert!(notes.contains(part), "{part} in {notes}");
        }
        assert!(!notes.contains("abc:def"));
    }

    #[test]
    fn a_backend_without_a_price_is_free_only_when_it_says_zero() {
        let backend = |price: &str| {
            let yaml =
                format!("backends: [{{ name: a, path: /a, upstream: 'http://b', {price} }}]");
            import(&yaml).unwrap().file.route[0].price.clone()
        };
        assert!(backend("price_msat: 0") == Some(PriceSetting::Free(Free::Free)));
        assert!(backend("x: 1").is_none());
        assert!(backend("price_msat: -5").is_none());
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        assert!(matches!(import("a: 1"), Err(ImportError::NoBackends)));
        assert!(matches!(import(""), Err(ImportError::NoBackends)));
        assert!(matches!(import("a: ["), Err(ImportError::Yaml(_))));
    }
}
