//! A swap that reaches its mint, or becomes known, when everybody has given it up: whoever holds the token
//! then has its worth once, as service, as change, or as the coins themselves.

use farebox_testkit::ScriptedUpstream;
use farebox_testkit::mint::{ALWAYS, Endpoint, Fault, Reply as MintReply, TestMint, Twist};

use super::faults::{mint, paid, parts, pick_up, section, send};
use super::refused::reason;
use super::{change, with_token};
use crate::harness::{Call, Connection, HOUR, Setup, TestClock, TestGateway};
use crate::rules::eventually;

const PRICE: u64 = 1_500;
const SENT: u64 = 4_000;
const MINUTE: i64 = HOUR / 60;

/// A token whose swap was sent, and given up by its client and by the gateway.
struct Place {
    mint: TestMint,
    upstream: ScriptedUpstream,
    clock: TestClock,
    gateway: TestGateway,
    token: String,
}

fn call(token: &str) -> Call {
    with_token(&Call::get("/paid/a"), token)
}

impl Place {
    /// The swap is at the mint, which has not done it.
    fn given_up() -> Self {
        Self::with(Fault::Delay, None)
    }

    /// The mint did it without a word, and says that the coins are unspent.
    fn lied_to() -> Self {
        let lie = Fault::Twist(Twist::SaysUnspent);
        Self::with(Fault::After(MintReply::Silence), Some(lie))
    }

    fn with(swap: Fault, look: Option<Fault>) -> Self {
        let (mint, upstream) = (mint(), ScriptedUpstream::start().unwrap());
        let clock = TestClock::new();
        let (name, value) = clock.environment();
        let setup = Setup::new().without_lightning();
        let setup = setup.section(&section(&mint, "")).route(paid(&upstream));
        let gateway = TestGateway::start_with(setup, &[(name, &value)]);
        let token = mint.token("msat", SENT);
        let mut place = Self {
            mint,
            upstream,
            clock,
            gateway,
            token,
        };
        place.mint.fault(Endpoint::Swap, swap, 1);
        if let Some(fault) = look {
            place.mint.fault(Endpoint::CheckState, fault, ALWAYS);
        }
        let mut client = Connection::open(place.gateway.address).unwrap();
        client.send(&call(&place.token)).unwrap();
        place.mint.wait_for(Endpoint::Swap, 1);
        assert_eq!(place.in_doubt(), 1);
        place.gateway.kill();
        drop(client);
        place.gateway.start_again(&[(name, &value)]);
        assert_eq!(eventually(|| place.in_doubt(), |it| *it == 0), 0);
        place
    }

    fn in_doubt(&self) -> u64 {
        let all = self.gateway.admin(Call::get("/admin/v1/ecash")).expect(200);
        let all = all.json()["stock"].clone();
        let mut shelves = all.as_array().unwrap().iter();
        let shelf = shelves.find(|shelf| shelf["unit"] == "msat").unwrap();
        shelf["in_doubt"].as_u64().unwrap()
    }

    /// What was under way lands.
    fn land(&self) {
        self.mint.release();
        let spent = || self.mint.value_of(&self.token).is_err();
        assert!(eventually(spent, |is_spent| *is_spent));
    }

    /// The mint is asked once more of what came to nothing.
    fn wait_for_look(&self, after: i64) {
        let asked = self.mint.count(Endpoint::CheckState);
        self.clock.shift(after);
        self.mint.wait_for(Endpoint::CheckState, asked + 1);
    }

    /// The mint's books, where the seller has earned so much and the holder has all the rest back.
    fn close(&self, back: u64, earned: u64) {
        assert_eq!(back + earned, SENT);
        assert_eq!(self.mint.outstanding("msat"), earned);
        self.mint.assert_sound();
        let trial = self.gateway.trial_balance();
        assert_eq!(trial["sum_msat"], 0, "{trial}");
        assert_eq!(self.upstream.total(), usize::from(earned > 0));
    }

    fn fetch(&self, wanted: u64) -> u64 {
        let parts = parts(&self.gateway, &self.token, wanted, &self.mint);
        parts.iter().map(|it| self.mint.redeem(it).unwrap()).sum()
    }
}

#[test]
fn what_lands_late_is_found_after_an_hour_and_waits_for_its_holder() {
    let place = Place::given_up();
    place.land();
    place.clock.shift(HOUR + MINUTE);
    place.close(place.fetch(SENT), 0);
}

#[test]
fn what_lands_after_that_is_found_after_a_day() {
    let place = Place::given_up();
    place.wait_for_look(HOUR + MINUTE);
    place.land();
    place.clock.shift(24 * HOUR);
    place.close(place.fetch(SENT), 0);
}

#[test]
fn what_a_mint_took_and_called_unspent_is_found_when_it_says_the_truth() {
    let place = Place::lied_to();
    place.mint.clear_faults();
    place.clock.shift(HOUR + MINUTE);
    place.close(place.fetch(SENT), 0);
}

#[test]
fn a_retry_in_between_takes_nothing_of_what_landed_late() {
    let place = Place::given_up();
    place.land();
    let reply = send(&place.gateway, &call(&place.token));
    let earned = if reply.status == 200 { PRICE } else { 0 };
    place.clock.shift(HOUR + MINUTE);
    place.close(place.fetch(SENT - earned), earned);
}

#[test]
fn who_sends_the_token_again_before_it_lands_is_served_once_and_has_the_rest() {
    let place = Place::given_up();
    let told = change(&send(&place.gateway, &call(&place.token)).expect(200));
    // The same swap once more, of which the mint did the other one.
    place.land();
    place.clock.shift(25 * HOUR);
    assert_eq!(
        pick_up(&place.gateway, &place.token).json()["change"][0],
        told
    );
    place.close(place.mint.redeem(&told).unwrap(), PRICE);
}

#[test]
fn who_takes_the_coins_back_before_it_lands_has_them_and_nothing_else() {
    let place = Place::given_up();
    let back = place.mint.redeem(&place.token).unwrap();
    place.land();
    place.wait_for_look(HOUR + MINUTE);
    let refused = send(&place.gateway, &call(&place.token)).expect(400);
    assert_eq!(reason(&refused), "spent");
    let told = pick_up(&place.gateway, &place.token).json();
    assert!(
        told["change"].as_array().is_none_or(Vec::is_empty),
        "{told}"
    );
    place.close(back, 0);
}
