//! A mint of ecash in this process, on a loopback port, that fails as it is told.
//!
//! It does what the specifications say (NUT-00 to 05, 07 to 12, 14 and 20) and keeps books of it, in
//! memory and over its restarts. Tests make coins out of nothing ([`TestMint::token`]), take them out of
//! the world again ([`TestMint::redeem`]), and say what goes wrong ([`TestMint::fault`]).

mod books;
mod desk;
mod fault;
mod keyset;
mod lightning;
mod odd;
mod refusal;
mod serve;
#[cfg(test)]
mod tests;
mod token;
mod twist;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use cashu;
use cashu::MintUrl;
use cashu::nuts::{Id, Proof};
use farebox_core::Clock;
use serde_json::Value;

pub use fault::{ALWAYS, Endpoint, Fault, Reply, Twist};
pub use keyset::{IdVersion, KeysetOptions};
pub use lightning::Payment;
pub use odd::odd_infos;
pub use refusal::Refusal;
pub use token::Coins;

use crate::WallClock;
use crate::background::{Background, Handler};
use books::{Books, Entry};

/// The most inputs, outputs or states of one request.
pub const MAX_COINS: usize = 1000;

/// How a mint is set up.
#[derive(Clone)]
pub struct MintOptions {
    /// Its keysets, in order; of several active ones of a unit the last signs what tests make.
    pub keysets: Vec<KeysetOptions>,
    /// The time of quotes and of expiring keysets; locks are looked at by the time of day.
    pub clock: Arc<dyn Clock>,
    /// How long quotes last.
    pub quote_ttl: Duration,
    /// What a payment may cost, in the unit of its quote.
    pub fee_reserve: u64,
    /// Whether quotes to mint are paid as soon as they are made.
    pub pays_quotes_at_once: bool,
    /// The code for an output that was signed before: mints say 10002, 11003 or 11008.
    pub signed_code: u32,
    /// By their numbers, what of the specifications it does not have: it does not tell of them, and 7
    /// and 9 have no endpoint.
    pub lacks: Vec<u16>,
}

impl MintOptions {
    /// One keyset of msat and one of sat that take this fee for a thousand coins, in their unit.
    #[must_use]
    pub fn with_fee(fee_ppk: u64) -> Self {
        let keysets = ["msat", "sat"].map(|unit| KeysetOptions {
            fee_ppk,
            ..KeysetOptions::new(unit)
        });
        Self {
            keysets: keysets.into(),
            clock: Arc::new(WallClock),
            quote_ttl: Duration::from_secs(600),
            fee_reserve: 2,
            pays_quotes_at_once: false,
            signed_code: 11_003,
            lacks: Vec::new(),
        }
    }
}

impl Default for MintOptions {
    /// Without fees.
    fn default() -> Self {
        Self::with_fee(0)
    }
}

/// A mint that does as it is told; dropping it closes its port and all connections.
pub struct TestMint {
    server: Option<Background>,
    address: SocketAddr,
    state: Arc<serve::State>,
}

impl TestMint {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start(options: MintOptions) -> io::Result<Self> {
        let state = Arc::new(serve::State::new(options));
        let server = Background::start("mint", handler(&state))?;
        Ok(Self {
            address: server.address(),
            server: Some(server),
            state,
        })
    }

    /// Kills it: its port and all connections are closed, and what it held is never done. Its books stay.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port, with the same books.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.stop();
        let port = self.address.port();
        self.server = Some(Background::start_at("mint", port, handler(&self.state))?);
        Ok(())
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes requests go wrong, after those faults of this endpoint that were set before: as many as
    /// `times` says, or [`ALWAYS`] until it is cleared.
    pub fn fault(&self, endpoint: Endpoint, fault: Fault, times: usize) {
        self.state.faults().add(endpoint, fault, times);
    }

    /// Nothing goes wrong any more. What is held stays so.
    pub fn clear_faults(&self) {
        self.state.faults().clear();
    }

    /// Lets everything go on that is held at present.
    pub fn release(&self) {
        self.state.release();
    }

