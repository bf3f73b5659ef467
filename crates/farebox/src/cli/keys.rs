//! `farebox admin keys`: prepaid keys of buyers, and the secrets that sign tokens.

use clap::{Args, Subcommand};

use super::PageArgs;

/// What to do with keys.
#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a prepaid key and print it, once; it has no money until somebody pays for it
    #[command(after_help = "\
Examples:
  farebox admin keys make --note 'for the demo'
  farebox admin keys make --parent fk_0123456789abcdef --total 500000 --routes openai

Money comes from an invoice: POST /.farebox/keys/top-up on the gateway with the id of the key.")]
    Make {
        /// Spend the money of this key instead of its own
        #[arg(long, value_name = "ID")]
        parent: Option<String>,
        /// A note for the list
        #[arg(long)]
        note: Option<String>,
        /// What it may spend
        #[command(flatten)]
        limits: LimitsArgs,
    },
    /// List prepaid keys in the order in which they were made
    #[command(after_help = "Example:\n  farebox admin keys list --limit 20")]
    List(PageArgs),
    /// Show one prepaid key
    #[command(after_help = "Example:\n  farebox admin keys show fk_0123456789abcdef")]
    Show {
        /// Its id
        id: String,
    },
    /// Replace all limits of a prepaid key; what is not named has none any more
    #[command(
        after_help = "Example:\n  farebox admin keys limit fk_0123456789abcdef --per-day 100000"
    )]
    Limit {
        /// Its id
        id: String,
        /// What it may spend
        #[command(flatten)]
        limits: LimitsArgs,
    },
    /// Stop a prepaid key and its children from being spent; the money stays on it
    #[command(after_help = "Example:\n  farebox admin keys revoke fk_0123456789abcdef")]
    Revoke {
        /// Its id
        id: String,
    },
    /// Sign with a new secret; tokens that were sold stay good
    #[command(after_help = "Example:\n  farebox admin keys rotate --emergency")]
    Rotate {
        /// The old secret is known to somebody: tokens that nobody has used yet become void
        #[arg(long)]
        emergency: bool,
    },
}

/// What a key may spend.
#[derive(Args)]
pub(crate) struct LimitsArgs {
    /// The most it may ever spend
    #[arg(long, value_name = "MSAT")]
    pub total: Option<u64>,
    /// The most it may spend on one day of UTC
    #[arg(long, value_name = "MSAT")]
    pub per_day: Option<u64>,
    /// The routes it may use
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub routes: Option<Vec<String>>,
    /// The models it may use
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub models: Option<Vec<String>>,
    /// When it ends, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub expires_at: Option<u64>,
}
