//! What holds for the life of the process, and the rules for all routes.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farebox_gateway::HeldLimits;
use farebox_gateway::access_log::AccessLogOptions;
use farebox_gateway::access_log::LogFormat as AccessFormat;
use farebox_gateway::plan::{BadCredential, ServerRules};
use farebox_http::client_addr::TrustedProxies;
use farebox_http::limits::{ChallengeRates, Rate};
use farebox_http::listen::ListenLimits;
use farebox_lightning::backends::Backends;
use farebox_paywall::ask::PaymentRules;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::EnvFilter;

use super::{Context, Lookups};
use crate::file::{ConfigFile, HeldSection, LogFormat, LogSection, ServerSection, TlsSection};
use crate::mistake::{KeyPath, Mistakes};
use crate::units::{ByteSize, Lasting, PerPeriod};

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
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Data threads.
    pub workers: usize,
    /// Certificate and key.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Limits on connections.
    pub limits: ListenLimits,
    /// Limits on challenges.
    pub challenges: ChallengeRates,
    /// Memory for request bodies, in bytes.
    pub body_budget_bytes: usize,
    /// Memory for kept answers, in bytes.
    pub replay_bytes: usize,
    /// Room for calls whose payment is held.
    pub held: HeldLimits,
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
    /// The logs.
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

/// The logs' part of [`Settings`].
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The request log.
    pub access: AccessLogOptions,
    /// The form of events.
    pub format: LogFormat,
    /// Which events.
    pub level: String,
}

fn at(key: &str) -> KeyPath {
    KeyPath::of("server").key(key)
}

/// Builds [`Settings`].
pub(super) fn settings(
    file: &ConfigFile,
    context: &Context,
    mistakes: &mut Mistakes,
) -> Option<Settings> {
    let server = &file.server;
    let store_path = mistakes.take(KeyPath::of("store").key("url"), file.store.path());
    check_listeners(file, mistakes);
    check_public_url(server, mistakes);
    let tls = server
        .tls
        .as_ref()
        .and_then(|tls| read_tls(tls, context.lookups, mistakes));
    let log = log(&file.log, mistakes);
    let retention = not_zero(
        KeyPath::of("store").key("retention"),
        file.store.retention,
        mistakes,
    );
    Some(Settings {
        listen: server.listen,
        workers: workers(server, mistakes),
        limits: limits(server, mistakes),
        challenges: challenges(server),
        body_budget_bytes: bytes(at("body_budget"), server.body_budget, mistakes)?,
        replay_bytes: bytes(at("replay_budget"), server.replay_budget, mistakes)?,
        held: held(&file.held, mistakes)?,
        secret_file: file.secret_file(),
        drain_timeout: server.drain_timeout.0,
        retention,
        console: ConsoleSettings {
            listen: file.console.listen,
            token_file: file.token_file(),
            hosts: file.console.hosts.clone(),
        },
        tls,
        store_path: store_path?,
        log: log?,
    })
}

fn check_listeners(file: &ConfigFile, mistakes: &mut Mistakes) {
    let (gateway, console) = (file.server.listen, file.console.listen);
    let same_port = gateway.port() == console.port() && gateway.port() != 0;
    let overlap = gateway.ip() == console.ip()
        || gateway.ip().is_unspecified()
        || console.ip().is_unspecified();
    if same_port && overlap {
        let key = KeyPath::of("console").key("listen");
        mistakes.note(key, "the gateway listens there");
    }
}

fn check_public_url(server: &ServerSection, mistakes: &mut Mistakes) {
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
        let reason = "not a URL such as \"https://api.example.com\"";
        mistakes.note(at("public_url"), reason);
    }
}

/// Whether buyers come over https: to us, or to a proxy whose address `public_url` is.
fn is_https(server: &ServerSection) -> bool {
    let public = server.public_url.as_deref().unwrap_or_default();
    server.tls.is_some() || public.starts_with("https://")
}

fn workers(server: &ServerSection, mistakes: &mut Mistakes) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = server.threads.unwrap_or_else(cores);
    if workers == 0 || workers > MAX_THREADS {
        let reason = format!("threads are 1 to {MAX_THREADS}");
        mistakes.note(at("threads"), reason);
    }
    workers.clamp(1, MAX_THREADS)
}

