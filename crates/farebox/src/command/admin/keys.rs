//! `farebox admin keys`.

use anyhow::anyhow;
use http::Method;
use serde_json::{Map, Value, json};

use super::{Client, ask, get, lines, list, show};
use crate::cli::{KeysCommand, LimitsArgs};
use crate::command::Failure;

const KEYS: &str = "/admin/v1/keys";

/// Runs one of the commands.
pub(super) async fn run(
    client: &Client,
    command: &KeysCommand,
    as_json: bool,
) -> Result<(), Failure> {
    match command {
        KeysCommand::Rotate { emergency } => {
            let body = json!({ "emergency": emergency });
            let answer = ask(client, Method::POST, "/admin/v1/keys/rotate", &body).await?;
            let text = format!("new tokens are signed in key epoch {}", answer["epoch"]);
            show(&answer, as_json, &text)
        }
        KeysCommand::Make {
            parent,
            note,
            limits,
        } => {
            let mut body = limits.to_json();
            let texts = [("parent", parent), ("note", note)];
            for (name, text) in texts {
                if let Some(text) = text {
                    body.insert(name.to_owned(), text.as_str().into());
                }
            }
            let made = ask(client, Method::POST, KEYS, &body.into()).await?;
            show(&made, as_json, &lines(&made))
        }
        KeysCommand::List { cursor, limit } => {
            let path = format!("{KEYS}?cursor={cursor}&limit={limit}");
            list(&get(client, &path).await?, "keys", as_json, line)
        }
        KeysCommand::Show { id } => {
            let key = get(client, &format!("{KEYS}/{}", checked(id)?)).await?;
            show(&key, as_json, &lines(&key))
        }
        KeysCommand::Limit { id, limits } => {
            let path = format!("{KEYS}/{}/limits", checked(id)?);
            let key = ask(client, Method::POST, &path, &limits.to_json().into()).await?;
            show(&key, as_json, &lines(&key))
        }
        KeysCommand::Revoke { id } => {
            let path = format!("{KEYS}/{}/revoke", checked(id)?);
            let key = ask(client, Method::POST, &path, &json!({})).await?;
            show(&key, as_json, "revoked")
        }
    }
}

/// What was typed goes into a path, so it must be nothing else.
pub(super) fn checked(id: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if id.starts_with("fk_") && id.bytes().all(plain) {
        return Ok(id);
    }
    Err(by_id().into())
}

/// What was typed is not repeated: it may be the key itself.
pub(super) fn by_id() -> anyhow::Error {
    anyhow!("a key is named by its id, fk_ and 16 hex digits, never by its secret")
}

fn line(key: &Value) -> String {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    format!(
        "{} {:<10} {:>10} msat, {:>10} spent  {}",
        text("id"),
        text("state"),
        key["balance_msat"],
        key["spent_msat"],
        text("note"),
    )
}

impl LimitsArgs {
    fn to_json(&self) -> Map<String, Value> {
        let named = [
            ("total_msat", json!(self.total)),
            ("per_day_msat", json!(self.per_day)),
            ("routes", json!(self.routes)),
            ("models", json!(self.models)),
            ("expires_at", json!(self.expires_at)),
        ];
        let said = named.into_iter().filter(|(_, value)| !value.is_null());
        said.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
