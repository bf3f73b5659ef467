//! The command line: what can be asked, and with which exit codes it is answered.

mod charges;
mod ecash;
mod keys;
mod payouts;
mod prices;

pub(crate) use charges::ChargesArgs;
pub(crate) use ecash::{EcashCommand, WithdrawArgs};
pub(crate) use keys::{KeysCommand, LimitsArgs};
pub(crate) use payouts::{PayoutsCommand, RefundArgs, RefundEnd};
pub(crate) use prices::{PricesCommand, PricesDiffArgs, PricesImportArgs};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use farebox_config::file::NetworkSetting;

use crate::command::{self, Failure};
use crate::output;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed, or what was verified is not sound
  2  the command line or the configuration is wrong
  3  another process has the store open";

/// Sell any HTTP API for Lightning.
#[derive(Parser)]
#[command(name = "farebox", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    #[command(after_help = "\
Examples:
  farebox serve -c farebox.toml
  farebox serve --upstream https://api.openai.com --api-key-env OPENAI_API_KEY \\
      --lightning-address me@example.com --price-msat 2000
  farebox serve --upstream https://api.openai.com --api-key-env OPENAI_API_KEY \\
      --lightning lnd --lnd-url https://127.0.0.1:8080 --lnd-macaroon invoice.macaroon \\
      --lnd-cert tls.cert --price-msat 2000

SIGHUP reads the configuration again and opens log files anew; SIGTERM lets running requests
finish. Once both listeners accept, one line on standard output says so:
  farebox: ready gateway=http://127.0.0.1:8402 console=http://127.0.0.1:8403")]
    Serve(ServeArgs),
    /// Everything on this machine, with test money or on real nodes: sells itself one call and
    /// stays up
    #[cfg(feature = "demo")]
    #[command(after_help = "\
Examples:
  farebox demo           # then paste the curl lines that it prints
  farebox demo --once    # one sale, then exit 0, or 1 when it failed
  farebox demo --lightning lnd --lnd-url https://127.0.0.1:8080 \\
      --lnd-macaroon invoice.macaroon --lnd-cert tls.cert    # prints an invoice, waits for you

With `--buyer-lnd-…` a second node pays over a channel, so that --once needs nobody.")]
    Demo(Box<DemoArgs>),
    /// Check, show, describe and import configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make and compare price lists of models
    #[command(subcommand)]
    Prices(PricesCommand),
    /// Look at and change a running gateway, over its admin API
    #[command(after_help = "\
Examples:
  farebox admin -c farebox.toml tokens list
  farebox admin trial-balance --json")]
    Admin(AdminArgs),
    /// Care for the store of a gateway that does not run
    #[command(subcommand)]
    Db(DbCommand),
    /// Find out what is wrong with a configuration, a store or the machine
    #[command(after_help = "Example:\n  farebox doctor -c farebox.toml")]
    Doctor(DoctorArgs),
}

/// How to serve.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The configuration file [default: farebox.toml, when it exists]
    #[arg(short, long, value_name = "FILE", conflicts_with = "lightning")]
    pub config: Option<PathBuf>,
    /// Allow `backend = "mock"`: anybody can pay for nothing
    #[arg(long)]
    pub insecure_test_money: bool,
    /// Start although the store's signing keys are gone: make new ones, and give up every token that
    /// was sold
    #[arg(long)]
    pub new_signing_keys: bool,
    /// What is sold, when there is no file.
    #[command(flatten)]
    pub quick: QuickArgs,
    /// The node that is paid, when there is no file.
    #[command(flatten)]
    pub lnd: LndArgs,
}

/// A node of one's own, without a file.
#[derive(Args, Default)]
#[command(next_help_heading = "Without a file")]
pub(crate) struct LndArgs {
    /// What kind of node is paid
    #[arg(long, value_name = "KIND", requires = "lnd_url")]
    pub lightning: Option<NodeArg>,
    /// LND's REST API, such as https://127.0.0.1:8080
    #[arg(long, value_name = "URL", requires = "lightning")]
    pub lnd_url: Option<String>,
    /// LND's macaroon; `invoice.macaroon` is enough to be paid
    #[arg(long, value_name = "FILE", requires = "lightning")]
    pub lnd_macaroon: Option<PathBuf>,
    /// LND's certificate, `tls.cert`
    #[arg(long, value_name = "FILE", requires = "lightning")]
    pub lnd_cert: Option<PathBuf>,
    /// The network that invoices are for [default: mainnet]
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<NetworkSetting>,
}

