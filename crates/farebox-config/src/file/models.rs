//! What models cost: `[[model]]`, the rates of `[rates]`, and a route's `model_tokens`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use farebox_meter::Decimal;

use crate::section::{choices, section};
use crate::units::{Lasting, Percent};

section! {
    /// What one model costs. Prices are decimals, best written as text; each class that has none is not
    /// sold, but for caches, pictures read and thoughts, which then cost as much as plain input or
    /// output.
    #[schemars(extend("required" = ["name"]))]
    pub struct ModelSection {
        /// The name that clients ask for.
        pub name: String,
        /// What the prices are in: `usd` or another currency, `sat`, `msat`.
        pub currency: String = "usd".to_owned(),
        /// What token prices are for: a `million` tokens, or one (`unit`).
        pub per: PerSetting,
        /// Tokens read.
        #[schemars(with = "Option<String>")]
        pub input: Option<Decimal>,
        /// Tokens read from a cache.
        #[schemars(with = "Option<String>")]
        pub cached_input: Option<Decimal>,
        /// Tokens written to a cache.
        #[schemars(with = "Option<String>")]
        pub cache_write: Option<Decimal>,
        /// Tokens written.
        #[schemars(with = "Option<String>")]
        pub output: Option<Decimal>,
        /// Tokens that the model keeps to itself.
        #[schemars(with = "Option<String>")]
        pub reasoning: Option<Decimal>,
        /// Tokens of sound that are read.
        #[schemars(with = "Option<String>")]
        pub audio_input: Option<Decimal>,
        /// Tokens of sound in the answer.
        #[schemars(with = "Option<String>")]
        pub audio_output: Option<Decimal>,
        /// Tokens of pictures that are read.
        #[schemars(with = "Option<String>")]
        pub image_input: Option<Decimal>,
        /// Tokens of pictures in the answer.
        #[schemars(with = "Option<String>")]
        pub image_output: Option<Decimal>,
        /// One picture of any kind.
        #[schemars(with = "Option<String>")]
        pub image: Option<Decimal>,
        /// One picture by `quality/size`, such as `"hd/1024x1024"`; `*` stands for any.
        #[schemars(with = "BTreeMap<String, String>")]
        pub images: BTreeMap<String, Decimal>,
        /// Characters spoken.
        #[schemars(with = "Option<String>")]
        pub character: Option<Decimal>,
        /// The call itself.
        #[schemars(with = "Option<String>")]
        pub request: Option<Decimal>,
        /// The most tokens that it reads and writes in one call. Needed where pictures, sound or
        /// documents are read.
        pub context_tokens: Option<u64>,
        /// The most tokens that it writes in one call: what is held for a request without a limit.
        pub max_output_tokens: Option<u64>,
        /// By which member of a chat's request its server bounds the answer: some obey only one of them.
        /// Default: the one that the client wrote; where that is not `max_tokens`, both, but for models of
        /// OpenAI (`gpt-4…`, `gpt-5…`, `o3…` and their like), which refuse the older one.
        pub limit_field: Option<LimitFieldSetting>,
        /// Whether it is given away. Without this, a price of nothing is taken for a mistake.
        pub free: bool,
    }
}

choices! {
    /// The member that bounds the answer of a chat.
    pub enum LimitFieldSetting => farebox_meter::request::LimitField {
        /// `max_tokens` alone.
        #[serde(rename = "max_tokens")]
        MaxTokens,
        /// `max_completion_tokens` alone.
        #[serde(rename = "max_completion_tokens")]
        MaxCompletionTokens,
        /// Both, with the same number.
        Both,
    }

    /// What token prices are for.
    #[derive(Default)]
    pub enum PerSetting {
        /// A million tokens or characters, as providers publish them.
        #[default]
        Million,
        /// One.
        Unit,
    }
}

section! {
    /// What a bitcoin costs, for prices that are not in bitcoin.
    pub struct RatesSection {
        /// Rates that never change: the price of one bitcoin by currency, such as `{ usd = "100000" }`.
        #[schemars(with = "BTreeMap<String, String>")]
        pub fixed: BTreeMap<String, Decimal>,
        /// Currencies whose rate is asked from public sources in the background, such as `["usd"]`. A
        /// fixed rate wins and needs no network.
        pub live: Vec<String>,
        /// How often the sources are asked.
        pub every: Lasting = Lasting::seconds(60),
        /// How old a rate may be to sell by. Past it, what has a price in that currency is not sold.
        pub max_age: Lasting = Lasting::seconds(600),
        /// A source further than so many percent from the middle of all is not counted.
        pub max_deviation_percent: Percent = Percent::of_millionths(50_000),
        /// How many sources have to agree; and always more than half of those that answered.
        pub quorum: usize = 2,
        /// Percent on top of prices at a live rate, because it moves until the money is here.
        pub buffer_percent: Percent = Percent::of_millionths(5_000),
        /// Exact `host:port` pairs of sources that may be called in clear and at private addresses.
        /// Everything else must be https at a public address.
        pub allow_hosts: Vec<String>,
        /// Who is asked. Default: `kraken`, `coinbase`, `bitstamp`, `binance` and `mempool`; once one
        /// is written, only those that are written.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub source: Vec<RateSourceSection>,
    }
}

