//! The same API for ecash: a call, the next one with its change, and a stream that is charged by what it
//! uses.

use anyhow::{Context as _, bail};
use farebox_testkit::mint::{MintOptions, TestMint};
use http::Method;
use serde_json::{Value, json};

use super::metered;
use super::sale::{Earned, PATH, check_books, doors};
use crate::command::admin::{Client, Reply};
use crate::output;
use crate::running::Running;

/// What the buyer's first token is worth, and the one for the stream, in msat.
const FIRST: u64 = 10_000;
const FOR_STREAM: u64 = 200_000;
/// What a token to paste is worth: a single coin, so that it is short.
const TO_PASTE: u64 = 8_192;
const CASHU: &str = "x-cashu";
/// Where change is fetched.
const PICK_UP: &str = "/.farebox/change";

/// A mint of test money.
pub(super) struct Purse(TestMint);

impl Purse {
    pub(super) fn open() -> anyhow::Result<Self> {
        Ok(Self(TestMint::start(MintOptions::default())?))
    }

    /// Where its mint is.
    pub(super) fn url(&self) -> String {
        self.0.url()
    }

    /// The part of the configuration that takes its coins.
    pub(super) fn config(&self) -> String {
        format!("[[mint]]\nurl = \"{}\"\n\n", self.0.url())
    }

    /// A token to paste.
    pub(super) fn token(&self) -> String {
        self.0.token("msat", TO_PASTE)
    }

    fn worth(&self, token: &str) -> anyhow::Result<u64> {
        let worth = self.0.value_of(token).ok();
        worth.context("the change is no money of the demo's mint")
    }

    /// Sells to the holder of coins and prints each step. `before` is what was earned until then.
    pub(super) async fn sell(&self, running: &Running, before: &Earned) -> anyhow::Result<()> {
        let (gateway, console) = doors(running);
        let gateway = &gateway;
        let request = json!({
            "model": "gpt-4o-mini",
            "messages": [{ "role": "user", "content": "Do you take ecash?" }],
        });
        output::line("\nThe same for ecash, without an invoice and without an account:")?;
        let token = self.0.token("msat", FIRST);
        let first = send(gateway, PATH, &request, &token).await?;
        let change = field(&first, CASHU)?;
        let left = self.worth(change)?;
        output::line(format_args!(
            "1. POST {PATH} with {FIRST} msat in X-Cashu  ->  {}",
            first.status
        ))?;
        output::line(format_args!(
            "   change    {left} msat, in X-Cashu of the answer"
        ))?;
        let second = send(gateway, PATH, &request, change).await?;
        let rest = self.worth(field(&second, CASHU)?)?;
        output::line(format_args!(
            "2. the next call, paid with that change  ->  {}",
            second.status
        ))?;
        output::line(format_args!("   change    {rest} msat"))?;
        let stream = self.sell_a_stream(gateway).await?;
        check_books(&console, "openai", before.calls + FIRST - rest).await?;
        check_books(&console, metered::ROUTE, before.stream + stream).await
    }

    async fn sell_a_stream(&self, gateway: &Client) -> anyhow::Result<u64> {
        let token = self.0.token("msat", FOR_STREAM);
        let reply = send(gateway, metered::PATH, &metered::request(), &token).await?;
        let first = field(&reply, CASHU)?;
        let early = self.worth(first)?;
        let text = String::from_utf8_lossy(&reply.body);
        let mut comments = text
            .lines()
            .filter_map(|line| line.strip_prefix(": x-cashu "));
        let last = comments.next().context("the stream tells no change")?;
        let late = self.worth(last)?;
        let charged = FOR_STREAM - early - late;
        let told = metered::cost(&text)?;
        output::line(format_args!(
            "3. a stream by the token, paid with {FOR_STREAM} msat  ->  {}",
            reply.status
        ))?;
        output::line(format_args!("   charged   {told} msat"))?;
        output::line(format_args!(
            "   change    {early} msat before it began, {late} msat before its last event"
        ))?;
        let fetched = send(gateway, PICK_UP, &Value::Null, &token).await?.json();
        if fetched["change"] != json!([first, last]) {
            bail!("the change that is fetched is another");
        }
        output::line(format_args!(
            "   fetched   2 tokens, the same, at POST {PICK_UP}"
        ))?;
        if told != charged {
            bail!("the stream costs {told} msat, and {charged} are missing");
        }
        Ok(charged)
    }
}

async fn send(gateway: &Client, path: &str, request: &Value, token: &str) -> anyhow::Result<Reply> {
    let headers = [(CASHU, token)];
    let reply = gateway.send(Method::POST, path, &headers, request).await?;
    if !reply.status.is_success() {
        bail!("the call for ecash failed: {}", reply.status);
    }
    Ok(reply)
}

fn field<'r>(reply: &'r Reply, name: &str) -> anyhow::Result<&'r str> {
    let field = reply
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok());
    field.with_context(|| format!("no {name} in the answer"))
}
