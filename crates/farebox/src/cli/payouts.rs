//! `farebox admin refund` and `farebox admin payouts`: what is paid back to holders.

use clap::{Args, Subcommand, ValueEnum};

use super::PageArgs;

/// What to pay back.
#[derive(Args)]
pub(crate) struct RefundArgs {
    /// The payment hash of the token, 64 hex digits, or the id of the prepaid key, fk_…
    #[arg(value_name = "HASH|KEY")]
    pub payer: String,
    /// Where the money goes: a BOLT 11 invoice, or user@host
    #[arg(long, value_name = "INVOICE|ADDRESS")]
    pub to: String,
    /// How much, in msat [default: what the invoice says, or as much as is left]
    #[arg(long, value_name = "MSAT")]
    pub amount: Option<u64>,
    /// Wait until the payment has ended
    #[arg(long)]
    pub wait: bool,
}

/// How a refund ended.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RefundEnd {
    /// It was paid.
    Paid,
    /// It was not, and never will be.
    Failed,
}

/// What to look at of refunds.
#[derive(Subcommand)]
pub(crate) enum PayoutsCommand {
    /// List refunds in the order in which they were begun
    #[command(after_help = "Example:\n  farebox admin payouts list --limit 20")]
    List(PageArgs),
    /// Say what became of a refund whose backend never will: a wallet that forgot it, a node that is gone
    #[command(after_help = "\
Examples:
  farebox admin payouts close 0192f8a0-… --as failed
  farebox admin payouts close 0192f8a0-… --as paid --fee 12

Look at the node or wallet first: what is still under way there may arrive. The backend is asked
once more, and what it knows goes before. As failed, which gives the money back to the token, only
15 days after its invoice expired: so long a payee can keep a payment waiting and still take it.")]
    Close {
        /// Its id
        id: String,
        /// What became of it
        #[arg(long = "as", value_name = "END")]
        end: RefundEnd,
        /// What routing cost, in msat
        #[arg(long, value_name = "MSAT", default_value_t = 0)]
        fee: u64,
    },
    /// Show one refund
    #[command(after_help = "Example:\n  farebox admin payouts show 0192f8a0-…")]
    Show {
        /// Its id
        id: String,
    },
}