fn limits(server: &ServerSection, mistakes: &mut Mistakes) -> ListenLimits {
    if server.max_connections == 0 {
        mistakes.note(at("max_connections"), "nobody could connect");
    }
    if server.max_header_bytes.0 < MIN_HEADER_BYTES {
        let reason = format!("at least {}", ByteSize(MIN_HEADER_BYTES));
        mistakes.note(at("max_header_bytes"), reason);
    }
    ListenLimits {
        max_connections: server.max_connections,
        max_header_bytes: bytes(at("max_header_bytes"), server.max_header_bytes, mistakes)
            .unwrap_or_default(),
        header_timeout: not_zero(at("header_timeout"), server.header_timeout, mistakes),
        write_timeout: not_zero(at("write_timeout"), server.write_timeout, mistakes),
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

/// A size that fits this machine.
pub(super) fn bytes(key: KeyPath, size: ByteSize, mistakes: &mut Mistakes) -> Option<usize> {
    let fits = usize::try_from(size.0).ok();
    if fits.is_none() {
        mistakes.note(key, "more than this machine can address");
    }
    fits
}

/// A duration during which something can happen.
pub(super) fn not_zero(key: KeyPath, written: Lasting, mistakes: &mut Mistakes) -> Duration {
    if written.0.is_zero() {
        mistakes.note(key, "must be longer than zero");
    }
    written.0
}

fn log(log: &LogSection, mistakes: &mut Mistakes) -> Option<LogSettings> {
    let key = KeyPath::of("log").key("level");
    mistakes.take(key, EnvFilter::try_new(&log.level))?;
    let format = match log.format {
        LogFormat::Json => AccessFormat::Json,
        LogFormat::Text => AccessFormat::Text,
        LogFormat::Off => AccessFormat::Off,
    };
    let access = AccessLogOptions {
        format,
        file: log.file.clone(),
    };
    Some(LogSettings {
        access,
        format: log.format,
        level: log.level.clone(),
    })
}

fn read_tls(
    tls: &TlsSection,
    lookups: Lookups,
    mistakes: &mut Mistakes,
) -> Option<Arc<rustls::ServerConfig>> {
    for (name, path) in [("cert", &tls.cert), ("key", &tls.key)] {
        if path.as_os_str().is_empty() {
            mistakes.note(at("tls").key(name), "is missing");
        }
    }
    let complete = !tls.cert.as_os_str().is_empty() && !tls.key.as_os_str().is_empty();
    if lookups == Lookups::Skipped || !complete {
        return None;
    }
    let chain = read_certificates(&tls.cert);
    let chain = mistakes.take(at("tls").key("cert"), chain);
    let key = PrivateKeyDer::from_pem_file(&tls.key);
    let key = mistakes.take(at("tls").key("key"), key);
    let config = tls_config(chain?, key?);
    mistakes.take(at("tls"), config).map(Arc::new)
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
fn held(held: &HeldSection, mistakes: &mut Mistakes) -> Option<HeldLimits> {
    let at = |key| KeyPath::of("held").key(key);
    if held.max_calls == 0 {
        mistakes.note(at("max_calls"), "no call could be sold");
    }
    if held.max_answer.0 > MAX_HELD_ANSWER {
        let reason = format!("at most {}", ByteSize(MAX_HELD_ANSWER));
        mistakes.note(at("max_answer"), reason);
    }
    Some(HeldLimits {
        max_calls: held.max_calls,
        max_bytes: held.max_bytes.0,
        max_answer_bytes: bytes(at("max_answer"), held.max_answer, mistakes)?,
    })
}

/// How payments are taken, by these nodes.
pub(super) fn payments(
    file: &ConfigFile,
    node: Option<Arc<Backends>>,
    mistakes: &mut Mistakes,
) -> PaymentRules {
    let expiry = file.server.invoice_expiry;
    let invoice_expiry = not_zero(at("invoice_expiry"), expiry, mistakes);
    if invoice_expiry > MAX_INVOICE_EXPIRY {
        mistakes.note(at("invoice_expiry"), "at most seven days");
    }
    let lightning = file.lightning.as_ref();
    PaymentRules {
        node,
        invoice_expiry,
        strict_settlement: lightning.is_some_and(|lightning| lightning.strict),
    }
}

/// Builds the rules for all routes.
pub(super) fn rules(file: &ConfigFile, mistakes: &mut Mistakes) -> Option<ServerRules> {
    let server = &file.server;
    let bad_credential = match server.bad_credential {
        401 => BadCredential::Unauthorized,
        402 => BadCredential::PaymentRequired,
        _ => {
            mistakes.note(at("bad_credential"), "either 401 or 402");
            return None;
        }
    };
    Some(ServerRules {
        trusted_proxies: TrustedProxies::new(server.trusted_proxies.clone()),
        bad_credential,
        legacy_challenge: server.legacy_challenge,
        path_parameters: server.path_parameters,
        public_https: is_https(server),
        prepaid_keys: file.keys.enabled != Some(false),
    })
}
