//! Payment headers, read once.
//!
//! A credential that verified is remembered by its exact bytes, because clients send the same one
//! with every call and its signature chain costs more than everything else on the way. Memory is
//! bounded; what is remembered is only that these bytes verify and what they say, never whether
//! anything is left to spend.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use crate::keyring::Keyring;
use crate::keys;
use farebox_core::{AccountId, KeyEpoch, KeyHash, MethodClass, PaymentHash, RouteName, UnixMillis};
use farebox_http::headers::drop_lines;
use farebox_wire::caveat::Granted;
use farebox_wire::credential::{L402Credential, PAYMENT_HEADERS, PaymentHeaders, read_credentials};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use lru::LruCache;

use crate::ecash::{EcashHeader, EcashText};
use crate::error::{KeyFault, Owed, PresentedError};
/// Verified credentials one worker remembers.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");
/// Longer credentials are verified each time.
const REMEMBERED_BYTES: usize = 2048;

/// What a request presents as payment.
pub enum Presented {
    /// Nothing that pays.
    Nothing,
    /// An L402 token whose preimage, signature and caveats hold.
    L402(Arc<Token>),
    /// A prepaid key, known or not.
    Key(KeyHash),
    /// Something that was meant as a prepaid key.
    BadKey(KeyFault),
    /// A token of ecash.
    Ecash(EcashText),
    /// More than one token of ecash, or one beside another credential.
    AmbiguousEcash,
}

/// A token whose preimage, signature and caveats hold.
pub struct Token {
    /// The payment that bought it.
    pub payment_hash: PaymentHash,
    /// Which secret signed it.
    pub key_epoch: KeyEpoch,
    /// What was sold, and what its holders left of it.
    pub granted: Granted,
}

impl Token {
    /// The account that its payment funds.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.payment_hash.account()
    }

    /// Whether it is for requests of this method on this route now, as far as a head tells.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_scope(
        &self,
        route: &RouteName,
        method: &http::Method,
        now: UnixMillis,
    ) -> Result<(), Owed> {
        if self.granted.terms.route != *route {
            return Err(Owed::WrongRoute);
        }
        let class = MethodClass::of(method.as_str());
        if !self.granted.holder.methods.covers(class) {
            return Err(Owed::WrongMethod);
        }
        let end = self.granted.holder.allowance.expires_at;
        if end.is_some_and(|end| end <= now) {
            return Err(Owed::Expired);
        }
        Ok(())
    }
}

/// Reads and verifies credentials for one worker.
pub struct Reader {
    verified: Mutex<LruCache<Box<[u8]>, Arc<Token>>>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            verified: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }
}

impl Reader {
    /// Reads the payment headers and takes them off, so that no later step and no upstream sees
    /// them. An `Authorization` that pays for nothing stays.
    pub fn take(
        &self,
        headers: &mut HeaderMap,
        keyring: &Keyring,
    ) -> Result<Presented, PresentedError> {
        if !carries_payment(headers) {
            return Ok(Presented::Nothing);
        }
        let ecash = take_ecash(headers);
        let key = keys::take(headers);
        let other_money = pays_in_another_way(headers) || has_payment_header(headers);
        let beside = self.take_tokens(headers, keyring);
        if let Some(ecash) = ecash {
            let is_alone = matches!(key, Ok(None)) && matches!(beside, Ok(Presented::Nothing));
            return Ok(match ecash {
                Some(text) if is_alone => Presented::Ecash(text),
                _ => Presented::AmbiguousEcash,
            });
        }
        match (key, beside) {
            (Ok(None), beside) => beside,
            (Ok(Some(key)), Ok(Presented::Nothing)) if !other_money => Ok(Presented::Key(key)),
            (Err(fault), Ok(Presented::Nothing)) if !other_money => {
                Ok(Presented::BadKey(fault.into()))
            }
            (_, _) => Ok(Presented::BadKey(KeyFault::Ambiguous)),
        }
    }

    fn take_tokens(
        &self,
        headers: &mut HeaderMap,
        keyring: &Keyring,
    ) -> Result<Presented, PresentedError> {
        let presented = self.read(headers, keyring);
        if !matches!(presented, Ok(Presented::Nothing)) || pays_in_another_way(headers) {
            headers.remove(AUTHORIZATION);
        }
        drop_lines(headers, |name, _| PAYMENT_HEADERS.contains(&name));
        presented
    }

