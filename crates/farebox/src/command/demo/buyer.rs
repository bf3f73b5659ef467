//! Who pays in the demo: test money, or a second node over a real channel.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use farebox_api::Proof;
use farebox_config::choice::SecretSource;
use farebox_config::secrets;
use farebox_core::Preimage;
use farebox_http::client::Trust;
use farebox_lightning::lnd::{Lnd, Macaroon};
use farebox_lightning::{
    Invoice, NodeOptions, PayInvoice, PaymentRequest, PaymentState, parse_invoice,
};
use http::Method;
use serde_json::json;

use crate::cli::{BuyerArgs, DemoArgs};
use crate::clock::SystemClock;
use crate::command::admin::Client;
use crate::output;

/// The most that routing may cost in the demo: one percent, and ten satoshis in any case.
const MAX_FEE_PERCENT: u64 = 1;
const MAX_FEE_MSAT: u64 = 10_000;
/// How long a payment may take until its outcome is known.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a payment under way is asked about.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(500);

/// Who pays.
pub(super) enum Buyer {
    /// The pay door of the console.
    TestMoney,
    /// A node.
    Node(Box<Lnd>),
    /// Whoever sits in front of the screen.
    Person,
}

impl Buyer {
    /// The buyer that the flags name.
    pub(super) fn new(args: &DemoArgs) -> anyhow::Result<Self> {
        match (&args.buyer.buyer_lnd_url, args.lnd.lightning) {
            (Some(url), _) => Ok(Self::Node(Box::new(node(&args.buyer, url)?))),
            (None, Some(_)) => Ok(Self::Person),
            (None, None) => Ok(Self::TestMoney),
        }
    }

    /// Pays an invoice and gives the proof in hex.
    pub(super) async fn pay(&self, console: &Client, invoice: &str) -> anyhow::Result<String> {
        match self {
            Self::TestMoney => pay_with_test_money(console, invoice).await,
            Self::Node(node) => pay_with_node(node, invoice).await,
            Self::Person => bail!("a person pays with a wallet"),
        }
    }
}

fn node(args: &BuyerArgs, url: &str) -> anyhow::Result<Lnd> {
    let macaroon = args.buyer_lnd_macaroon.clone();
    let macaroon = macaroon.context("--buyer-lnd-url needs --buyer-lnd-macaroon")?;
    let bytes = secrets::fetch_macaroon(&SecretSource::File { file: macaroon })?;
    let url = url.parse().context("--buyer-lnd-url is not a URL")?;
    let macaroon = Macaroon::read(bytes.reveal())?;
    if !macaroon.may_pay() {
        bail!("the buyer's macaroon does not allow payments");
    }
    let options = NodeOptions::new(url, macaroon, Arc::new(SystemClock));
    let trust = args.buyer_lnd_cert.as_deref().map(pinned).transpose()?;
    Ok(Lnd::new(NodeOptions {
        trust: trust.unwrap_or(Trust::Web),
        ..options
    })?)
}

fn pinned(path: &Path) -> anyhow::Result<Trust> {
    let shown = path.display().to_string();
    let pem = std::fs::read(path).with_context(|| shown.clone())?;
    Trust::pinned_pem(&pem).context(shown)
}

async fn pay_with_test_money(console: &Client, invoice: &str) -> anyhow::Result<String> {
    let body = json!({ "invoice": invoice });
    let reply = console.send(Method::POST, "/test/pay", &[], &body).await?;
    let proof: Result<Proof, _> = reply.read();
    let proof = proof.with_context(|| format!("not paid: {}", reply.status))?;
    output::line("2. paid with test money: the preimage is the proof")?;
    Ok(proof.preimage)
}

async fn pay_with_node(node: &Lnd, bolt11: &str) -> anyhow::Result<String> {
    let invoice = parse_invoice(bolt11).context("the invoice")?;
    let (fee, preimage) = pay(node, bolt11, &invoice).await?;
    output::line(format_args!(
        "2. paid over the channel (routing cost {fee}): the preimage is the proof"
    ))?;
    Ok(hex::encode(preimage.reveal()))
}

async fn pay(
    payer: &dyn PayInvoice,
    bolt11: &str,
    invoice: &Invoice,
) -> anyhow::Result<(farebox_core::Msat, Preimage)> {
    let max_fee = (invoice.amount.get() * MAX_FEE_PERCENT / 100).max(MAX_FEE_MSAT);
    let request = PaymentRequest {
        bolt11: bolt11.to_owned(),
        payment_hash: invoice.payment_hash,
        amount: invoice.amount,
        max_fee: farebox_core::Msat::new(max_fee)?,
        patience: PATIENCE,
    };
    let mut state = payer.pay_invoice(request).await;
    loop {
        match state {
            Ok(PaymentState::Succeeded { fee, preimage }) => {
                return Ok((fee, preimage.context("the buyer's node gave no preimage")?));
            }
            Ok(PaymentState::Failed(why)) => bail!("the buyer's payment failed: {why:?}"),
            Ok(PaymentState::Unheard) => bail!("the buyer's node does not know the payment"),
            Err(error) if error.is_certain_refusal() => return Err(error.into()),
            Ok(PaymentState::Pending) | Err(_) => {}
        }
        tokio::time::sleep(BETWEEN_QUESTIONS).await;
        state = payer.payment_state(invoice.payment_hash).await;
    }
}
