//! What is measured here: the bytes that pass, or the time until the end. That is true however much it
//! is, and the most is charged where it costs more.
//!
//! | end | charged, unless the seller says otherwise |
//! |---|---|
//! | complete, or cut by the client | what was measured |
//! | cut by the upstream, or by our own end | what was measured until then |
//! | before the first byte | nothing |
//! | complete, and says where on the upstream's own origin the thing is, or that it is there (304) | nothing, a few times |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use farebox_core::Msat;
use farebox_meter::Decimal;
use http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::finding::Billed;
use super::tariff::Tariff;
use super::{Ending, Form, Gauge};

/// Where clients of gRPC and Connect say how each message of the answer may be compressed.
const ACCEPT_COMPRESSED_MESSAGES: [HeaderName; 2] = [
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("connect-accept-encoding"),
];

farebox_core::words! {
    /// Whose bytes are counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Of {
        /// The answer's.
        Answer = "answer",
        /// The request's.
        Request = "request",
        /// Both.
        Both = "both",
    }
}

/// Measures one call.
pub struct Measuring {
    tariff: Tariff,
    what: What,
}

enum What {
    Bytes {
        of: Of,
        answer: u64,
        request: Arc<AtomicU64>,
    },
    Seconds {
        forwarded_at: Instant,
    },
}

impl Measuring {
    /// Counts bytes.
    pub fn bytes(of: Of, tariff: Tariff) -> Self {
        let (answer, request) = (0, Arc::default());
        let what = What::Bytes {
            of,
            answer,
            request,
        };
        Self { tariff, what }
    }

    /// Measures the time from forwarding to the end of the answer.
    pub fn seconds(tariff: Tariff) -> Self {
        let forwarded_at = Instant::now();
        let what = What::Seconds { forwarded_at };
        Self { tariff, what }
    }

    fn quantity(&self) -> Decimal {
        match &self.what {
            What::Bytes {
                of,
                answer,
                request,
            } => {
                let request = || request.load(Ordering::Relaxed);
                Decimal::from(match of {
                    Of::Answer => *answer,
                    Of::Request => request(),
                    Of::Both => answer.saturating_add(request()),
                })
            }
            What::Seconds { forwarded_at } => Decimal::from(forwarded_at.elapsed()),
        }
    }

    fn cost(&self, quantity: Decimal) -> Msat {
        self.tariff.cost(quantity).unwrap_or(self.tariff.at_most)
    }
}

impl Gauge for Measuring {
    fn request(&mut self, fields: &mut HeaderMap) -> Option<Arc<AtomicU64>> {
        if let What::Bytes {
            of: Of::Answer | Of::Both,
            ..
        } = self.what
        {
            // Whoever pays by the byte does not choose how few there are.
            let identity = HeaderValue::from_static("identity");
            for name in ACCEPT_COMPRESSED_MESSAGES {
                if fields.contains_key(&name) {
                    fields.insert(name, identity.clone());
                }
            }
            fields.insert(ACCEPT_ENCODING, identity);
        }
        match &mut self.what {
            What::Seconds { forwarded_at } => {
                *forwarded_at = Instant::now();
                None
            }
            What::Bytes { of, request, .. } => match of {
                Of::Request | Of::Both => Some(Arc::clone(request)),
                Of::Answer => None,
            },
        }
    }

    /// As at a fixed price: what was asked for is still to be fetched, or is there.
    fn sells(&self, _: StatusCode, is_elsewhere: bool) -> bool {
        !is_elsewhere
    }

    fn head(&mut self, _: StatusCode, _: &mut HeaderMap) -> Form {
        Form::AsSent { cost: None }
    }

    fn frame(&mut self, data: Bytes) -> Bytes {
        if let What::Bytes { answer, .. } = &mut self.what {
            *answer = answer.saturating_add(data.len() as u64);
        }
        data
    }

    fn progress(&self) -> Option<Msat> {
        Some(self.cost(self.quantity()))
    }

    fn drains(&self) -> Option<Duration> {
        self.tariff.billing.on_disconnect.drains()
    }

    fn bill(self: Box<Self>, ending: Ending) -> Billed {
        let quantity = self.quantity();
        let cost = self.cost(quantity);
        Billed::Known(self.tariff.bill(ending, Some(quantity), Ok(cost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauge::bill::{Bill, Measure};
    use crate::gauge::tariff::tests::{lenient, msat, tariff};

    fn billed(gauge: Measuring, ending: Ending) -> Bill {
        let Billed::Known(bill) = Box::new(gauge).bill(ending) else {
            panic!("it is not known");
        };
        bill
    }

    #[test]
    fn bytes_are_counted_on_the_side_that_is_sold() {
        let charged = |of| {
            let mut gauge = Measuring::bytes(of, tariff(lenient()));
            if let Some(counted) = gauge.request(&mut HeaderMap::new()) {
                counted.store(100, Ordering::Relaxed);
            }
            gauge.frame(Bytes::from_static(&[0; 60]));
            gauge.frame(Bytes::from_static(&[0; 1]));
            billed(gauge, Ending::CutByClient).used.unwrap().get()
        };
        assert_eq!(charged(Of::Answer), 31);
        assert_eq!(charged(Of::Request), 50);
        assert_eq!(charged(Of::Both), 81);
    }

    #[test]
    fn who_pays_by_the_bytes_of_answers_gets_them_uncompressed_however_he_asks() {
        let asked = |of| {
            let names = ["accept-encoding", "grpc-accept-encoding"];
            let mut fields = HeaderMap::new();
            for name in names {
                fields.append(name, HeaderValue::from_static("gzip"));
                fields.append(name, HeaderValue::from_static("br"));
            }
            Measuring::bytes(of, tariff(lenient())).request(&mut fields);
            assert!(!fields.contains_key("connect-accept-encoding"));
            names.map(|name| {
                let lines = fields.get_all(name).iter();
                lines
                    .map(|line| line.to_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            })
        };
        for of in [Of::Answer, Of::Both] {
            assert_eq!(asked(of), [["identity"], ["identity"]]);
        }
        assert_eq!(asked(Of::Request), [["gzip", "br"], ["gzip", "br"]]);
    }

    #[test]
    fn time_runs_from_forwarding_on() {
        let mut gauge = Measuring::seconds(tariff(lenient()));
        gauge.request(&mut HeaderMap::new());
        let bill = billed(gauge, Ending::Complete);
        let Measure::Quantity(Some(seconds)) = bill.measured else {
            panic!("nothing was measured");
        };
        assert!(!seconds.is_zero());
        assert_eq!(bill.used, Some(msat(10)));
    }

    #[test]
    fn more_than_can_be_paid_costs_the_most() {
        let mut gauge = Measuring::bytes(Of::Request, tariff(lenient()));
        let counted = gauge.request(&mut HeaderMap::new()).unwrap();
        counted.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(gauge.progress(), Some(msat(1000)));
        assert_eq!(billed(gauge, Ending::Complete).used, Some(msat(1000)));
    }
}
