//! What was written: the configuration file as types, each key with its default.
//!
//! The comments on these fields are the reference: `farebox config schema` and
//! `docs/reference/config.md` are made from them. Nothing here is resolved or looked up; that is
//! the work of [`crate::build`].

mod lightning;
mod mint;
mod models;
mod refunds;
mod route;
mod shape;

pub use lightning::{
    ApiSection, BackendKind, BackendSection, ClnSection, LightningAddressSection, LightningSection,
    LnbitsSection, LndSection, MockSection, NetworkSetting, NwcSection, PhoenixdSection,
};
pub use mint::{MintSection, RequestFormSetting, UnitSetting};
pub use models::{
    LimitFieldSetting, ModelSection, ModelTokensTable, PerSetting, RateSourceSection, RatesSection,
    TokenizerSetting, UnsaidSetting,
};
pub use refunds::{HeldSection, KeysSection, MaxFeeTable, RefundsSection};
pub use route::{
    BindSetting, CacheSetting, ChargeOnSetting, CorsSection, HttpScopeSetting, OnFailureSetting,
    PaymentMethod, ProtocolSetting, RouteSection,
};
pub use shape::{FormatSetting, OtherFieldsSetting, RequestSection, ResponseSection};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::section::{choices, section};
use crate::units::{ByteSize, Lasting, PerPeriod};

section! {
    /// The configuration of `farebox serve`.
    pub struct ConfigFile {
        /// The gateway itself: where it listens and within which limits.
        pub server: ServerSection,
        /// The admin API and the metrics.
        pub console: ConsoleSection,
        /// Where accounts and transfers are kept.
        pub store: StoreSection,
        /// The Lightning node or wallet that is paid. Needed as soon as a route has a price.
        pub lightning: Option<LightningSection>,
        /// The mints whose ecash is taken. Needed where a route takes `cashu`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub mint: Vec<MintSection>,
        /// How ecash is asked for in the header of a 402.
        pub ecash_request: RequestFormSetting,
        /// Whether and how holders of tokens get back what they did not use.
        pub refunds: RefundsSection,
        /// Prepaid keys: `sk-farebox-…`, paid for once and used like a provider's API key.
        pub keys: KeysSection,
        /// Room for calls that wait for a held payment (`on_failure = "cancel"`).
        pub held: HeldSection,
        /// What a bitcoin costs, for prices that are not in bitcoin.
        pub rates: RatesSection,
        /// What models cost, where routes sell by what a call uses.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub model: Vec<ModelSection>,
        /// What is written about requests and events.
        pub log: LogSection,
        /// The routes: what is sold, for how much, and where requests go.
        pub route: Vec<RouteSection>,
    }
}

section! {
    /// The gateway itself: where it listens and within which limits.
    pub struct ServerSection {
        /// Address and port of the gateway. Port 0 lets the system choose.
        pub listen: SocketAddr = DEFAULT_GATEWAY,
        /// The address under which clients reach the gateway, when it is another one.
        pub public_url: Option<String>,
        /// Threads that serve requests. Default: one for each core.
        pub threads: Option<usize>,
        /// Proxies in front of the gateway whose `X-Forwarded-For` is believed, as networks.
        #[schemars(with = "Vec<String>")]
        pub trusted_proxies: Vec<IpNet>,
        /// The status of a credential that does not verify: 401, or 402 as Aperture answers.
        #[schemars(range(min = 401, max = 402))]
        pub bad_credential: u16 = 401,
        /// Whether a challenge begins with a line in the legacy `LSAT` scheme.
        pub legacy_challenge: bool,
        /// Whether paths may have `;` parameters.
        pub path_parameters: bool,
        /// Whether header names may have underscores, or other characters than letters, digits and
        /// hyphens. Such headers are dropped else: CGI, WSGI, PHP and Rack take `X_Original_URL` for
        /// `X-Original-URL`. Those that would be taken for a header that is stripped or set here are
        /// dropped always, and so are trailers.
        pub underscores_in_headers: bool,
        /// The file of the secrets that sign tokens, made at the first start. Default:
        /// `farebox.secret` beside the store.
        pub secret_file: Option<PathBuf>,
        /// How long running requests may take to finish after SIGTERM.
        pub drain_timeout: Lasting = Lasting::seconds(30),
        /// How long an invoice can be paid.
        pub invoice_expiry: Lasting = Lasting::seconds(600),
        /// Connections from clients at one time.
        pub max_connections: usize = 20_000,
        /// The size of all headers of one request.
        pub max_header_bytes: ByteSize = ByteSize(16 << 10),
        /// How long a client may take to send the headers of a request, and so how long an idle
        /// connection is kept.
        pub header_timeout: Lasting = Lasting::seconds(75),
        /// How long a client may refuse to read its answer.
        pub write_timeout: Lasting = Lasting::seconds(60),
        /// How long a stream or an upgraded connection may go on after what pays for it is over: a pass
        /// has ended, a key or a token was revoked. So often that is looked up.
        pub overtime: Lasting = Lasting::seconds(60),
        /// Memory for request bodies that are read before they are forwarded, in all; and as much again
        /// for answers that are read before they are sent, or were kept, until they have left. One payer
        /// may take a quarter of it, and half of that before another call is begun. Strangers may take a half together, and those of one address prefix an eighth, which is
        /// the longest body that can be read.
        pub body_budget: ByteSize = ByteSize(256 << 20),
        /// Memory for answers that are kept for clients that lost their connection, in all.
        pub replay_budget: ByteSize = ByteSize(64 << 20),
        /// Certificates, when the gateway speaks TLS itself.
        pub tls: Option<TlsSection>,
        /// How many challenges are made, so that nobody makes the node create invoices without end.
        pub challenges: ChallengesSection,
    }
}

