//! What a payment page sells, in words.

use std::time::Duration;

use farebox_core::{Kind, Msat, Terms};
use farebox_meter::{Currency, Decimal};

use super::template::{Html, fill};
use farebox_paywall::sale::{FlatPrice, Offer};

const FORM: &str = include_str!("claim_form.html");

/// What one page is about.
pub(crate) struct Goods<'a> {
    pub(crate) description: &'a str,
    /// Host and path, as far as a person cares.
    pub(crate) address: String,
    /// What is sold: what the macaroon says.
    pub(crate) terms: &'a Terms,
    /// What one request costs, or can cost at most.
    pub(crate) price: Msat,
    pub(crate) each: Each,
    pub(crate) invoice: &'a str,
    /// Seconds until the invoice can no longer be paid.
    pub(crate) expires_in: u64,
    pub(crate) proof: Proof,
    /// The challenge's token.
    pub(crate) macaroon: String,
    /// Where to go after a proof by hand: path and query on this host.
    pub(crate) back: String,
}

/// How the price of one request is written in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Each {
    /// In the money of a state, where it is.
    pub(crate) fiat: Option<(Currency, Decimal)>,
    /// It is the most that a request can cost, and what it uses is charged.
    pub(crate) is_most: bool,
}

impl Each {
    pub(crate) fn of(offer: &Offer) -> Self {
        let price = match offer {
            Offer::Flat {
                price: FlatPrice::Fiat(price),
                ..
            } => Some((price.currency, price.amount)),
            Offer::Flat { .. } | Offer::Quoted(_) => None,
            Offer::Metered { .. } => {
                let most = offer.by_use().map(|by_use| by_use.at_most);
                most.map(|most| (most.currency, most.amount))
            }
        };
        Self {
            fiat: price.filter(|(currency, _)| matches!(currency, Currency::Fiat(_))),
            is_most: !matches!(offer, Offer::Flat { .. }),
        }
    }
}

/// How a payment is proven. A preimage that the payer types in is good in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Our node is asked.
    Node,
    /// The payer is asked for the preimage.
    Preimage,
}

impl Goods<'_> {
    /// What one payment buys.
    pub(super) fn buys(&self) -> String {
        match self.terms.kind {
            Kind::Single => "One payment buys this answer.".to_owned(),
            Kind::Calls(1) => "One payment buys one request.".to_owned(),
            Kind::Calls(calls) => format!("One payment buys {calls} requests."),
            Kind::Pass(span) => format!("One payment buys access for {}.", span_text(span)),
            Kind::Balance if self.each.is_most => {
                let (deposit, most) = (amount(self.terms.amount), amount(self.price));
                format!(
                    "The payment is a deposit of {deposit}. Each request costs what it uses, at \
                     most {most}, and what is left buys more."
                )
            }
            Kind::Balance => {
                let calls = self.terms.amount.get() / self.price.get().max(1);
                let (price, requests) = (amount(self.price), plural(calls, "request"));
                format!("Each request costs {price}: the payment is a balance for {requests}.")
            }
        }
    }

    /// The price as the seller wrote it, where that is not in bitcoin.
    pub(super) fn fiat(&self) -> Html<'static> {
        let Some((currency, price)) = self.each.fiat else {
            return Html::ours("");
        };
        let most = if self.each.is_most { "at most " } else { "" };
        let each = match self.terms.kind {
            Kind::Single | Kind::Pass(_) => "",
            Kind::Calls(_) | Kind::Balance => " a request",
        };
        let name = currency.name().to_uppercase();
        // Digits, a point and letters: nothing to escape.
        Html::built(format!(
            "<span class=\"fiat\">\u{2248} {most}{price} {name}{each}</span>"
        ))
    }

    /// Whether asking again is free, for a person who wonders.
    pub(super) const fn again(&self) -> &'static str {
        match self.terms.kind {
            Kind::Single | Kind::Pass(_) => "free",
            Kind::Calls(_) | Kind::Balance => "charged",
        }
    }

    pub(super) const fn mode(&self) -> &'static str {
        match self.proof {
            Proof::Node => "node",
            Proof::Preimage => "preimage",
        }
    }

    pub(super) const fn wait_text(&self) -> &'static str {
        match self.proof {
            Proof::Node => "Waiting for the payment. The answer appears here by itself.",
            Proof::Preimage => "After the payment, enter the preimage that your wallet shows.",
        }
    }

    /// Without scripts the page asks for itself again. A form that somebody types into must not
    /// vanish meanwhile.
    pub(super) fn refresh_tag(&self, seconds: &str) -> Html<'static> {
        match self.proof {
            Proof::Node => Html::built(format!(
                "<noscript><meta http-equiv=\"refresh\" content=\"{seconds}\"></noscript>"
            )),
            Proof::Preimage => Html::ours(""),
        }
    }

    pub(super) fn form(&self) -> Html<'static> {
        let open = match self.proof {
            Proof::Node => "",
            Proof::Preimage => " open",
        };
        Html::built(fill(
            FORM,
            &[
                ("open", Html::ours(open)),
                ("macaroon", Html::escaped(&self.macaroon)),
                ("back", Html::escaped(&self.back)),
            ],
        ))
    }
}

/// An amount as people say it: in satoshi, with what is left of one behind the point.
pub(super) fn amount(amount: Msat) -> String {
    let (sat, rest) = (amount.get() / 1000, amount.get() % 1000);
    let sat = grouped(sat);
    if rest == 0 {
        return format!("{sat} sat");
    }
    let fraction = format!("{rest:03}");
    format!("{sat}.{} sat", fraction.trim_end_matches('0'))
}

/// Thousands apart, so that they can be counted.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A span in its two largest units.
fn span_text(span: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let mut left = span.as_secs();
    let mut parts = Vec::new();
    for (seconds, unit) in UNITS {
        let count = left / seconds;
        left %= seconds;
        if count > 0 && parts.len() < 2 {
            parts.push(plural(count, unit));
        }
    }
    if parts.is_empty() {
        return "a moment".to_owned();
    }
    parts.join(" and ")
}

fn plural(count: u64, unit: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {unit}{s}", grouped(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_said_to_the_msat() {
        for (msat, said) in [
            (2_000, "2 sat"),
            (1_500, "1.5 sat"),
            (1, "0.001 sat"),
            (1_234_567_000, "1\u{202f}234\u{202f}567 sat"),
        ] {
            assert_eq!(amount(Msat::new(msat).unwrap()), said);
        }
    }

    #[test]
    fn spans_are_said_in_their_two_largest_units() {
        for (seconds, said) in [
            (86_400, "1 day"),
            (90_061, "1 day and 1 hour"),
            (7_200, "2 hours"),
            (59, "59 seconds"),
            (0, "a moment"),
        ] {
            assert_eq!(span_text(Duration::from_secs(seconds)), said);
        }
    }
}
