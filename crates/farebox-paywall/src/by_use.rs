//! Prices by what a call turns out to have used, where no model is counted: the upstream says it in a
//! header or in its JSON, or bytes and seconds are measured here.
//!
//! What such a call costs at most is written beside its price and held before it is forwarded. What
//! it did cost is rounded up once. Beyond the hold it is the seller's loss, and what nobody told is an
//! end of its own, never a silent zero.

use std::fmt;
use std::sync::Arc;

use farebox_core::{Msat, UnixMillis};
use farebox_market::rates::{Rate, Rates};
use farebox_meter::{Currency, Decimal, Pointer};
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};

use crate::due::Due;
use crate::error::Unsold;
pub use crate::gauge::Of;
use crate::gauge::measured::Measuring;
use crate::gauge::report::Report;
use crate::gauge::tariff::Tariff;
use crate::gauge::{Billing, Gauge};

/// Header fields of a request that name what its body, or each message in it, is compressed by.
const COMPRESSED_BY: [HeaderName; 3] = [
    CONTENT_ENCODING,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("connect-content-encoding"),
];

/// What a route charges by use.
pub struct ByUse {
    /// Who tells how much was used.
    pub teller: Teller,
    /// What one unit of that costs.
    pub each: Rated,
    /// What one call costs at most: held before it is forwarded.
    pub at_most: Rated,
    /// What one call costs at least, where it is charged at all.
    pub least: Option<Rated>,
    /// What a bitcoin costs, for prices in other money.
    pub rates: Arc<Rates>,
    /// Millionths on top of what the upstream says.
    pub markup: u64,
    /// What is charged where an answer does not end well.
    pub billing: Billing,
    /// Whether requests are sold by their bytes even where they come compressed: what the upstream then
    /// works on may be a thousand times as long.
    pub takes_compressed: bool,
}

/// An amount in some currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rated {
    /// In which.
    pub currency: Currency,
    /// How much.
    pub amount: Decimal,
}

/// Who tells how much a call used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The upstream, in a header of its answer or in a trailer of this name.
    Header {
        /// Which.
        name: HeaderName,
        /// Whether the client sees it too.
        shown: bool,
    },
    /// The upstream, in its JSON, or in the last event of a stream that has it.
    Json(Pointer),
    /// The length of bodies as they passed here.
    Bytes {
        /// Whose.
        of: Of,
        /// How many bytes the price is for.
        per: u32,
    },
    /// The time from forwarding to the end of the answer, in seconds.
    Seconds,
}

impl ByUse {
    /// What one request costs at most, or exactly where its own length tells.
    pub(crate) fn quote(&self, length: Option<u64>, now: UnixMillis) -> Result<Due, Unsold> {
        let (tariff, rate) = self.tariff(now)?;
        let at_most = tariff.at_most;
        if let Teller::Bytes {
            of: Of::Request, ..
        } = self.teller
            && let Some(length) = length
        {
            let cost = tariff.cost(Decimal::from(length)).unwrap_or(at_most);
            return Ok(Due::exactly(cost.min(at_most), rate));
        }
        Ok(Due::gauged(at_most, rate, self.gauge(tariff)))
    }

    /// Refuses a compressed request where its bytes are sold: nobody counts what it expands to.
    pub(crate) fn check_headers(&self, headers: &HeaderMap) -> Result<(), Unsold> {
        let is_counted = matches!(
            self.teller,
            Teller::Bytes {
                of: Of::Request | Of::Both,
                ..
            }
        );
        if !is_counted || self.takes_compressed {
            return Ok(());
        }
        let is_compressed = |name: &HeaderName| headers.get_all(name).iter().any(names_compression);
        match COMPRESSED_BY.into_iter().find(is_compressed) {
            Some(header) => Err(Unsold::Compressed { header }),
            None => Ok(()),
        }
    }

    fn gauge(&self, tariff: Tariff) -> Box<dyn Gauge> {
        match &self.teller {
            Teller::Header { name, .. } => Box::new(Report::in_header(name.clone(), tariff)),
            Teller::Json(pointer) => Box::new(Report::in_json(pointer.clone(), tariff)),
            Teller::Bytes { of, .. } => Box::new(Measuring::bytes(*of, tariff)),
            Teller::Seconds => Box::new(Measuring::seconds(tariff)),
        }
    }

