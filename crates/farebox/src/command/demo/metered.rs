//! A chat that is streamed and costs what it uses: what was held for it, what it was charged, and
//! what is left on the token.

use anyhow::{Context as _, bail};
use farebox_api::Token;
use http::Method;
use serde_json::{Value, json};

use super::buyer::Buyer;
use super::sale::{ask, ask_again};
use crate::command::admin::{Client, Reply};
use crate::output;

/// The route that sells by the token.
pub(super) const ROUTE: &str = "metered";
pub(super) const PATH: &str = "/metered/v1/chat/completions";

/// The demo's route and the prices of its model: a sixth of a satoshi for what is read, a satoshi
/// for what is written.
pub(super) fn config(upstream: &str, methods: &str) -> String {
    format!(
        "[[model]]\nname = \"demo-model\"\ncurrency = \"msat\"\nper = \"unit\"\n\
         input = 150\noutput = 1000\nmax_output_tokens = 1000\n\n\
         [[route]]\nname = \"{ROUTE}\"\npath = \"/{ROUTE}\"\nupstream = \"{upstream}\"\n\
         strip_prefix = true\nprice = {{ model_tokens = {{}} }}\n\
         balance = {{ msat = 200000 }}\n{methods}"
    )
}

/// A chat that is streamed.
pub(super) fn request() -> Value {
    json!({
        "model": "demo-model",
        "messages": [{ "role": "user", "content": "What does a token cost here?" }],
        "max_tokens": 100,
        "stream": true,
        "stream_options": { "include_usage": true },
    })
}

/// Sells a streamed chat to the buyer, prints each step, and gives what it was charged.
pub(super) async fn sell(gateway: &Client, console: &Client, buyer: &Buyer) -> anyhow::Result<u64> {
    let request = request();
    let (reply, challenge) = ask(gateway, PATH, &request).await?;
    let invoice = &challenge.invoice;
    let most = &reply.json()["price_msat"];
    output::line(format_args!("\n1. POST {PATH}  ->  {}", reply.status))?;
    output::line(format_args!("   price     {most} msat at most"))?;
    output::line(format_args!("   deposit   {}", invoice.amount))?;
    let preimage = buyer.pay(console, &challenge.bolt11).await?;
    let reply = ask_again(gateway, PATH, &request, &challenge, &preimage).await?;
    let charged = show(&reply)?;
    let account = format!("/admin/v1/tokens/{}", invoice.payment_hash);
    let rest = rest(console, &account).await?;
    output::line(format_args!("   rest      {rest} msat, for further calls"))?;
    if rest + charged != invoice.amount.get() {
        bail!(
            "{charged} and {rest} msat are not the deposit of {}",
            invoice.amount
        );
    }
    Ok(charged)
}

/// The events of a stream that are JSON.
fn events(text: &str) -> Vec<Value> {
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.filter_map(|data| serde_json::from_str(data).ok());
    events.collect()
}

/// What a streamed answer says that it used.
fn usage(events: &[Value]) -> anyhow::Result<&Value> {
    let usage = events.iter().rev().map(|event| &event["usage"]);
    let usage = usage.into_iter().find(|usage| usage.is_object());
    usage.context("the stream does not tell its usage")
}

/// What a streamed answer says that it costs, in msat.
pub(super) fn cost(text: &str) -> anyhow::Result<u64> {
    let events = events(text);
    let cost = usage(&events)?["cost_msat"].as_u64();
    cost.context("the stream does not tell its cost")
}

/// Prints a streamed answer and what it cost.
fn show(reply: &Reply) -> anyhow::Result<u64> {
    let text = String::from_utf8_lossy(&reply.body);
    let events = events(&text);
    let pieces = events.iter();
    let pieces = pieces.filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    let answer: String = pieces.collect();
    let usage = usage(&events)?;
    let charged = cost(&text)?;
    let held = reply.headers.get("farebox-held-msat");
    let held = held
        .and_then(|held| held.to_str().ok())
        .context("no hold")?;
    output::line(format_args!(
        "3. the same request with the proof  ->  {}, {} events",
        reply.status,
        events.len()
    ))?;
    output::line(format_args!("   answer    {answer}"))?;
    output::line(format_args!("   held      {held} msat"))?;
    output::line(format_args!(
        "   charged   {charged} msat for {} tokens read and {} written",
        usage["prompt_tokens"], usage["completion_tokens"]
    ))?;
    Ok(charged)
}

/// What is left on a token once nothing of it is held: a stream is settled when it has ended.
async fn rest(console: &Client, account: &str) -> anyhow::Result<u64> {
    const ATTEMPTS: u32 = 500;
    const BETWEEN: std::time::Duration = std::time::Duration::from_millis(10);
    for _ in 0..ATTEMPTS {
        let reply = console
            .send(Method::GET, account, &[], &Value::Null)
            .await?;
        let account = reply.read::<Token>()?.account;
        if account.held_msat == 0 {
            return Ok(account.balance_msat);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    bail!("the stream is not settled")
}