section! {
    /// Certificates, when the gateway speaks TLS itself.
    #[schemars(extend("required" = ["cert", "key"]))]
    pub struct TlsSection {
        /// The certificate chain, PEM.
        pub cert: PathBuf,
        /// Its private key, PEM.
        pub key: PathBuf,
    }
}

section! {
    /// How many challenges are made.
    pub struct ChallengesSection {
        /// With an invoice, for one client (an IPv4 /24 or an IPv6 /48; of those who paid before, an
        /// account). Past it the answer is a short 402 without an invoice.
        pub per_client: PerPeriod = PerPeriod { count: 30, period: Duration::from_secs(60), },
        /// With an invoice, for all strangers together, and as many again for those who paid before.
        pub total: PerPeriod = PerPeriod { count: 100, period: Duration::from_secs(1), },
    }
}

section! {
    /// The admin API and the metrics.
    pub struct ConsoleSection {
        /// Address and port of the console.
        pub listen: SocketAddr = DEFAULT_CONSOLE,
        /// The file of the admin token, made (0600) at the first start. Default:
        /// `farebox.admin-token` beside the store.
        pub token_file: Option<PathBuf>,
        /// Host names under which the console may be called, besides `localhost` and loopback
        /// addresses.
        pub hosts: Vec<String>,
    }
}

section! {
    /// Where accounts and transfers are kept.
    pub struct StoreSection {
        /// `sqlite://` and a path: `sqlite://farebox.db` is relative to the working directory,
        /// `sqlite:///var/lib/farebox/farebox.db` is absolute.
        pub url: String = "sqlite://farebox.db".to_owned(),
        /// How long accounts that are used up or expired are kept before they are summarised.
        pub retention: Lasting = Lasting::seconds(90 * 86_400),
    }
}

section! {
    /// What is written about requests and events.
    pub struct LogSection {
        /// The form of the request log and of events; `off` writes no request log.
        pub format: LogFormat,
        /// The file of the request log, opened again at SIGHUP. Default: standard output.
        pub file: Option<PathBuf>,
        /// Which events are written to standard error: `error`, `warn`, `info`, `debug`, `trace`, or
        /// a filter such as `info,farebox_ledger=debug`.
        pub level: String = "info".to_owned(),
    }
}

choices! {
    /// The form of the log.
    #[derive(Default)]
    pub enum LogFormat => farebox_gateway::access_log::LogFormat {
        /// One JSON object a line.
        #[default]
        Json,
        /// One line of text.
        Text,
        /// No request log; events as text.
        Off,
    }
}

/// Where the console listens when nothing else is said.
pub const DEFAULT_CONSOLE: SocketAddr = loopback(8403);
/// Where the gateway listens when nothing else is said.
pub const DEFAULT_GATEWAY: SocketAddr = loopback(8402);

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

/// Text that names no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// Nothing behind the scheme.
    #[error("no path: write \"sqlite://farebox.db\"")]
    NoPath,
    /// A store that comes later.
    #[error("not yet: PostgreSQL comes with a later version")]
    Postgres,
    /// Another scheme, or none.
    #[error("not a store: write \"sqlite://\" and a path")]
    Other,
}

impl StoreSection {
    /// The database.
    ///
    /// # Errors
    /// [`StoreUrlError`].
    pub fn path(&self) -> Result<PathBuf, StoreUrlError> {
        match self.url.strip_prefix("sqlite://") {
            Some("") => Err(StoreUrlError::NoPath),
            Some(path) => Ok(PathBuf::from(path)),
            None if self.url.starts_with("postgres") => Err(StoreUrlError::Postgres),
            None => Err(StoreUrlError::Other),
        }
    }
}

impl ConfigFile {
    /// The file of the admin token.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        let written = self.console.token_file.clone();
        written.unwrap_or_else(|| self.beside_store("farebox.admin-token"))
    }

    /// The file of the secrets that sign tokens.
    #[must_use]
    pub fn secret_file(&self) -> PathBuf {
        let written = self.server.secret_file.clone();
        written.unwrap_or_else(|| self.beside_store("farebox.secret"))
    }

    /// A file in the store's folder; without a store in the working directory.
    #[must_use]
    pub fn beside_store(&self, name: &str) -> PathBuf {
        let store = self.store.path().ok();
        store.map_or_else(|| PathBuf::from(name), |store| store.with_file_name(name))
    }
}
