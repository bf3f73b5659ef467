//! `farebox serve`: start, reload at SIGHUP, drain at SIGTERM.

pub(crate) mod quick;
mod reload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use farebox_config::build::{Built, BuiltNode, Context, Lookups, Money, build, build_text};
use farebox_core::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ServeArgs;
use crate::clock::clock_for;
use crate::command::{self, DEFAULT_FILE, Failure, block_on, read};
use crate::output;
use crate::running::{LostKeys, Running};
use crate::telemetry;

/// Where the configuration comes from.
enum Origin {
    File(PathBuf),
    Flags(Box<farebox_config::file::ConfigFile>),
}

/// Serves until a signal ends it.
pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let origin = origin(args)?;
    let money = Money::of(args.insecure_test_money);
    let clock = clock_for(money);
    let built = build_origin(&origin, &context(&clock, money, None))?;
    telemetry::start(&built.settings.log);
    install_tls_provider();
    let lost_keys = if args.new_signing_keys {
        LostKeys::Replace
    } else {
        LostKeys::Refuse
    };
    block_on(serve(built, &origin, &clock, money, lost_keys))
}

/// rustls asks for one where none was named; `ring` is the only one we have.
pub(crate) fn install_tls_provider() {
    // It fails only when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn origin(args: &ServeArgs) -> Result<Origin, Failure> {
    if let Some(flag) = quick::needs_upstream(args) {
        return Err(Failure::Flag(flag, "--upstream URL"));
    }
    if let Some(path) = &args.config {
        return Ok(Origin::File(path.clone()));
    }
    if let Some(file) = quick::file(args) {
        return Ok(Origin::Flags(Box::new(file)));
    }
    let default = Path::new(DEFAULT_FILE);
    if default.exists() {
        Ok(Origin::File(default.to_owned()))
    } else {
        Err(Failure::NothingToServe)
    }
}

fn context(clock: &Arc<dyn Clock>, money: Money, node: Option<BuiltNode>) -> Context {
    Context {
        clock: Arc::clone(clock),
        node,
        ..command::context(money, Lookups::Real)
    }
}

fn build_origin(origin: &Origin, context: &Context) -> Result<Built, Failure> {
    match origin {
        Origin::File(path) => {
            build_text(&read(path)?, context).map_err(|mistakes| Failure::Config {
                origin: path.display().to_string(),
                mistakes,
            })
        }
        Origin::Flags(file) => {
            build((**file).clone(), context).map_err(|mistakes| Failure::Config {
                origin: "the command line".to_owned(),
                mistakes,
            })
        }
    }
}

async fn serve(
    built: Built,
    origin: &Origin,
    clock: &Arc<dyn Clock>,
    money: Money,
    lost_keys: LostKeys,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut running = Running::start(built, clock, money, lost_keys).await?;
    if money == Money::Test {
        tracing::warn!("test money is on: anybody can pay for nothing");
    }
    let (gateway, console) = (running.gateway_url(), running.console_url());
    output::line(format_args!(
        "farebox: ready gateway={gateway} console={console}"
    ))?;
    while signals.next().await == Wanted::Reload {
        reload::reload(&mut running, origin, clock, money);
    }
    tracing::info!("stopping: running requests may finish");
    running.stop().await;
    Ok(())
}

/// The signals that are listened to, from before the gateway is ready.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Stop,
    Reload,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }
}
