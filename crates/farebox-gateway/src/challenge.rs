//! What is owed becomes a 402: an invoice, a macaroon that says what it buys, and the headers.
//!
//! A challenge is stateless: no row is written, nothing is remembered, and every invoice is made
//! for one client alone. Making one costs the node work, so it is limited for each address prefix
//! and in all; past the limit, and for methods that never make one, the answer is the price alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farebox_core::{Msat, PaymentHash, RequestDigest, Terms};
use farebox_http::client_addr::AddressPrefix;
use farebox_lightning::backends::Backends;
use farebox_lightning::{CreatedInvoice, InvoiceRequest, NodeError, PaymentHashes};
use farebox_paywall::claim::CLAIM_GRACE;
use farebox_wire::caveat::print_block;
use farebox_wire::challenge::{Challenge, InvoiceText, LegacyLsat};
use farebox_wire::grpc::{self, Code};
use farebox_wire::macaroon::Macaroon;
use farebox_wire::problem::Problem;
use http::{Response, StatusCode};

use crate::access_log::{Audience, Exchange};
use crate::answer::AnswerBody;
use crate::claim::redeem::OpenClaim;
use crate::claim::visit::Visit;
use crate::claim::way_back::Offered;
use crate::held::{KeptRequest, Seed};
use crate::outcome::Outcome;
use crate::plan::{BadCredential, Plan, Route};
use crate::refusal::{Entry, Owed, PaymentError, Refusal};
use crate::render::render;
use crate::sale::Sale;
use crate::tender::Tender;
use crate::worker::Worker;

/// How long the node may take to make an invoice.
pub(crate) const INVOICE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many requests may wait for an invoice at the same time.
const MAX_WAITING: usize = 1024;
/// How long to wait when a limit was reached a moment ago.
const BRIEFLY: Duration = Duration::from_secs(1);
/// What our macaroons name as their place of issue, as other L402 servers do.
const LOCATION: &str = "lsat";

/// A request that has to be paid for.
pub(crate) struct Debt<'a> {
    pub(crate) route: &'a Route,
    pub(crate) sale: &'a Sale,
    /// What the request costs, at most.
    pub(crate) price: Msat,
    pub(crate) owed: Owed,
    pub(crate) method: &'a http::Method,
    pub(crate) digest: Option<RequestDigest>,
    /// The request itself, where it will run as soon as its payment is held.
    pub(crate) kept: Option<KeptRequest>,
    /// Who asks, where that is a browser or somebody with a claim.
    pub(crate) visit: Option<&'a Visit>,
}

/// Counts the requests that wait for an invoice.
#[derive(Debug, Default)]
pub(crate) struct WaitingInvoices(AtomicUsize);

struct Waiting<'a>(&'a AtomicUsize);

impl WaitingInvoices {
    fn enter(&self) -> Option<Waiting<'_>> {
        let waiting = Waiting(&self.0);
        (self.0.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Answers a request that has to be paid for.
    pub(crate) async fn challenge(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        debt: Debt<'_>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if matches!(*debt.method, http::Method::HEAD | http::Method::OPTIONS) {
            return Ok(self.price_alone(exchange, &debt, None));
        }
        if debt.sale.offer.binds_request() && debt.digest.is_none() {
            // Its body was not read, for it was past the limit a moment ago. Without its digest a
            // token would be good for every request.
            self.shared.metrics.challenge_refused();
            return Ok(self.price_alone(exchange, &debt, Some(BRIEFLY)));
        }
        let prefix = AddressPrefix::of(exchange.client);
        if let Err(wait) = self.shared.challenges.try_take(prefix, Instant::now()) {
            self.shared.metrics.challenge_refused();
            return Ok(self.price_alone(exchange, &debt, Some(wait.0)));
        }
        let seed = Seed::draw(&self.shared.keyring)?;
        let (tender, invoice) = match &debt.kept {
            None => self.ask_for_invoice(plan, &debt).await?,
            Some(_) => self.create_held_invoice(plan, &debt, seed).await?,
        };
        let terms = tender.terms(&debt, &invoice, CLAIM_GRACE);
        let macaroon = self.issue(seed, (debt.route, &terms), &invoice)?;
        let text = InvoiceText::parse(invoice.bolt11.as_str()).map_err(PaymentError::from)?;
        if let Some(kept) = &debt.kept {
            self.keep_for_payment(plan, kept, terms.clone(), seed, &invoice)
                .await?;
        }
        self.shared.metrics.challenged();
        let entry = entry(plan, debt.owed);
        let problem = tender.explain(debt.price, problem(exchange, &entry, &debt));
        let offered = Offered {
            macaroon: &macaroon,
            terms: &terms,
            invoice: &text,
            expires_at: invoice.expires_at,
            told: true,
        };
        Ok(self.offer(plan, exchange, &debt, (&entry, problem), &offered))
    }

