//! A gateway and everything around it, started and ended in order: ledger, keys, gateway, console;
//! the ledger is closed last, so that every settlement reaches it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use farebox_config::build::{Built, BuiltNode, ConsoleSettings, Money, Settings};
use farebox_config::file::ConfigFile;
use farebox_console::{AdminToken, Console};
use farebox_core::Clock;
use farebox_gateway::Gateway;
use farebox_gateway::plan::Plan;
use farebox_ledger::{Ledger, OpenError, OpenOptions, Recovery};
use farebox_lightning::backends::Backends;
use farebox_lightning::follow::Settlements;
use farebox_market::prices::book::PriceBook;
use farebox_market::prices::file::FileError;
use farebox_market::rates::watch::RateWatch;
use farebox_paywall::keyring::{Keyring, KeyringError};
use farebox_paywall::payout::{PayoutOptions, Payouts};

use crate::following::Following;
use crate::token_file::{self, TokenFileError};

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The secrets that sign tokens.
    #[error("the signing keys")]
    Keyring(#[from] KeyringError),
    /// The prices that were taken over.
    #[error(transparent)]
    Prices(#[from] FileError),
    /// The admin token.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// A listener.
    #[error("the {who} cannot listen at {address}")]
    Listen {
        /// Which.
        who: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A running gateway.
pub struct Running {
    gateway: Gateway,
    console: Console,
    payouts: Arc<Payouts>,
    rates: Arc<RateWatch>,
    prices: Arc<PriceBook>,
    following: Following,
    ledger: Ledger,
    keyring: Arc<Keyring>,
    token: AdminToken,
    drain_timeout: Duration,
    scheme: &'static str,
    /// What a reload compares with, and may keep.
    file: ConfigFile,
    node: Option<BuiltNode>,
}

impl Running {
    /// Starts everything. Both listeners accept when this returns.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is ended again.
    pub async fn start(
        built: Built,
        clock: &Arc<dyn Clock>,
        money: Money,
    ) -> Result<Self, StartError> {
        let Built {
            file,
            plan,
            settings,
            node,
            refunds,
            market,
        } = built;
        // The store first: whoever has it open most likely has the ports as well, and is named.
        let (ledger, recovery) = farebox_ledger::open(&open_options(&settings, clock))?;
        check_free("gateway", settings.listen)?;
        check_free("console", settings.console.listen)?;
        tell_recovery(&recovery);
        let keyring = Arc::new(Keyring::open(&settings.secret_file, None, clock.now())?);
        let token = token_file::read_or_make(&settings.console.token_file)?;
        let rules = market.book_rules();
        let prices = PriceBook::open(market.file.clone(), rules, Arc::clone(clock))?;
        let scheme = if settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let base = Base {
            payouts: Payouts::start(PayoutOptions {
                ledger: ledger.clone(),
                backends: backends(node.as_ref()),
                clock: Arc::clone(clock),
                rules: refunds,
            }),
            rates: RateWatch::start(market.live, market.rates, Arc::clone(clock)),
            prices,
            settlements: Settlements::new(),
            clock: Arc::clone(clock),
            ledger,
            keyring,
        };
        let mut following = base.following();
        following.take(node.as_ref());
        let drain_timeout = settings.drain_timeout;
        let console_settings = settings.console.clone();
        let gateway = base.start_gateway(settings, plan)?;
        let options = farebox_console::Options {
            test_money: test_money(node.as_ref(), money),
            ..base.console_options(&token, &console_settings, &gateway)
        };
        let console = start_console(console_settings.listen, options).await?;
        let Base {
            ledger,
            keyring,
            payouts,
            rates,
            prices,
            ..
        } = base;
        Ok(Self {
            gateway,
            console,
            payouts,
            rates,
            prices,
            following,
            ledger,
            keyring,
            token,
            drain_timeout,
            scheme,
            file,
            node,
        })
    }

    /// The gateway's URL on this machine.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        format!("{}://{}", self.scheme, self.gateway.local_addr())
    }

    /// The console's URL on this machine.
    #[must_use]
    pub fn console_url(&self) -> String {
        format!("http://{}", self.console.local_addr())
    }

    /// The console's address.
    #[must_use]
    pub const fn console_addr(&self) -> SocketAddr {
        self.console.local_addr()
    }

    /// The token that opens the console.
    #[must_use]
    pub const fn token(&self) -> &AdminToken {
        &self.token
    }

    /// The configuration that runs.
    #[must_use]
    pub const fn file(&self) -> &ConfigFile {
        &self.file
    }

    /// The node that runs, for the next plan.
    #[must_use]
    pub const fn node(&self) -> Option<&BuiltNode> {
        self.node.as_ref()
    }

    /// Takes a new plan for requests from now on. What only a restart changes stays.
    pub fn replace(&mut self, built: Built) {
        self.payouts
            .replace(backends(built.node.as_ref()), built.refunds);
        self.prices.replace(built.market.book_rules());
        // Before the plan, so that what is known of rates is known to it.
        self.rates.replace(built.market.live, built.market.rates);
        self.gateway.replace_plan(built.plan);
        self.following.take(built.node.as_ref());
        self.node = built.node;
        self.file = built.file;
    }

    /// Opens log files anew and reads the signing keys again.
    pub fn reopen(&self) {
        self.gateway.reopen_log();
        if let Err(error) = self.keyring.reload() {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the signing keys were not read again");
        }
    }

    /// Lets requests finish within the drain time, then ends the console and closes the ledger.
    pub async fn stop(self) {
        // What is not heard any more is heard at the next start.
        drop(self.following);
        let drained = self.gateway.drain(self.drain_timeout).await;
        if drained.cut > 0 {
            tracing::warn!(
                connections = drained.cut,
                "connections were cut at the drain's limit"
            );
        }
        self.console.stop().await;
        self.payouts.stop().await;
        self.ledger.close().await;
        tracing::info!("stopped");
    }
}

/// The gateway shares its port among its own threads, so the system would also let a second
/// process of the same user have it.
fn check_free(who: &'static str, address: SocketAddr) -> Result<(), StartError> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|source| StartError::Listen {
            who,
            address,
            source,
        })
}

