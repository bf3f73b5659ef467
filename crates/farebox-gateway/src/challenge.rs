//! What is owed becomes a 402: an invoice, a macaroon that says what it buys, and the headers.
//!
//! A challenge is stateless: no row is written, nothing is remembered, and every invoice is made
//! for one client alone. Making one costs the node work, so it is limited for each address prefix
//! and in all; past the limit, and for methods that never make one, the answer is the price alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farebox_core::{Msat, RequestDigest, Terms};
use farebox_http::client_addr::AddressPrefix;
use farebox_lightning::backends::Backends;
use farebox_lightning::{CreatedInvoice, InvoiceRequest, NodeError, PaymentHashes};
use farebox_wire::caveat::print_block;
use farebox_wire::challenge::{Challenge, InvoiceText, LegacyLsat};
use farebox_wire::grpc;
use farebox_wire::macaroon::Macaroon;
use farebox_wire::problem::{Problem, ProblemKind};
use http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::access_log::Exchange;
use crate::admit::Owed;
use crate::answer::AnswerBody;
use crate::claim::redeem::OpenClaim;
use crate::claim::visit::Visit;
use crate::claim::way_back::Offered;
use crate::held::{KeptRequest, Seed};
use crate::outcome::Outcome;
use crate::plan::{BadCredential, Plan, Route};
use crate::presented::PresentedError;
use crate::refusal::{OUTAGE_RETRY, Refusal, document, seconds, speak};
use crate::sale::Sale;
use crate::sdk_error::for_sdks;
use crate::tender::Tender;
use crate::worker::Worker;

