//! What is asked of whoever pays with coins in the request itself (NUT-24): a payment request (NUT-18), as
//! text of one header.

use cashu::mint_url::MintUrl as TheirUrl;
use cashu::nuts::{CurrencyUnit, PaymentRequest};

use crate::{MintUrl, Unit};

/// In which form a payment request is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestForm {
    /// `creqA` (NUT-18), which every wallet reads.
    #[default]
    A,
    /// `creqB` (NUT-26), shorter as a picture.
    B,
}

/// A payment request for `amount` in a unit, payable in coins of any of these mints. None where it cannot be
/// written, which no URL of a mint brings about.
#[must_use]
pub fn payment_request(
    amount: u64,
    unit: Unit,
    mints: &[&MintUrl],
    form: RequestForm,
) -> Option<String> {
    let urls: Result<Vec<TheirUrl>, _> = mints.iter().map(|mint| mint.as_str().parse()).collect();
    let request = PaymentRequest::builder()
        .amount(amount)
        .unit(match unit {
            Unit::Msat => CurrencyUnit::Msat,
            Unit::Sat => CurrencyUnit::Sat,
        })
        .mints(urls.ok()?)
        .build();
    match form {
        RequestForm::A => Some(request.to_string()),
        RequestForm::B => request.to_bech32_string().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn what_is_asked_is_read_again_in_either_form() {
        let mint = MintUrl::parse("https://mint.example.com/Bitcoin").unwrap();
        for form in [RequestForm::A, RequestForm::B] {
            let text = payment_request(2000, Unit::Msat, &[&mint], form).unwrap();
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            let read = PaymentRequest::from_str(&text).unwrap();
            assert_eq!(read.amount, Some(2000.into()));
            assert_eq!(read.unit, Some(CurrencyUnit::Msat));
            assert_eq!(read.mints[0].to_string(), mint.as_str());
            assert!(read.transports.is_empty(), "it is paid where it was asked");
        }
    }
}
