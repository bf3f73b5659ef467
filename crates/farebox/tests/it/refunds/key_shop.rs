//! The same seller, and buyers who have prepaid keys.

use serde_json::{Value, json};

use super::shop::{PRICE, Shop};
use crate::harness::{Call, Reply};

/// A key, as its holder has it.
pub(super) struct Key {
    pub(super) key: String,
    pub(super) id: String,
}

impl Key {
    pub(super) fn bearer(&self, call: Call) -> Call {
        call.header("Authorization", &format!("Bearer {}", self.key))
    }

    /// A request for a refund.
    pub(super) fn ask(&self, wish: &Value) -> Call {
        self.bearer(Call::post("/.farebox/keys/refund", wish.to_string()))
    }
}

impl Shop {
    /// A key that was paid for with what a token costs, and never used.
    #[track_caller]
    pub(super) fn buy_key(&self) -> Key {
        let told = self.order(&json!({ "amount_msat": PRICE }), "/.farebox/keys");
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        self.pay(&told);
        Key {
            key: text("key"),
            id: text("id"),
        }
    }

    /// A key of which one call was used.
    #[track_caller]
    pub(super) fn used_key(&self) -> Key {
        let key = self.buy_key();
        self.call(&key).expect(200);
        key
    }

    #[track_caller]
    pub(super) fn order(&self, order: &Value, path: &str) -> Value {
        let call = Call::post(path, order.to_string());
        self.gateway.send(&call).expect(201).json()
    }

    /// Pays what was ordered.
    pub(super) fn pay(&self, order: &Value) {
        let invoice = order["invoice"].as_str().unwrap();
        self.lnd.node.pay(invoice).unwrap();
    }

    /// One call that the key pays.
    pub(super) fn call(&self, key: &Key) -> Reply {
        self.gateway.send(&key.bearer(Call::get("/balance/a")))
    }

    pub(super) fn refund_key(&self, key: &Key, wish: &Value) -> Reply {
        self.gateway.send(&key.ask(wish))
    }

    /// What the holder of `key` sees.
    #[track_caller]
    pub(super) fn standing_of(&self, key: &Key) -> Value {
        let call = key.bearer(Call::get("/.farebox/keys/refund"));
        self.gateway.send(&call).expect(200).json()
    }

    /// What is on the key.
    #[track_caller]
    pub(super) fn balance_of(&self, key: &Key) -> u64 {
        let call = key.bearer(Call::get("/.farebox/keys/self"));
        let told = self.gateway.send(&call).expect(200).json();
        told["balance_msat"].as_u64().unwrap()
    }

    /// What the operator does with a key from the command line.
    #[track_caller]
    pub(super) fn admin_key(&self, arguments: &[&str]) -> Value {
        let console = self.gateway.console.to_string();
        let words = [
            &["admin"][..],
            arguments,
            &["--json", "--console", &console],
        ]
        .concat();
        let output = self.gateway.command(&words);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
