//! Prepaid keys: accounts with a secret, filled by deposits and drawn down by requests.
//!
//! A key is named by the hash of its secret, which never comes here. Children have a secret and
//! limits of their own and spend the money of their parent. Values only.

use farebox_core::{KeyHash, Msat, PaymentHash, RouteName, UnixMillis};

use crate::LedgerError;

/// The longest public name of a key, in bytes.
pub const MAX_KEY_ID: usize = 64;
/// The longest note on a key, in bytes.
pub const MAX_KEY_NOTE: usize = 256;
/// The longest name of a model that a key can be limited to, in bytes.
pub const MAX_KEY_MODEL: usize = 128;
/// The most routes, and the most models, that a key can be limited to.
pub const MAX_KEY_NAMES: usize = 256;
/// How long all names of routes and models together may be that a key is limited to, in bytes.
pub const MAX_KEY_NAMES_BYTES: usize = 4 * 1024;
/// The most children of one key, ended ones included that are not forgotten yet.
pub const MAX_CHILDREN: u32 = 1_000;
/// The most invoices for one key that can still be paid.
pub const MAX_PENDING_PER_KEY: u32 = 32;
/// How many of them may be asked for by others than its holder, who always has room for the rest.
pub const MAX_PENDING_OF_STRANGERS: u32 = 24;
/// The most invoices that are remembered for all keys together, expired ones included.
pub const MAX_PENDING: u32 = 100_000;

/// A new key, without money: it is inactive until its first deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenKey {
    /// The hash of its secret.
    pub key: KeyHash,
    /// A name that may be shown to anybody, at most [`MAX_KEY_ID`] bytes; it opens nothing.
    pub public_id: String,
    /// When.
    pub created_at: UnixMillis,
    /// What its maker wants to remember, at most [`MAX_KEY_NOTE`] bytes.
    pub note: Option<String>,
}

/// A new key that spends the money of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenChild {
    /// Whose money it spends: a key that is no child itself.
    pub parent: KeyHash,
    /// The hash of its own secret.
    pub child: KeyHash,
    /// A name that may be shown to anybody, at most [`MAX_KEY_ID`] bytes; it opens nothing.
    pub public_id: String,
    /// What it may spend. The parent's limits hold as well.
    pub limits: KeyLimits,
    /// When.
    pub created_at: UnixMillis,
    /// What its maker wants to remember, at most [`MAX_KEY_NOTE`] bytes.
    pub note: Option<String>,
}

/// What a key may spend, and on what. On a parent the limits count its children's spending too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// The most it may ever spend.
    pub total: Option<Msat>,
    /// The most it may spend on one day of UTC. A request counts on the day it was admitted.
    pub per_day: Option<Msat>,
    /// The routes it may use; all, where absent.
    pub routes: Option<Vec<RouteName>>,
    /// The models it may use, compared exactly; all, where absent. With it, requests that name no
    /// model are refused.
    pub models: Option<Vec<String>>,
    /// When it ends.
    pub expires_at: Option<UnixMillis>,
}

/// A settled payment for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Which payment: it is credited once, for ever, to one key.
    pub payment_hash: PaymentHash,
    /// What the node says it brought.
    pub amount: Msat,
    /// When.
    pub at: UnixMillis,
}

/// An invoice for a key that waits to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingDeposit {
    /// The invoice's payment.
    pub payment_hash: PaymentHash,
    /// For which key.
    pub key: KeyHash,
    /// What it asks for.
    pub amount: Msat,
    /// When it can no longer be paid. It is remembered for a week more.
    pub expires_at: UnixMillis,
}

/// Who asks for an invoice for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopUpBy {
    /// Whoever has the key itself.
    Holder,
    /// Anybody who knows its public name.
    Stranger,
}

/// Why a key may not do what it asks, beyond what tokens are refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// No such key.
    Unknown,
    /// Nothing was ever paid for it.
    Inactive,
    /// It may not use this route.
    Route,
    /// It may not use this model, or the request names none.
    Model,
    /// It would exceed what it may spend in all.
    TotalLimit,
    /// It would exceed what it may spend on this day.
    DayLimit {
        /// When the next day begins; none where the request costs more than a whole day allows, and so
        /// waiting does not help.
        resets_at: Option<UnixMillis>,
    },
}

/// The answer to [`OpenKey`] and [`OpenChild`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is new.
    Opened(KeyView),
    /// It was opened before, with the same names and the same parent: nothing was changed.
    Exists(KeyView),
    /// The hash or the public name belongs to something else.
    Taken,
    /// No such parent.
    UnknownParent,
    /// The parent is a child itself.
    NotParent,
    /// The parent was never paid for.
    Inactive,
    /// The parent was revoked.
    Revoked,
    /// The parent has [`MAX_CHILDREN`].
    Full,
}

