//! Who is paid and who pays: `[lightning]` with its fallbacks, `[refunds]` and `[held]`.

use std::path::PathBuf;

use farebox_core::Msat;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::choice::{Amount, SecretSource};
use crate::units::{ByteSize, Lasting};

/// The Lightning node or wallet that is paid, and as `[[lightning.fallback]]` those that make
/// invoices when it cannot.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["backend"]))]
pub struct LightningSection {
    /// What kind of node or wallet it is.
    pub backend: LightningBackend,
    /// Its name in logs, metrics and the journal of payments: A-Z, a-z, 0-9, `_` and `-`. Default:
    /// the kind.
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,
    /// Where the node answers: LND's REST API, CLN's clnrest, phoenixd, LNbits. In clear (`http://`)
    /// on this machine only, unless `allow_hosts` names the host.
    pub url: Option<String>,
    /// LND's macaroon: the file that LND made, or its bytes in hex or base64.
    pub macaroon: Option<SecretSource>,
    /// CLN's rune.
    pub rune: Option<SecretSource>,
    /// phoenixd's `http-password`, or `http-password-limited-access` for invoices alone.
    pub password: Option<SecretSource>,
    /// phoenixd's `webhook-secret`: payments are then heard of at once, from
    /// `/.farebox/webhooks/phoenixd` on the gateway's port. At least 16 characters. Default: phoenixd
    /// is asked every second.
    pub webhook_secret: Option<SecretSource>,
    /// The invoice key of a wallet at LNbits.
    pub key: Option<SecretSource>,
    /// The admin key of the wallet at LNbits, with which refunds are paid. Default: nothing is
    /// paid out.
    pub admin_key: Option<SecretSource>,
    /// The connection string of Nostr Wallet Connect, `nostr+walletconnect://…`.
    pub uri: Option<SecretSource>,
    /// The node's certificate, PEM: this one and no other is believed. Default: those that public
    /// authorities signed.
    pub tls_cert: Option<PathBuf>,
    /// Whether LND's invoices tell the way to its private channels: needed where it has no public
    /// one.
    pub private_hints: bool,
    /// The Lightning Address, `user@host`, of the backend `lightning-address`.
    pub address: Option<String>,
    /// Exact `host:port` pairs that may be called in clear and at private addresses. Everything
    /// else must be https; for a Lightning Address at a public address.
    pub allow_hosts: Vec<String>,
    /// The network that invoices must be for. Default: `mainnet`; in a fallback that of
    /// `[lightning]`.
    pub network: Option<NetworkSetting>,
    /// The least amount of an invoice: many channels carry nothing below 1,000 msat. What is sold
    /// for less is sold in bundles. Default: 1,000 msat with `lnd` and `cln`.
    pub min_amount: Option<Amount>,
    /// Whether the provider of a Lightning Address reads what was bought, as a comment to the
    /// payment. Default: `true`.
    pub comment: Option<bool>,
    /// Whether a preimage is not enough: a token counts only when the node says that its invoice is
    /// settled.
    pub strict: bool,
    /// Whether a wallet on Nostr Wallet Connect takes whole satoshis only, as many do. Default:
    /// `true`.
    pub whole_sats: Option<bool>,
    /// How long one call to the node or wallet provider may take. Default: 5s, and 15s with `nwc`.
    pub timeout: Option<Lasting>,
    /// Who makes invoices when this one cannot, in this order. Each has the keys of `[lightning]`
    /// except `fallback` and `strict`.
    pub fallback: Vec<LightningSection>,
}

/// A network of Bitcoin.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum NetworkSetting {
    /// Real bitcoin.
    #[default]
    Mainnet,
    /// The test network.
    Testnet,
    /// The signed test network.
    Signet,
    /// A network of one's own.
    Regtest,
}

