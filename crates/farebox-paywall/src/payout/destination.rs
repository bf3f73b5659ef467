//! Where the money goes: whatever was named becomes one BOLT 11 invoice, checked, or nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use farebox_core::{Clock, Msat, UnixMillis};
use farebox_http::client::GuardedClient;
use farebox_lightning::lnurl::{
    Address, LightningAddress, LightningAddressOptions, MetadataCommitment,
};
use farebox_lightning::{
    AmountLimits, CreateInvoice, InvoiceFault, InvoiceRequest, Network, parse_invoice,
};

use super::rules::Share;
use super::{RefundError, RefundRules};

/// How long an invoice must still be payable: the time to find a way, and to try again.
const MIN_LIFE: Duration = Duration::from_secs(60);
/// How long an invoice that we ask an address for should be payable.
const EXPIRY: Duration = Duration::from_secs(600);
/// How long one call to the provider of an address may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// What wallets know: addresses are paid in whole satoshis.
const ADDRESS_STEP: Msat = match Msat::new(1000) {
    Ok(step) => step,
    Err(_) => Msat::ZERO,
};
/// What the payee may read beside the payment.
const MEMO: &str = "refund";
/// How invoices begin on every network.
const INVOICE_PREFIX: &str = "ln";

/// Where a refund goes.
#[derive(Clone, PartialEq, Eq)]
pub enum Destination {
    /// A BOLT 11 invoice, not yet looked into.
    Bolt11(String),
    /// A Lightning Address (LUD-16).
    LightningAddress(Address),
}

impl FromStr for Destination {
    type Err = RefundError;

    /// Reads an invoice, with or without `lightning:` in front, or `user@host`.
    fn from_str(text: &str) -> Result<Self, RefundError> {
        let text = text.trim();
        let scheme = text
            .get(..10)
            .filter(|start| start.eq_ignore_ascii_case("lightning:"));
        let text = scheme.map_or(text, |_| &text[10..]);
        if text.contains('@') {
            let address = text.parse().map_err(|_| RefundError::NoDestination)?;
            return Ok(Self::LightningAddress(address));
        }
        let start = text.get(..INVOICE_PREFIX.len()).unwrap_or_default();
        if start.eq_ignore_ascii_case(INVOICE_PREFIX) {
            Ok(Self::Bolt11(text.to_owned()))
        } else {
            Err(RefundError::NoDestination)
        }
    }
}

/// Neither an invoice nor the user of an address belongs in a log.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bolt11(_) => "Bolt11(…)",
            Self::LightningAddress(_) => "LightningAddress(…)",
        })
    }
}

/// The one invoice that will be tried.
pub(super) struct Payable {
    pub(super) bolt11: String,
    pub(super) payment_hash: farebox_core::PaymentHash,
    pub(super) share: Share,
}

/// What has to be known to choose and check an invoice.
pub(super) struct Resolver<'a> {
    pub(super) rules: &'a RefundRules,
    pub(super) client: &'a GuardedClient,
    pub(super) clock: &'a Arc<dyn Clock>,
    /// Money that may leave, fee included.
    pub(super) available: Msat,
    /// How much was asked for, if an amount was named.
    pub(super) asked: Option<Msat>,
    /// The least that may be paid.
    pub(super) least: Msat,
}

