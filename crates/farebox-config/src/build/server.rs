//! What holds for the life of the process, and the rules for all routes.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farebox_gateway::access_log::AccessLogOptions;
use farebox_gateway::plan::{BadCredential, ServerRules};
use farebox_gateway::{GatewaySettings, HeldRules};
use farebox_http::client_addr::TrustedProxies;
use farebox_http::limits::{ChallengeRates, Rate};
use farebox_http::listen::ListenLimits;
use farebox_lightning::backends::Backends;
use farebox_paywall::ask::PaymentRules;
use farebox_paywall::mints::Mints;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::EnvFilter;

use super::at::At;
use super::{Context, Lookups};
use crate::file::{ConfigFile, HeldSection, LogFormat, LogSection, ServerSection, TlsSection};
use crate::units::{ByteSize, PerPeriod};

/// The most data threads anybody has use for.
const MAX_THREADS: usize = 1024;
/// The longest an invoice may be payable: its expiry is a clock of ours that runs against us.
const MAX_INVOICE_EXPIRY: Duration = Duration::from_secs(7 * 86_400);
/// The longest answer of a held call: what the ledger keeps, with room for its headers.
const MAX_HELD_ANSWER: u64 = 15 << 20;
/// hyper's own least.
const MIN_HEADER_BYTES: u64 = 8 << 10;

/// What holds for the life of the process; a reload that changes it says that it needs a restart.
pub struct Settings {
    /// The gateway.
    pub gateway: GatewaySettings,
    /// The file of the secrets that sign tokens.
    pub secret_file: PathBuf,
    /// How long requests may take to finish at the end.
    pub drain_timeout: Duration,
    /// The database.
    pub store_path: PathBuf,
    /// How long closed accounts are kept.
    pub retention: Duration,
    /// The console.
    pub console: ConsoleSettings,
    /// The log of events.
    pub log: LogSettings,
}

/// The console's part of [`Settings`].
#[derive(Clone, Debug)]
pub struct ConsoleSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file of the admin token.
    pub token_file: PathBuf,
    /// Names it answers to, besides loopback ones.
    pub hosts: Vec<String>,
}

/// The part of [`Settings`] that is about the log of events.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The form of events.
    pub format: LogFormat,
    /// Which events.
    pub level: String,
}

/// Builds [`Settings`].
pub(super) fn settings(file: &ConfigFile, context: &Context, root: &At<'_>) -> Option<Settings> {
    let server = &file.server;
    let store_path = root.key("store").key("url").take(file.store.path());
    check_listeners(file, root);
    let at = root.key("server");
    check_public_url(server, &at);
    let tls = server
        .tls
        .as_ref()
        .and_then(|tls| read_tls(tls, context.lookups, &at.key("tls")));
    let log = log(&file.log, &root.key("log").key("level"));
    let retention = root
        .key("store")
        .key("retention")
        .not_zero(file.store.retention);
    Some(Settings {
        gateway: GatewaySettings {
            listen: server.listen,
            workers: workers(server, &at),
            tls,
            limits: limits(server, &at),
            challenges: challenges(server),
            body_budget_bytes: at.key("body_budget").bytes(server.body_budget)?,
            replay_bytes: at.key("replay_budget").bytes(server.replay_budget)?,
            held: held(&file.held, &root.key("held"))?,
            access_log: AccessLogOptions {
                format: file.log.format.into(),
                file: file.log.file.clone(),
            },
        },
        secret_file: file.secret_file(),
        drain_timeout: server.drain_timeout.0,
        retention,
        console: ConsoleSettings {
            listen: file.console.listen,
            token_file: file.token_file(),
            hosts: file.console.hosts.clone(),
        },
        store_path: store_path?,
        log: log?,
    })
}

fn check_listeners(file: &ConfigFile, root: &At<'_>) {
    let (gateway, console) = (file.server.listen, file.console.listen);
    let same_port = gateway.port() == console.port() && gateway.port() != 0;
    let overlap = gateway.ip() == console.ip()
        || gateway.ip().is_unspecified()
        || console.ip().is_unspecified();
    if same_port && overlap {
        let key = root.key("console").key("listen");
        key.note("the gateway listens there");
    }
}

fn check_public_url(server: &ServerSection, at: &At<'_>) {
    let Some(url) = &server.public_url else {
        return;
    };
    let usable = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    });
    if !usable {
        at.key("public_url")
            .note("not a URL such as \"https://api.example.com\"");
    }
}

/// Whether buyers come over https: to us, or to a proxy whose address `public_url` is.
fn is_https(server: &ServerSection) -> bool {
    let public = server.public_url.as_deref().unwrap_or_default();
    server.tls.is_some() || public.starts_with("https://")
}