/// Nodes that flags alone can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeArg {
    /// LND over its REST API.
    Lnd,
}

/// One route from flags alone.
#[derive(Args)]
#[command(next_help_heading = "Without a file")]
#[group(id = "quick", conflicts_with = "config", multiple = true)]
pub(crate) struct QuickArgs {
    /// Without a file: the API to sell
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// The environment variable with the API's key, sent as `Authorization: Bearer …`
    #[arg(long, value_name = "NAME", requires = "upstream")]
    pub api_key_env: Option<String>,
    /// Who is paid
    #[arg(
        long,
        value_name = "USER@HOST",
        requires = "upstream",
        conflicts_with = "lightning"
    )]
    pub lightning_address: Option<String>,
    /// A host that may be called in clear and at a private address: the Lightning Address's or
    /// the node's. May be given more than once
    #[arg(long, value_name = "HOST:PORT", requires = "upstream")]
    pub allow_host: Vec<String>,
    /// The price of one call, in msat
    #[arg(long, value_name = "N", requires = "upstream")]
    pub price_msat: Option<u64>,
    /// The paths that are sold [default: /]
    #[arg(long, value_name = "PREFIX", requires = "upstream")]
    pub path: Option<String>,
    /// Where the gateway listens [default: 127.0.0.1:8402]
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    pub listen: Option<SocketAddr>,
    /// Where the console listens [default: 127.0.0.1:8403]
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    pub console_listen: Option<SocketAddr>,
    /// Where accounts are kept [default: sqlite://farebox.db]
    #[arg(long, value_name = "URL", requires = "upstream")]
    pub store: Option<String>,
}

/// How to show the whole system.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Exit after the first sale: 0 when it succeeded, else 1. Uses free ports
    #[arg(long)]
    pub once: bool,
    /// Where the gateway listens [default: 127.0.0.1:8402, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the console listens [default: 127.0.0.1:8403, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS")]
    pub console_listen: Option<SocketAddr>,
    /// The node that is paid, instead of test money.
    #[command(flatten)]
    pub lnd: LndArgs,
    /// Who pays.
    #[command(flatten)]
    pub buyer: BuyerArgs,
}

/// A node that pays in the demo.
#[derive(Args)]
#[command(next_help_heading = "A second node as the buyer")]
pub(crate) struct BuyerArgs {
    /// The REST API of an LND that pays; without it the invoice is yours to pay
    #[arg(long, value_name = "URL", requires = "lightning")]
    pub buyer_lnd_url: Option<String>,
    /// Its macaroon, with the permission to pay
    #[arg(long, value_name = "FILE", requires = "buyer_lnd_url")]
    pub buyer_lnd_macaroon: Option<PathBuf>,
    /// Its certificate
    #[arg(long, value_name = "FILE", requires = "buyer_lnd_url")]
    pub buyer_lnd_cert: Option<PathBuf>,
}

/// What to do with configurations.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Report every mistake of a configuration: key, value, reason
    #[command(after_help = "\
Examples:
  farebox config check -c farebox.toml
  farebox config check -c farebox.toml --no-secrets --json")]
    Check(CheckArgs),
    /// Print a configuration, without its secrets
    #[command(after_help = "Example:\n  farebox config show -c farebox.toml --resolved")]
    Show(ShowArgs),
    /// Print the JSON Schema of the configuration file
    #[command(after_help = "Example:\n  farebox config schema > farebox.schema.json")]
    Schema,
    /// Turn the configuration of another paywall into ours
    #[command(after_help = "\
Examples:
  farebox config import matador .env -o farebox.toml
  farebox config import lsat-proxy config.yaml
  farebox config import aperture aperture.yaml -o farebox.toml