impl Resolver<'_> {
    pub(super) async fn resolve(&self, destination: &Destination) -> Result<Payable, RefundError> {
        match destination {
            Destination::Bolt11(bolt11) => self.given(bolt11),
            Destination::LightningAddress(address) => self.fetched(address).await,
        }
    }

    fn given(&self, bolt11: &str) -> Result<Payable, RefundError> {
        let invoice = parse_invoice(bolt11)?;
        check_network(invoice.network, self.rules.network)?;
        check_life(invoice.expires_at, self.clock.now())?;
        if let Some(asked) = self.asked.filter(|asked| *asked != invoice.amount) {
            return Err(RefundError::OtherAmount {
                invoice: invoice.amount,
                asked,
            });
        }
        Ok(Payable {
            bolt11: bolt11.to_owned(),
            payment_hash: invoice.payment_hash,
            share: self.exactly(invoice.amount)?,
        })
    }

    async fn fetched(&self, address: &Address) -> Result<Payable, RefundError> {
        let payee = self.payee(address);
        let limits = payee.resolve().await.map_err(RefundError::Address)?;
        let share = self.choose(limits)?;
        let request = InvoiceRequest {
            amount: share.amount,
            memo: MEMO.to_owned(),
            expiry: EXPIRY,
        };
        let made = payee.create_invoice(request).await;
        let made = made.map_err(RefundError::Address)?;
        check_life(made.expires_at, self.clock.now())?;
        Ok(Payable {
            bolt11: made.bolt11,
            payment_hash: made.payment_hash,
            share,
        })
    }

    /// Who is paid is the provider's word alone, so the hash of its metadata would prove nothing.
    fn payee(&self, address: &Address) -> LightningAddress {
        let options = LightningAddressOptions {
            network: self.rules.network,
            allowed: self.rules.allow_hosts.clone(),
            metadata_commitment: MetadataCommitment::WhereGiven,
            call_timeout: CALL_TIMEOUT,
            ..LightningAddressOptions::new(address.clone(), Arc::clone(self.clock))
        };
        LightningAddress::with_client(options, self.client.clone())
    }

    fn choose(&self, limits: AmountLimits) -> Result<Share, RefundError> {
        let share = match self.asked {
            Some(asked) => self.exactly(asked)?,
            None => self.most(limits.max)?,
        };
        if limits.allow(share.amount) {
            Ok(share)
        } else {
            let (min, max) = (limits.min, limits.max);
            Err(RefundError::PayeeLimits { min, max })
        }
    }

    /// As much as goes, up to what the payee takes.
    fn most(&self, max: Msat) -> Result<Share, RefundError> {
        let fees = self.rules.max_fee;
        let share = self.check(fees.largest(self.available, ADDRESS_STEP))?;
        if share.amount <= max {
            return Ok(share);
        }
        let step = ADDRESS_STEP.get().max(1);
        let capped = Msat::new(max.get() / step * step).unwrap_or(Msat::ZERO);
        self.exactly(capped)
    }

    fn exactly(&self, amount: Msat) -> Result<Share, RefundError> {
        let fees = self.rules.max_fee;
        self.check(fees.for_amount(amount, self.available))
    }

    /// What is there, and not less than is ever paid.
    fn check(&self, share: Option<Share>) -> Result<Share, RefundError> {
        let (available, least) = (self.available, self.least);
        match share {
            None => Err(RefundError::NothingLeft { available }),
            Some(share) if share.amount < least => Err(RefundError::BelowLeast { least }),
            Some(share) => Ok(share),
        }
    }
}

fn check_network(found: Network, asked: Network) -> Result<(), InvoiceFault> {
    if found == asked {
        Ok(())
    } else {
        Err(InvoiceFault::Network { asked, found })
    }
}

fn check_life(expires_at: UnixMillis, now: UnixMillis) -> Result<(), InvoiceFault> {
    if expires_at < now.plus(MIN_LIFE) {
        Err(InvoiceFault::Expired)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_and_an_address_are_told_apart() {
        for invoice in [
            "lnbc1x",
            "LNBC1X",
            "lightning:lnbc1x",
            " LIGHTNING:lnbc1x\n",
        ] {
            let read = invoice.parse();
            assert!(matches!(read, Ok(Destination::Bolt11(_))), "{invoice}");
        }
        for address in ["me@example.com", "lightning:me@example.com", "ln@host:1"] {
            let read = address.parse();
            assert!(
                matches!(read, Ok(Destination::LightningAddress(_))),
                "{address}"
            );
        }
        for neither in [
            "",
            "l",
            "me",
            "https://x/?lightning=lnbc1",
            "é",
            "m\u{e9}@h",
        ] {
            let read: Result<Destination, _> = neither.parse();
            assert!(matches!(read, Err(RefundError::NoDestination)), "{neither}");
        }
    }

    #[test]
    fn debug_shows_no_payee() {
        let address: Destination = "somebody@example.com".parse().unwrap();
        assert!(!format!("{address:?}").contains("somebody"));
    }
}