/// What kind of node or wallet is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LightningBackend {
    /// LND, over its REST API.
    Lnd,
    /// Core Lightning, over clnrest.
    Cln,
    /// phoenixd.
    Phoenixd,
    /// A wallet at an LNbits server.
    Lnbits,
    /// A wallet that speaks Nostr Wallet Connect (NIP-47).
    Nwc,
    /// Any wallet with a Lightning Address.
    #[default]
    LightningAddress,
    /// No real money: invoices that only the gateway's own test page can pay. Needs
    /// `--insecure-test-money`.
    Mock,
}

/// Whether and how holders of tokens and prepaid keys get back what they did not use.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct RefundsSection {
    /// Whether the holder of a token may ask, at `/.farebox/refund`, and that of a key, at
    /// `/.farebox/keys/refund`. The operator always may. Default: where a backend can look up and pay.
    pub enabled: Option<bool>,
    /// The least amount that is paid out.
    pub least: Amount,
    /// The most that holders get back in 24 hours, all together, without fees.
    pub daily_total: Amount,
    /// How often one token, or one key, may ask in 24 hours.
    #[schemars(range(min = 1))]
    pub per_token_per_day: u32,
    /// Payments that may be under way or of unknown outcome at one time.
    #[schemars(range(min = 1))]
    pub max_open: u32,
    /// The most that routing may cost. It comes out of the refund.
    pub max_fee: MaxFeeTable,
    /// Exact `host:port` pairs of Lightning Addresses that may be called in clear and at private
    /// addresses. Everything else must be https at a public address.
    pub allow_hosts: Vec<String>,
}

/// A limit on routing fees: so many percent of the amount, but never less than `msat`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct MaxFeeTable {
    /// Percent of the amount.
    #[schemars(range(max = 100))]
    pub percent: u32,
    /// Millisatoshi that are always allowed.
    pub msat: u64,
}

/// Prepaid keys.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct KeysSection {
    /// Whether keys are sold. Default: true where every backend says what was received. Keys that
    /// were sold before are good either way.
    pub enabled: Option<bool>,
}

/// Room for calls that wait for a held payment (`on_failure = "cancel"`).
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct HeldSection {
    /// How many calls are kept at one time. Each holds a connection to the node open.
    #[schemars(range(min = 1))]
    pub max_calls: u32,
    /// Their requests, in all.
    pub max_bytes: ByteSize,
    /// The longest answer. A longer one is a failure, and the payment goes back.
    pub max_answer: ByteSize,
}

impl LightningBackend {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lnd => "lnd",
            Self::Cln => "cln",
            Self::Phoenixd => "phoenixd",
            Self::Lnbits => "lnbits",
            Self::Nwc => "nwc",
            Self::LightningAddress => "lightning-address",
            Self::Mock => "mock",
        }
    }
}

impl LightningSection {
    /// The time limit of a call, or what stands in its place.
    pub fn timeout(&self) -> Lasting {
        let seconds = match self.backend {
            LightningBackend::Nwc => 15,
            _ => 5,
        };
        self.timeout.unwrap_or(Lasting::seconds(seconds))
    }

    /// The name, or what stands in its place.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.backend.as_str())
    }
}

/// An amount that is known when the program is written.
const fn msat(msat: u64) -> Amount {
    match Msat::new(msat) {
        Ok(amount) => Amount(amount),
        Err(_) => Amount(Msat::ZERO),
    }
}

impl Default for RefundsSection {
    fn default() -> Self {
        Self {
            enabled: None,
            least: msat(1_000),
            daily_total: msat(100_000_000),
            per_token_per_day: 5,
            max_open: 100,
            max_fee: MaxFeeTable::default(),
            allow_hosts: Vec::new(),
        }
    }
}

impl Default for MaxFeeTable {
    fn default() -> Self {
        Self {
            percent: 1,
            msat: 5_000,
        }
    }
}

impl Default for HeldSection {
    fn default() -> Self {
        Self {
            max_calls: 128,
            max_bytes: ByteSize(64 << 20),
            max_answer: ByteSize(1 << 20),
        }
    }
}
