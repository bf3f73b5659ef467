//! One LND node, asked over its REST API with all rights: what a payer or payee with a node of his
//! own can do, and what an honest wallet would not.

mod payment;

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::https::{Request, send};
use super::{Daemon, LabError, wait_for};

pub use payment::Payment;

/// A node: where it is, and the files with which it is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// alice or bob.
    pub name: String,
    /// `https://host:port`.
    pub rest: String,
    /// `host:port`.
    pub grpc: String,
    /// Its TLS certificate, a PEM file.
    pub cert: PathBuf,
    /// Its macaroons, binary files.
    pub macaroons: Macaroons,
    /// Where other nodes connect, `host:port`.
    pub p2p: String,
    /// 66 hex digits; empty until the node has run.
    pub pubkey: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Its process.
    pub daemon: Daemon,
}

/// Files with macaroons, by what they allow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Macaroons {
    /// Everything.
    pub admin: PathBuf,
    /// To make invoices and look them up.
    pub invoice: PathBuf,
    /// To read everything.
    pub readonly: PathBuf,
}

/// An invoice that a node made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Its bech32 form.
    pub bolt11: String,
    /// 64 hex digits.
    pub payment_hash: String,
}

impl Node {
    /// The node's identity, once it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_pubkey(&self) -> Result<String, LabError> {
        wait_for(&format!("{} answering", self.name), || {
            let info = self.get("/v1/getinfo")?;
            Ok(info["identity_pubkey"].as_str().map(str::to_owned))
        })
    }

    /// Waits until it has seen the block at `height` and says that it is synchronised.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn wait_until_synced(&self, height: u64) -> Result<(), LabError> {
        wait_for(&format!("{} at block {height}", self.name), || {
            let info = self.get("/v1/getinfo")?;
            let is_there = info["block_height"].as_u64().is_some_and(|at| at >= height);
            Ok((is_there && info["synced_to_chain"] == true).then_some(()))
        })
    }

    /// Waits until it has a channel and all its channels can be used.
    ///
    /// # Errors
    /// When they cannot.
    pub fn wait_until_active(&self) -> Result<(), LabError> {
        wait_for(&format!("{} with an active channel", self.name), || {
            let channels = self.channels()?;
            let is_usable =
                !channels.is_empty() && channels.iter().all(|one| one["active"] == true);
            Ok(is_usable.then_some(()))
        })
    }

    /// A fresh address on the chain.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn new_address(&self) -> Result<String, LabError> {
        let answer = self.get("/v1/newaddress")?;
        text(&answer, "address")
    }

    /// Connects to another node.
    ///
    /// # Errors
    /// When it refuses, also where the two are connected already.
    pub fn connect(&self, other: &Self) -> Result<(), LabError> {
        let whom = json!({ "pubkey": other.pubkey, "host": other.p2p });
        self.post("/v1/peers", &json!({ "addr": whom })).map(drop)
    }

    /// Opens a channel of `sat` to another node and gives it `push_sat` of it.
    ///
    /// # Errors
    /// When it refuses.
    pub fn open_channel(&self, to: &Self, sat: u64, push_sat: u64) -> Result<(), LabError> {
        let key = hex::decode(&to.pubkey).map_err(|_| LabError::Json(to.pubkey.clone()))?;
        let channel = json!({
            "node_pubkey": STANDARD.encode(key),
            "local_funding_amount": sat.to_string(),
            "push_sat": push_sat.to_string(),
            "min_htlc_msat": "1",
        });
        self.post("/v1/channels", &channel).map(drop)
    }

    /// Its channels, as LND describes them.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn channels(&self) -> Result<Vec<Value>, LabError> {
        let mut answer = self.get("/v1/channels")?;
        Ok(match answer["channels"].take() {
            Value::Array(channels) => channels,
            _ => Vec::new(),
        })
    }

    /// What it owns in its channels, in msat, once no payment is under way any more.
    ///
    /// # Errors
    /// When a payment stays under way.
    pub fn settled_balance(&self) -> Result<u64, LabError> {
        wait_for(&format!("{} without payments under way", self.name), || {
            let channels = self.channels()?;
            let is_pending = |channel: &Value| {
                let htlcs = channel["pending_htlcs"].as_array();
                htlcs.is_some_and(|htlcs| !htlcs.is_empty())
            };
            if channels.iter().any(is_pending) {
                return Ok(None);
            }
            self.balance().map(Some)
        })
    }

    /// What it owns in its channels at this moment, in msat.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn balance(&self) -> Result<u64, LabError> {
        let answer = self.get("/v1/balance/channels")?;
        number(&answer["local_balance"], "msat")
    }

    /// Makes an invoice that is good for `seconds`; of 0 msat, the payer chooses.
    ///
    /// # Errors
    /// When it refuses.
    pub fn invoice(&self, msat: u64, seconds: u64) -> Result<Invoice, LabError> {
        let wanted = json!({ "value_msat": msat.to_string(), "expiry": seconds.to_string() });
        let made = self.post("/v1/invoices", &wanted)?;
        Ok(Invoice {
            bolt11: text(&made, "payment_request")?,
            payment_hash: hex_of(&made, "r_hash")?,
        })
    }

    /// Makes an invoice whose payment stays pending until [`Self::settle`] or [`Self::cancel`].
    ///
    /// # Errors
    /// When it refuses.
    pub fn hold_invoice(&self, payment_hash: &str, msat: u64) -> Result<Invoice, LabError> {
        let wanted = json!({
            "hash": base64_of(payment_hash)?,
            "value_msat": msat.to_string(),
        });
        let made = self.post("/v2/invoices/hodl", &wanted)?;
        Ok(Invoice {
            bolt11: text(&made, "payment_request")?,
            payment_hash: payment_hash.to_owned(),
        })
    }

    /// Takes a held payment.
    ///
    /// # Errors
    /// When there is none.
    pub fn settle(&self, preimage: &str) -> Result<(), LabError> {
        let with = json!({ "preimage": base64_of(preimage)? });
        self.post("/v2/invoices/settle", &with).map(drop)
    }

    /// Gives a held payment back, or refuses it in advance.
    ///
    /// # Errors
    /// When it cannot.
    pub fn cancel(&self, payment_hash: &str) -> Result<(), LabError> {
        let which = json!({ "payment_hash": base64_of(payment_hash)? });
        self.post("/v2/invoices/cancel", &which).map(drop)
    }

    /// An invoice of its own, as LND describes it. The preimage is in it, paid or not.
    ///
    /// # Errors
    /// When it knows no such invoice.
    pub fn find_invoice(&self, payment_hash: &str) -> Result<Value, LabError> {
        self.get(&format!("/v1/invoice/{payment_hash}"))
    }

    /// The preimage of an invoice of its own, in hex: paid or not.
    ///
    /// # Errors
    /// When it knows no such invoice.
    pub fn preimage(&self, payment_hash: &str) -> Result<String, LabError> {
        hex_of(&self.find_invoice(payment_hash)?, "r_preimage")
    }

    /// Waits until an invoice of its own is `OPEN`, `ACCEPTED`, `SETTLED` or `CANCELED`.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn wait_for_invoice(&self, payment_hash: &str, state: &str) -> Result<(), LabError> {
        let what = format!("{}'s invoice {state}", self.name);
        wait_for(&what, || {
            let invoice = self.find_invoice(payment_hash)?;
            Ok((invoice["state"] == state).then_some(()))
        })
    }

    /// The block at which a held payment of an invoice of its own falls back to its payer.
    ///
    /// # Errors
    /// When it holds none.
    pub fn falls_back_at(&self, payment_hash: &str) -> Result<u64, LabError> {
        let invoice = self.find_invoice(payment_hash)?;
        let parts = invoice["htlcs"].as_array().into_iter().flatten();
        let expiries = parts.filter_map(|part| part["expiry_height"].as_u64());
        let first = expiries.min();
        first.ok_or_else(|| LabError::Json("htlcs".to_owned()))
    }

    /// The payment hash in anybody's invoice.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn payment_hash_of(&self, bolt11: &str) -> Result<String, LabError> {
        text(&self.get(&format!("/v1/payreq/{bolt11}"))?, "payment_hash")
    }

    /// A macaroon that allows exactly `permissions` (entity and action), in hex.
    ///
    /// # Errors
    /// When it knows no such permission.
    pub fn bake_macaroon(&self, permissions: &[(&str, &str)]) -> Result<String, LabError> {
        let permissions = permissions
            .iter()
            .map(|(entity, action)| json!({ "entity": entity, "action": action }));
        let wanted = json!({ "permissions": permissions.collect::<Vec<_>>() });
        text(&self.post("/v1/macaroon", &wanted)?, "macaroon")
    }

    /// Asks it anything.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn get(&self, target: &str) -> Result<Value, LabError> {
        self.ask("GET", target, b"")
    }

    /// Asks it to do anything. Of an answer in several parts, the last one.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn post(&self, target: &str, body: &Value) -> Result<Value, LabError> {
        self.ask("POST", target, body.to_string().as_bytes())
    }

    fn ask(&self, method: &str, target: &str, body: &[u8]) -> Result<Value, LabError> {
        let request = || format!("{} {method} {target}", self.name);
        let failed = |error| LabError::io(request(), error);
        let macaroon = fs::read(&self.macaroons.admin).map_err(failed)?;
        let headers = [("Grpc-Metadata-macaroon", hex::encode(macaroon))];
        let address = self.rest.trim_start_matches("https://");
        let asked = Request {
            method,
            target,
            headers: &headers,
            body,
        };
        let (status, body) = send(address, &self.cert, &asked).map_err(failed)?;
        let answer = String::from_utf8_lossy(&body);
        let last = answer.trim_end().lines().last().unwrap_or_default();
        let mut answer: Value =
            serde_json::from_str(last).map_err(|_| LabError::Json(request()))?;
        let refusal = match &answer["error"] {
            Value::Null => &answer,
            error => error,
        };
        if status == 200 && answer["error"].is_null() {
            let is_part = answer["result"].is_object();
            return Ok(if is_part {
                answer["result"].take()
            } else {
                answer
            });
        }
        Err(LabError::Refused {
            request: request(),
            status,
            message: refusal["message"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

fn text(value: &Value, field: &str) -> Result<String, LabError> {
    let text = value[field].as_str().map(str::to_owned);
    text.ok_or_else(|| LabError::Json(field.to_owned()))
}

/// Large numbers are strings in LND's JSON.
fn number(value: &Value, field: &str) -> Result<u64, LabError> {
    let number = text(value, field)?.parse();
    number.map_err(|_| LabError::Json(field.to_owned()))
}

/// Bytes are base64 in LND's JSON.
fn hex_of(value: &Value, field: &str) -> Result<String, LabError> {
    let bytes = STANDARD.decode(text(value, field)?);
    bytes
        .map(hex::encode)
        .map_err(|_| LabError::Json(field.to_owned()))
}

fn base64_of(hex_digits: &str) -> Result<String, LabError> {
    let bytes = hex::decode(hex_digits).map_err(|_| LabError::Json(hex_digits.to_owned()))?;
    Ok(STANDARD.encode(bytes))
}
