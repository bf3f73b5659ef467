//! nginx on both sides of the gateway: as an upstream for large bodies, and as a shared cache in
//! front that must never hand a paid answer to a stranger.

use std::fs;

use farebox_testkit::{Pattern, ScriptedUpstream};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::harness::{Call, Connection, Route, Setup, TestGateway};
use crate::parts::{self, Server};

const MIB: u64 = 1024 * 1024;
const LARGE: u64 = 64 * MIB;

/// nginx with one `server` section, in a folder of its own.
struct Nginx {
    server: Server,
    folder: TempDir,
}

impl Nginx {
    /// `server` is the inside of the `server` section, `http` goes before it. `FOLDER` stands for
    /// nginx's own folder.
    fn start(http: &str, server: &str) -> Option<Self> {
        let mut nginx = parts::nginx()?;
        let folder = tempfile::tempdir().unwrap();
        let (place, port) = (folder.path().display().to_string(), parts::free_port());
        // Workers of a root master would become another user, who may not enter the folder.
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let config = format!(
            "{user} worker_processes 1; daemon off; pid {place}/pid; error_log stderr;
             events {{ worker_connections 256; }}
             http {{
               access_log off;
               client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
               fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;
               scgi_temp_path {place}/scgi;
               {http}
               server {{ listen 127.0.0.1:{port}; {server} }}
             }}"
        );
        fs::write(
            folder.path().join("nginx.conf"),
            config.replace("FOLDER", &place),
        )
        .unwrap();
        nginx
            .arg("-p")
            .arg(folder.path())
            .args(["-e", "stderr", "-c", "nginx.conf"]);
        Some(Self {
            server: Server::on_port(&mut nginx, port),
            folder,
        })
    }
}

fn large_body() -> Vec<u8> {
    Pattern::new(LARGE).flatten().collect()
}

#[test]
fn a_large_body_comes_down_from_nginx_as_it_lies_there() {
    let Some(nginx) = Nginx::start("", "location / { root FOLDER/files; }") else {
        return;
    };
    let file = nginx.folder.path().join("files/paid/large.bin");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, large_body()).unwrap();
    let setup = Setup::new().route(Route::to("/paid", &nginx.server.url()).msat(2000));
    let gateway = TestGateway::start(setup);

    let call = Call::get("/paid/large.bin");
    let token = gateway.buy(&call);
    let reply = gateway.send(&call.with(&token)).expect(200);
    assert_eq!(
        reply.find("content-length"),
        Some(LARGE.to_string().as_str())
    );
    assert_eq!(Sha256::digest(&reply.body), Sha256::digest(large_body()));
}

#[test]
fn a_large_body_goes_up_through_nginx_to_the_last_byte() {
    let upstream = ScriptedUpstream::start().unwrap();
    let server = format!(
        "location / {{ proxy_pass {}; proxy_request_buffering off; proxy_http_version 1.1;
           client_max_body_size 0; }}",
        upstream.url()
    );
    let Some(nginx) = Nginx::start("", &server) else {
        return;
    };
    let route = Route::to("/paid", &nginx.server.url())
        .msat(2000)
        .bound_to_route();
    let gateway = TestGateway::start(Setup::new().route(route));

    let token = gateway.buy(&Call::post("/paid/digest", ""));
    let sent = large_body();
    let sha256 = hex::encode(Sha256::digest(&sent));
    let seen = gateway
        .send(&Call::post("/paid/digest", sent).with(&token))
        .expect(200)
        .json();
    assert_eq!(
        (&seen["bytes"], &seen["sha256"]),
        (&LARGE.into(), &sha256.into())
    );
}

#[test]
fn a_slow_reader_of_a_large_body_gets_all_of_it() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    let call = Call::get("/paid/large/8388608?length");
    let token = gateway.buy(&call);

    let mut buyer = Connection::open(gateway.address).unwrap();
    buyer.send(&call.with(&token)).unwrap();
    let head = buyer.read_head().unwrap();
    assert_eq!(head.find("content-length"), Some("8388608"));
    // Another buyer is served while this one reads nothing.
    let other = Call::get("/paid/other");
    let others_token = gateway.buy(&other);
    assert_eq!(gateway.send(&other.with(&others_token)).status, 200);
    let body = buyer.read_exactly(8 * 1024 * 1024).unwrap();
    assert_eq!(body, Pattern::new(8 * MIB).flatten().collect::<Vec<_>>());
}

/// A cache that keeps what it may, even answers to requests with credentials.
fn cache_in_front_of(gateway: &TestGateway) -> Option<Nginx> {
    let server = format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_cache shared;
           proxy_cache_valid 200 10m; proxy_cache_key $request_uri;
           add_header X-Cache $upstream_cache_status always; }}",
        gateway.address
    );
    Nginx::start(
        "proxy_cache_path FOLDER/cache keys_zone=shared:1m;",
        &server,
    )
}

#[test]
fn a_shared_cache_never_serves_a_paid_answer_to_a_stranger() {
    let upstream = ScriptedUpstream::start().unwrap();
    let paid = Route::at("/paid", &upstream)
        .msat(2000)
        .calls(5)
        .bound_to_route();
    let setup = Setup::new()
        .route(paid)
        .route(Route::at("/free", &upstream).free());
    let gateway = TestGateway::start(setup);
    let Some(cache) = cache_in_front_of(&gateway) else {
        return;
    };
    let through_cache = |call: &Call| call.send(cache.server.address);

    let call = Call::get("/paid/cacheable");
    let token = gateway.buy(&call);
    for count in 1..=2 {
        let reply = through_cache(&call.clone().with(&token)).expect(200);
        assert_eq!(reply.text(), format!("answer {count}"));
    }
    assert_eq!(through_cache(&call).status, 402);

    // The same cache does keep what is free, or it would prove nothing.
    let free = Call::get("/free/cacheable");
    let replies = [
        through_cache(&free).expect(200),
        through_cache(&free).expect(200),
    ];
    assert_eq!(replies[1].find("x-cache"), Some("HIT"), "{replies:?}");
}

#[test]
fn a_shared_cache_never_serves_one_strangers_challenge_to_another() {
    let upstream = ScriptedUpstream::start().unwrap();
    let setup = Setup::new().route(Route::at("/paid", &upstream).msat(2000));
    let gateway = TestGateway::start(setup);
    let Some(cache) = cache_in_front_of(&gateway) else {
        return;
    };
    let call = Call::get("/paid/cacheable");
    let challenges =
        [1, 2].map(|_| crate::harness::Challenge::of(&call.send(cache.server.address)).invoice);
    assert_ne!(challenges[0], challenges[1]);
}
