//! A wish that is repeated: under the same `Idempotency-Key` it is the same payout, for ever.
//!
//! Key and body are written into the payout's own id, so they are durable in the very transaction
//! that reserves the money, and there is no instant at which one is known without the other.

use farebox_core::{AccountId, PayoutId, UnixMillis};
use farebox_ledger::PayoutView;
use sha2::{Digest, Sha256};

use super::RefundError;

/// How many of the ten bytes stand for the key: 42 bits that tell an account's wishes apart. The
/// others stand for the body.
const KEY_BYTES: usize = 6;

/// What a client repeats a wish by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    key: [u8; 32],
    body: [u8; 32],
}

impl Repeat {
    /// A key of the client's, hashed, and the body that came with it.
    #[must_use]
    pub fn new(key: [u8; 32], body: &[u8]) -> Self {
        Self {
            key,
            body: Sha256::digest(body).into(),
        }
    }

    /// The id of the payout that is begun for it now.
    pub(super) fn id(&self, account: AccountId, now: UnixMillis) -> PayoutId {
        let own = |what: &[u8; 32]| -> [u8; 32] {
            let hasher = Sha256::new().chain_update(b"refund\n");
            hasher
                .chain_update(account.as_bytes())
                .chain_update(what)
                .finalize()
                .into()
        };
        let (key, body) = (own(&self.key), own(&self.body));
        let mut bytes = [0; 10];
        bytes[..KEY_BYTES].copy_from_slice(&key[..KEY_BYTES]);
        bytes[KEY_BYTES..].copy_from_slice(&body[..10 - KEY_BYTES]);
        PayoutId::new(now, bytes)
    }

    /// The payout that was begun for it before.
    ///
    /// # Errors
    /// [`RefundError::Repeated`] where the key came with another body.
    pub(super) fn find(
        &self,
        account: AccountId,
        earlier: &[PayoutView],
    ) -> Result<Option<PayoutView>, RefundError> {
        for view in earlier {
            let (known, own) = (halves(view.id), halves(self.id(account, time(view.id))));
            if known == own {
                return Ok(Some(view.clone()));
            }
            if known.0 == own.0 {
                return Err(RefundError::Repeated);
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for Repeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Repeat(…)")
    }
}

/// Time and key, and body.
fn halves(id: PayoutId) -> ([u8; 6 + KEY_BYTES], [u8; 10 - KEY_BYTES]) {
    let (mut front, mut back) = ([0; 6 + KEY_BYTES], [0; 10 - KEY_BYTES]);
    front.copy_from_slice(&id.as_bytes()[..6 + KEY_BYTES]);
    back.copy_from_slice(&id.as_bytes()[6 + KEY_BYTES..]);
    (front, back)
}

/// The instant in the first 48 bits.
fn time(id: PayoutId) -> UnixMillis {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&id.as_bytes()[..6]);
    UnixMillis::new(u64::from_be_bytes(millis))
}

#[cfg(test)]
mod tests {
    use farebox_core::{Msat, PaymentHash};
    use farebox_ledger::{AskedBy, PayoutState};

    use super::*;

    const ACCOUNT: AccountId = AccountId::from_bytes([7; 32]);

    fn begun(id: PayoutId) -> PayoutView {
        PayoutView {
            cursor: 1,
            id,
            account: ACCOUNT,
            destination_hash: PaymentHash::from_bytes([9; 32]),
            bolt11: String::new(),
            amount: Msat::ZERO,
            max_fee: Msat::ZERO,
            fee: None,
            calls: 0,
            backend: String::new(),
            asked_by: AskedBy::Holder,
            state: PayoutState::Paid,
            asked_at: UnixMillis::new(0),
            ended_at: None,
        }
    }

    #[test]
    fn a_wish_is_found_again_by_its_key_and_only_with_its_body() {
        let wish = Repeat::new([1; 32], b"me@example.com");
        let at = UnixMillis::new(1_800_000_000_123);
        let earlier: Vec<_> = (0..50)
            .map(|other| Repeat::new([other + 2; 32], b"me@example.com").id(ACCOUNT, at))
            .chain([wish.id(ACCOUNT, at)])
            .map(begun)
            .collect();
        let found = wish.find(ACCOUNT, &earlier).unwrap().unwrap();
        assert_eq!(found.id, wish.id(ACCOUNT, at));
        let other = Repeat::new([1; 32], b"you@example.com");
        assert!(matches!(
            other.find(ACCOUNT, &earlier),
            Err(RefundError::Repeated)
        ));
        let new = Repeat::new([99; 32], b"me@example.com");
        assert!(matches!(new.find(ACCOUNT, &earlier), Ok(None)));
        let stranger = AccountId::from_bytes([8; 32]);
        assert!(matches!(wish.find(stranger, &earlier), Ok(None)));
    }
}
