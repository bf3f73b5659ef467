//! How a node pays: as wallets do, and by a route of its own making that carries more than was
//! asked for.

use serde_json::{Value, json};

use super::{Node, base64_of, hex_of, number, text};
use crate::lab::{LabError, wait_for};

/// The most that a payment may take to find its way.
const PATIENCE_SECONDS: u32 = 60;

/// LND makes no smaller parts than these.
const LEAST_PART_MSAT: &str = "10000000";

/// A payment that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// 64 hex digits.
    pub preimage: String,
    /// What arrived.
    pub msat: u64,
    /// What routing cost on top.
    pub fee_msat: u64,
}

impl Node {
    /// Pays an invoice.
    ///
    /// # Errors
    /// [`LabError::NotPaid`] with LND's reason when it did not arrive, and
    /// [`LabError::Refused`] when it was paid before.
    pub fn pay(&self, bolt11: &str) -> Result<Payment, LabError> {
        self.send_payment(&json!({ "payment_request": bolt11 }))
    }

    /// Pays an invoice without an amount.
    ///
    /// # Errors
    /// As with [`Self::pay`].
    pub fn pay_amount(&self, bolt11: &str, msat: u64) -> Result<Payment, LabError> {
        self.send_payment(&json!({ "payment_request": bolt11, "amt_msat": msat.to_string() }))
    }

    /// Pays an invoice of 20,000 sat or more in several parts, as wallets do when no channel
    /// carries it all.
    ///
    /// # Errors
    /// As with [`Self::pay`].
    pub fn pay_in_parts(&self, bolt11: &str) -> Result<Payment, LabError> {
        self.send_payment(&json!({
            "payment_request": bolt11,
            "max_parts": 8,
            "max_shard_size_msat": LEAST_PART_MSAT,
        }))
    }

    /// Pays `msat` for an invoice that asks for less: BOLT 4 lets the payee take up to twice the
    /// amount. LND itself pays exactly, so this one builds the route by hand.
    ///
    /// # Errors
    /// [`LabError::NotPaid`] when it did not arrive.
    pub fn overpay(&self, bolt11: &str, msat: u64) -> Result<Payment, LabError> {
        let asked = self.get(&format!("/v1/payreq/{bolt11}"))?;
        let payment_hash = text(&asked, "payment_hash")?;
        let route = self.post(
            "/v2/router/route",
            &json!({
                "amt_msat": msat.to_string(),
                "final_cltv_delta": asked["cltv_expiry"].as_str().and_then(|n| n.parse::<u32>().ok()),
                "hop_pubkeys": [base64_of(&text(&asked, "destination")?)?],
                "payment_addr": asked["payment_addr"],
            }),
        )?;
        let attempt = json!({
            "payment_hash": base64_of(&payment_hash)?,
            "route": route["route"],
        });
        let attempt = self.post("/v2/router/route/send", &attempt)?;
        if attempt["status"] != "SUCCEEDED" {
            return Err(LabError::NotPaid(attempt["failure"]["code"].to_string()));
        }
        Ok(Payment {
            preimage: hex_of(&attempt, "preimage")?,
            msat,
            fee_msat: number(&attempt["route"], "total_fees_msat")?,
        })
    }

    /// How often and how much it has sent for `payment_hash`: the parts of its payment that
    /// arrived, in msat.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn sent_for(&self, payment_hash: &str) -> Result<Vec<u64>, LabError> {
        // The newest hundred: LND tells no more at once, and begins with the oldest.
        let payments = self.get("/v1/payments?include_incomplete=true&reversed=true")?;
        let payments = payments["payments"].as_array().cloned().unwrap_or_default();
        let same = payments
            .iter()
            .filter(|payment| payment["payment_hash"] == payment_hash);
        let attempts = same
            .filter_map(|payment| payment["htlcs"].as_array())
            .flatten();
        let arrived = attempts.filter(|attempt| attempt["status"] == "SUCCEEDED");
        arrived
            .map(|attempt| number(&attempt["route"], "total_amt_msat"))
            .collect()
    }

    /// What it received for an invoice of its own that is settled, in msat.
    ///
    /// # Errors
    /// When it knows no such invoice.
    pub fn received_for(&self, payment_hash: &str) -> Result<u64, LabError> {
        number(&self.find_invoice(payment_hash)?, "amt_paid_msat")
    }

    /// Waits until it can pay `to`: for a moment after a channel is active, it cannot.
    ///
    /// # Errors
    /// When it cannot at all.
    pub fn wait_until_it_can_pay(&self, to: &Self) -> Result<(), LabError> {
        wait_for(&format!("{} able to pay {}", self.name, to.name), || {
            // Without the payee's features LND builds no route by hand.
            let known = self.get(&format!("/v1/graph/node/{}", to.pubkey))?;
            let features = known["node"]["features"].as_object();
            if features.is_none_or(serde_json::Map::is_empty) {
                return Ok(None);
            }
            let invoice = to.invoice(1000, 3600)?;
            self.pay(&invoice.bolt11).map(|_| Some(()))
        })
    }

    fn send_payment(&self, what: &Value) -> Result<Payment, LabError> {
        let mut order = json!({
            "timeout_seconds": PATIENCE_SECONDS,
            "fee_limit_msat": "1000000",
            "no_inflight_updates": true,
        });
        for (name, value) in what.as_object().into_iter().flatten() {
            order[name] = value.clone();
        }
        let payment = self.post("/v2/router/send", &order)?;
        if payment["status"] != "SUCCEEDED" {
            let reason = payment["failure_reason"].as_str().unwrap_or("unknown");
            return Err(LabError::NotPaid(reason.to_owned()));
        }
        Ok(Payment {
            preimage: text(&payment, "payment_preimage")?,
            msat: number(&payment, "value_msat")?,
            fee_msat: number(&payment, "fee_msat")?,
        })
    }
}
