//! The chain: btcd on regtest, whose blocks are made when somebody asks for them.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::https::{Request, send};
use super::{Daemon, LabError};

/// Where it answers JSON-RPC. The credentials guard nothing but test money.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Btcd {
    /// `host:port`.
    pub rpc: String,
    /// Its user.
    pub user: String,
    /// The user's password.
    pub pass: String,
    /// A PEM file.
    pub cert: PathBuf,
    /// Its process.
    pub daemon: Daemon,
}

impl Btcd {
    /// Makes so many blocks.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub fn generate(&self, blocks: u32) -> Result<(), LabError> {
        self.call("generate", &json!([blocks])).map(drop)
    }

    /// How many blocks there are.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn height(&self) -> Result<u64, LabError> {
        let height = self.call("getblockcount", &json!([]))?;
        height
            .as_u64()
            .ok_or_else(|| LabError::Json("getblockcount".to_owned()))
    }

    fn call(&self, method: &str, params: &Value) -> Result<Value, LabError> {
        let question = json!({ "jsonrpc": "1.0", "id": 1, "method": method, "params": params });
        let credentials = STANDARD.encode(format!("{}:{}", self.user, self.pass));
        let question = question.to_string();
        let request = Request {
            method: "POST",
            target: "/",
            headers: &[
                ("Authorization", format!("Basic {credentials}")),
                ("Content-Type", "application/json".to_owned()),
            ],
            body: question.as_bytes(),
        };
        let answer = send(&self.rpc, &self.cert, &request);
        let (status, body) = answer.map_err(|e| LabError::io(format!("btcd {method}"), e))?;
        let mut answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if answer["error"].is_null() && status == 200 {
            return Ok(answer["result"].take());
        }
        Err(LabError::Refused {
            request: format!("btcd {method}"),
            status,
            message: answer["error"].to_string(),
        })
    }
}
