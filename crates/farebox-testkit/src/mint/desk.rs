//! What the mint does with each request, without any fault.

use cashu::nuts::nut10::SpendingConditionVerification;
use cashu::nuts::{
    BlindSignature, BlindedMessage, CheckStateRequest, CurrencyUnit, Id, RestoreRequest,
    SwapRequest,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::books::{Books, Entry};
use super::fault::Endpoint;
use super::keyset::{Keyset, KeysetOptions};
use super::lightning::Quotes;
use super::{MAX_COINS, MintOptions, Refusal};

/// All that a mint knows, behind one lock.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) books: Books,
    pub(super) quotes: Quotes,
    lacks: Vec<u16>,
}

impl Desk {
    pub(super) fn new(options: &MintOptions) -> Self {
        let keysets = options.keysets.iter().map(Keyset::generate);
        Self {
            books: Books::new(keysets.collect(), options.signed_code),
            quotes: Quotes::default(),
            lacks: options.lacks.clone(),
        }
    }

    /// The requests of coins. Those of Lightning are elsewhere.
    pub(super) fn answer(
        &mut self,
        endpoint: Endpoint,
        behind: &str,
        body: &[u8],
        now: u64,
    ) -> Result<Value, Refusal> {
        match endpoint {
            Endpoint::Info => Ok(self.info()),
            Endpoint::Keysets => Ok(self.list()),
            Endpoint::Keys => self.keys(behind),
            Endpoint::Swap => self.swap(&read(body)?, now),
            Endpoint::CheckState => self.states(&read(body)?),
            Endpoint::Restore => self.restore(&read(body)?),
            _ => Err(Refusal::UNREADABLE),
        }
    }

    /// Whether it answers such requests at all.
    pub(super) fn has(&self, endpoint: Endpoint) -> bool {
        match endpoint {
            Endpoint::CheckState => !self.lacks.contains(&7),
            Endpoint::Restore => !self.lacks.contains(&9),
            _ => true,
        }
    }

    /// New keysets in place of all active ones.
    pub(super) fn rotate(&mut self, fee_ppk: u64, hide_old: bool) {
        for unit in self.units() {
            let options = KeysetOptions {
                fee_ppk,
                ..KeysetOptions::new(&unit.to_string())
            };
            self.rotate_to(&options, hide_old);
        }
    }

    pub(super) fn rotate_to(&mut self, options: &KeysetOptions, hide_old: bool) -> Id {
        let keyset = Keyset::generate(options);
        let old = self.books.keysets.iter_mut();
        for old in old.filter(|old| old.is_active && old.unit == keyset.unit) {
            old.is_active = false;
            old.is_hidden = hide_old;
        }
        let id = keyset.id;
        self.books.keysets.push(keyset);
        id
    }

    /// Those of the active keysets.
    fn units(&self) -> Vec<CurrencyUnit> {
        let active = self.books.keysets.iter().filter(|keyset| keyset.is_active);
        let mut units: Vec<_> = active.map(|keyset| keyset.unit.clone()).collect();
        units.sort();
        units.dedup();
        units
    }

    fn info(&self) -> Value {
        let methods = self.units().into_iter();
        let methods: Vec<_> = methods
            .map(|unit| json!({"method": "bolt11", "unit": unit}))
            .collect();
        let has = json!({"supported": true});
        let mut info = json!({
            "name": "Farebox test mint",
            "version": "farebox-testkit/0",
            "description": "For tests alone",
            "contact": [],
            "nuts": {
                "4": {"methods": methods, "disabled": false},
                "5": {"methods": methods, "disabled": false},
                "7": has, "8": has, "9": has, "10": has, "11": has, "12": has, "14": has, "20": has,
            },
        });
        if let Some(nuts) = info["nuts"].as_object_mut() {
            nuts.retain(|nut, _| self.lacks.iter().all(|it| it.to_string() != *nut));
        }
        info
    }

    fn list(&self) -> Value {
        let shown = self.books.keysets.iter().filter(|it| !it.is_hidden);
        json!({ "keysets": shown.map(Keyset::listed).collect::<Vec<_>>() })
    }

    fn keys(&self, id: &str) -> Result<Value, Refusal> {
        let shown = self.books.keysets.iter().filter(|it| !it.is_hidden);
        let told: Vec<_> = shown
            .filter(|keyset| match id {
                "" => keyset.is_active,
                _ => keyset.id.to_string().eq_ignore_ascii_case(id),
            })
            .map(Keyset::told)
            .collect();
        if told.is_empty() && !id.is_empty() {
            return Err(Refusal::NO_KEYSET);
        }
        Ok(json!({ "keysets": told }))
    }

    fn swap(&mut self, request: &SwapRequest, now: u64) -> Result<Value, Refusal> {
        let signatures = self.exchange(request, request.outputs(), now)?;
        Ok(json!({ "signatures": signatures }))
    }

    /// Spends the inputs of a request for these outputs.
    fn exchange<R: SpendingConditionVerification>(
        &mut self,
        request: &R,
        outputs: &[BlindedMessage],
        now: u64,
    ) -> Result<Vec<BlindSignature>, Refusal> {
        let inputs = self.books.check_inputs(request, now)?;
        let asked = self.books.check_outputs(outputs, &inputs.unit, now)?;
        if inputs.sum.checked_sub(inputs.fee) != Some(asked) {
            return Err(Refusal::UNBALANCED);
        }
        let signatures = self.books.sign(outputs)?;
        let entry = Entry {
            spent: inputs.coins,
            fee: inputs.fee,
            ..Entry::new(inputs.unit)
        };
        self.books.enter(entry, outputs, &signatures);
        Ok(signatures)
    }

    fn states(&self, request: &CheckStateRequest) -> Result<Value, Refusal> {
        if request.ys.len() > MAX_COINS {
            return Err(Refusal::MANY_IN);
        }
        let states = request.ys.iter().map(|y| {
            let state = self.books.state(y);
            json!({"Y": y, "state": state, "witness": null})
        });
        Ok(json!({ "states": states.collect::<Vec<_>>() }))
    }

    fn restore(&self, request: &RestoreRequest) -> Result<Value, Refusal> {
        if request.outputs.len() > MAX_COINS {
            return Err(Refusal::MANY_OUT);
        }
        let asked = request.outputs.iter();
        let found = asked.filter_map(|output| {
            let signature = self.books.signature(&output.blinded_secret)?;
            Some((json!(output), json!(signature)))
        });
        let (outputs, signatures): (Vec<_>, Vec<_>) = found.unzip();
        Ok(json!({ "outputs": outputs, "signatures": signatures }))
    }
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::UNREADABLE)
}
