//! `farebox demo`: the whole system in one process, with test money. It sells itself a call and a
//! metered stream and says what happened; without `--once` it then stays up.

mod buyer;
mod ecash;
mod metered;
mod person;
mod sale;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use farebox_config::build::{Lookups, Money, build};
use farebox_config::file::{DEFAULT_CONSOLE, DEFAULT_GATEWAY};
use farebox_config::load::load;
use farebox_testkit::ScriptedUpstream;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DemoArgs;
use crate::command::serve::quick::lnd;
use crate::command::{Failure, block_on, context};
use crate::output;
use crate::running::{LostKeys, Running};
use crate::telemetry;
use buyer::Buyer;
use ecash::Purse;

/// What is pasted into a shell; the names in braces are filled in.
const SNIPPET: &str = include_str!("demo/snippet.sh");
/// The same for ecash.
const ECASH: &str = include_str!("demo/ecash.sh");

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    super::serve::install_tls_provider();
    block_on(demo(args))
}

async fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let upstream = ScriptedUpstream::start()?;
    let buyer = Buyer::new(args)?;
    let purse = match buyer {
        Buyer::TestMoney => Some(Purse::open()?),
        // Test coins buy nothing where money is real.
        Buyer::Node(_) | Buyer::Person => None,
    };
    let running = start(args, folder.path(), &upstream, purse.as_ref()).await?;
    output::line(match buyer {
        Buyer::TestMoney => "Farebox demo: test money only, everything in this process\n",
        Buyer::Node(_) | Buyer::Person => "Farebox demo: your Lightning node is paid\n",
    })?;
    output::line(format_args!(
        "  upstream  {}  a scripted OpenAI-compatible API",
        upstream.url()
    ))?;
    if let Some(purse) = &purse {
        let url = purse.url();
        output::line(format_args!("  mint      {url}  makes coins of test money"))?;
    }
    output::line(format_args!(
        "  gateway   {}  sells it",
        running.gateway_url()
    ))?;
    output::line(format_args!(
        "  console   {}  metrics, admin API\n",
        running.console_url()
    ))?;
    let sold = sell(&running, &buyer, purse.as_ref()).await;
    if sold.is_ok() && !args.once {
        stay_up(&running, purse.as_ref()).await?;
    }
    running.stop().await;
    sold
}

async fn sell(running: &Running, buyer: &Buyer, purse: Option<&Purse>) -> Result<(), Failure> {
    let earned = sale::sell(running, buyer).await?;
    if let Some(purse) = purse {
        purse.sell(running, &earned).await?;
    }
    Ok(())
}

async fn start(
    args: &DemoArgs,
    folder: &Path,
    upstream: &ScriptedUpstream,
    purse: Option<&Purse>,
) -> Result<Running, Failure> {
    let gateway = listener(args.listen, DEFAULT_GATEWAY, args.once);
    let console = listener(args.console_listen, DEFAULT_CONSOLE, args.once);
    let mut file = load(&config((gateway, console), folder, &upstream.url(), purse)).file;
    let money = if args.lnd.lightning.is_some() {
        file.lightning = Some(lnd(&args.lnd, &[]));
        Money::Real
    } else {
        Money::Test
    };
    let context = context(money, Lookups::Real);
    let built = build(file, &context).map_err(|mistakes| Failure::Config {
        origin: "the demo's configuration".to_owned(),
        mistakes,
    })?;
    telemetry::start(&built.settings.log);
    Ok(Running::start(built, &context.clock, money, LostKeys::Refuse).await?)
}

/// What was asked for, else the usual port, else any.
fn listener(asked: Option<SocketAddr>, usual: SocketAddr, once: bool) -> SocketAddr {
    let any = SocketAddr::new(usual.ip(), 0);
    let free = || !once && TcpListener::bind(usual).is_ok();
    asked.unwrap_or_else(|| if free() { usual } else { any })
}

fn config(
    (gateway, console): (SocketAddr, SocketAddr),
    folder: &Path,
    upstream: &str,
    purse: Option<&Purse>,
) -> String {
    let store = folder.join("farebox.db");
    let mint = purse.map(Purse::config).unwrap_or_default();
    let methods = purse.map_or("", |_| "methods = [\"l402\", \"cashu\"]\n");
    format!(
        "[server]\nlisten = \"{gateway}\"\nthreads = 1\n\n\
         [console]\nlisten = \"{console}\"\n\n\
         [store]\nurl = \"sqlite://{}\"\n\n\
         [lightning]\nbackend = \"mock\"\n\n\
         [log]\nformat = \"off\"\nlevel = \"warn\"\n\n{mint}\
         [[route]]\nname = \"openai\"\npath = \"/v1\"\nupstream = \"{upstream}\"\n\
         price = {{ msat = 2000 }}\ndescription = \"One call to the demo's model\"\n{methods}\n\
         [[route]]\nname = \"weather\"\npath = \"/weather\"\nupstream = \"{upstream}\"\n\
         price = {{ msat = 1000 }}\ncalls = 5\n\n\
         [[route]]\nname = \"free\"\npath = \"/free\"\nupstream = \"{upstream}\"\n\
         price = \"free\"\n\n{}",
        store.display(),
        metered::config(upstream, methods),
    )
}

async fn stay_up(running: &Running, purse: Option<&Purse>) -> Result<(), Failure> {
    let (gateway, console) = (running.gateway_url(), running.console_url());
    if let Some(purse) = purse {
        let snippet = SNIPPET
            .replace("{gateway}", &gateway)
            .replace("{console}", &console);
        output::line("\nBuy a call yourself; paste this into another terminal:\n")?;
        output::line(&snippet)?;
        output::line(
            "Or pay with ecash in one step; X-Cashu of the answer has the change, and buys the next call:\n",
        )?;
        let ecash = ECASH
            .replace("{gateway}", &gateway)
            .replace("{token}", &purse.token());
        output::line(&ecash)?;
    } else {
        let page = format_args!("\nBuy calls yourself: open {gateway}/weather in a browser\n");
        output::line(page)?;
    }
    let token = running.token.reveal();
    output::line("The seller's side:\n")?;
    output::line(format_args!(
        "curl -H 'Authorization: Bearer {token}' {}/admin/v1/accounts",
        running.console_url()
    ))?;
    output::line("\nCtrl-C ends the demo; nothing of it is kept.")?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
