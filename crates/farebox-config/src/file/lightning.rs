//! `[lightning]`: who is paid and who pays. Each kind of backend has its own keys, and no others.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::{Error, MapAccess};

use crate::choice::{Amount, SecretSource};
use crate::parts::{Part, parts};
use crate::section::choices;
use crate::units::Lasting;

parts! {
    /// The Lightning node or wallet that is paid, and as `[[lightning.fallback]]` those that make
    /// invoices when it cannot.
    #[schemars(deny_unknown_fields)]
    pub struct LightningSection with first: BackendSection {
        /// The network that invoices must be for.
        pub network: NetworkSetting,
        /// Whether a preimage is not enough: a token counts only when the node says that its invoice is
        /// settled.
        pub strict: bool,
        /// Who makes invoices when the first one cannot, in this order. Each has a `backend` with its
        /// keys, `name` and `timeout`.
        pub fallback: Vec<BackendSection>,
    }

    /// One node or wallet.
    #[schemars(deny_unknown_fields)]
    pub struct BackendSection with kind: BackendKind {
        /// Its name in logs, metrics and the journal of payments: A-Z, a-z, 0-9, `_` and `-`. Default:
        /// the kind.
        #[schemars(length(min = 1, max = 64))]
        pub name: Option<String>,
        /// How long one call to the node or wallet provider may take. Default: 5s, and 15s with `nwc`.
        pub timeout: Option<Lasting>,
    }
}

/// What kind of node or wallet is paid.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "backend", rename_all = "kebab-case")]
pub enum BackendKind {
    /// LND, over its REST API.
    Lnd(LndSection),
    /// Core Lightning, over clnrest.
    Cln(ClnSection),
    /// phoenixd.
    Phoenixd(PhoenixdSection),
    /// A wallet at an LNbits server.
    Lnbits(LnbitsSection),
    /// A wallet that speaks Nostr Wallet Connect (NIP-47).
    Nwc(NwcSection),
    /// Any wallet with a Lightning Address.
    LightningAddress(LightningAddressSection),
    /// No real money: invoices that only the gateway's own test page can pay. Needs
    /// `--insecure-test-money`.
    Mock(MockSection),
}

parts! {
    /// What all backends with an HTTP API have in common.
    pub struct ApiSection {
        /// Where it answers: LND's REST API, CLN's clnrest, phoenixd, LNbits. In clear (`http://`) on
        /// this machine only, unless `allow_hosts` names the host.
        pub url: Option<String>,
        /// Its certificate, PEM: this one and no other is believed. Default: those that public
        /// authorities signed.
        pub tls_cert: Option<PathBuf>,
        /// Exact `host:port` pairs that may be called in clear. Everything else must be https.
        pub allow_hosts: Vec<String>,
        /// The least amount of an invoice: many channels carry nothing below 1,000 msat. What is sold
        /// for less is sold in bundles. Default: 1,000 msat with `lnd` and `cln`.
        pub min_amount: Option<Amount>,
    }

    /// LND, over its REST API.
    #[schemars(extend("required" = ["macaroon", "url"]))]
    pub struct LndSection with api: ApiSection {
        /// Its macaroon: the file that LND made, or its bytes in hex or base64.
        pub macaroon: Option<SecretSource>,
        /// Whether invoices tell the way to its private channels: needed where it has no public one.
        pub private_hints: bool,
    }

    /// Core Lightning, over clnrest.
    #[schemars(extend("required" = ["rune", "url"]))]
    pub struct ClnSection with api: ApiSection {
        /// Its rune.
        pub rune: Option<SecretSource>,
    }

    /// phoenixd.
    #[schemars(extend("required" = ["password", "url"]))]
    pub struct PhoenixdSection with api: ApiSection {
        /// Its `http-password`, or `http-password-limited-access` for invoices alone.
        pub password: Option<SecretSource>,
        /// Its `webhook-secret`: payments are then heard of at once, from
        /// `/.farebox/webhooks/phoenixd` on the gateway's port. At least 16 characters. Default: phoenixd
        /// is asked every second.
        pub webhook_secret: Option<SecretSource>,
    }

    /// A wallet at an LNbits server.
    #[schemars(extend("required" = ["key", "url"]))]
    pub struct LnbitsSection with api: ApiSection {
        /// The wallet's invoice key.
        pub key: Option<SecretSource>,
        /// Its admin key, with which refunds are paid. Default: refunds are impossible.
        pub admin_key: Option<SecretSource>,
    }

    /// A wallet that speaks Nostr Wallet Connect (NIP-47).
    #[schemars(extend("required" = ["uri"]))]
    pub struct NwcSection {
        /// The wallet's connection string, `nostr+walletconnect://…`.
        pub uri: Option<SecretSource>,
        /// The least amount of an invoice. What is sold for less is sold in bundles.
        pub min_amount: Option<Amount>,
        /// Whether it takes whole satoshis only, as many do.
        pub whole_sats: bool = true,
    }

    /// Any wallet with a Lightning Address.
    #[schemars(extend("required" = ["address"]))]
    pub struct LightningAddressSection {
        /// The address, `user@host`.
        pub address: Option<String>,
        /// Exact `host:port` pairs that may be called in clear and at private addresses. Everything
        /// else must be https at a public address.
        pub allow_hosts: Vec<String>,
        /// Whether its provider reads what was bought, as a comment to the payment.
        pub comment: bool = true,
        /// Whether its invoices have to carry the hash of the text that the address shows (LUD-06).
        pub description_hash: DescriptionHashSetting,
    }

    /// Test money, that anybody can pay with.
    pub struct MockSection {
        /// The least amount of an invoice. What is sold for less is sold in bundles.
        pub min_amount: Option<Amount>,
    }
}