    fn read(&self, headers: &HeaderMap, keyring: &Keyring) -> Result<Presented, PresentedError> {
        let sole = sole_authorization(headers);
        if let Some(text) = sole
            && let Some(token) = self.remembered(text)
        {
            return Ok(Presented::L402(token));
        }
        match read_credentials(headers)? {
            PaymentHeaders::Nothing | PaymentHeaders::Other => Ok(Presented::Nothing),
            PaymentHeaders::L402(credential) => {
                let token = Arc::new(verify(&credential, keyring)?);
                self.remember(sole, &token);
                Ok(Presented::L402(token))
            }
        }
    }

    fn remembered(&self, text: &[u8]) -> Option<Arc<Token>> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(text).cloned()
    }

    fn remember(&self, text: Option<&[u8]>, token: &Arc<Token>) {
        let Some(text) = text.filter(|text| text.len() <= REMEMBERED_BYTES) else {
            return;
        };
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.put(text.into(), Arc::clone(token));
    }
}

/// Takes the token out of the headers that bring one; none where it is not one alone, or no text.
fn take_ecash(headers: &mut HeaderMap) -> Option<Option<EcashText>> {
    let brings = |(name, line): (&HeaderName, &HeaderValue)| {
        EcashHeader::of(name, line.as_bytes()).map(|header| (name.clone(), header))
    };
    let mut found: Vec<_> = headers.iter().filter_map(brings).collect();
    let (name, header) = found.pop()?;
    let is_alone = found.is_empty() && headers.get_all(&name).iter().count() == 1;
    for (other, _) in found {
        headers.remove(other);
    }
    let line = headers.remove(name)?;
    let text = str::from_utf8(header.text(line.as_bytes())).ok();
    Some(text.filter(|_| is_alone).map(|text| EcashText {
        text: farebox_core::Secret::new(text.into()),
        header,
    }))
}

/// Whether any line could be a credential: one pass, because most requests have none.
fn carries_payment(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| {
        let line = value.as_bytes();
        name == AUTHORIZATION
            || is_payment_header(name)
            || keys::holds_key(line)
            || EcashHeader::of(name, line).is_some()
    })
}

fn has_payment_header(headers: &HeaderMap) -> bool {
    headers.keys().any(is_payment_header)
}

fn is_payment_header(name: &HeaderName) -> bool {
    PAYMENT_HEADERS.contains(&name.as_str())
}

/// Whether an `Authorization` line is money under a scheme that is not taken yet: whoever reads it
/// can spend it, so the upstream must not.
fn pays_in_another_way(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|line| {
        let line = line.as_bytes();
        let end = line.iter().position(|&byte| byte == b' ');
        let (scheme, rest) = line.split_at(end.unwrap_or(line.len()));
        [&b"Payment"[..], b"Cashu"]
            .iter()
            .any(|name| scheme.eq_ignore_ascii_case(name))
            || (scheme.eq_ignore_ascii_case(b"Bearer") && rest.trim_ascii().starts_with(b"cashu"))
    })
}

/// The `Authorization` line, if it is the only thing in the request that could be a credential.
fn sole_authorization(headers: &HeaderMap) -> Option<&[u8]> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let only = lines.next()?;
    let alone = lines.next().is_none() && !has_payment_header(headers);
    alone.then(|| only.as_bytes())
}

/// Checks preimage, signature and caveats.
pub fn verify(credential: &L402Credential, keyring: &Keyring) -> Result<Token, PresentedError> {
    let identifier = &credential.identifier;
    let key_epoch = identifier.key_epoch();
    let (root_key, _) = keyring
        .root_key(key_epoch, &identifier.to_bytes())
        .ok_or(PresentedError::UnknownKey)?;
    let granted = credential.verify(&root_key)?;
    Ok(Token {
        payment_hash: identifier.payment_hash,
        key_epoch,
        granted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_in_authorization_is_told_from_other_credentials() {
        let pays = |line: &'static str| {
            let value = http::HeaderValue::from_static(line);
            pays_in_another_way(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
        };
        for money in [
            "Payment eyJ",
            "payment x",
            "Cashu cashuA",
            "Bearer cashuBo2",
        ] {
            assert!(pays(money), "{money}");
        }
        for other in ["Basic cashuA", "Bearer sk-1", "Bearer", "Payments x", ""] {
            assert!(!pays(other), "{other}");
        }
    }
}