section! {
    /// A source of exchange rates: one of the default ones by its name alone, or any URL that answers
    /// with JSON.
    #[schemars(extend("required" = ["name"]))]
    pub struct RateSourceSection {
        /// What it is called in logs and metrics.
        pub name: String,
        /// Its URL; `{currency}` stands for the currency in small letters, `{CURRENCY}` in capitals.
        pub url: Option<String>,
        /// Where the price of one bitcoin stands in the answer, as a JSON pointer with the same
        /// placeholders: `/data/amount`, `/result/0/price`. The step `*` is the only member of an
        /// object.
        pub pointer: Option<String>,
        /// Where the time of the price stands, in seconds since 1970. An older one than `max_age` is
        /// not counted.
        pub time: Option<String>,
    }
}

section! {
    /// A price by what the call of a model uses.
    pub struct ModelTokensTable {
        /// A price list that `farebox prices import` made. A `[[model]]` wins over what it says. Read
        /// at the start and at every reload.
        pub prices: Option<PathBuf>,
        /// Percent on top of the listed prices.
        pub markup_percent: Percent,
        /// Members of request bodies that are let through beyond those that are known to cost nothing
        /// but their tokens. What stands in a message, a part of a content, an item or a tool has that before
        /// its name: `messages.mood`, `content.mood`, `input.mood`, `tools.mood`.
        pub allow_fields: Vec<String>,
        /// Headers of requests that reach the upstream beyond those that are known to change nothing
        /// about who pays and where the call goes. All others are taken off.
        pub allow_headers: Vec<String>,
        /// Parameters of the query that reach the upstream beyond `api-version`, `beta` and those of
        /// listings. All others are taken off.
        pub allow_query: Vec<String>,
        /// Betas (`anthropic-beta`, `openai-beta`) that pass beyond those that are known to cost no more
        /// than their tokens. Others are refused by their name.
        pub pass_betas: Vec<String>,
        /// Betas that are taken off instead: the call goes on as if nobody had asked for them. `"*"`
        /// stands for all that are neither known nor named.
        pub drop_betas: Vec<String>,
        /// The most answers to one prompt.
        pub max_choices: u64 = 16,
        /// What is charged for a complete answer that does not tell its usage.
        pub usage_missing: UnsaidSetting,
        /// What is charged for an answer that the upstream broke off, or that failed after it had begun,
        /// where its usage was not told.
        pub broken_off: UnsaidSetting,
        /// Whether the usage of streams is asked for (`stream_options`). Some servers refuse who asks:
        /// their streams are counted where they do not tell it by themselves.
        pub ask_for_usage: bool = true,
        /// How long the upstream is still listened to when the client leaves in the middle, to learn
        /// what it used; `"0s"` for never. Default: a minute where the model may have thought out of
        /// sight, that is where the request asks for thoughts or the model has a price for them. Else
        /// the upstream is told at once, and what was seen is charged.
        pub drain: Option<Lasting>,
        /// How tokens are counted that nobody tells: by the model's vocabulary where that is public
        /// (OpenAI's, which take up to 80 MB while in use) and else by bytes, or always by bytes, four of
        /// words to a token.
        pub tokenizer: TokenizerSetting,
    }
}

choices! {
    /// How tokens are counted that nobody tells.
    #[derive(Default)]
    pub enum TokenizerSetting {
        /// By the vocabulary of the model where that is public (OpenAI's), which takes up to 80 MB while
        /// it is in use; else a token for four bytes of words.
        #[default]
        Auto,
        /// A token for four bytes of words.
        Bytes,
    }

    /// What is charged where nobody says what was used.
    #[derive(Default)]
    pub enum UnsaidSetting => farebox_paywall::gauge::Unsaid {
        /// What was seen, as `tokenizer` counts it.
        #[default]
        Observed,
        /// Nothing.
        Nothing,
        /// All that was held.
        Hold,
    }
}
