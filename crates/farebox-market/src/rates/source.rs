//! Who says what a bitcoin costs: a URL, and where the price stands in the answer.

use std::time::Duration;

use farebox_core::UnixMillis;
use farebox_http::client::{CallError, FetchLimits, GuardedClient};
use farebox_meter::pointer::{BadPointer, Unreadable};
use farebox_meter::{Currency, Decimal, Pointer};
use http::{StatusCode, Uri};

/// What one source may take.
const LIMITS: FetchLimits = FetchLimits {
    time: Duration::from_secs(5),
    body: 64 * 1024,
};
/// The currency in small letters, in URLs and pointers.
const SMALL: &str = "{currency}";
/// The currency in capital letters.
const CAPITAL: &str = "{CURRENCY}";

/// One source, for any currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called in logs and metrics.
    pub name: String,
    /// Its URL; `{currency}` and `{CURRENCY}` stand for the three letters.
    pub url: String,
    /// Where the price of one bitcoin stands in its answer, with the same placeholders.
    pub pointer: String,
    /// Where the time of the price stands, in seconds since 1970; an old one is not taken.
    pub time: Option<String>,
    /// Other letters than the currency's own.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// Why a source gave no price.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The URL is none.
    #[error("the URL is none")]
    Url(#[from] http::uri::InvalidUri),
    /// The pointer is none.
    #[error(transparent)]
    Pointer(#[from] BadPointer),
    /// No answer that may be read.
    #[error(transparent)]
    Fetch(#[from] CallError),
    /// An answer that says no.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// An answer without a price.
    #[error("no price can be read in its answer")]
    Answer(#[from] Unreadable),
    /// A bitcoin for nothing.
    #[error("it says that a bitcoin costs nothing")]
    Zero,
    /// A price of long ago.
    #[error("its price is too old")]
    Old,
}

impl Source {
    /// The sources that are asked where the seller names none.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let source = |name: &str, url: &str, pointer: &str, time: Option<&str>| Self {
            name: name.to_owned(),
            url: url.to_owned(),
            pointer: pointer.to_owned(),
            time: time.map(str::to_owned),
            aliases: &[],
        };
        let mut binance = source(
            "binance",
            "https://api.binance.com/api/v3/ticker/price?symbol=BTC{CURRENCY}",
            "/price",
            None,
        );
        // It sells no bitcoin for dollars, but for the coin that stands for one.
        binance.aliases = &[("USD", "USDT")];
        vec![
            source(
                "kraken",
                "https://api.kraken.com/0/public/Ticker?pair=XBT{CURRENCY}",
                "/result/*/c/0",
                None,
            ),
            source(
                "coinbase",
                "https://api.coinbase.com/v2/prices/BTC-{CURRENCY}/spot",
                "/data/amount",
                None,
            ),
            source(
                "bitstamp",
                "https://www.bitstamp.net/api/v2/ticker/btc{currency}/",
                "/last",
                Some("/timestamp"),
            ),
            binance,
            source(
                "mempool",
                "https://mempool.space/api/v1/prices",
                "/{CURRENCY}",
                Some("/time"),
            ),
        ]
    }

    /// Whether it tells currencies apart.
    #[must_use]
    pub fn knows_currency(&self) -> bool {
        let written = [&self.url, &self.pointer];
        written
            .iter()
            .any(|text| text.contains(SMALL) || text.contains(CAPITAL))
    }

    /// Whether it can be asked at all.
    ///
    /// # Errors
    /// [`SourceError`] for a URL or pointer that is none.
    pub fn check(&self, currency: Currency) -> Result<(), SourceError> {
        let _: Uri = self.fill(&self.url, currency).parse()?;
        let _: Pointer = self.fill(&self.pointer, currency).parse()?;
        Ok(())
    }

    /// The price of one bitcoin, as this source has it now.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn ask(
        &self,
        client: &GuardedClient,
        currency: Currency,
        oldest: UnixMillis,
    ) -> Result<Decimal, SourceError> {
        let url: Uri = self.fill(&self.url, currency).parse()?;
        let answer = client.get(&url, LIMITS).await?;
        if !answer.status.is_success() {
            return Err(SourceError::Status(answer.status));
        }
        self.read(&answer.body, currency, oldest)
    }

    fn read(
        &self,
        body: &[u8],
        currency: Currency,
        oldest: UnixMillis,
    ) -> Result<Decimal, SourceError> {
        let at = |written: &str| self.fill(written, currency).parse::<Pointer>();
        let price = at(&self.pointer)?.decimal(body)?;
        if price.is_zero() {
            return Err(SourceError::Zero);
        }
        if let Some(time) = &self.time {
            let time = at(time)?.decimal(body)?;
            let oldest = Decimal::new((oldest.get() / 1000).into(), 0);
            if oldest.is_ok_and(|oldest| oldest.exceeds(time)) {
                return Err(SourceError::Old);
            }
        }
        Ok(price)
    }

    fn fill(&self, text: &str, currency: Currency) -> String {
        let own = currency.name().to_ascii_uppercase();
        let alias = self.aliases.iter().find(|(name, _)| *name == own);
        let capital = alias.map_or(own.as_str(), |(_, alias)| *alias);
        let small = capital.to_ascii_lowercase();
        text.replace(SMALL, &small).replace(CAPITAL, capital)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn read(name: &str, currency: &str, body: &str) -> Result<String, SourceError> {
        let sources = Source::defaults();
        let source = sources.iter().find(|source| source.name == name).unwrap();
        let oldest = UnixMillis::new(NOW - 600_000);
        let price = source.read(body.as_bytes(), currency.parse().unwrap(), oldest)?;
        Ok(price.to_string())
    }

    #[test]
    fn each_source_is_read_in_its_own_words() {
        let kraken = r#"{"error":[],"result":{"XXBTZUSD":{"a":["97001.0","1","1.000"],"c":["97000.10000","0.002"]}}}"#;
        assert_eq!(read("kraken", "usd", kraken).unwrap(), "97000.1");
        let coinbase = r#"{"data":{"amount":"97000.125","base":"BTC","currency":"USD"}}"#;
        assert_eq!(read("coinbase", "usd", coinbase).unwrap(), "97000.125");
        let bitstamp = r#"{"timestamp":"1790000000","last":"97000","volume":"12.3"}"#;
        assert_eq!(read("bitstamp", "usd", bitstamp).unwrap(), "97000");
        let binance = r#"{"symbol":"BTCUSDT","price":"97000.01000000"}"#;
        assert_eq!(read("binance", "usd", binance).unwrap(), "97000.01");
        let mempool = r#"{"time":1789999900,"USD":97000,"EUR":89000}"#;
        assert_eq!(read("mempool", "eur", mempool).unwrap(), "89000");
    }

    #[test]
    fn urls_name_the_currency_as_each_source_writes_it() {
        let url = |name: &str, currency: &str| {
            let sources = Source::defaults();
            let source = sources.iter().find(|source| source.name == name).unwrap();
            source.fill(&source.url, currency.parse().unwrap())
        };
        assert!(url("kraken", "eur").ends_with("pair=XBTEUR"));
        assert!(url("bitstamp", "usd").ends_with("/btcusd/"));
        assert!(url("binance", "usd").ends_with("symbol=BTCUSDT"));
        assert!(url("binance", "eur").ends_with("symbol=BTCEUR"));
        for source in Source::defaults() {
            assert!(source.knows_currency() && source.check("usd".parse().unwrap()).is_ok());
        }
    }

    #[test]
    fn old_prices_errors_and_nothing_are_not_taken() {
        let old = r#"{"time":1789990000,"USD":97000}"#;
        assert!(matches!(read("mempool", "usd", old), Err(SourceError::Old)));
        let free = r#"{"symbol":"BTCUSDT","price":"0.000"}"#;
        assert!(matches!(
            read("binance", "usd", free),
            Err(SourceError::Zero)
        ));
        let error = r#"{"error":["EQuery:Unknown asset pair"]}"#;
        assert!(matches!(
            read("kraken", "usd", error),
            Err(SourceError::Answer(_))
        ));
        let other = r#"{"time":1790000000,"EUR":89000}"#;
        assert!(read("mempool", "usd", other).is_err());
    }
}