/// How the ledger of these settings is opened.
#[must_use]
pub fn open_options(settings: &Settings, clock: &Arc<dyn Clock>) -> OpenOptions {
    OpenOptions {
        retention: settings.retention,
        ..OpenOptions::new(PathBuf::from(&settings.store_path), Arc::clone(clock))
    }
}

/// What gateway, console and background work stand on.
struct Base {
    ledger: Ledger,
    keyring: Arc<Keyring>,
    payouts: Arc<Payouts>,
    rates: Arc<RateWatch>,
    prices: Arc<PriceBook>,
    settlements: Settlements,
    clock: Arc<dyn Clock>,
}

impl Base {
    fn following(&self) -> Following {
        let clock = Arc::clone(&self.clock);
        Following::new(self.ledger.clone(), self.settlements.clone(), clock)
    }

    fn start_gateway(&self, settings: Settings, plan: Plan) -> Result<Gateway, StartError> {
        let address = settings.listen;
        let options = self.gateway_options(settings);
        farebox_gateway::start(options, plan).map_err(|source| StartError::Listen {
            who: "gateway",
            address,
            source,
        })
    }

    fn gateway_options(&self, settings: Settings) -> farebox_gateway::Options {
        farebox_gateway::Options {
            listen: settings.listen,
            workers: settings.workers,
            tls: settings.tls,
            limits: settings.limits,
            challenges: settings.challenges,
            body_budget_bytes: settings.body_budget_bytes,
            held: settings.held,
            replay_bytes: settings.replay_bytes,
            ledger: self.ledger.clone(),
            keyring: Arc::clone(&self.keyring),
            clock: Arc::clone(&self.clock),
            payouts: Some(Arc::clone(&self.payouts)),
            settlements: self.settlements.clone(),
            access_log: settings.log.access,
        }
    }

    fn console_options(
        &self,
        token: &AdminToken,
        settings: &ConsoleSettings,
        gateway: &Gateway,
    ) -> farebox_console::Options {
        farebox_console::Options {
            token: token.clone(),
            hosts: settings.hosts.clone(),
            ledger: self.ledger.clone(),
            metrics: Arc::clone(gateway.metrics()),
            keyring: Arc::clone(&self.keyring),
            clock: Arc::clone(&self.clock),
            payouts: Some(Arc::clone(&self.payouts)),
            rates: Some(Arc::clone(&self.rates)),
            prices: Some(Arc::clone(&self.prices)),
            test_money: None,
        }
    }
}

async fn start_console(
    address: SocketAddr,
    options: farebox_console::Options,
) -> Result<Console, StartError> {
    let router = farebox_console::router(options);
    farebox_console::start(address, router)
        .await
        .map_err(|source| StartError::Listen {
            who: "console",
            address,
            source,
        })
}

fn backends(node: Option<&BuiltNode>) -> Option<Arc<Backends>> {
    node.map(|node| Arc::clone(node.backends()))
}

fn test_money(
    node: Option<&BuiltNode>,
    money: Money,
) -> Option<Arc<farebox_lightning::mock::MockNode>> {
    let node = node.filter(|_| money == Money::Test)?;
    node.mock().map(Arc::clone)
}

fn tell_recovery(recovery: &Recovery) {
    tracing::info!(
        epoch = recovery.epoch.0,
        voided = recovery.voided,
        settled = recovery.settled,
        charged_msat = recovery.charged.get(),
        "the ledger is open"
    );
}