/// The answer to a [`Deposit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deposited {
    /// It is on the key.
    Credited(KeyView),
    /// It was credited to this key before.
    Already(KeyView),
    /// No such key, or a child.
    UnknownKey,
    /// The payment bought something else, or belongs to another key.
    Taken,
}

/// The answer to a [`PendingDeposit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is remembered: now the invoice may be shown.
    Noted,
    /// No such key, or a child.
    UnknownKey,
    /// The payment is known already: the node repeated its hash.
    Taken,
    /// The key was revoked: what is paid for it could not be spent.
    Revoked,
    /// This key has [`MAX_PENDING_PER_KEY`], or as many of them as a stranger may add to, or all keys
    /// have [`MAX_PENDING`].
    Full,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// The cursor of this key in listings: counts up from key to key.
    pub cursor: u64,
    /// The hash of its secret.
    pub key: KeyHash,
    /// Its public name.
    pub public_id: String,
    /// Whose money it spends, where that is not its own.
    pub parent: Option<KeyHash>,
    /// What its maker wanted to remember.
    pub note: Option<String>,
    /// When it was opened.
    pub created_at: UnixMillis,
    /// When it was first paid for: before, it is inactive. A child never is paid for itself.
    pub funded_at: Option<UnixMillis>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<UnixMillis>,
    /// All that was ever deposited.
    pub deposited: Msat,
    /// Money on it, held or not; a child has none of its own.
    pub balance: Msat,
    /// What open requests and open payouts hold of it; of a child, what its own requests hold of
    /// its parent's money.
    pub held: Msat,
    /// What was charged for its requests; on a parent, for its children's too.
    pub spent: Msat,
    /// The part of it that counts on the present day of UTC.
    pub spent_today: Msat,
    /// What open requests hold that count on the present day of UTC.
    pub held_today: Msat,
    /// Requests charged so far; on a parent, its own alone.
    pub calls: u32,
    /// Releases that its clients caused, beyond as many requests as it was charged for: of a parent those
    /// of its children too, of a child none.
    pub voids: u32,
    /// What it may spend.
    pub limits: KeyLimits,
}

impl KeyView {
    /// What its own limits leave for one more request now; none where it has none.
    #[must_use]
    pub fn left_by_limits(&self) -> Option<Msat> {
        let rest = |most: Msat, spent, held| most.saturating_sub(spent).saturating_sub(held);
        let total = self.limits.total;
        let total = total.map(|most| rest(most, self.spent, self.held));
        let today = self.limits.per_day;
        let today = today.map(|most| rest(most, self.spent_today, self.held_today));
        [total, today].into_iter().flatten().min()
    }
}

impl TopUpBy {
    /// How many invoices may wait for one key before another one is refused.
    pub(crate) const fn most(self) -> u32 {
        match self {
            Self::Holder => MAX_PENDING_PER_KEY,
            Self::Stranger => MAX_PENDING_OF_STRANGERS,
        }
    }
}

impl OpenKey {
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_names(&self.public_id, self.note.as_deref())
    }
}

impl OpenChild {
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_names(&self.public_id, self.note.as_deref())?;
        self.limits.check()
    }
}

impl KeyLimits {
    fn names(&self) -> impl Iterator<Item = &str> {
        let routes = self.routes.iter().flatten().map(RouteName::as_str);
        let models = self.models.iter().flatten().map(String::as_str);
        routes.chain(models)
    }

    /// Whether they fit what is kept: names are stored one a line.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        let routes = self.routes.as_ref().map_or(0, Vec::len);
        let models = self.models.as_deref().unwrap_or_default();
        let fits = |model: &String| {
            !model.is_empty() && model.len() <= MAX_KEY_MODEL && !model.contains(char::is_control)
        };
        let bytes = self.names().map(str::len).sum::<usize>();
        let are_many = routes.max(models.len()) > MAX_KEY_NAMES || bytes > MAX_KEY_NAMES_BYTES;
        if are_many || !models.iter().all(fits) {
            return Err(LedgerError::TooLarge);
        }
        Ok(())
    }
}

fn check_names(public_id: &str, note: Option<&str>) -> Result<(), LedgerError> {
    if public_id.len() > MAX_KEY_ID || note.is_some_and(|note| note.len() > MAX_KEY_NOTE) {
        return Err(LedgerError::TooLarge);
    }
    Ok(())
}