    /// Shows somebody the challenge that was made for him before, as long as it can be paid.
    pub(crate) fn offer_again(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        debt: &Debt<'_>,
        OpenClaim { claim, told }: &OpenClaim,
    ) -> Response<AnswerBody> {
        let entry = entry(plan, debt.owed);
        let problem = problem(exchange, &entry, debt);
        let Some(invoice) = claim.invoice() else {
            (exchange.outcome, exchange.reason) = (Outcome::Owed, entry.word());
            return render(exchange, &entry, problem);
        };
        let offered = Offered {
            macaroon: &claim.macaroon,
            terms: &claim.token.granted.terms,
            invoice,
            expires_at: claim.expires_at(),
            told: *told,
        };
        self.offer(plan, exchange, debt, (&entry, problem), &offered)
    }

    fn price_alone(
        &self,
        exchange: &mut Exchange,
        debt: &Debt<'_>,
        wait: Option<Duration>,
    ) -> Response<AnswerBody> {
        // No gRPC client should take it for a challenge and try to pay.
        let mut entry = debt.owed.entry().with_grpc(Code::ResourceExhausted);
        entry = entry.with_status(StatusCode::PAYMENT_REQUIRED);
        if let Some(wait) = wait {
            entry = entry.again_in(wait);
        }
        (exchange.outcome, exchange.reason) = (Outcome::OwedBriefly, entry.word());
        let mut problem = problem(exchange, &entry, debt);
        if wait.is_some() {
            problem = problem
                .with_detail("too many invoices were asked for; this is the price without one");
        }
        render(exchange, &entry, problem)
    }

    /// An invoice for what the sale asks, or for a bundle where the node cannot take that. A node
    /// that learns its limits only when it is asked is asked once more.
    async fn ask_for_invoice(
        &self,
        plan: &Plan,
        debt: &Debt<'_>,
    ) -> Result<(Tender, CreatedInvoice), Refusal> {
        let node = plan.node.as_deref().ok_or(PaymentError::NoNode)?;
        let waiting = self.shared.waiting_invoices.enter();
        let _waiting = waiting.ok_or(PaymentError::QueueFull)?;
        let tender = Tender::of(&debt.sale.offer, debt.price, node.limits());
        let first = self.create_invoice(plan, node, debt, tender?).await;
        let (tender, invoice) = match first {
            Err(NodeError::AmountOutOfRange { .. }) => {
                let tender = Tender::of(&debt.sale.offer, debt.price, node.limits())?;
                self.create_invoice(plan, node, debt, tender).await
            }
            other => other,
        }
        .map_err(|error| self.node_failed(error))?;
        if node.payment_hashes() == PaymentHashes::Foreign {
            self.refuse_used_hash(&invoice).await?;
        }
        Ok((tender, invoice))
    }

    async fn create_invoice(
        &self,
        plan: &Plan,
        node: &Backends,
        debt: &Debt<'_>,
        tender: Tender,
    ) -> Result<(Tender, CreatedInvoice), NodeError> {
        let request = InvoiceRequest {
            amount: tender.amount,
            memo: debt.sale.description.clone(),
            expiry: plan.server.invoice_expiry,
        };
        Ok((tender, ask_in_time(node, request).await?))
    }

    /// An invoice that belongs to no challenge, for an amount that the node can take and that is
    /// not below `amount`.
    pub(crate) async fn plain_invoice(
        &self,
        plan: &Plan,
        amount: Msat,
        memo: String,
    ) -> Result<CreatedInvoice, Refusal> {
        let node = plan.node.as_deref().ok_or(PaymentError::NoNode)?;
        let waiting = self.shared.waiting_invoices.enter();
        let _waiting = waiting.ok_or(PaymentError::QueueFull)?;
        let expiry = plan.server.invoice_expiry;
        let create = async || {
            let cover = node.limits().cover(amount);
            let request = InvoiceRequest {
                amount: cover.ok_or(PaymentError::AmountNotTaken)?,
                memo: memo.clone(),
                expiry,
            };
            Ok::<_, Refusal>(ask_in_time(node, request).await)
        };
        // A node that learns its limits only when it is asked is asked once more.
        let invoice = match create().await? {
            Err(NodeError::AmountOutOfRange { .. }) => create().await?,
            other => other,
        }
        .map_err(|error| self.node_failed(error))?;
        if node.payment_hashes() == PaymentHashes::Foreign {
            self.refuse_used_hash(&invoice).await?;
        }
        Ok(invoice)
    }