What has no counterpart is listed on standard error.")]
    Import(ImportArgs),
}

/// What to check.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Do not look secrets and certificates up
    #[arg(long)]
    pub no_secrets: bool,
    /// Which file, and how to answer.
    #[command(flatten)]
    pub what: DoctorArgs,
}

/// What to show.
#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "farebox.toml")]
    pub config: PathBuf,
    /// Fill in every default and fingerprint every secret
    #[arg(long)]
    pub resolved: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to import.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// Whose configuration it is
    pub from: ImportFrom,
    /// Its file
    pub file: PathBuf,
    /// Write the result there, readable by you alone, instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Paywalls whose configuration is understood.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ImportFrom {
    /// `.env` of matador
    Matador,
    /// `config.yaml` of lsat-proxy-rs
    LsatProxy,
    /// `aperture.yaml` of Aperture
    Aperture,
}

/// Which gateway, and what to do there.
#[derive(Args)]
pub(crate) struct AdminArgs {
    /// The gateway's configuration file, which says where the console and its token are
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The console [default: that of the configuration, or 127.0.0.1:8403]
    #[arg(long, value_name = "HOST:PORT", global = true)]
    pub console: Option<String>,
    /// The file of the admin token [default: that of the configuration, or farebox.admin-token]
    #[arg(long, value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// What to do with a running gateway.
#[derive(Subcommand)]
pub(crate) enum AdminCommand {
    /// Tokens and their accounts
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Pay back what is left on a token or a prepaid key, to an invoice or a Lightning Address
    #[command(after_help = "\
Examples:
  farebox admin refund 02d449a3… --to me@example.com --wait
  farebox admin refund fk_0123456789abcdef --to lnbc20u1… --json

What has expired or was revoked can be refunded too; a payment whose token was never used cannot, for
nobody has claimed it, and a child key has no money of its own. The routing fee comes out of the
refund. Exits 0 when it is paid or, without --wait, under way; 1 when nothing was begun or the payment
failed.")]
    Refund(RefundArgs),
    /// What was paid back, and what is under way
    #[command(subcommand)]
    Payouts(PayoutsCommand),
    /// Your own coins of ecash: what there is of each mint, and taking it out
    #[command(subcommand)]
    Ecash(EcashCommand),
    /// List what was charged, the latest first, with the rate and the usage it was found by
    #[command(after_help = "\
Examples:
  farebox admin charges --limit 20
  farebox admin charges --route openai --account fk_0123456789abcdef --json")]
    Charges(ChargesArgs),
    /// Show one charge by its receipt, which was in `farebox-receipt` of the answer
    #[command(
        after_help = "Example:\n  farebox admin receipt 019dd5ab-57c0-7a1e-8bd5-5be04f0f3c11"
    )]
    Receipt {
        /// Its id
        id: String,
    },
    /// Prepaid keys of buyers, and the secrets that sign tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Add up all accounts: the sum must be zero
    #[command(
        after_help = "Example:\n  farebox admin trial-balance\nExits 1 when it is not sound."
    )]
    TrialBalance,
}

/// Which page of a list.
#[derive(Args)]
pub(crate) struct PageArgs {
    /// Go on behind this cursor
    #[arg(long, default_value_t = 0)]
    pub cursor: u64,
    /// How many
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
}

/// What to do with tokens.
#[derive(Subcommand)]
pub(crate) enum TokensCommand {
    /// List accounts in the order of their first use
    #[command(after_help = "Example:\n  farebox admin tokens list --limit 20")]
    List(PageArgs),
    /// Show one account
    #[command(after_help = "Example:\n  farebox admin tokens show 02d449a3…")]
    Show {
        /// The payment hash, 64 hex digits
        hash: String,
    },
    /// Stop a token from being spent; what is on it stays
    #[command(after_help = "Example:\n  farebox admin tokens revoke 02d449a3…")]
    Revoke {
        /// The payment hash, 64 hex digits
        hash: String,
    },
}

