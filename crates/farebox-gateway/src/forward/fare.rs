//! The payment side of a request on its way: what is charged, by which status and end, and what of it
//! its payer is told.

use std::sync::Arc;

use farebox_http::body::Upload;
use farebox_http::body_budget::Lease as Memory;
use farebox_http::headers;
use farebox_http::limits::TokenPermit;
use farebox_http::replay::{Asked, Keep, Recorder, ReplayStore};
use farebox_ledger::{ClientFault, VoidReason};
use farebox_paywall::admit::Payment;
use farebox_paywall::sale::ChargeOn;
use farebox_paywall::settle::{Charge, Settlement};
use http::StatusCode;
use http::header::{HeaderMap, HeaderValue, VARY};
use http::response::Parts;

use super::receipt::ReceiptHeaders;
use crate::answer::Overtime;
use crate::outcome::Outcome;
use crate::plan::{PaidCache, Route};
use crate::refusal::{Refusal, UpstreamError};

const PAYMENT_VARY: &str = "Authorization, X-Cashu, X-PAYMENT-SATS, Farebox-Claim, Cookie";

/// The payment side of one forwarded request. It is kept in a box: it goes from hand to hand.
pub(super) struct Fare {
    pub(super) settlement: Settlement,
    pub(super) permit: Option<TokenPermit>,
    pub(super) receipt: ReceiptHeaders,
    keep: Option<Box<Keep>>,
    paid: bool,
    /// Whether the answer leads to another place of the upstream's own.
    pub(super) leads_on: bool,
    /// The request's body, where it comes only while it is forwarded.
    pub(super) upload: Option<Arc<Upload>>,
    /// What ends the answer when what pays for it is over.
    pub(super) overtime: Option<Overtime>,
    /// What is reserved for the answer, where it may be read to its end before it leaves.
    pub(super) room: Option<Memory>,
    /// Both sides speak in turn: a body that goes on keeps nobody waiting.
    pub(super) is_dialogue: bool,
}

/// A request that gets no answer of its upstream's, and what is charged all the same.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) charge: Charge,
}

impl Fare {
    /// `headers` are those of the request as its client sent it, but for what pays.
    pub(super) fn of(
        payment: Payment,
        permit: Option<TokenPermit>,
        route: &Route,
        headers: &HeaderMap,
    ) -> Box<Self> {
        let mut fare = Box::new(Self {
            settlement: Settlement::nothing(),
            permit,
            receipt: ReceiptHeaders::Nothing,
            keep: None,
            paid: !matches!(payment, Payment::Free),
            leads_on: false,
            upload: None,
            overtime: None,
            room: None,
            is_dialogue: false,
        });
        match payment {
            Payment::Free | Payment::Accepted => {}
            Payment::Pass { expires_at } => fare.receipt = ReceiptHeaders::Pass(expires_at),
            Payment::FirstOfPass { hold, span } => {
                fare.receipt = ReceiptHeaders::FirstOfPass {
                    hold: hold.id(),
                    span,
                    until: None,
                };
                fare.settlement = Settlement::of(hold, None);
            }
            Payment::Held { hold, once, gauge } => {
                fare.receipt = ReceiptHeaders::Held {
                    hold: hold.id(),
                    charge: hold.charge(),
                    left: hold.remaining(),
                    is_most: gauge.is_some(),
                };
                let replay = route.sale.as_ref().and_then(|sale| sale.replay);
                fare.keep = replay.filter(|_| once).map(|policy| {
                    Box::new(Keep {
                        hold: hold.id(),
                        policy,
                        asked: Asked::of(headers),
                    })
                });
                fare.settlement = Settlement::of(hold, gauge);
            }
        }
        if route.charges_on() == ChargeOn::Forwarded {
            fare.settlement.sell_act();
        }
        fare
    }

    /// How the request ends, unless something goes wrong.
    pub(super) const fn outcome(&self) -> Outcome {
        if self.paid {
            Outcome::Paid
        } else {
            Outcome::Free
        }
    }