    pub(crate) fn node_failed(&self, error: NodeError) -> Refusal {
        self.shared.metrics.node_failed();
        if matches!(error, NodeError::RepeatedPaymentHash { .. }) {
            self.shared.metrics.payment_hash_repeated();
        }
        PaymentError::from(error).into()
    }

    /// An invoice with a payment hash that somebody has paid before, or may pay.
    pub(crate) fn hash_was_used(&self, payment_hash: PaymentHash) -> Refusal {
        self.shared.metrics.payment_hash_repeated();
        PaymentError::from(NodeError::RepeatedPaymentHash { payment_hash }).into()
    }

    /// An invoice whose payment hash was claimed before would sell its payer nothing.
    async fn refuse_used_hash(&self, invoice: &CreatedInvoice) -> Result<(), Refusal> {
        if self.shared.knows_account(invoice.payment_hash).await? {
            return Err(self.hash_was_used(invoice.payment_hash));
        }
        Ok(())
    }

    fn issue(
        &self,
        seed: Seed,
        (route, terms): (&Route, &Terms),
        invoice: &CreatedInvoice,
    ) -> Result<Macaroon, PaymentError> {
        let keyring = &self.shared.keyring;
        let identifier = seed.identifier(invoice.payment_hash).to_bytes();
        let (root_key, _) = keyring
            .root_key(seed.epoch, &identifier)
            .ok_or(PaymentError::SigningKeyGone)?;
        let sold = route.capabilities.as_ref().map(|it| &it.sold);
        let caveats = print_block(terms, sold);
        Ok(Macaroon::issue(&root_key, LOCATION, &identifier, caveats))
    }

    fn offer(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        debt: &Debt<'_>,
        (entry, problem): (&Entry, Problem),
        offered: &Offered<'_>,
    ) -> Response<AnswerBody> {
        (exchange.outcome, exchange.reason) = (Outcome::Owed, entry.word());
        let legacy = if plan.server.legacy_challenge {
            LegacyLsat::Lead
        } else {
            LegacyLsat::Omit
        };
        let challenge = Challenge::new(offered.macaroon, offered.invoice.clone());
        let problem = problem
            .with("amount_msat", offered.terms.amount.get())
            .with("invoice_expires_at", offered.expires_at.as_secs());
        // The sentence by which gRPC clients tell a challenge from a fault.
        let problem = match exchange.audience {
            Audience::Grpc => problem.with_detail(grpc::MESSAGE),
            Audience::Program | Audience::Person => problem,
        };
        let mut response = render(exchange, &entry.with_grpc(grpc::UNPAID), problem);
        challenge.append_to(response.headers_mut(), legacy);
        self.add_way_back(plan, exchange, debt, offered, &mut response);
        response
    }
}

async fn ask_in_time(
    node: &Backends,
    request: InvoiceRequest,
) -> Result<CreatedInvoice, NodeError> {
    let created = tokio::time::timeout(INVOICE_TIMEOUT, node.create_invoice(request)).await;
    created.unwrap_or_else(|_| Err(late(node)))
}

/// The node took too long to make an invoice.
pub(crate) fn late(node: &Backends) -> NodeError {
    NodeError::TimedOut {
        host: node.kind().to_owned(),
        limit: INVOICE_TIMEOUT,
    }
}

/// What is said of what is owed, as the seller wants it.
fn entry(plan: &Plan, owed: Owed) -> Entry {
    let entry = owed.entry();
    match plan.server.bad_credential {
        BadCredential::Unauthorized => entry,
        BadCredential::PaymentRequired => entry.with_status(StatusCode::PAYMENT_REQUIRED),
    }
}

/// The problem document of what is owed.
fn problem(exchange: &Exchange, entry: &Entry, debt: &Debt<'_>) -> Problem {
    let problem = entry
        .problem(exchange.request_id)
        .with_price(debt.price)
        .with_methods(&["l402"]);
    let detail = match debt.owed {
        Owed::Unproven(error) => Some(error.to_string()),
        _ => problem.spoken_reason(),
    };
    match detail {
        Some(detail) => problem.with_detail(detail),
        None => problem,
    }
}
