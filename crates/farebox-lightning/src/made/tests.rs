use bitcoin::hashes::sha256;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use farebox_testkit::ManualClock;
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};

use super::*;

const NOW: u64 = 1_763_740_000;

/// An invoice of 2,000 msat for regtest, made now, with what differs.
struct Written {
    msat: Option<u64>,
    currency: Currency,
    expiry: Option<Duration>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            msat: Some(2000),
            currency: Currency::Regtest,
            expiry: Some(Duration::from_secs(600)),
        }
    }
}

impl Written {
    fn sign(self) -> String {
        let mut builder = InvoiceBuilder::new(self.currency)
            .description("a call".to_owned())
            .payment_hash(sha256::Hash::hash(&[1; 32]))
            .payment_secret(PaymentSecret([3; 32]))
            .duration_since_epoch(Duration::from_secs(NOW))
            .min_final_cltv_expiry_delta(80);
        if let Some(msat) = self.msat {
            builder = builder.amount_milli_satoshis(msat);
        }
        if let Some(expiry) = self.expiry {
            builder = builder.expiry_time(expiry);
        }
        let key = SecretKey::from_slice(&[5; 32]).unwrap();
        let sign = |hash: &_| Secp256k1::signing_only().sign_ecdsa_recoverable(hash, &key);
        builder.build_signed(sign).unwrap().to_string()
    }
}

fn request() -> InvoiceRequest {
    InvoiceRequest {
        amount: Msat::new(2000).unwrap(),
        memo: String::new(),
        expiry: Duration::from_secs(600),
    }
}

/// What both ways of reading say; they have to say the same.
fn checked(bolt11: &str) -> Result<CreatedInvoice, String> {
    let rules = InvoiceRules {
        clock: Arc::new(ManualClock::new(UnixMillis::from_secs(NOW))),
        network: Network::Regtest,
    };
    let own = rules.check_own(&request(), bolt11);
    let own = own.map_err(|fault| fault.to_string());
    let any = rules.check(&request(), bolt11);
    let any = any.map_err(|fault| fault.to_string());
    assert_eq!(own, any, "{bolt11}");
    own
}

#[test]
fn an_invoice_as_it_was_asked_for_is_taken() {
    let created = checked(&Written::default().sign()).unwrap();
    let hash = sha256::Hash::hash(&[1; 32]).to_byte_array();
    assert_eq!(created.payment_hash, PaymentHash::from_bytes(hash));
    assert_eq!(created.amount, request().amount);
    assert_eq!(created.expires_at, UnixMillis::from_secs(NOW + 600));
}

#[test]
fn an_invoice_that_names_no_expiry_lasts_an_hour() {
    let written = Written {
        expiry: None,
        ..Written::default()
    };
    let created = checked(&written.sign()).unwrap();
    assert_eq!(created.expires_at, UnixMillis::from_secs(NOW + 3600));
}

#[test]
fn whatever_differs_from_what_was_asked_is_refused() {
    for msat in [None, Some(1), Some(1999), Some(2001), Some(20_000)] {
        let written = Written {
            msat,
            ..Written::default()
        };
        assert!(checked(&written.sign()).is_err(), "{msat:?}");
    }
    for currency in [
        Currency::Bitcoin,
        Currency::Signet,
        Currency::BitcoinTestnet,
    ] {
        let written = Written {
            currency,
            ..Written::default()
        };
        assert!(checked(&written.sign()).is_err());
    }
    let soon = Written {
        expiry: Some(Duration::from_secs(29)),
        ..Written::default()
    };
    assert!(checked(&soon.sign()).is_err());
}

#[test]
fn text_that_is_no_invoice_is_refused() {
    let written = Written::default().sign();
    let cut = &written[..written.len() - 1];
    let changed = written.replacen("lnbcrt20n", "lnbcrt20p", 1);
    let long = "l".repeat(5000);
    for text in ["", "lnbcrt", cut, &changed, &long] {
        assert!(checked(text).is_err(), "{text}");
    }
}