/// How long the node may take to make an invoice.
pub(crate) const INVOICE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many requests may wait for an invoice at the same time.
const MAX_WAITING: usize = 1024;
/// How long after the invoice's expiry a first use still starts the token's time: a payment may
/// arrive late, and a client may be away.
pub(crate) const CLAIM_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
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
    pub(crate) grpc: bool,
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
        exchange.reason = debt.owed.reason();
        if matches!(*debt.method, http::Method::HEAD | http::Method::OPTIONS) {
            return Ok(self.price_alone(plan, exchange, &debt, None));
        }
        if debt.sale.offer.binds_request() && debt.digest.is_none() {
            // Its body was not read, for it was past the limit a moment ago. Without its digest a
            // token would be good for every request.
            self.shared.metrics.challenge_refused();
            return Ok(self.price_alone(plan, exchange, &debt, Some(BRIEFLY)));
        }
        let prefix = AddressPrefix::of(exchange.client);
        if let Err(wait) = self.shared.challenges.try_take(prefix, Instant::now()) {
            self.shared.metrics.challenge_refused();
            return Ok(self.price_alone(plan, exchange, &debt, Some(wait.0)));
        }
        let seed = Seed::draw(&self.shared.keyring)?;
        let (tender, invoice) = match &debt.kept {
            None => self.ask_for_invoice(plan, &debt).await?,
            Some(_) => self.create_held_invoice(plan, &debt, seed).await?,
        };
        let terms = tender.terms(&debt, &invoice, CLAIM_GRACE);
        let macaroon = self.issue(seed, (debt.route, &terms), &invoice)?;
        let text = InvoiceText::parse(invoice.bolt11.as_str()).map_err(|_| Refusal::NodeDown)?;
        if let Some(kept) = &debt.kept {
            self.keep_for_payment(plan, kept, terms.clone(), seed, &invoice)
                .await?;
        }
        self.shared.metrics.challenged();
        let problem = tender.explain(debt.price, problem(plan, exchange, &debt));
        let offered = Offered {
            macaroon: &macaroon,
            terms: &terms,
            invoice: &text,
            expires_at: invoice.expires_at,
            told: true,
        };
        Ok(self.offer(plan, exchange, &debt, problem, &offered))
    }

    /// Shows somebody the challenge that was made for him before, as long as it can be paid.
    pub(crate) fn offer_again(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        debt: &Debt<'_>,
        OpenClaim { claim, told }: &OpenClaim,
    ) -> Response<AnswerBody> {
        exchange.reason = "not_paid_yet";
        let problem = problem(plan, exchange, debt).with_reason(exchange.reason);
        let Some(invoice) = claim.invoice() else {
            exchange.outcome = Outcome::Owed;
            return document(&for_sdks(exchange, problem));
        };
        let offered = Offered {
            macaroon: &claim.macaroon,
            terms: &claim.token.granted.terms,
            invoice,
            expires_at: claim.expires_at(),
            told: *told,
        };
        self.offer(plan, exchange, debt, problem, &offered)
    }

    fn price_alone(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        debt: &Debt<'_>,
        wait: Option<Duration>,
    ) -> Response<AnswerBody> {
        exchange.outcome = Outcome::OwedBriefly;
        let mut problem =
            problem(plan, exchange, debt).with_status(StatusCode::PAYMENT_REQUIRED.as_u16());
        if let Some(wait) = wait {
            problem = problem
                .with_retry_after(wait)
                .with_detail("too many invoices were asked for; this is the price without one");
        }
        let mut response = if debt.grpc {
            grpc_refusal()
        } else {
            document(&for_sdks(exchange, problem))
        };
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, seconds(wait));
        }
        response
    }

    /// An invoice for what the sale asks, or for a bundle where the node cannot take that. A node
    /// that learns its limits only when it is asked is asked once more.
    async fn ask_for_invoice(
        &self,
        plan: &Plan,
        debt: &Debt<'_>,
    ) -> Result<(Tender, CreatedInvoice), Refusal> {
        let node = plan.node.as_deref().ok_or(Refusal::NodeDown)?;
        let _waiting = self
            .shared
            .waiting_invoices
            .enter()
            .ok_or(Refusal::NodeDown)?;
        let tender = Tender::of(&debt.sale.offer, debt.price, node.limits());
        let first = self.create_invoice(plan, node, debt, tender?).await;
        let (tender, invoice) = match first {
            Err(NodeError::AmountOutOfRange { .. }) => {
                let tender = Tender::of(&debt.sale.offer, debt.price, node.limits())?;
                self.create_invoice(plan, node, debt, tender).await
            }
            other => other,
        }
        .map_err(|error| self.node_failed(&error))?;
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
        let node = plan.node.as_deref().ok_or(Refusal::NodeDown)?;
        let _waiting = self
            .shared
            .waiting_invoices
            .enter()
            .ok_or(Refusal::NodeDown)?;
        let expiry = plan.server.invoice_expiry;
        let create = async || {
            let cover = node.limits().cover(amount);
            let request = InvoiceRequest {
                amount: cover.ok_or(Refusal::AmountNotTaken)?,
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
        .map_err(|error| self.node_failed(&error))?;
        if node.payment_hashes() == PaymentHashes::Foreign {
            self.refuse_used_hash(&invoice).await?;
        }
        Ok(invoice)
    }

    pub(crate) fn node_failed(&self, error: &NodeError) -> Refusal {
        self.shared.metrics.node_failed();
        if matches!(error, NodeError::RepeatedPaymentHash { .. }) {
            self.shared.metrics.payment_hash_repeated();
        }
        tracing::warn!(%error, "the Lightning backend made no invoice");
        Refusal::NodeDown
    }

    /// An invoice whose payment hash was claimed before would sell its payer nothing.
    async fn refuse_used_hash(&self, invoice: &CreatedInvoice) -> Result<(), Refusal> {
        if !self.shared.knows_account(invoice.payment_hash).await? {
            return Ok(());
        }
        self.shared.metrics.payment_hash_repeated();
        tracing::error!(
            payment.hash = %invoice.payment_hash,
            "the Lightning backend repeated the payment hash of an invoice that was used before"
        );
        Err(Refusal::NodeDown)
    }

    fn issue(
        &self,
        seed: Seed,
        (route, terms): (&Route, &Terms),
        invoice: &CreatedInvoice,
    ) -> Result<Macaroon, Refusal> {
        let keyring = &self.shared.keyring;
        let identifier = seed.identifier(invoice.payment_hash).to_bytes();
        let (root_key, _) = keyring
            .root_key(seed.epoch, &identifier)
            .ok_or(Refusal::NodeDown)?;
        let sold = route.capabilities.as_ref().map(|it| &it.sold);
        let caveats = print_block(terms, sold);
        Ok(Macaroon::issue(&root_key, LOCATION, &identifier, caveats))
    }

    fn offer(
        &self,
        plan: &Plan,
        exchange: &mut Exchange,
        debt: &Debt<'_>,
        problem: Problem,
        offered: &Offered<'_>,
    ) -> Response<AnswerBody> {
        exchange.outcome = Outcome::Owed;
        let legacy = if plan.server.legacy_challenge {
            LegacyLsat::Lead
        } else {
            LegacyLsat::Omit
        };
        let challenge = Challenge::new(offered.macaroon, offered.invoice.clone());
        if debt.grpc {
            let mut response = Response::new(AnswerBody::empty());
            *response.headers_mut() = grpc::trailers_only(&challenge, legacy);
            speak(response.headers_mut(), &problem);
            return response;
        }
        let problem = problem
            .with("amount_msat", offered.terms.amount.get())
            .with("invoice_expires_at", offered.expires_at.as_secs());
        let mut response = document(&for_sdks(exchange, problem));
        challenge.append_to(response.headers_mut(), legacy);
        self.add_way_back(plan, debt, offered, &mut response);
        response
    }
}

async fn ask_in_time(
    node: &Backends,
    request: InvoiceRequest,
) -> Result<CreatedInvoice, NodeError> {
    let created = tokio::time::timeout(INVOICE_TIMEOUT, node.create_invoice(request)).await;
    created.unwrap_or_else(|_| {
        Err(NodeError::TimedOut {
            host: node.kind().to_owned(),
            limit: INVOICE_TIMEOUT,
        })
    })
}

/// The problem document of what is owed.
fn problem(plan: &Plan, exchange: &Exchange, debt: &Debt<'_>) -> Problem {
    let kind = kind(debt.owed);
    let mut problem = Problem::new(kind)
        .with_status(status(plan, debt.owed).as_u16())
        .with_reason(debt.owed.reason())
        .with_price(debt.price)
        .with_methods(&["l402"])
        .with_request_id(exchange.request_id);
    if let Owed::Unproven(error) = debt.owed {
        problem = problem.with_detail(error.to_string());
    } else if let Some(reason) = problem.spoken_reason() {
        problem = problem.with_detail(reason);
    }
    problem
}

fn status(plan: &Plan, owed: Owed) -> StatusCode {
    let bad = match owed {
        Owed::Unproven(PresentedError::UnknownKey) => false,
        Owed::Unproven(_) | Owed::TermsMismatch => true,
        _ => false,
    };
    match plan.server.bad_credential {
        BadCredential::Unauthorized if bad => StatusCode::UNAUTHORIZED,
        _ => StatusCode::PAYMENT_REQUIRED,
    }
}

const fn kind(owed: Owed) -> ProblemKind {
    match owed {
        Owed::Nothing => ProblemKind::PAYMENT_REQUIRED,
        Owed::Unproven(PresentedError::Unreadable(
            farebox_wire::credential::CredentialError::Ambiguous,
        )) => ProblemKind::CREDENTIAL_AMBIGUOUS,
        Owed::Unproven(PresentedError::Unreadable(_)) => ProblemKind::CREDENTIAL_MALFORMED,
        Owed::Unproven(_) | Owed::TermsMismatch => ProblemKind::CREDENTIAL_INVALID,
        Owed::WrongRoute | Owed::WrongMethod | Owed::WrongRequest | Owed::MissingCapability => {
            ProblemKind::CREDENTIAL_OUT_OF_SCOPE
        }
        Owed::Expired => ProblemKind::CREDENTIAL_EXPIRED,
        Owed::Revoked | Owed::Voided => ProblemKind::CREDENTIAL_REVOKED,
        Owed::Exhausted => ProblemKind::CREDENTIAL_EXHAUSTED,
    }
}

/// The price-less refusal that gRPC clients read: RESOURCE_EXHAUSTED, so that none pays for it.
fn grpc_refusal() -> Response<AnswerBody> {
    const RESOURCE_EXHAUSTED: &str = "8";
    let mut response = Response::new(AnswerBody::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(grpc::CONTENT_TYPE_GRPC),
    );
    headers.insert(
        grpc::STATUS_HEADER,
        HeaderValue::from_static(RESOURCE_EXHAUSTED),
    );
    headers.insert(
        grpc::MESSAGE_HEADER,
        HeaderValue::from_static("too many payment challenges"),
    );
    headers.insert(RETRY_AFTER, seconds(OUTAGE_RETRY));
    response
}
