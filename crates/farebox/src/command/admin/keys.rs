//! `farebox admin keys`.

use anyhow::anyhow;
use farebox_api::{Key, KeyWish, Keys, MadeKey, Rotate, Rotated};
use serde_json::json;

use super::{Client, get, get_page, list, post, show, show_all};
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
            let body = Rotate {
                emergency: *emergency,
            };
            let answer: Rotated = post(client, "/admin/v1/keys/rotate", &body).await?;
            let text = format!("new tokens are signed in key epoch {}", answer.epoch);
            show(&answer, as_json, &text)
        }
        KeysCommand::Make {
            parent,
            note,
            limits,
        } => {
            let wish = KeyWish {
                parent: parent.clone(),
                note: note.clone(),
                ..limits.into()
            };
            show_all(&post::<MadeKey>(client, KEYS, &wish).await?, as_json)
        }
        KeysCommand::List(args) => {
            let page: Keys = get_page(client, KEYS, args).await?;
            list(&page, as_json, page.keys.iter().map(line), page.next)
        }
        KeysCommand::Show { id } => {
            let path = format!("{KEYS}/{}", checked(id)?);
            show_all(&get::<Key>(client, &path).await?, as_json)
        }
        KeysCommand::Limit { id, limits } => {
            let path = format!("{KEYS}/{}/limits", checked(id)?);
            let key: Key = post(client, &path, &KeyWish::from(limits)).await?;
            show_all(&key, as_json)
        }
        KeysCommand::Revoke { id } => {
            let path = format!("{KEYS}/{}/revoke", checked(id)?);
            let key: Key = post(client, &path, &json!({})).await?;
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

fn line(key: &Key) -> String {
    format!(
        "{} {:<10} {:>10} msat, {:>10} spent  {}",
        key.id,
        key.state,
        key.balance_msat,
        key.spent_msat,
        key.note.as_deref().unwrap_or_default(),
    )
}

impl From<&LimitsArgs> for KeyWish {
    fn from(limits: &LimitsArgs) -> Self {
        Self {
            total_msat: limits.total,
            per_day_msat: limits.per_day,
            routes: limits.routes.clone(),
            models: limits.models.clone(),
            expires_at: limits.expires_at,
            ..Self::default()
        }
    }
}