fn workers(server: &ServerSection, at: &At<'_>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = server.threads.unwrap_or_else(cores);
    if workers == 0 || workers > MAX_THREADS {
        at.key("threads")
            .note(format!("threads are 1 to {MAX_THREADS}"));
    }
    workers.clamp(1, MAX_THREADS)
}

fn limits(server: &ServerSection, at: &At<'_>) -> ListenLimits {
    if server.max_connections == 0 {
        at.key("max_connections").note("nobody could connect");
    }
    if server.max_header_bytes.0 < MIN_HEADER_BYTES {
        at.key("max_header_bytes")
            .note(format!("at least {}", ByteSize(MIN_HEADER_BYTES)));
    }
    ListenLimits {
        max_connections: server.max_connections,
        max_header_bytes: at
            .key("max_header_bytes")
            .bytes(server.max_header_bytes)
            .unwrap_or_default(),
        header_timeout: at.key("header_timeout").not_zero(server.header_timeout),
        write_timeout: at.key("write_timeout").not_zero(server.write_timeout),
    }
}

fn challenges(server: &ServerSection) -> ChallengeRates {
    ChallengeRates {
        per_prefix: rate(server.challenges.per_client),
        global: rate(server.challenges.total),
    }
}

/// A rate whose burst is its count.
pub(super) fn rate(written: PerPeriod) -> Rate {
    let count = NonZeroU32::new(written.count).unwrap_or(NonZeroU32::MIN);
    Rate::new(count, written.period, count)
}

fn log(log: &LogSection, key: &At<'_>) -> Option<LogSettings> {
    key.take(EnvFilter::try_new(&log.level))?;
    Some(LogSettings {
        format: log.format,
        level: log.level.clone(),
    })
}

fn read_tls(tls: &TlsSection, lookups: Lookups, at: &At<'_>) -> Option<Arc<rustls::ServerConfig>> {
    for (name, path) in [("cert", &tls.cert), ("key", &tls.key)] {
        if path.as_os_str().is_empty() {
            at.key(name).note("is missing");
        }
    }
    let complete = !tls.cert.as_os_str().is_empty() && !tls.key.as_os_str().is_empty();
    if lookups == Lookups::Skipped || !complete {
        return None;
    }
    let chain = read_certificates(&tls.cert);
    let chain = at.key("cert").take(chain);
    let key = PrivateKeyDer::from_pem_file(&tls.key);
    let key = at.key("key").take(key);
    let config = tls_config(chain?, key?);
    at.take(config).map(Arc::new)
}

/// All certificates of a PEM file, at least one.
pub(super) fn read_certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err(rustls::pki_types::pem::Error::NoItemsFound);
    }
    Ok(certificates)
}

fn tls_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<rustls::ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Room for calls whose payment is held.
fn held(held: &HeldSection, at: &At<'_>) -> Option<HeldRules> {
    if held.max_calls == 0 {
        at.key("max_calls").note("no call could be sold");
    }
    if held.max_answer.0 > MAX_HELD_ANSWER {
        at.key("max_answer")
            .note(format!("at most {}", ByteSize(MAX_HELD_ANSWER)));
    }
    Some(HeldRules {
        max_calls: held.max_calls,
        max_bytes: held.max_bytes.0,
        max_answer_bytes: at.key("max_answer").bytes(held.max_answer)?,
    })
}

/// How payments are taken, by these nodes.
pub(super) fn payments(
    file: &ConfigFile,
    node: Option<Arc<Backends>>,
    mints: Mints,
    at: &At<'_>,
) -> PaymentRules {
    let expiry = file.server.invoice_expiry;
    let invoice_expiry = at.not_zero(expiry);
    if invoice_expiry > MAX_INVOICE_EXPIRY {
        at.note("at most seven days");
    }
    let lightning = file.lightning.as_ref();
    PaymentRules {
        node,
        mints,
        request_form: file.ecash_request.into(),
        invoice_expiry,
        strict_settlement: lightning.is_some_and(|lightning| lightning.strict),
    }
}

/// Builds the rules for all routes.
pub(super) fn rules(file: &ConfigFile, at: &At<'_>) -> Option<ServerRules> {
    let server = &file.server;
    let bad_credential = match server.bad_credential {
        401 => BadCredential::Unauthorized,
        402 => BadCredential::PaymentRequired,
        _ => {
            at.key("bad_credential").note("either 401 or 402");
            return None;
        }
    };
    Some(ServerRules {
        trusted_proxies: TrustedProxies::new(server.trusted_proxies.clone()),
        bad_credential,
        legacy_challenge: server.legacy_challenge,
        path_parameters: server.path_parameters,
        underscores_in_headers: server.underscores_in_headers,
        public_https: is_https(server),
        prepaid_keys: file.keys.enabled != Some(false),
        overtime: at.key("overtime").not_zero(server.overtime),
    })
}
