use super::*;
use crate::build::{Context, Lookups, Money, build_text};
use crate::choice::{CapabilitiesSetting, HeaderText, PathMatch, SecretSource};
use crate::file::{BackendKind, RouteSection};
use crate::show;
use farebox_testkit::ManualClock;

const YAML: &str = r#"
listenaddr: "localhost:8081"
insecure: true
strictverify: true
debuglevel: "debug"
dbbackend: "postgres"
postgres: { host: "localhost", user: "u", password: "hunter2" }
prometheus: { enabled: true, listenaddr: "localhost:9000" }
authenticator:
  network: "regtest"
  lndhost: "localhost:10009"
  tlspath: "/lnd/tls.cert"
  macdir: "/lnd/data/chain/bitcoin/regtest"
  enablempp: true
services:
  - name: "first one"
    hostregexp: '^api\.example\.com$'
    pathregexp: '^/v1/.*$'
    address: "127.0.0.1:9000"
    protocol: http
    rewrite: { prefix: "/inner/" }
    headers:
      Grpc-Metadata-macaroon: "!file+hex:/srv/admin.macaroon"
      X-Other: "!file+base64:/srv/other"
      Authorization: "Bearer not-a-real-key"
    capabilities: "add,subtract"
    constraints: { "valid_until": 1 }
    timeout: 3600
    price: 21
    authwhitelistpaths: ['^/v1/free.*$', '/health$']
    authskipinvoicecreationpaths: ['^/v1/stream.*$']
    ratelimits: [{ requests: 5, per: 1s, burst: 9 }, { pathregexp: '^/x', requests: 1, per: 1s }]
  - name: open
    hostregexp: ".*"
    pathregexp: '^/open'
    address: "127.0.0.1:9001"
    protocol: https
    auth: "off"
    timeout: 5
    ratelimits: [{ requests: 5, per: 1s }]
  - name: sometimes
    hostregexp: "(a|b).example.com"
    address: "127.0.0.1:9002"
    protocol: http
    auth: "freebie 3"
"#;

fn imported() -> Imported {
    import(YAML).unwrap()
}

fn route(name: &str) -> RouteSection {
    let routes = imported().file.route;
    let found = routes.into_iter().find(|route| route.name == name);
    found.unwrap_or_else(|| panic!("no route {name}"))
}

fn minimal(service: &str, more: &str) -> Imported {
    let service = format!("{{ name: a, address: 'b:1', protocol: http, {service} }}");
    import(&format!("{more}\nservices: [{service}]")).unwrap()
}

fn pattern_of(route: &RouteSection) -> &str {
    match &route.path {
        PathMatch::Regex { regex } => regex,
        PathMatch::Prefix(_) | PathMatch::Exact { .. } => panic!("{} is no regex", route.name),
    }
}

fn price(sat: u64) -> Option<PriceSetting> {
    let text = format!("price = {{ sat = {sat} }}");
    let table: RouteSection = toml::from_str(&text).unwrap();
    table.price
}

#[test]
fn a_service_becomes_a_route_that_sells_its_time() {
    let route = route("first-one");
    assert_eq!(route.host.as_deref(), Some("api.example.com"));
    assert_eq!(pattern_of(&route), "/v1/.*");
    assert_eq!(route.upstream, "http://127.0.0.1:9000/inner");
    assert!(route.price == price(21));
    assert_eq!(route.pass.unwrap().0.as_secs(), 3600);
    assert_eq!(route.rate.unwrap().count, 5);
    let listed = ["add", "subtract"].map(str::to_owned).to_vec();
    assert!(route.capabilities == Some(CapabilitiesSetting::Listed(listed)));
}

#[test]
fn free_paths_are_tried_before_what_is_sold() {
    let routes = imported().file.route;
    let names: Vec<_> = routes.iter().map(|route| route.name.as_str()).collect();
    let expected = [
        "first-one-free-1",
        "first-one-free-2",
        "first-one",
        "open",
        "sometimes",
    ];
    assert_eq!(names, expected);
    let free = Some(PriceSetting::Free(Free::Free));
    for name in ["first-one-free-1", "first-one-free-2", "open"] {
        assert!(
            route(name).price == free && route(name).pass.is_none(),
            "{name}"
        );
    }
    assert_eq!(pattern_of(&routes[1]), ".*/health");
    assert_eq!(routes[1].host.as_deref(), Some("api.example.com"));
}

#[test]
fn files_in_headers_become_variables_and_are_said() {
    let route = route("first-one");
    let HeaderText::Env { env, .. } = &route.headers["Grpc-Metadata-macaroon"] else {
        panic!("not a variable");
    };
    assert_eq!(env, "FIRST_ONE_GRPC_METADATA_MACAROON");
    let notes = imported().notes.join("\n");
    assert!(notes.contains("/srv/admin.macaroon in hex into the variable FIRST_ONE_GRPC"));
    assert!(notes.contains("/srv/other in base64"));
}

