//! Answers that are true but for one thing.

use cashu::nuts::SecretKey;
use serde_json::{Value, json};

use super::fault::Twist;

impl Twist {
    pub(super) fn apply(self, answer: &mut Value) {
        match self {
            Self::WrongSignature => first_signature(answer, |it| it["C_"] = other_point()),
            Self::WrongSignatureNoDleq => first_signature(answer, |it| {
                it["C_"] = other_point();
                remove(it, "dleq");
            }),
            Self::WrongDleq => first_signature(answer, |it| {
                it["dleq"]["s"] = SecretKey::generate().to_secret_hex().into();
            }),
            Self::NoDleq => each(answer, &SIGNATURES, |it| remove(it, "dleq")),
            Self::OtherAmount => first_signature(answer, |it| {
                let amount = it["amount"].as_u64().unwrap_or_default();
                it["amount"] = amount.saturating_mul(2).into();
            }),
            Self::OtherKeyset => first_signature(answer, |it| it["id"] = "00ffffffffffffff".into()),
            Self::TooFew => lists(answer, &["signatures", "change", "states"], |list| {
                list.pop();
            }),
            Self::TooMany => lists(answer, &SIGNATURES, |list| {
                list.extend(list.last().cloned());
            }),
            Self::Reordered => lists(answer, &["signatures", "change", "states"], |list| {
                list.reverse();
            }),
            Self::Empty => lists(answer, &ALL, Vec::clear),
            Self::SaysPending => say(answer, "PENDING"),
            Self::SaysUnspent => say(answer, "UNSPENT"),
            Self::SaysSpent => say(answer, "SPENT"),
            Self::Capitals => each(answer, &["states"], |it| {
                let y = it["Y"].as_str().unwrap_or_default().to_uppercase();
                it["Y"] = y.into();
            }),
            Self::DecimalStrings => quote_amounts(answer),
        }
    }
}

const SIGNATURES: [&str; 2] = ["signatures", "change"];
const ALL: [&str; 5] = ["signatures", "change", "states", "outputs", "keysets"];

fn lists(answer: &mut Value, names: &[&str], edit: impl Fn(&mut Vec<Value>)) {
    for name in names {
        if let Some(Value::Array(list)) = answer.get_mut(*name) {
            edit(list);
        }
    }
}

fn each(answer: &mut Value, names: &[&str], edit: impl Fn(&mut Value)) {
    lists(answer, names, |list| list.iter_mut().for_each(&edit));
}

fn first_signature(answer: &mut Value, edit: impl Fn(&mut Value)) {
    lists(answer, &SIGNATURES, |list| {
        list.first_mut().into_iter().for_each(&edit);
    });
}

fn say(answer: &mut Value, state: &str) {
    each(answer, &["states"], |it| it["state"] = state.into());
}

fn remove(object: &mut Value, name: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(name);
    }
}

fn other_point() -> Value {
    json!(SecretKey::generate().public_key())
}

/// Fields that are amounts or numbers of the same kind.
const AMOUNTS: [&str; 5] = [
    "amount",
    "fee_reserve",
    "input_fee_ppk",
    "amount_paid",
    "amount_issued",
];

fn quote_amounts(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(quote_amounts),
        Value::Object(fields) => {
            for (name, value) in fields {
                if value.is_u64() && AMOUNTS.contains(&name.as_str()) {
                    *value = value.to_string().into();
                } else {
                    quote_amounts(value);
                }
            }
        }
        _ => {}
    }
}
