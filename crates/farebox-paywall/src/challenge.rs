//! What is owed becomes a challenge: an invoice, and a macaroon that says what it buys.
//!
//! A challenge is stateless: no row is written, nothing is remembered, and every invoice is made
//! for one client alone. The one exception is a call that runs while its payment is held, which is
//! kept until it is paid. Making an invoice costs the node work, so it is limited for each client
//! and in all; past the limit, and for methods that never get one, the price alone is told.

mod amount;
mod invoice;

use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_core::{
    Binding, KeyEpoch, Msat, PaymentHash, Preimage, RequestDigest, Terms, UnixMillis,
};
use farebox_ledger::{HeldCall, HeldLimits, HeldState};
use farebox_lightning::{Backend, CreatedInvoice};
use farebox_wire::caveat::print_block;
use farebox_wire::challenge::InvoiceText;
use farebox_wire::identifier::TokenIdentifier;
use farebox_wire::macaroon::Macaroon;

use crate::Paywall;
use crate::ask::{Ask, PaymentRules, is_probe};
use crate::error::{BRIEFLY, Error, PaymentError};
use crate::keyring::{Keyring, Purpose};
pub use amount::Amount;
pub use invoice::Invoices;

/// What our macaroons name as their place of issue, as other L402 servers do.
const LOCATION: &str = "lsat";

/// What somebody who has to pay is told.
pub enum Challenge {
    /// The price alone.
    Price {
        /// When there can be an invoice, where too many were asked for.
        retry_after: Option<Duration>,
    },
    /// An invoice and what it buys.
    Invoice(Box<Offered>),
}

/// A challenge that was made: now, or earlier for the same client.
pub struct Offered {
    /// The token, which becomes good with the payment.
    pub macaroon: Macaroon,
    /// What the payment buys.
    pub terms: Terms,
    /// What has to be paid.
    pub invoice: InvoiceText,
    /// Until when that is possible.
    pub expires_at: UnixMillis,
    /// Whether the node will tell when it is paid, as far as is known yet.
    pub told: bool,
    /// How much was asked for, where the node takes no less than more calls cost.
    pub bundle: Option<Amount>,
    /// The call that waits for this payment, and the backend that will hold it.
    pub held: Option<(PaymentHash, Arc<Backend>)>,
}

/// A call that will run as soon as its payment is held.
pub struct ToHold {
    /// The request, in the form in which whoever serves it stores it.
    pub request: Vec<u8>,
    /// How much may be kept of such calls.
    pub limits: HeldLimits,
}

/// What a token's identifier is made of besides its payment hash. The preimage of a held payment
/// follows from it and the server's secret, so that none has to be stored.
#[derive(Clone, Copy)]
struct Seed {
    epoch: KeyEpoch,
    random: [u8; 28],
}

impl Paywall {
    /// Challenges whoever asks to pay what a request costs at most. `digest` is what the token is
    /// bound to, where it is for one request; a call that is `to_hold` runs as soon as its payment
    /// is held.
    ///
    /// # Errors
    /// Why there is no invoice, though there might be one.
    pub async fn challenge(
        &self,
        price: Msat,
        digest: Option<RequestDigest>,
        to_hold: Option<ToHold>,
        ask: &Ask<'_>,
    ) -> Result<Challenge, Error> {
        if is_probe(ask.method) || !ask.sale.ways.l402 {
            return Ok(Challenge::Price { retry_after: None });
        }
        let refused = if ask.sale.offer.binds_request() && digest.is_none() {
            // Its body was not read, for it was past the limit a moment ago. Without its digest a
            // token would be good for every request.
            Some(BRIEFLY)
        } else {
            let taken = self.challenges.try_take(ask.holder, Instant::now());
            taken.err().map(|wait| wait.0)
        };
        if refused.is_some() {
            self.counters.challenge_refused();
            return Ok(Challenge::Price {
                retry_after: refused,
            });
        }
        let seed = Seed::draw(&self.keyring)?;
        let (amount, invoice) = match to_hold {
            None => self.invoices.invoice_for(price, ask).await?,
            Some(_) => {
                let preimage = seed.preimage(&self.keyring);
                let preimage = preimage.ok_or(PaymentError::SigningKeyGone)?;
                let hash = preimage.payment_hash();
                self.invoices.held_for(price, hash, ask).await?
            }
        };
        let terms = amount.terms(digest, &invoice, ask);
        let offered = Offered {
            macaroon: self.issue(seed, &terms, &invoice, ask)?,
            invoice: InvoiceText::parse(invoice.bolt11.as_str()).map_err(PaymentError::from)?,
            expires_at: invoice.expires_at,
            told: true,
            bundle: (!amount.is_exact()).then_some(amount),
            held: match to_hold {
                Some(call) => Some(self.keep(call, seed, &terms, &invoice, ask.rules).await?),
                None => None,
            },
            terms,
        };
        self.counters.challenged();
        Ok(Challenge::Invoice(Box::new(offered)))
    }

