//! From a wish to a payout that is written down: everything that can refuse.

use farebox_core::{Msat, PaymentHash, PayoutId, UnixMillis};
use farebox_ledger::{AskedBy, PayoutAnswer, PayoutRequest, PayoutView};
use farebox_lightning::backends::Backends;
use farebox_lightning::{InvoiceState, LookupInvoice};

use super::busy::Working;
use super::destination::{Destination, Payable, Resolver};
use super::purse::look_into;
use super::{Current, Payouts, RefundError, RefundRequest, Source};

/// The kind of backend that pays its own invoices: test money only.
const TEST_MONEY: &str = "mock";
/// Among how many of an account's payouts an invoice is looked for that was asked for before.
const EARLIER: u32 = 1000;

/// A payout that is written down.
pub(super) struct Begun {
    pub(super) view: PayoutView,
    /// The right to send it, where it is a new one.
    pub(super) working: Option<Working<PayoutId>>,
}

impl Payouts {
    pub(super) async fn begin(&self, request: RefundRequest) -> Result<Begun, RefundError> {
        let current = self.current.load_full();
        if request.asked_by == AskedBy::Holder && !current.rules.enabled {
            return Err(RefundError::Disabled);
        }
        let _alone = self
            .accounts
            .begin(request.source.account())
            .ok_or(RefundError::UnderWay)?;
        if let Some(known) = self.find_earlier(&request).await? {
            return Ok(Begun {
                view: known,
                working: None,
            });
        }
        let max_open = current.rules.max_open;
        let place = self.open.take(&self.ledger, &request, max_open).await?;
        let backends = current.backends.as_ref().ok_or(RefundError::NoPayer)?;
        let (backend, _) = backends.payer().ok_or(RefundError::NoPayer)?;
        let lookup = backends.lookup().ok_or(RefundError::NoLookup)?;
        let now = self.clock.now();
        let purse = look_into(&self.ledger, &request.source, lookup, now).await?;
        let resolver = Resolver {
            rules: &current.rules,
            client: &current.client,
            clock: &self.clock,
            available: purse.available,
            asked: request.amount,
            least: current.rules.limits(request.asked_by).least,
        };
        let payable = resolver.resolve(&request.destination).await;
        let payable = payable.map_err(|refusal| purse.explain(refusal))?;
        self.refuse_own(backends, lookup, &payable).await?;
        log_destination(&request);
        let begun = self.reserve(&current, request, payable, backend).await?;
        // What ends it keeps off a payout that is worked on, as a new one is.
        if let (Some(place), Some(_)) = (place, &begun.working) {
            self.open.keep(begun.view.id, place);
        }
        Ok(begun)
    }

    /// A wish that is repeated, and an invoice that was asked for before, are never looked at again:
    /// their payout is the answer.
    async fn find_earlier(
        &self,
        request: &RefundRequest,
    ) -> Result<Option<PayoutView>, RefundError> {
        let account = request.source.account();
        let earlier = self.ledger.payouts_of(account, EARLIER).await?;
        if let Some(repeat) = &request.repeat
            && let Some(known) = repeat.find(account, &earlier)?
        {
            return Ok(Some(known));
        }
        let Destination::Bolt11(bolt11) = &request.destination else {
            return Ok(None);
        };
        let hash = farebox_lightning::parse_invoice(bolt11)?.payment_hash;
        Ok(earlier
            .into_iter()
            .find(|payout| payout.destination_hash == hash))
    }

    /// Paying an invoice of our own would only move money in a circle, and some nodes and wallets
    /// would call that a payment received.
    async fn refuse_own(
        &self,
        backends: &Backends,
        lookup: &dyn LookupInvoice,
        payable: &Payable,
    ) -> Result<(), RefundError> {
        let hash = payable.payment_hash;
        let is_ours = self.ledger.account(hash.account()).await?.is_some()
            || self.ledger.pending_deposit_by(hash).await?.is_some();
        if is_ours {
            return Err(RefundError::OwnInvoice);
        }
        if backends.iter().any(|it| it.node.kind == TEST_MONEY) {
            return Ok(());
        }
        match lookup.lookup_invoice(hash).await {
            Ok(InvoiceState::Unknown) => Ok(()),
            Ok(_) => Err(RefundError::OwnInvoice),
            Err(error) => Err(RefundError::Node(error)),
        }
    }

