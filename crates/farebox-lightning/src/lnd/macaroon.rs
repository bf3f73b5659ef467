//! What an LND macaroon allows, read from its own text: LND writes the permitted operations into the
//! identifier. Reading them needs no key and proves nothing; the node decides. Nothing of the
//! macaroon but these operations and the names of its conditions is ever shown.

use farebox_core::Secret;

use fields::{Fields, Packet};

mod fields;

/// The largest macaroon that is read, in bytes; LND's admin macaroon has about 300.
const MAX_MACAROON: usize = 16 * 1024;

/// The first byte of an identifier whose rest is a protobuf message (bakery version 3).
const BAKERY_VERSION: u8 = 3;

/// An LND macaroon. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct Macaroon(Secret<Vec<u8>>);

/// Bytes that are no macaroon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an LND macaroon: neither the file itself nor its text in hex")]
pub struct MacaroonError;

/// One permission: `invoices:read`, or `uri:/lnrpc.Lightning/AddInvoice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Permission {
    pub(super) entity: String,
    pub(super) action: String,
}

/// What is known of a macaroon's permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// These, as far as its conditions let them.
    Listed {
        permissions: Vec<Permission>,
        /// The names of its conditions, such as `time-before`.
        conditions: Vec<String>,
    },
    /// A format we do not know; the node will say.
    Unknown,
}

/// One thing that must be allowed: a permission, or else each of these methods by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) entity: &'static str,
    pub(super) action: &'static str,
    methods: &'static [&'static str],
}

impl Need {
    /// To make invoices, look them up and hear of their settlement.
    pub(super) const RECEIVING: [Self; 2] = [
        Self {
            entity: "invoices",
            action: "write",
            methods: &["/lnrpc.Lightning/AddInvoice"],
        },
        Self {
            entity: "invoices",
            action: "read",
            methods: &[
                "/lnrpc.Lightning/LookupInvoice",
                "/lnrpc.Lightning/SubscribeInvoices",
                "/lnrpc.Lightning/ListInvoices",
            ],
        },
    ];

    /// To pay, and to ask what became of it.
    pub(super) const PAYING: [Self; 2] = [
        Self {
            entity: "offchain",
            action: "write",
            methods: &["/routerrpc.Router/SendPaymentV2"],
        },
        Self {
            entity: "offchain",
            action: "read",
            methods: &["/routerrpc.Router/TrackPaymentV2"],
        },
    ];

    /// To hold payments, on top of receiving.
    pub(super) const HOLDING: [Self; 3] = [
        Self {
            entity: "invoices",
            action: "write",
            methods: &[
                "/invoicesrpc.Invoices/AddHoldInvoice",
                "/invoicesrpc.Invoices/SettleInvoice",
                "/invoicesrpc.Invoices/CancelInvoice",
            ],
        },
        Self {
            entity: "invoices",
            action: "read",
            methods: &[
                "/lnrpc.Lightning/LookupInvoice",
                "/invoicesrpc.Invoices/SubscribeSingleInvoice",
            ],
        },
        Self {
            entity: "info",
            action: "read",
            methods: &["/lnrpc.Lightning/GetInfo"],
        },
    ];

    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.entity, self.action)
    }

    fn is_met_by(&self, permissions: &[Permission]) -> bool {
        let has = |entity: &str, action: &str| {
            permissions
                .iter()
                .any(|own| own.entity == entity && own.action == action)
        };
        has(self.entity, self.action) || self.methods.iter().all(|method| has("uri", method))
    }

    /// Whether `permission` serves this need.
    pub(super) fn uses(&self, permission: &Permission) -> bool {
        let by_name = permission.entity == self.entity && permission.action == self.action;
        let by_method =
            permission.entity == "uri" && self.methods.contains(&permission.action.as_str());
        by_name || by_method
    }
}

impl Permission {
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.entity, self.action)
    }
}

impl Access {
    /// Whether all of `needs` are allowed, as far as is known.
    pub(super) fn allows(&self, needs: &[Need]) -> bool {
        self.missing(needs).is_empty()
    }

    /// Those of `needs` that are known not to be allowed.
    pub(super) fn missing(&self, needs: &[Need]) -> Vec<Need> {
        let Self::Listed { permissions, .. } = self else {
            return Vec::new();
        };
        let unmet = |need: &&Need| !need.is_met_by(permissions);
        needs.iter().filter(unmet).copied().collect()
    }
}

impl Macaroon {
    /// Reads the content of a `.macaroon` file, or its text in hex with blanks around it.
    ///
    /// # Errors
    /// [`MacaroonError`]; it shows nothing of the bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, MacaroonError> {
        let binary = match hex::decode(bytes.trim_ascii()) {
            Ok(decoded) => decoded,
            Err(_) => bytes.to_vec(),
        };
        let plausible = binary.len() <= MAX_MACAROON && Packet::looks_like_one(&binary);
        plausible
            .then(|| Self(Secret::new(binary)))
            .ok_or(MacaroonError)
    }

    pub(super) fn to_hex(&self) -> Secret<String> {
        Secret::new(hex::encode(self.0.reveal()))
    }

    /// Whether it allows to pay, and to ask about payments, as far as it shows.
    #[must_use]
    pub fn may_pay(&self) -> bool {
        self.access().allows(&Need::PAYING)
    }

    pub(super) fn access(&self) -> Access {
        read_access(self.0.reveal()).unwrap_or(Access::Unknown)
    }
}

fn read_access(binary: &[u8]) -> Option<Access> {
    let packet = Packet::read(binary)?;
    let (version, message) = packet.identifier.split_first()?;
    if *version != BAKERY_VERSION {
        return None;
    }
    let conditions = packet.conditions.iter().map(|text| condition(text));
    Some(Access::Listed {
        permissions: permissions(message)?,
        conditions: conditions.collect(),
    })
}

/// `MacaroonId { nonce = 1; storageId = 2; repeated Op ops = 3 }`.
fn permissions(message: &[u8]) -> Option<Vec<Permission>> {
    let mut permissions = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        if number == 3 {
            push_operation(&mut permissions, value)?;
        }
    }
    Some(permissions)
}

/// `Op { entity = 1; repeated actions = 2 }`.
fn push_operation(permissions: &mut Vec<Permission>, message: &[u8]) -> Option<()> {
    let (mut entity, mut actions) = (String::new(), Vec::new());
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        let text = || std::str::from_utf8(value).ok().map(str::to_owned);
        match number {
            1 => entity = text()?,
            2 => actions.push(text()?),
            _ => {}
        }
    }
    let operation = |action| Permission {
        entity: entity.clone(),
        action,
    };
    permissions.extend(actions.into_iter().map(operation));
    Some(())
}

/// The first word: what follows it may be an address.
fn condition(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let word = text.split_whitespace().next().unwrap_or_default();
    word.chars()
        .filter(char::is_ascii_graphic)
        .take(40)
        .collect()
}

#[cfg(test)]
mod tests;