    /// Releases the hold of a request that gets no answer.
    pub(super) fn refuse(mut self, refusal: Refusal) -> Refused {
        self.settlement.void(refusal.entry().void);
        let charge = self.settlement.charge();
        Refused { refusal, charge }
    }

    /// The same where the upstream gave none.
    pub(super) fn refuse_unanswered(mut self, refusal: Refusal) -> Refused {
        let timed_out = refusal.entry().void == VoidReason::TimedOut;
        if self.upload.as_ref().is_some_and(|upload| {
            let stalls = if self.is_dialogue {
                upload.is_awaited()
            } else {
                !upload.has_ended()
            };
            upload.is_spoilt() || (timed_out && stalls)
        }) {
            self.settlement.excuse(ClientFault::Upload);
        }
        self.refuse(refusal)
    }

    /// An answer is there that can be one to what was asked: it does not tell of a broken seller,
    /// and does not speak another protocol from here on.
    pub(super) fn answered(
        self: Box<Self>,
        status: StatusCode,
        route: &Route,
    ) -> Result<Box<Self>, Refused> {
        let fare = self.open_to(status, route)?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let unasked = UpstreamError::broken("it switched protocols unasked");
            return Err(fare.refuse(unasked.into()));
        }
        Ok(fare)
    }

    /// Refuses an answer that speaks to the seller instead of the client.
    pub(super) fn open_to(
        self: Box<Self>,
        status: StatusCode,
        route: &Route,
    ) -> Result<Box<Self>, Refused> {
        if route.hides(status) {
            return Err(self.refuse(UpstreamError::RefusesSeller.into()));
        }
        Ok(self)
    }

    /// Releases the hold of an answer that is not charged; answers whether it is.
    pub(super) async fn judge(
        &mut self,
        status: StatusCode,
        route: &Route,
        grpc_failed: bool,
    ) -> bool {
        if self.settlement.sells_act() {
            return true;
        }
        let charge_on = route.charges_on();
        let charged = charge_on.charges(status) || status == StatusCode::SWITCHING_PROTOCOLS;
        // These would use up a call for what is still to be fetched, or is there.
        let is_elsewhere = self.leads_on || status == StatusCode::NOT_MODIFIED;
        let delivers = match self.settlement.gauge() {
            Some(gauge) => gauge.sells(status, is_elsewhere),
            None => !is_elsewhere,
        };
        if charged && delivers && !grpc_failed {
            return true;
        }
        let is_spoilt = self.upload.as_ref().is_some_and(|it| it.is_spoilt());
        if is_spoilt {
            self.settlement.excuse(ClientFault::Upload);
        } else if charged && is_elsewhere && !grpc_failed {
            self.settlement.excuse(ClientFault::NotDelivered);
        } else {
            self.settlement.void(VoidReason::Refused);
        }
        let charged = self.settlement.found().await;
        if charged.is_zero() {
            self.keep = None;
            self.receipt.release();
        }
        !charged.is_zero()
    }

    /// Marks a paid answer for caches and tells the payer what it cost.
    pub(super) fn mark(&self, headers: &mut HeaderMap, route: &Route) {
        if route.sale.is_none() {
            return;
        }
        if route.paid_cache == PaidCache::PrivateNoStore {
            headers::forbid_storing(headers);
        }
        headers.append(VARY, HeaderValue::from_static(PAYMENT_VARY));
        self.receipt.write(headers);
    }

    pub(super) fn recorder(
        &mut self,
        replays: &Arc<ReplayStore>,
        parts: &Parts,
    ) -> Option<Recorder> {
        let keep = self.keep.take()?;
        Some(replays.record(*keep, parts.status, parts.headers.clone()))
    }
}

impl Route {
    fn charges_on(&self) -> ChargeOn {
        let sale = self.sale.as_ref();
        sale.map_or(ChargeOn::Success, |sale| sale.charge_on)
    }
}