    fn issue(
        &self,
        seed: Seed,
        terms: &Terms,
        invoice: &CreatedInvoice,
        ask: &Ask<'_>,
    ) -> Result<Macaroon, PaymentError> {
        let identifier = seed.identifier(invoice.payment_hash).to_bytes();
        let root_key = self.keyring.root_key(seed.epoch, &identifier);
        let (root_key, _) = root_key.ok_or(PaymentError::SigningKeyGone)?;
        let sold = ask.sale.capabilities.as_ref().map(|it| &it.sold);
        let caveats = print_block(terms, sold);
        Ok(Macaroon::issue(&root_key, LOCATION, &identifier, caveats))
    }

    /// Keeps a call before its invoice leaves. Where there is no room the invoice, which nobody has
    /// seen, is left to expire.
    async fn keep(
        &self,
        call: ToHold,
        seed: Seed,
        terms: &Terms,
        invoice: &CreatedInvoice,
        rules: &PaymentRules,
    ) -> Result<(PaymentHash, Arc<Backend>), Error> {
        let Binding::Request(digest) = terms.binding else {
            return Err(PaymentError::NoHolder.into());
        };
        let (backend, node) = rules.holder().ok_or(PaymentError::NoHolder)?;
        let held = HeldCall {
            payment_hash: invoice.payment_hash,
            token_id: seed.identifier(invoice.payment_hash).token_id,
            key_epoch: seed.epoch,
            terms: terms.clone(),
            digest,
            request: call.request,
            backend: backend.to_owned(),
            state: HeldState::Offered,
            created_at: self.clock.now(),
            expires_at: invoice.expires_at,
            answer: None,
        };
        if !self.ledger.open_held_call(held, call.limits).await? {
            return Err(Error::HeldCalls);
        }
        Ok((invoice.payment_hash, Arc::clone(node)))
    }
}

impl Seed {
    fn draw(keyring: &Keyring) -> Result<Self, PaymentError> {
        let mut random = [0; 28];
        getrandom::fill(&mut random)?;
        Ok(Self {
            epoch: keyring.signing_epoch(),
            random,
        })
    }

    fn identifier(self, hash: PaymentHash) -> TokenIdentifier {
        TokenIdentifier::new(hash, self.epoch, self.random)
    }

    fn preimage(self, keyring: &Keyring) -> Option<Preimage> {
        // The name of the token does not depend on the hash that follows from it.
        let named = self.identifier(PaymentHash::from_bytes([0; 32]));
        held_preimage(keyring, self.epoch, &named.token_id)
    }
}

/// The preimage that takes the payment of a held call; none for an epoch whose secret is gone.
#[must_use]
pub fn held_preimage(keyring: &Keyring, epoch: KeyEpoch, token_id: &[u8; 32]) -> Option<Preimage> {
    let secret = keyring.derive(epoch, Purpose::HeldPreimage, token_id)?;
    Some(Preimage::from_bytes(*secret.reveal()))
}
