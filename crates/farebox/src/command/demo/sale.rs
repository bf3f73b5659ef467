//! One sale, as any buyer would make it: over HTTP, from 402 to 200.

use anyhow::{Context as _, bail};
use farebox_api::TrialBalance;
use farebox_lightning::{Invoice, parse_invoice};
use http::Method;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};

use super::buyer::Buyer;
use super::{metered, person};
use crate::command::Failure;
use crate::command::admin::{Client, Reply};
use crate::output;
use crate::running::Running;

/// What is sold at a fixed price.
pub(super) const PATH: &str = "/v1/chat/completions";
/// What it costs, in msat.
const PRICE: u64 = 2_000;

/// What is sold to people.
pub(super) const WEATHER: &str = "/weather";

/// What was earned, in msat.
#[derive(Default)]
pub(super) struct Earned {
    /// By calls at a fixed price.
    pub(super) calls: u64,
    /// By streams.
    pub(super) stream: u64,
}

/// What a 402 asks for.
pub(super) struct Challenge {
    pub(super) macaroon: String,
    /// The invoice as it is written.
    pub(super) bolt11: String,
    pub(super) invoice: Invoice,
}

/// Sells one payment's worth to the buyer and prints each step.
pub(super) async fn sell(running: &Running, buyer: &Buyer) -> Result<Earned, Failure> {
    let (gateway, console) = doors(running);
    let mut earned = Earned::default();
    match buyer {
        Buyer::Person => {
            person::sell(&gateway, &running.gateway_url()).await?;
            check_books(&console, "weather", 1_000).await?;
        }
        Buyer::TestMoney | Buyer::Node(_) => {
            sell_a_chat(&gateway, &console, buyer).await?;
            check_books(&console, "openai", PRICE).await?;
            let charged = metered::sell(&gateway, &console, buyer).await?;
            check_books(&console, metered::ROUTE, charged).await?;
            earned = Earned {
                calls: PRICE,
                stream: charged,
            };
        }
    }
    Ok(earned)
}

/// The gateway and the console, as others reach them.
pub(super) fn doors(running: &Running) -> (Client, Client) {
    let address = |url: String| url.trim_start_matches("http://").to_owned();
    let gateway = Client::new(address(running.gateway_url()), None);
    let console = Client::new(address(running.console_url()), Some(running.token.clone()));
    (gateway, console)
}

async fn sell_a_chat(gateway: &Client, console: &Client, buyer: &Buyer) -> anyhow::Result<()> {
    let request = json!({
        "model": "gpt-4o-mini",
        "messages": [{ "role": "user", "content": "What does a call cost here?" }],
    });
    let (reply, challenge) = ask(gateway, PATH, &request).await?;
    output::line(format_args!("1. POST {PATH}  ->  {}", reply.status))?;
    output::line(format_args!("   price     {}", challenge.invoice.amount))?;
    let (bolt11, macaroon) = (shortened(&challenge.bolt11), shortened(&challenge.macaroon));
    output::line(format_args!("   invoice   {bolt11}…"))?;
    output::line(format_args!("   macaroon  {macaroon}…"))?;
    let preimage = buyer.pay(console, &challenge.bolt11).await?;
    let reply = ask_again(gateway, PATH, &request, &challenge, &preimage).await?;
    let status = reply.status;
    output::line(format_args!(
        "3. the same request with the proof  ->  {status}"
    ))?;
    let answer = reply.json();
    let text = answer["choices"][0]["message"]["content"].as_str();
    let text = text.unwrap_or_default();
    Ok(output::line(format_args!("   answer    {text}"))?)
}

/// Asks without paying.
pub(super) async fn ask(
    gateway: &Client,
    path: &str,
    request: &Value,
) -> anyhow::Result<(Reply, Challenge)> {
    let reply = gateway.send(Method::POST, path, &[], request).await?;
    if reply.status != http::StatusCode::PAYMENT_REQUIRED {
        bail!("expected 402 for an unpaid call, got {}", reply.status);
    }
    let challenge = read_challenge(&reply)?;
    Ok((reply, challenge))
}

/// Asks with the proof that it was paid.
pub(super) async fn ask_again(
    gateway: &Client,
    path: &str,
    request: &Value,
    challenge: &Challenge,
    preimage: &str,
) -> anyhow::Result<Reply> {
    let credential = format!("L402 {}:{preimage}", challenge.macaroon);
    let headers = [("authorization", credential.as_str())];
    let reply = gateway.send(Method::POST, path, &headers, request).await?;
    if !reply.status.is_success() {
        bail!("the paid call failed: {}", reply.status);
    }
    Ok(reply)
}

fn shortened(text: &str) -> &str {
    text.get(..48).unwrap_or(text)
}

pub(super) fn read_challenge(reply: &Reply) -> anyhow::Result<Challenge> {
    let mut lines = reply
        .headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let line = lines
        .find(|line| line.starts_with("L402 "))
        .context("no L402 challenge")?;
    let parameter = |name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let macaroon = parameter("macaroon").context("no macaroon in the challenge")?;
    let bolt11 = parameter("invoice").context("no invoice in the challenge")?;
    Ok(Challenge {
        macaroon,
        invoice: parse_invoice(&bolt11).context("the invoice")?,
        bolt11,
    })
}

pub(super) async fn check_books(console: &Client, route: &str, price: u64) -> anyhow::Result<()> {
    let path = "/admin/v1/ledger/trial-balance";
    let reply = console.send(Method::GET, path, &[], &Value::Null).await?;
    let balance: TrialBalance = reply.read()?;
    let earned = balance.house_msat.get(&format!("revenue:{route}"));
    let earned = earned.copied().unwrap_or_default();
    let sum = balance.sum_msat;
    output::line(format_args!(
        "4. earned {earned} msat by route {route}; trial balance {sum}"
    ))?;
    if !balance.sound || u64::try_from(earned) != Ok(price) {
        bail!("the books are not as they should be: {balance:?}");
    }
    Ok(())
}
