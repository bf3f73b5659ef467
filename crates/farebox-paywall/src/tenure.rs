//! What pays for an answer can be over before the answer is: a pass ends, a key or a token is revoked.
//! Whoever lets an answer pass for long asks now and then.

use std::sync::Arc;

use farebox_core::{Clock, KeyHash, Kind, UnixMillis};
use farebox_ledger::{KeyView, Ledger, LedgerError};

use crate::credential::Token;
use crate::payer::Spender;

/// What pays for an answer, for as long as that lasts.
#[derive(Clone)]
pub struct Tenure {
    pub(crate) spender: Spender,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    /// When the request was admitted.
    pub(crate) since: UnixMillis,
}

impl Tenure {
    /// Whether it is over. What was bought by the call is not, however long the call takes, unless
    /// its token is revoked.
    pub async fn is_over(&self) -> bool {
        let now = self.clock.now();
        let over = match &self.spender {
            Spender::Token(token) => self.is_token_over(token, now).await,
            Spender::Key(known) => self.is_key_over(known.key, now).await,
            // They paid for this request alone, or are a balance.
            Spender::Coins(_) => Ok(false),
        };
        // Where the ledger does not tell, it is asked again.
        over.unwrap_or(false)
    }

    async fn is_token_over(&self, token: &Token, now: UnixMillis) -> Result<bool, LedgerError> {
        let Some(account) = self.ledger.account(token.account()).await? else {
            return Ok(false);
        };
        let narrowed = token.granted.holder.allowance.expires_at;
        let has_ended = |span| {
            // Where this answer is to begin the pass, it does not outlast it either.
            let end = account.expires_at.min(self.since.plus(span));
            end <= now || narrowed.is_some_and(|end| end <= now)
        };
        let is_over = matches!(account.terms.kind, Kind::Pass(span) if has_ended(span));
        Ok(account.revoked_at.is_some() || is_over)
    }

    /// A child's money is its parent's.
    async fn is_key_over(&self, key: KeyHash, now: UnixMillis) -> Result<bool, LedgerError> {
        let Some(view) = self.ledger.key(key).await? else {
            return Ok(true);
        };
        let parent = match view.parent {
            Some(parent) => self.ledger.key(parent).await?,
            None => None,
        };
        let has_ended = |key: &KeyView| {
            key.revoked_at.is_some() || key.limits.expires_at.is_some_and(|end| end <= now)
        };
        Ok(has_ended(&view) || parent.as_ref().is_some_and(has_ended))
    }
}
