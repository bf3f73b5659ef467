//! What selling shares over all requests. Each step adds its own part: [`payer`](crate::payer),
//! [`price`](crate::price), [`admit`](crate::admit), [`challenge`](crate::challenge).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox_core::{Clock, KeyHash};
use farebox_http::body_budget::Holder;
use farebox_http::client_addr::AddressPrefix;
use farebox_http::drain::DrainSignal;
use farebox_http::limits::{ChallengeLimits, ChallengeRates, Rate, TokenLimits};
use farebox_ledger::Ledger;
use farebox_lightning::follow::Settlements;

use crate::ask::Ask;
use crate::challenge::Invoices;
use crate::credential::{Presented, Token};
use crate::ecash::Ecash;
use crate::error::{Error, KeyFault, Owed, PaymentError, PresentedError};
use crate::keyring::Keyring;
use crate::keys::{Deposits, KnownKey, KnownKeys, Pending};
use crate::metrics::PaymentCounters;
use crate::payer::{Credential, Payer, Spender, check_scope};
use crate::settled::{LookUpFor, Paid, Settled};
use crate::tokens::TokenCounter;

/// How many lists of models one client may ask for in a minute, and at once after a rest: each is a
/// call with the seller's key.
const FREE_OF_A_CLIENT: (u32, u32) = (120, 60);
/// The same for all strangers together, and for all who paid.
const FREE_OF_ALL: (u32, u32) = (6_000, 1_000);
const MINUTE: Duration = Duration::from_secs(60);

/// What a paywall is made of.
pub struct Parts {
    /// Accounts, holds and keys.
    pub ledger: Ledger,
    /// The secrets that sign tokens.
    pub keyring: Arc<Keyring>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What the nodes have told of settlements by themselves.
    pub settlements: Settlements,
    /// How often strangers may ask for an invoice.
    pub challenges: ChallengeRates,
    /// Whether the process is about to end.
    pub drain: DrainSignal,
}

/// Sells requests: from who pays to what is held or owed.
pub struct Paywall {
    /// Accounts, holds and keys.
    pub ledger: Ledger,
    /// The secrets that sign tokens.
    pub keyring: Arc<Keyring>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// What it counts.
    pub counters: PaymentCounters,
    /// How often strangers may ask for an invoice.
    pub challenges: ChallengeLimits,
    /// How often clients may ask for what is free on a route that sells.
    pub free: ChallengeLimits,
    /// How many requests accounts have in flight.
    pub tokens: Arc<TokenLimits>,
    /// Counts the tokens that nobody tells.
    pub counter: Arc<TokenCounter>,
    /// What is known of payments to our nodes.
    pub settled: Arc<Settled>,
    /// Which prepaid keys were paid for.
    pub keys: KnownKeys,
    /// Credits keys with what was paid for them.
    pub deposits: Arc<Deposits>,
    /// Has the nodes make invoices.
    pub invoices: Invoices,
    /// Redeems coins and gives change.
    pub ecash: Arc<Ecash>,
    /// Whether the process is about to end.
    pub drain: DrainSignal,
}

fn free_rates() -> ChallengeRates {
    let rate = |(count, burst)| Rate::of(count, MINUTE, burst);
    ChallengeRates {
        per_prefix: rate(FREE_OF_A_CLIENT),
        global: rate(FREE_OF_ALL),
    }
}

