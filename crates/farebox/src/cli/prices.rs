//! `farebox prices`: what can be asked.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use farebox_config::units::Percent;
use farebox_market::import::ListForm;
use farebox_meter::Decimal;

/// What to do with price lists.
#[derive(Subcommand)]
pub(crate) enum PricesCommand {
    /// Make a price list from somebody's, for `price = { model_tokens = { prices = "FILE" } }`
    #[command(after_help = "\
Examples:
  curl https://models.dev/api.json | \\
      farebox prices import models.dev - --only 'openai/gpt-*' -o prices.json
  farebox prices import litellm model_prices_and_context_window.json -o prices.json
  curl https://node.example/v1/models | farebox prices import openrouter - --markup 10

Where FILE of --output is a price list already, it is replaced only if no price moves by more than
--guard, comes or vanishes, and the models are the same. Otherwise nothing is written before you say
--accept. A running gateway takes the list at the next SIGHUP.

Exit codes:
  0  the list was written, or is the same
  1  nothing was written: see what it would change, then repeat with --accept
  2  the command line is wrong, or a file cannot be read or written, or is no price list")]
    Import(PricesImportArgs),
    /// Compare two price lists, or one with that of the configuration
    #[command(
        override_usage = "farebox prices diff [OPTIONS] OLD NEW\n       \
                          farebox prices diff [OPTIONS] [-c CONFIG] NEW",
        after_help = "\
Examples:
  farebox prices diff prices.json new.json
  farebox prices diff -c farebox.toml new.json --json

Prices are those of one token or piece, in the currency of each list. A price that moves by more
than --guard, comes or vanishes is steep, and so is a model that comes or goes.

Exit codes:
  0  the lists say the same
  1  they differ
  2  the command line is wrong, or a file cannot be read or is no price list"
    )]
    Diff(PricesDiffArgs),
}

/// Which list, what of it, and where to.
#[derive(Args)]
pub(crate) struct PricesImportArgs {
    /// Whose list it is
    #[arg(value_parser = list_forms())]
    pub from: ListForm,
    /// Its file, or - for standard input
    #[arg(value_name = "FILE")]
    pub list: PathBuf,
    /// Write the price list there instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only models that this fits, `*` for anything; models.dev's are called provider/model. May be
    /// given more than once
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<String>,
    /// Sell under another name: exact, or with one `*` on either side. May be given more than once
    #[arg(long, value_name = "NAME=NEW", value_parser = rename)]
    pub rename: Vec<(String, String)>,
    /// Percent on top of every price
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "0")]
    pub markup: Percent,
    /// How many percent a price may move by, up or down, without being steep
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "30")]
    pub guard: Percent,
    /// Replace the list whatever it changes
    #[arg(long, requires = "output")]
    pub accept: bool,
    /// Print JSON about what was written
    #[arg(long, requires = "output")]
    pub json: bool,
}

/// Which lists.
#[derive(Args)]
pub(crate) struct PricesDiffArgs {
    /// The configuration file whose price list is the old one [default: farebox.toml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The route whose price list is the old one, where the configuration has several
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// The new list; before it the old one, unless that is the configuration's
    #[arg(value_name = "LIST", required = true, num_args = 1..=2)]
    pub lists: Vec<PathBuf>,
    /// How many percent a price may move by, up or down, without being steep
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "30")]
    pub guard: Percent,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn list_forms() -> impl TypedValueParser<Value = ListForm> {
    let named = |form: ListForm, help| PossibleValue::new(form.as_str()).help(help);
    let forms = [
        named(ListForm::ModelsDev, "models.dev's api.json"),
        named(
            ListForm::LiteLlm,
            "LiteLLM's `model_prices_and_context_window.json`",
        ),
        named(
            ListForm::OpenRouter,
            "OpenRouter's /models, or an upstream's own /v1/models with prices",
        ),
    ];
    PossibleValuesParser::new(forms).try_map(|word| ListForm::find(&word).ok_or("no such list"))
}

fn percent(text: &str) -> Result<Percent, String> {
    let number: Decimal = text.parse().map_err(|error| format!("{error}"))?;
    Percent::try_from(number).map_err(|error| error.to_string())
}

fn rename(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("write NAME=NEW")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}
