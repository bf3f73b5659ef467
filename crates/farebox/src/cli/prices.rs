//! `farebox admin prices`: what can be asked.

use clap::{Args, Subcommand, ValueEnum};

/// What to do with price lists.
#[derive(Subcommand)]
pub enum PricesCommand {
    /// Take over a list, from a file or fetched by the gateway
    #[command(after_help = "\
Examples:
  farebox admin prices import --from models.dev --only 'openai/gpt-*' --add
  farebox admin prices import list.json --from litellm
  farebox admin prices import https://node.example/v1/models --from upstream --markup 10
  farebox admin prices import --from openrouter --only 'openai/*' --rename 'openai/*=*'

Prices that change by more than prices.guard_percent wait: see diff, then approve. [[model]] of the
configuration always wins.")]
    Import(PricesImportArgs),
    /// Show what approving would change
    #[command(after_help = "Example:\n  farebox admin prices diff")]
    Diff,
    /// Show what is sold by, in the currency of each list for one token or piece
    #[command(after_help = "Example:\n  farebox admin prices show --json")]
    Show,
    /// Put in force what waits
    #[command(after_help = "\
Examples:
  farebox admin prices approve gpt-mini gpt-large
  farebox admin prices approve --all --revision 7")]
    Approve {
        /// These models
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        models: Vec<String>,
        /// Everything that waits
        #[arg(long)]
        all: bool,
        /// Only if nothing has changed since this revision, which diff tells
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
}

/// Which list, and what of it.
#[derive(Args)]
pub struct PricesImportArgs {
    /// A file, or a URL that the gateway fetches [default: where the list is published]
    #[arg(value_name = "FILE|URL")]
    pub list: Option<String>,
    /// Whose list it is
    #[arg(long, value_name = "SOURCE")]
    pub from: PriceSource,
    /// Only models that this fits, `*` for anything; models.dev's are called provider/model. May be
    /// given more than once
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<String>,
    /// Sell under another name: exact, or with one `*` on either side. May be given more than once
    #[arg(long, value_name = "NAME=NEW")]
    pub rename: Vec<String>,
    /// Percent on top of every price
    #[arg(long, value_name = "PERCENT")]
    pub markup: Option<String>,
    /// Add models that have no price yet
    #[arg(long)]
    pub add: bool,
}

/// Lists that are understood.
#[derive(Clone, Copy, ValueEnum)]
pub enum PriceSource {
    /// models.dev's api.json
    #[value(name = "models.dev")]
    ModelsDev,
    /// LiteLLM's `model_prices_and_context_window.json`
    #[value(name = "litellm")]
    LiteLlm,
    /// OpenRouter's /models
    #[value(name = "openrouter")]
    OpenRouter,
    /// An upstream's own /v1/models with prices
    Upstream,
}