    /// The header or trailer that clients do not see.
    pub const fn hidden(&self) -> Option<&HeaderName> {
        match &self.teller {
            Teller::Header { name, shown: false } => Some(name),
            _ => None,
        }
    }

    fn tariff(&self, now: UnixMillis) -> Result<(Tariff, Option<Rate>), Unsold> {
        let each = self.rates.quote(self.each.currency, now)?;
        let most = self.rates.quote(self.at_most.currency, now)?;
        let at_most = most.exchange.to_msat(self.at_most.amount)?;
        let (least, rate) = match self.least {
            None => (Msat::ZERO, None),
            Some(least) => {
                let quoted = self.rates.quote(least.currency, now)?;
                (quoted.exchange.to_msat(least.amount)?, quoted.rate)
            }
        };
        let exchange = each.exchange.dearer_by(self.markup);
        let tariff = Tariff {
            each: self.each.amount,
            exchange: match self.teller {
                Teller::Bytes { per, .. } => exchange.split(per),
                _ => exchange,
            },
            at_most,
            // Where rates move the two apart, the most holds: it was promised.
            least: least.min(at_most),
            billing: self.billing,
        };
        Ok((tariff, each.rate.or(most.rate).or(rate)))
    }
}

/// Whether a list of encodings has another one than `identity`.
fn names_compression(value: &HeaderValue) -> bool {
    let mut names = value.as_bytes().split(|byte| *byte == b',');
    names.any(|name| {
        let name = name.trim_ascii();
        !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")
    })
}

/// What is charged, in words that change only with the terms.
impl fmt::Display for ByUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} each={} at_most={}",
            self.teller, self.each, self.at_most
        )?;
        if let Some(least) = self.least {
            write!(f, " least={least}")?;
        }
        write!(f, " markup={}", self.markup)
    }
}

impl fmt::Display for Rated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.amount, self.currency.name())
    }
}

impl fmt::Display for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, shown } => write!(f, "header={name} shown={shown}"),
            Self::Json(pointer) => write!(f, "json={pointer}"),
            Self::Bytes { of, per } => write!(f, "bytes={} per={per}", of.as_str()),
            Self::Seconds => f.write_str("seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use farebox_market::rates::Rates;

    use super::*;

    fn sold_by(of: Of, takes_compressed: bool) -> ByUse {
        let one = Rated {
            currency: Currency::Msat,
            amount: Decimal::from(1),
        };
        ByUse {
            teller: Teller::Bytes { of, per: 1 },
            each: one,
            at_most: one,
            least: None,
            rates: Arc::new(Rates::new(std::time::Duration::ZERO, 0)),
            markup: 0,
            billing: Billing::default(),
            takes_compressed,
        }
    }

    fn takes(by_use: &ByUse, name: &'static str, value: &'static str) -> bool {
        let name = HeaderName::from_static(name);
        let line = (name, HeaderValue::from_static(value));
        by_use.check_headers(&HeaderMap::from_iter([line])).is_ok()
    }

    #[test]
    fn what_is_sold_by_the_bytes_of_a_request_is_not_taken_compressed() {
        for of in [Of::Request, Of::Both] {
            let by_use = sold_by(of, false);
            for (name, value) in [
                ("content-encoding", "gzip"),
                ("content-encoding", "identity, BR"),
                ("grpc-encoding", "gzip"),
                ("connect-content-encoding", "zstd"),
            ] {
                assert!(!takes(&by_use, name, value), "{name}: {value}");
                assert!(takes(&sold_by(of, true), name, value), "{name}: {value}");
                assert!(takes(&sold_by(Of::Answer, false), name, value));
            }
            assert!(takes(&by_use, "content-encoding", "Identity"));
            assert!(takes(&by_use, "content-encoding", ""));
            assert!(takes(&by_use, "accept-encoding", "gzip"));
            let lines = ["identity", "gzip"].map(|value| (CONTENT_ENCODING, value));
            let mut twice = HeaderMap::new();
            for (name, value) in lines {
                twice.append(name, HeaderValue::from_static(value));
            }
            assert!(by_use.check_headers(&twice).is_err());
        }
    }
}