/// What to do with a store.
#[derive(Subcommand)]
pub(crate) enum DbCommand {
    /// Print the trial balance; exits 1 when it is not sound
    #[command(after_help = "\
Examples:
  farebox db verify -c farebox.toml
  farebox db verify --store sqlite://farebox.db --json

The gateway must not run; ask a running one with `farebox admin trial-balance`.")]
    Verify(DbArgs),
    /// Bring the store to the form of this version, as `serve` does at its start
    #[command(after_help = "Example:\n  farebox db migrate --store sqlite://farebox.db")]
    Migrate(DbArgs),
}

/// Which store.
#[derive(Args)]
pub(crate) struct DbArgs {
    /// The configuration file that names the store
    #[arg(short, long, value_name = "FILE", conflicts_with = "store")]
    pub config: Option<PathBuf>,
    /// The store [default: that of farebox.toml, or sqlite://farebox.db]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to examine.
#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "farebox.toml")]
    pub config: PathBuf,
    /// Allow `backend = "mock"`
    #[arg(long)]
    pub insecure_test_money: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is the reader's choice.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            failure.exit_code()
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => command::serve::run(&args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => command::demo::run(&args),
        Command::Config(command) => command::config::run(command),
        Command::Prices(command) => command::prices::run(&command),
        Command::Admin(args) => command::admin::run(&args),
        Command::Db(command) => command::db::run(&command),
        Command::Doctor(args) => command::doctor::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_without_subcommands_shows_an_example() {
        fn check(command: &clap::Command) {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let leaf = command.get_subcommands().next().is_none();
            let exempt = matches!(command.get_name(), "help");
            assert!(
                !leaf || exempt || help.contains("Example"),
                "{}",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    /// The first word behind `farebox` that is neither a subcommand where there are any, nor a value,
    /// nor a long flag that exists.
    fn unknown_in(line: &str) -> Option<String> {
        let mut command = Cli::command();
        let mut flags: Vec<String> = Vec::new();
        for word in line.split_whitespace().skip(1) {
            let longs = command.get_arguments().filter_map(clap::Arg::get_long);
            flags.extend(longs.map(str::to_owned));
            if word.starts_with(['|', '#', '>', '…']) {
                break;
            }
            if let Some(flag) = word.strip_prefix("--") {
                if !flags.iter().any(|known| known == flag) {
                    return Some(word.to_owned());
                }
            } else if !word.starts_with('-')
                && let Some(inner) = command.find_subcommand(word)
            {
                command = inner.clone();
            } else if !word.starts_with('-') && command.has_subcommands() {
                return Some(word.to_owned());
            }
        }
        None
    }

    /// What is written as code: whole lines of blocks, and what stands between backticks.
    fn code(text: &str) -> Vec<String> {
        let (mut code, mut prose) = (Vec::new(), String::new());
        for (place, part) in text.split("```").enumerate() {
            if place % 2 == 1 {
                let block = part.replace("\\\n", " ");
                code.extend(block.lines().map(str::to_owned));
            } else {
                prose.push_str(part);
            }
        }
        code.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
        code
    }

    #[test]
    fn the_docs_name_no_command_or_flag_that_does_not_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folders = [".", "docs", "docs/reference"];
        let files = folders.map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
        let files = files.into_iter().flatten().map(|file| file.unwrap().path());
        let mut lines = 0;
        for file in files.filter(|file| file.extension().is_some_and(|it| it == "md")) {
            for code in code(&std::fs::read_to_string(&file).unwrap()) {
                let at = code.match_indices("farebox ").map(|(at, _)| at);
                for at in at.filter(|at| !code[..*at].ends_with(|c: char| c != ' ')) {
                    lines += 1;
                    let unknown = unknown_in(&code[at..]);
                    assert_eq!(unknown, None, "{}: {}", file.display(), &code[at..]);
                }
            }
        }
        assert!(lines > 40, "{lines}");
        assert_eq!(unknown_in("farebox config init").unwrap(), "init");
        assert_eq!(unknown_in("farebox serve --sell x").unwrap(), "--sell");
    }
}