    /// How many requests there were, whatever became of them.
    #[must_use]
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.state.count(endpoint)
    }

    /// Waits until there were so many requests.
    ///
    /// # Panics
    /// When that has not happened within half a minute.
    pub fn wait_for(&self, endpoint: Endpoint, count: usize) {
        self.state.wait_for(endpoint, count);
    }

    /// The bodies of the first 20,000 requests, as JSON; null where they are none.
    #[must_use]
    pub fn bodies(&self, endpoint: Endpoint) -> Vec<Value> {
        self.state.bodies(endpoint)
    }

    /// How many of all requests said anything of a DLEQ. It tells a mint whom it gave a coin to.
    #[must_use]
    pub fn dleqs_received(&self) -> usize {
        self.state.dleqs()
    }

    /// Replaces the keysets of all units by new ones with this fee. The old ones stay good as inputs.
    pub fn rotate(&self, fee_ppk: u64, hide_old: bool) {
        self.state.desk().rotate(fee_ppk, hide_old);
    }

    /// Replaces the active keysets of one unit.
    pub fn rotate_to(&self, options: &KeysetOptions, hide_old: bool) -> Id {
        self.state.desk().rotate_to(options, hide_old)
    }

    /// Adds a keyset beside the others.
    pub fn add_keyset(&self, options: &KeysetOptions) -> Id {
        let keyset = keyset::Keyset::generate(options);
        let id = keyset.id;
        self.state.desk().books.keysets.push(keyset);
        id
    }

    /// Shows all keysets again that were left out of the list.
    pub fn unhide(&self) {
        for keyset in &mut self.state.desk().books.keysets {
            keyset.is_hidden = false;
        }
    }

    /// The ids of all keysets, the oldest first.
    #[must_use]
    pub fn keysets(&self) -> Vec<Id> {
        let desk = self.state.desk();
        desk.books.keysets.iter().map(|keyset| keyset.id).collect()
    }

    /// What becomes of all payments from now on.
    pub fn set_payments(&self, payment: Payment) {
        self.pay_by(move |_| payment);
    }

    /// Asks `payer`, which is given the invoice, what becomes of each payment from now on.
    pub fn pay_by(&self, payer: impl Fn(&str) -> Payment + Send + Sync + 'static) {
        self.state.set_payer(Box::new(payer));
    }

    /// Decides about all payments under way, and about those that were only said to have failed.
    /// Returns how many arrived.
    pub fn finish_payments(&self, payment: Payment) -> usize {
        self.state.desk().finish(payment)
    }

    /// Somebody pays the invoice of a quote to mint, be it late.
    ///
    /// # Errors
    /// [`Refusal`]: no such quote, or it was paid already.
    pub fn pay_quote(&self, id: &str) -> Result<(), Refusal> {
        self.state.desk().pay_quote(id)
    }

    /// A new token of the newer form, worth so much, with DLEQ.
    ///
    /// # Panics
    /// Where no active keyset of the unit has such coins.
    #[must_use]
    pub fn token(&self, unit: &str, amount: u64) -> String {
        self.wrap(self.make(&Coins::worth(unit, amount)))
    }

    /// New coins, out of nothing.
    ///
    /// # Panics
    /// Where the keyset has no such coins.
    #[must_use]
    pub fn make(&self, coins: &Coins) -> Vec<Proof> {
        self.state.desk().make(coins).expect("coins of the keyset")
    }

    /// A token of the newer form (`cashuB`) with these coins.
    ///
    /// # Panics
    /// Where there are none, or none of this mint.
    #[must_use]
    pub fn wrap(&self, proofs: Vec<Proof>) -> String {
        let unit = self.state.desk().unit_of(&proofs).expect("coins");
        token::write_b(self.mint_url(), unit, proofs)
    }

    /// A token of the older form (`cashuA`) with these coins.
    ///
    /// # Panics
    /// Where there are none, or none of this mint.
    #[must_use]
    pub fn wrap_a(&self, proofs: Vec<Proof>) -> String {
        let unit = self.state.desk().unit_of(&proofs).expect("coins");
        token::write_a(self.mint_url(), unit, proofs).expect("coins")
    }

    /// What a token is worth, if all of it can be spent.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn value_of(&self, token: &str) -> Result<u64, Refusal> {
        let examined = self.state.desk().examine(token, self.state.now());
        examined.map(|(worth, _)| worth)
    }

    /// Spends a token and returns what it was worth. No fee is taken.
    ///
    /// # Errors
    /// [`Refusal`]: then nothing is spent.
    pub fn redeem(&self, token: &str) -> Result<u64, Refusal> {
        self.state.desk().take(token, self.state.now())
    }

    /// What was ever signed of a unit.
    #[must_use]
    pub fn issued(&self, unit: &str) -> u64 {
        self.sum(unit, Entry::signed_sum)
    }

    /// What ever came back of a unit.
    #[must_use]
    pub fn redeemed(&self, unit: &str) -> u64 {
        self.sum(unit, Entry::spent_sum)
    }

    /// What people hold of a unit: what was issued less what came back.
    #[must_use]
    pub fn outstanding(&self, unit: &str) -> u64 {
        self.issued(unit) - self.redeemed(unit)
    }

    /// What the keysets of a unit took for swaps and melts.
    #[must_use]
    pub fn fees(&self, unit: &str) -> u64 {
        self.sum(unit, |entry| entry.fee)
    }

    /// What was left of melts in a unit because there were too few blanks for the change.
    #[must_use]
    pub fn kept(&self, unit: &str) -> u64 {
        self.sum(unit, |entry| entry.kept)
    }

    /// What left in a unit: payments with their fees, and what was redeemed by tests.
    #[must_use]
    pub fn paid_out(&self, unit: &str) -> u64 {
        self.sum(unit, |entry| entry.paid_out)
    }

    /// What came in of a unit: quotes that were minted, and what tests made.
    #[must_use]
    pub fn received(&self, unit: &str) -> u64 {
        self.sum(unit, |entry| entry.received)
    }

    /// That each entry of the books balances, no coin was spent twice, and nothing was signed twice.
    ///
    /// # Panics
    /// Where that is not so.
    pub fn assert_sound(&self) {
        let desk = self.state.desk();
        let (mut spent, mut signed) = (HashSet::new(), HashSet::new());
        for entry in &desk.books.entries {
            assert!(entry.balances(), "{entry:?}");
            for (y, _) in &entry.spent {
                assert!(spent.insert(*y), "{y} was spent twice");
            }
            for (blinded, _) in &entry.signed {
                assert!(signed.insert(*blinded), "{blinded} was signed twice");
            }
        }
    }

    fn sum(&self, unit: &str, of: impl Fn(&Entry) -> u64) -> u64 {
        let unit = keyset::unit(unit);
        let desk = self.state.desk();
        let Books { entries, .. } = &desk.books;
        let entries = entries.iter().filter(|entry| entry.unit == unit);
        entries.map(of).sum()
    }

    fn mint_url(&self) -> MintUrl {
        MintUrl::from_str(&self.url()).expect("a URL")
    }
}

impl fmt::Debug for TestMint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TestMint({})", self.url())
    }
}

fn handler(state: &Arc<serve::State>) -> Handler {
    let state = Arc::clone(state);
    Arc::new(move |request| Box::pin(Arc::clone(&state).answer(request)))
}