choices! {
    /// What the description of an invoice of a Lightning Address has to be.
    #[derive(Default)]
    pub enum DescriptionHashSetting => farebox_lightning::lnurl::MetadataCommitment {
        /// The hash of the address's text.
        Required,
        /// That, or a plain text: some providers' nodes cannot do otherwise.
        #[default]
        WhereGiven,
        /// Any: some providers hash another text than they show.
        Any,
    }

    /// A network of Bitcoin.
    #[derive(Default, clap::ValueEnum)]
    pub enum NetworkSetting => farebox_lightning::Network {
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
}

impl Part for BackendKind {
    /// `backend` comes before the keys that it decides about: see [`crate::document`].
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, table: &mut A) -> Result<bool, A::Error> {
        match self {
            _ if key == "backend" => {
                *self = Self::named(&table.next_value::<String>()?)?;
                Ok(true)
            }
            Self::Lnd(section) => section.take(key, table),
            Self::Cln(section) => section.take(key, table),
            Self::Phoenixd(section) => section.take(key, table),
            Self::Lnbits(section) => section.take(key, table),
            Self::Nwc(section) => section.take(key, table),
            Self::LightningAddress(section) => section.take(key, table),
            Self::Mock(section) => section.take(key, table),
        }
    }
}

impl BackendKind {
    /// Every kind, with nothing written about it.
    fn all() -> [Self; 7] {
        [
            Self::Lnd(LndSection::default()),
            Self::Cln(ClnSection::default()),
            Self::Phoenixd(PhoenixdSection::default()),
            Self::Lnbits(LnbitsSection::default()),
            Self::Nwc(NwcSection::default()),
            Self::LightningAddress(LightningAddressSection::default()),
            Self::Mock(MockSection::default()),
        ]
    }

    fn named<E: Error>(word: &str) -> Result<Self, E> {
        let known = Self::all().into_iter().find(|kind| kind.as_str() == word);
        known.ok_or_else(|| {
            let words = Self::all().map(|kind| format!("`{}`", kind.as_str()));
            E::custom(format!(
                "unknown backend, expected one of {}",
                words.join(", ")
            ))
        })
    }

    /// The word in the file.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Lnd(_) => "lnd",
            Self::Cln(_) => "cln",
            Self::Phoenixd(_) => "phoenixd",
            Self::Lnbits(_) => "lnbits",
            Self::Nwc(_) => "nwc",
            Self::LightningAddress(_) => "lightning-address",
            Self::Mock(_) => "mock",
        }
    }

    /// What it has in common with others that are called over HTTP.
    #[must_use]
    pub const fn api(&self) -> Option<&ApiSection> {
        match self {
            Self::Lnd(section) => Some(&section.api),
            Self::Cln(section) => Some(&section.api),
            Self::Phoenixd(section) => Some(&section.api),
            Self::Lnbits(section) => Some(&section.api),
            Self::Nwc(_) | Self::LightningAddress(_) | Self::Mock(_) => None,
        }
    }
}

impl BackendSection {
    /// The time limit of a call, or what stands in its place.
    #[must_use]
    pub fn timeout(&self) -> Lasting {
        let default = Lasting::seconds(match self.kind {
            BackendKind::Nwc(_) => 15,
            _ => 5,
        });
        self.timeout.unwrap_or(default)
    }

    /// The name, or what stands in its place.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.kind.as_str())
    }
}

impl From<BackendKind> for BackendSection {
    fn from(kind: BackendKind) -> Self {
        Self {
            kind,
            name: None,
            timeout: None,
        }
    }
}

impl From<BackendKind> for LightningSection {
    fn from(kind: BackendKind) -> Self {
        Self {
            first: kind.into(),
            ..Self::default()
        }
    }
}

impl Default for BackendKind {
    fn default() -> Self {
        Self::LightningAddress(LightningAddressSection::default())
    }
}
