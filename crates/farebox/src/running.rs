//! A gateway and everything around it, started and ended in order: ledger, keys, gateway, console;
//! the ledger is closed last, so that every settlement reaches it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farebox_config::build::{Built, BuiltNode, ConsoleSettings, Money, Settings};
use farebox_config::file::ConfigFile;
use farebox_console::{AdminToken, Console};
use farebox_core::{Clock, UnixMillis};
use farebox_gateway::{Gateway, GatewaySettings};
use farebox_ledger::{Ledger, LedgerError, OpenError, OpenOptions, Recovery};
use farebox_lightning::backends::Backends;
use farebox_lightning::follow::Settlements;
use farebox_lightning::mock::MockNode;
use farebox_market::rates::watch::RateWatch;
use farebox_paywall::keyring::{IMPORTED_EPOCH, Keyring, KeyringError};
use farebox_paywall::payout::{PayoutOptions, Payouts};

use crate::following::Following;
use crate::token_file::{self, TokenFileError};

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Ledger(#[from] OpenError),
    #[error("the signing keys")]
    Keyring(#[from] KeyringError),
    #[error(
        "the store has sold something, and its signing keys are not at {}: every token that was sold \
         would be void. Put the file that belongs to the store back, or start with \
         --new-signing-keys to give those tokens up", path.display()
    )]
    KeysLost { path: PathBuf },
    #[error("the store")]
    Store(#[from] LedgerError),
    #[error(transparent)]
    Token(#[from] TokenFileError),
    #[error("the {who} cannot listen at {address}")]
    Listen {
        who: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
}

/// A running gateway.
pub(crate) struct Running {
    base: Base,
    gateway: Gateway,
    console: Console,
    following: Following,
    drain_timeout: Duration,
    scheme: &'static str,
    /// The configuration that runs, for a reload to compare with.
    pub file: ConfigFile,
    /// The node that runs, for the next plan to keep.
    pub node: Option<BuiltNode>,
    /// The token that opens the console.
    pub token: AdminToken,
}

/// What gateway, console and background work stand on.
struct Base {
    ledger: Ledger,
    keyring: Arc<Keyring>,
    token: AdminToken,
    payouts: Arc<Payouts>,
    rates: Arc<RateWatch>,
    settlements: Settlements,
    clock: Arc<dyn Clock>,
}

impl Running {
    /// Starts everything. Both listeners accept when this returns.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is ended again.
    pub(crate) async fn start(
        built: Built,
        clock: &Arc<dyn Clock>,
        money: Money,
        lost_keys: LostKeys,
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
        check_free("gateway", settings.gateway.listen)?;
        check_free("console", settings.console.listen)?;
        tell_recovery(&recovery);
        let keyring = keyring(&settings.secret_file, &ledger, lost_keys, clock.now()).await?;
        let keyring = Arc::new(keyring);
        let token = token_file::read_or_make(&settings.console.token_file)?;
        let base = Base {
            payouts: Payouts::start(PayoutOptions {
                ledger: ledger.clone(),
                backends: backends(node.as_ref()),
                clock: Arc::clone(clock),
                rules: refunds,
            }),
            rates: RateWatch::start(market.live, market.rates, Arc::clone(clock)),
            settlements: Settlements::new(),
            clock: Arc::clone(clock),
            ledger,
            keyring,
            token,
        };
        let mut following = base.following();
        following.take(node.as_ref());
        let is_tls = settings.gateway.tls.is_some();
        let (listen, drain_timeout) = (settings.gateway.listen, settings.drain_timeout);
        let ConsoleSettings {
            listen: console,
            hosts,
            ..
        } = settings.console.clone();
        let gateway = farebox_gateway::start(base.gateway_options(settings.gateway), plan);
        let gateway = gateway.map_err(cannot_listen("gateway", listen))?;
        let options = base.console_options(hosts, &gateway, test_money(node.as_ref(), money));
        let router = farebox_console::router(options);
        let started = farebox_console::start(console, router).await;
        Ok(Self {
            console: started.map_err(cannot_listen("console", console))?,
            scheme: if is_tls { "https" } else { "http" },
            token: base.token.clone(),
            base,
            gateway,
            following,
            drain_timeout,
            file,
            node,
        })
    }

    /// The gateway's URL on this machine.
    #[must_use]
    pub(crate) fn gateway_url(&self) -> String {
        format!("{}://{}", self.scheme, self.gateway.local_addr())
    }

    /// The console's URL on this machine.
    #[must_use]
    pub(crate) fn console_url(&self) -> String {
        format!("http://{}", self.console.local_addr())
    }

    /// Takes a new plan for requests from now on. What only a restart changes stays.
    pub(crate) fn replace(&mut self, built: Built) {
        let base = &self.base;
        base.payouts
            .replace(backends(built.node.as_ref()), built.refunds);
        // Before the plan, so that what is known of rates is known to it.
        base.rates.replace(built.market.live, built.market.rates);
        self.gateway.replace_plan(built.plan);
        self.following.take(built.node.as_ref());
        self.node = built.node;
        self.file = built.file;
    }

    /// Opens log files anew and reads the signing keys again.
    pub(crate) fn reopen(&self) {
        self.gateway.reopen_log();
        if let Err(error) = self.base.keyring.reload() {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the signing keys were not read again");
        }
    }

    /// Lets requests finish within the drain time, then ends the console and closes the ledger.
    pub(crate) async fn stop(self) {
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
        self.base.payouts.stop().await;
        self.base.ledger.close().await;
        tracing::info!("stopped");
    }
}

/// What is done where the signing keys of a store are gone that has sold something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LostKeys {
    /// Nothing is started: a backup may have them.
    Refuse,
    /// New ones are made, and what was sold is void.
    Replace,
}

/// The signing keys of the store; made where it has sold nothing yet.
async fn keyring(
    path: &Path,
    ledger: &Ledger,
    lost: LostKeys,
    now: UnixMillis,
) -> Result<Keyring, StartError> {
    if has_its_keys(path, ledger).await? {
        return Ok(Keyring::open(path, None, now)?);
    }
    if lost == LostKeys::Refuse {
        return Err(StartError::KeysLost {
            path: path.to_owned(),
        });
    }
    let sold = ledger.newest_claim().await?;
    let sold = sold.map_or(IMPORTED_EPOCH, |(epoch, _)| epoch);
    tracing::warn!("new signing keys are made: tokens that were sold before are void");
    Ok(Keyring::renew(path, sold, now)?)
}

/// Whether the file of signing keys can be the one of this store, or none is missed yet.
///
/// # Errors
/// [`StartError`].
pub(crate) async fn has_its_keys(path: &Path, ledger: &Ledger) -> Result<bool, StartError> {
    let sold = ledger.newest_claim().await?;
    Ok(match (Keyring::find(path)?, sold) {
        (Some(keyring), Some(claim)) => keyring.belongs_to(claim),
        (Some(_), None) => true,
        (None, Some(_)) => false,
        (None, None) => ledger.keys(0, 1).await?.is_empty(),
    })
}

/// The gateway shares its port among its own threads, so the system would also let a second
/// process of the same user have it.
fn check_free(who: &'static str, address: SocketAddr) -> Result<(), StartError> {
    let listener = TcpListener::bind(address);
    listener.map(drop).map_err(cannot_listen(who, address))
}

fn cannot_listen(who: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Listen {
        who,
        address,
        source,
    }
}

/// How the ledger of these settings is opened.
#[must_use]
pub(crate) fn open_options(settings: &Settings, clock: &Arc<dyn Clock>) -> OpenOptions {
    OpenOptions {
        retention: settings.retention,
        ..OpenOptions::new(PathBuf::from(&settings.store_path), Arc::clone(clock))
    }
}

impl Base {
    fn following(&self) -> Following {
        let clock = Arc::clone(&self.clock);
        Following::new(self.ledger.clone(), self.settlements.clone(), clock)
    }

    fn gateway_options(&self, settings: GatewaySettings) -> farebox_gateway::Options {
        farebox_gateway::Options {
            settings,
            ledger: self.ledger.clone(),
            keyring: Arc::clone(&self.keyring),
            clock: Arc::clone(&self.clock),
            payouts: Some(Arc::clone(&self.payouts)),
            settlements: self.settlements.clone(),
        }
    }

    fn console_options(
        &self,
        hosts: Vec<String>,
        gateway: &Gateway,
        test_money: Option<Arc<MockNode>>,
    ) -> farebox_console::Options {
        farebox_console::Options {
            token: self.token.clone(),
            hosts,
            ledger: self.ledger.clone(),
            metrics: Arc::clone(gateway.metrics()),
            keyring: Arc::clone(&self.keyring),
            clock: Arc::clone(&self.clock),
            payouts: Some(Arc::clone(&self.payouts)),
            till: Some(gateway.till()),
            rates: Some(Arc::clone(&self.rates)),
            test_money,
        }
    }
}

fn backends(node: Option<&BuiltNode>) -> Option<Arc<Backends>> {
    node.map(|node| Arc::clone(&node.backends))
}

fn test_money(node: Option<&BuiltNode>, money: Money) -> Option<Arc<MockNode>> {
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