#[test]
fn the_node_is_the_same_one() {
    let file = imported().file;
    let lightning = file.lightning.unwrap();
    let BackendKind::Lnd(lnd) = lightning.first.kind else {
        panic!("another backend");
    };
    assert!(lightning.strict);
    assert_eq!(lnd.api.url.as_deref(), Some("https://localhost:8080"));
    assert!(lightning.network == NetworkSetting::Regtest);
    let file = PathBuf::from("/lnd/data/chain/bitcoin/regtest/invoice.macaroon");
    assert!(lnd.macaroon == Some(SecretSource::File { file }));
}

#[test]
fn it_answers_as_aperture_did() {
    let server = imported().file.server;
    assert_eq!(server.listen, "127.0.0.1:8081".parse().unwrap());
    assert!(server.bad_credential == 402 && server.legacy_challenge && server.tls.is_none());
    assert!(route("open").cors.is_some());
}

#[test]
fn everything_without_a_counterpart_is_listed_without_its_value() {
    let notes = imported().notes.join("\n");
    for part in [
        "debuglevel:",
        "dbbackend:",
        "postgres:",
        "prometheus:",
        "authenticator.enablempp:",
        "capabilities:",
        "constraints:",
        "authskipinvoicecreationpaths:",
        "authwhitelistpaths:",
        "ratelimits:",
        "ratelimits.burst:",
        "service open: protocol:",
        "service open: timeout:",
        "service open: ratelimits:",
        "service sometimes: auth:",
        "service sometimes: hostregexp:",
        "service sometimes: price: 1 satoshi",
        "service sometimes: timeout:",
        "headers.Authorization: stands in clear",
    ] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert!(!notes.contains("hunter2") && !notes.contains("not-a-real-key"));
}

#[test]
fn the_result_has_no_mistakes() {
    let context = Context {
        clock: std::sync::Arc::new(ManualClock::default()),
        money: Money::Real,
        lookups: Lookups::Skipped,
        node: None,
    };
    let toml = toml::to_string(&show::data(&imported().file).unwrap()).unwrap();
    if let Err(mistakes) = build_text(&toml, &context) {
        panic!("{mistakes}\n{toml}");
    }
}

#[test]
fn a_price_that_another_program_said_has_to_be_written() {
    let imported = minimal(
        "price: 5, dynamicprice: { enabled: true, grpcaddress: x }",
        "",
    );
    assert!(imported.file.route[0].price.is_none());
    assert!(
        imported
            .notes
            .join("\n")
            .contains("dynamicprice: no counterpart; write a price")
    );
    let off = minimal("price: 5, dynamicprice: { enabled: false }", "");
    assert!(off.file.route[0].price == price(5));
    assert!(minimal("price: -5", "").file.route[0].price.is_none());
    assert!(minimal("price: 'x'", "").file.route[0].price.is_none());
}

#[test]
fn without_authentication_everything_is_free_and_nobody_is_paid() {
    let imported = minimal("price: 5", "authenticator: { disable: true }");
    assert!(imported.file.lightning.is_none());
    assert!(imported.file.route[0].price == Some(PriceSetting::Free(Free::Free)));
    assert!(imported.file.route[0].pass.is_none());
    assert!(imported.notes.join("\n").contains("every route is free"));
}

#[test]
fn a_node_behind_a_mailbox_leaves_somebody_to_be_named() {
    let mailbox = "authenticator: { passphrase: 'correct horse', mailboxaddress: 'm:443' }";
    let imported = minimal("price: 5", mailbox);
    let lightning = imported.file.lightning.unwrap();
    assert_eq!(lightning.first.kind.as_str(), "lightning-address");
    let notes = imported.notes.join("\n");
    assert!(notes.contains("Lightning Node Connect") && !notes.contains("correct horse"));
}

#[test]
fn tls_goes_on_where_its_files_are_known() {
    let known = minimal("", "basedir: /var/aperture");
    assert_eq!(
        known.file.server.tls.unwrap().cert,
        PathBuf::from("/var/aperture/tls.cert")
    );
    for more in ["", "autocert: true\nbasedir: /a\nservername: a.example"] {
        let imported = minimal("", more);
        assert!(imported.file.server.tls.is_none());
        assert!(imported.notes.join("\n").contains("[server.tls]"), "{more}");
    }
}

#[test]
fn two_services_of_one_name_are_two_routes() {
    let services = "services: [{ name: a, address: 'b:1' }, { name: a, address: 'c:1' }]";
    let routes = import(services).unwrap().file.route;
    assert_eq!(
        (routes[0].name.as_str(), routes[1].name.as_str()),
        ("a", "route-2")
    );
}

#[test]
fn a_file_of_something_else_is_refused() {
    assert!(matches!(import("a: 1"), Err(ImportError::NoServices)));
    assert!(matches!(import(""), Err(ImportError::NoServices)));
    assert!(matches!(import("a: ["), Err(ImportError::Yaml(_))));
}
