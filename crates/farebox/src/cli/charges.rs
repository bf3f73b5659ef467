//! `farebox admin charges`: which of them to list.

use clap::Args;

/// Which charges.
#[derive(Args)]
pub(crate) struct ChargesArgs {
    /// Of this token, by its payment hash, or of this prepaid key, by its id, fk_…
    #[arg(long, value_name = "HASH|KEY")]
    pub account: Option<String>,
    /// Earned by this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Admitted at this instant or later, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub since: Option<u64>,
    /// Admitted before this instant, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub until: Option<u64>,
    /// Go on behind this place, which the list before gave
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
    /// How many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}
