//! `farebox admin ecash`: the seller's own coins.

use clap::{Args, Subcommand};

/// What to do with the seller's coins.
#[derive(Subcommand)]
pub(crate) enum EcashCommand {
    /// What there is of each mint: free coins can be taken out, reserved ones may still be change
    #[command(after_help = "Example:\n  farebox admin ecash list --json")]
    List,
    /// Take coins out, as a token for your own wallet
    #[command(after_help = "\
Examples:
  farebox admin ecash withdraw --mint https://mint.example.com --unit sat
  farebox admin ecash withdraw --mint https://mint.example.com --unit msat --amount 500000

The coins are swapped at their mint first, whose fee comes out of what stays or, where all is taken, out
of the token. The token is printed alone on standard output; whoever reads it can spend it. Where the
answer is lost, the same command with --id brings the same token. Exits 0 when the token is there.")]
    Withdraw(WithdrawArgs),
    /// What was taken out before, the latest first
    #[command(after_help = "Example:\n  farebox admin ecash withdrawals")]
    Withdrawals,
    /// Show one withdrawal, with its token
    #[command(after_help = "Example:\n  farebox admin ecash show 0192f8a0-…")]
    Show {
        /// Its id
        id: String,
    },
}

/// What to take out.
#[derive(Args)]
pub(crate) struct WithdrawArgs {
    /// The mint, as the configuration names it
    #[arg(long, value_name = "URL")]
    pub mint: String,
    /// The unit: sat or msat
    #[arg(long, value_name = "UNIT")]
    pub unit: String,
    /// How much the token is to be worth, in the unit [default: all that is free]
    #[arg(long, value_name = "N")]
    pub amount: Option<u64>,
    /// The id of a withdrawal that was begun before
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
}