impl Paywall {
    /// A paywall in front of which nobody has been yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let clock = Arc::clone(&parts.clock);
        let ecash = Ecash::new(parts.ledger.clone(), &parts.keyring, clock);
        let counters = PaymentCounters::default();
        let settled = Settled::new(parts.ledger.clone(), parts.settlements);
        let settled = Arc::new(settled);
        let pending = Arc::<Pending>::default();
        Self {
            counter: Arc::default(),
            challenges: ChallengeLimits::new(parts.challenges, Instant::now()),
            free: ChallengeLimits::new(free_rates(), Instant::now()),
            tokens: TokenLimits::new(Instant::now()),
            keys: KnownKeys::new(parts.ledger.clone()),
            deposits: Arc::new(Deposits {
                settled: Arc::clone(&settled),
                pending: Arc::clone(&pending),
                clock: Arc::clone(&parts.clock),
            }),
            settled,
            invoices: Invoices::new(parts.ledger.clone(), counters.clone(), pending),
            ecash: Arc::new(ecash),
            counters,
            ledger: parts.ledger,
            keyring: parts.keyring,
            clock: parts.clock,
            drain: parts.drain,
        }
    }

    /// Who pays for a request that came with a credential.
    ///
    /// # Errors
    /// There is no such key; the payer has as many requests in flight, or in a time, as it may; or
    /// the seller wants the invoice of a token to be settled, and it is not.
    pub async fn payer(&self, credential: Credential, ask: &Ask<'_>) -> Result<Payer, Error> {
        let spender = match credential {
            Credential::None(owed) => return Ok(Payer::nobody(owed)),
            Credential::Claim(claim) => {
                let (owed, claim) = (Owed::NotPaidYet, Some(claim));
                return Ok(Payer::Nobody { owed, claim });
            }
            Credential::Token(token) => match check_scope(&token, ask) {
                Ok(()) => Spender::Token(token),
                Err(owed) => return Ok(Payer::nobody(owed)),
            },
            Credential::Key(key) => Spender::Key(self.find_key(key, ask).await?),
            Credential::Ecash(_) if !ask.sale.ways.ecash => {
                return Ok(Payer::nobody(Owed::Nothing));
            }
            Credential::Ecash(text) => Spender::Coins(self.ecash.examine(text, ask).await?),
        };
        let limit = ask.sale.token_limit;
        let permit = self
            .tokens
            .try_start(&spender.purse(), limit, Instant::now())?;
        if let Spender::Token(token) = &spender
            && ask.rules.strict_settlement
            && let Err(owed) = self.demand_settlement(token, ask).await?
        {
            return Ok(Payer::nobody(owed));
        }
        Ok(Payer::Account { spender, permit })
    }

    /// Whose share is taken for what costs nothing, by what was presented with it. Who presents what
    /// is worth nothing is a stranger like others.
    pub async fn holder_of(
        &self,
        presented: &Result<Presented, PresentedError>,
        client: IpAddr,
    ) -> Holder {
        let stranger = || Holder::Stranger(AddressPrefix::of(client));
        match presented {
            Ok(Presented::L402(token)) => Holder::Payer(token.account()),
            Ok(Presented::Key(key)) => {
                let holder = self.keys.holder(*key, client).await;
                holder.unwrap_or_else(|_| stranger())
            }
            // Until its mint has swapped them, coins are worth nothing.
            Ok(
                Presented::BadKey(_)
                | Presented::Nothing
                | Presented::Ecash(_)
                | Presented::AmbiguousEcash,
            )
            | Err(_) => stranger(),
        }
    }

    /// Finds a key that was paid for. Before that it is nobody's, and pays for nothing.
    async fn find_key(&self, key: KeyHash, ask: &Ask<'_>) -> Result<KnownKey, Error> {
        if let Some(known) = self.keys.find(key, ask.client).await? {
            return Ok(known);
        }
        let node = ask.rules.node.as_deref();
        Box::pin(self.deposits.credit_waiting(node, key, ask.holder)).await?;
        let known = self.keys.find(key, ask.client).await?;
        Ok(known.ok_or(KeyFault::NotFunded)?)
    }

    /// Refuses a token whose invoice is not settled. Its preimage proves as much, unless somebody
    /// else made it: while the node may still have the money, nobody is asked for the price again.
    async fn demand_settlement(
        &self,
        token: &Token,
        ask: &Ask<'_>,
    ) -> Result<Result<(), Owed>, Error> {
        let node = ask.rules.node.as_deref();
        let (hash, amount) = (token.payment_hash, token.granted.terms.amount);
        let holder = Holder::Payer(token.account());
        let settled = self
            .settled
            .is_settled(node, hash, amount, (LookUpFor::Service, holder));
        match settled.await? {
            Paid::Yes(_) => Ok(Ok(())),
            Paid::No => Err(PaymentError::NotSettled.into()),
            Paid::Never | Paid::Untold => Ok(Err(Owed::NotSettled)),
            Paid::Unknown => Err(PaymentError::Untold.into()),
        }
    }
}