    async fn reserve(
        &self,
        current: &Current,
        request: RefundRequest,
        payable: Payable,
        backend: &str,
    ) -> Result<Begun, RefundError> {
        let now = self.clock.now();
        let account = request.source.account();
        let id = match &request.repeat {
            Some(repeat) => repeat.id(account, now),
            None => random_id(now)?,
        };
        // Before it is in the store, so that no timer ever finds it without a keeper.
        let working = self.payouts.begin(id).ok_or(RefundError::Unable)?;
        let limits = current.rules.limits(request.asked_by);
        let destination = payable.payment_hash;
        let funding = match request.source {
            Source::Token { claim, .. } => claim,
            Source::Key(_) => None,
        };
        let answer = self.ledger.begin_payout(PayoutRequest {
            id,
            account,
            funding,
            asked_by: request.asked_by,
            destination_hash: destination,
            bolt11: payable.bolt11,
            amount: payable.share.amount,
            max_fee: payable.share.max_fee,
            backend: backend.to_owned(),
            limits,
            now,
        });
        let answer = answer.await?;
        let is_new = matches!(answer, PayoutAnswer::Begun(_));
        let view = judge(answer, destination, limits.least)?;
        if is_new {
            self.metrics.begun();
            log_begun(&view);
        }
        Ok(Begun {
            view,
            working: is_new.then_some(working),
        })
    }
}

fn random_id(now: UnixMillis) -> Result<PayoutId, RefundError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|_| RefundError::Unable)?;
    Ok(PayoutId::new(now, random))
}

/// The payout that is written down now, or why there is none.
fn judge(
    answer: PayoutAnswer,
    destination: PaymentHash,
    least: Msat,
) -> Result<PayoutView, RefundError> {
    Err(match answer {
        PayoutAnswer::Begun(view) => return Ok(view),
        PayoutAnswer::Exists(view) if view.destination_hash == destination => return Ok(view),
        // Of this account, and to somewhere else: not what was asked for now.
        PayoutAnswer::Exists(_) => RefundError::UnderWay,
        PayoutAnswer::DestinationTaken => RefundError::UsedInvoice,
        PayoutAnswer::NothingLeft { available } => RefundError::NothingLeft { available },
        PayoutAnswer::Reserved => RefundError::Reserved,
        PayoutAnswer::BelowLeast => RefundError::BelowLeast { least },
        PayoutAnswer::DailyTotal => RefundError::DailyTotal,
        PayoutAnswer::DailyShare { left } => RefundError::DailyShare { left },
        PayoutAnswer::TooManyOpen => RefundError::TooManyOpen,
        PayoutAnswer::TooOften => RefundError::TooOften,
        PayoutAnswer::Revoked => RefundError::Revoked,
        PayoutAnswer::Unknown => RefundError::Unknown,
        PayoutAnswer::TermsMismatch => RefundError::TermsMismatch,
    })
}

fn log_destination(request: &RefundRequest) {
    let Destination::LightningAddress(address) = &request.destination else {
        return;
    };
    let address = address.to_string();
    let host = address.rsplit('@').next().unwrap_or_default();
    tracing::info!(payment.hash = %request.source.account(), host, "a refund goes to a Lightning Address");
}

fn log_begun(view: &PayoutView) {
    tracing::info!(
        payout = %view.id,
        payment.hash = %view.account,
        amount_msat = view.amount.get(),
        max_fee_msat = view.max_fee.get(),
        backend = view.backend,
        by = asked_by(view.asked_by),
        "a refund was begun"
    );
}

/// The word for who asked, in logs and documents.
#[must_use]
pub(crate) const fn asked_by(who: AskedBy) -> &'static str {
    match who {
        AskedBy::Holder => "holder",
        AskedBy::Operator => "operator",
    }
}
