//! Coins that are received, swapped, reserved and given: each once.

use std::sync::Arc;
use std::time::Duration;

use farebox_core::{AccountId, Kind, MintId, SwapId, Terms, UnixMillis};
use farebox_ledger::{
    Admitted, ChangeRequest, CoinName, CoinState, CoinView, Cost, HoldRequest, LedgerError,
    NewCoin, Rail, Rest, SwapBegun, SwapEnd, SwapFacts, SwapRequest, SwapState, Swapped,
    VoidReason,
};

use crate::Place;
use crate::shop::{DAY, Shop, held, house, msat, serial};

/// Somebody's coins, worth a sum of powers of two, and the account that they credit.
#[derive(Clone)]
pub(crate) struct Purse {
    pub(crate) account: AccountId,
    received: Arc<[[u8; 33]]>,
    terms: Terms,
}

pub(crate) fn mint() -> MintId {
    MintId::of("https://mint.example.com", "msat")
}

pub(crate) fn point() -> [u8; 33] {
    let mut y = [2; 33];
    y[..8].copy_from_slice(&serial().to_be_bytes());
    y
}

impl Purse {
    pub(crate) fn new(shop: &Shop, amount: u64) -> Self {
        let token = shop.token(Kind::Balance, amount);
        Self {
            account: token.account(),
            received: Arc::from([point(), point()]),
            terms: token.terms,
        }
    }

    fn request(&self, shop: &Shop) -> SwapRequest {
        let at = now(shop);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&serial().to_be_bytes());
        SwapRequest {
            facts: SwapFacts {
                id: SwapId::new(at, random),
                mint: mint(),
                account: self.account,
                received: Arc::clone(&self.received),
            },
            terms: self.terms.clone(),
            body: Arc::from(*b"what its coins can be found by"),
            most: msat(1_000_000),
            at,
        }
    }

    /// The coins that the swap makes: one for each bit.
    fn coins(&self) -> Vec<NewCoin> {
        let amount = self.terms.amount.get();
        let bits = (0..60).map(|bit| amount & (1 << bit));
        let coins = bits.filter(|coin| *coin > 0).map(|coin| NewCoin {
            y: point(),
            worth: msat(coin),
            bytes: Arc::from(coin.to_be_bytes()),
        });
        coins.collect()
    }

    async fn begin(&self, shop: &Shop) -> SwapFacts {
        let request = self.request(shop);
        let facts = request.facts.clone();
        let begun = shop.ledger.begin_swap(request).await;
        assert!(matches!(begun, Ok(SwapBegun::Begun)), "{begun:?}");
        facts
    }

    /// A request that these coins pay for, with the end of their swap where that is told with it.
    fn hold(&self, shop: &Shop, cost: u64, swapped: Option<Swapped>) -> HoldRequest {
        let token = shop.token(Kind::Balance, 1);
        let mut request = shop.request(&token, Cost::Amount(msat(cost)));
        request.account = self.account;
        if let Some(funding) = &mut request.funding {
            funding.rail = Rail::Ecash(mint());
            funding.terms = self.terms.clone();
            funding.amount = self.terms.amount;
        }
        request.swapped = swapped.map(Box::new);
        request
    }

    /// Begins a swap, ends it with the hold of its request, and charges that with part of it.
    pub(crate) async fn buy(&self, shop: &Shop, charge: u64, rest: Rest) -> Vec<CoinView> {
        let facts = self.begin(shop).await;
        let coins = self.coins();
        let request = self.hold(shop, charge, Some(Swapped { facts, coins }));
        let hold = held(shop.ledger.hold(request).await.expect("the store works"));
        hold.settle_and(msat(charge), rest);
        shop.ledger.flush().await.expect("the store works");
        shop.ledger.coins_of(self.account).await.expect("reads")
    }

    /// What gives `amount` of these coins and frees the others.
    pub(crate) fn change(&self, shop: &Shop, amount: u64, coins: &[CoinView]) -> ChangeRequest {
        let names = |given: bool| -> Vec<CoinName> {
            let is_given = |coin: &&CoinView| (amount & coin.worth.get() > 0) == given;
            let coins = coins.iter().filter(is_given);
            coins.map(|coin| coin.name).collect()
        };
        ChangeRequest {
            account: self.account,
            part: 0,
            given: names(true),
            freed: names(false),
            amount: msat(amount),
            text: format!("cashuB of {amount}").into(),
            at: now(shop),
        }
    }
}

pub(crate) fn now(shop: &Shop) -> UnixMillis {
    shop.request(&shop.token(Kind::Balance, 1), Cost::Call).now
}

pub(crate) fn worth(coins: &[CoinView], state: CoinState) -> u64 {
    let coins = coins.iter().filter(|coin| coin.state == state);
    coins.map(|coin| coin.worth.get()).sum()
}

/// A swap credits its account with the hold of its request, in one step, and its change is told in the
/// coins that it made.
pub async fn coins_pay_for_a_request_and_change_is_told_in_coins(place: &dyn Place) {
    let shop = Shop::open(place);
    let purse = Purse::new(&shop, 100);
    let coins = purse.buy(&shop, 37, Rest::Owed).await;
    assert_eq!(worth(&coins, CoinState::Reserved), 100);
    let trial = shop.sound().await;
    let clearing = Rail::Ecash(mint()).to_string();
    assert_eq!(house(&trial, &clearing), -100);
    assert_eq!(house(&trial, &format!("owed:{clearing}")), 63);
    let mut all = purse.change(&shop, 100, &coins);
    all.amount = msat(64);
    let told = shop.ledger.tell_change(all).await;
    assert!(matches!(told, Err(LedgerError::NoChange)), "{told:?}");
    let mut less = purse.change(&shop, 36, &coins);
    less.amount = msat(37);
    let told = shop.ledger.tell_change(less).await;
    assert!(matches!(told, Err(LedgerError::CoinTaken)), "{told:?}");
    shop.sound().await;
}

/// What is owed beyond the coins that are told, less than one, is the account's again.
pub async fn what_is_below_a_coin_stays_on_its_account(place: &dyn Place) {
    let shop = Shop::open(place);
    let purse = Purse::new(&shop, 100);
    let coins = purse.buy(&shop, 37, Rest::Owed).await;
    let told = shop
        .ledger
        .tell_change(purse.change(&shop, 36, &coins))
        .await;
    assert_eq!(told.expect("tells").told.len(), 1);
    let account = shop.ledger.account(purse.account).await.expect("reads");
    assert_eq!(account.expect("is there").balance, msat(27));
    let trial = shop.sound().await;
    let clearing = Rail::Ecash(mint()).to_string();
    assert_eq!(house(&trial, &clearing), -64);
    assert_eq!(house(&trial, &format!("owed:{clearing}")), 0);
}

/// What was told stays the same to the byte, closes the account, and frees what it did not need.
pub async fn change_in_coins_is_told_once_and_the_other_coins_are_free(place: &dyn Place) {
    let mut shop = Shop::open(place);
    let purse = Purse::new(&shop, 100);
    let coins = purse.buy(&shop, 64, Rest::Owed).await;
    let request = purse.change(&shop, 36, &coins);
    let told = shop
        .ledger
        .tell_change(request.clone())
        .await
        .expect("tells");
    assert_eq!(told.told, [Arc::from("cashuB of 36")]);
    shop = shop.reopen(place).await;
    let mut other = purse.change(&shop, 36, &coins);
    other.text = "other text".into();
    assert_eq!(shop.ledger.tell_change(other).await.expect("tells"), told);
    let coins = shop.ledger.coins_of(purse.account).await.expect("reads");
    assert_eq!(worth(&coins, CoinState::Given), 36);
    let free = shop.ledger.free_coins(mint(), 10).await.expect("reads");
    assert_eq!(worth(&free, CoinState::Free), 64);
    let again = shop.ledger.hold(purse.hold(&shop, 1, None)).await;
    assert!(matches!(again, Ok(Admitted::Expired)), "{again:?}");
    let trial = shop.sound().await;
    assert_eq!(house(&trial, &Rail::Ecash(mint()).to_string()), -64);
}

/// A coin is given once, also where two accounts want it.
pub async fn a_coin_is_given_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let (first, second) = (Purse::new(&shop, 64), Purse::new(&shop, 64));
    let coins = first.buy(&shop, 64, Rest::Owed).await;
    let told = shop
        .ledger
        .tell_change(first.change(&shop, 0, &coins))
        .await;
    assert_eq!(told.expect("tells").told.len(), 1);
    let own = second.buy(&shop, 0, Rest::Owed).await;
    let mut request = second.change(&shop, 64, &coins);
    request.freed = own.iter().map(|coin| coin.name).collect();
    shop.ledger
        .tell_change(request)
        .await
        .expect("gives the free one");
    let third = Purse::new(&shop, 64);
    third.buy(&shop, 0, Rest::Owed).await;
    let again = shop
        .ledger
        .tell_change(third.change(&shop, 64, &coins))
        .await;
    assert!(matches!(again, Err(LedgerError::CoinTaken)), "{again:?}");
    shop.sound().await;
}

/// What a void left on the account can be told too.
pub async fn a_voided_request_gives_all_of_its_coins_back(place: &dyn Place) {
    let shop = Shop::open(place);
    let purse = Purse::new(&shop, 100);
    let facts = purse.begin(&shop).await;
    let coins = purse.coins();
    let request = purse.hold(&shop, 37, Some(Swapped { facts, coins }));
    let hold = held(shop.ledger.hold(request).await.expect("the store works"));
    let coins = shop.ledger.coins_of(purse.account).await.expect("reads");
    let early = shop
        .ledger
        .tell_change(purse.change(&shop, 100, &coins))
        .await;
    assert!(matches!(early, Err(LedgerError::NoChange)), "{early:?}");
    hold.void(VoidReason::Refused);
    // Until it is told, the same coins may be used again, without another swap.
    let again = held(
        shop.ledger
            .hold(purse.hold(&shop, 37, None))
            .await
            .expect("works"),
    );
    again.void(VoidReason::Refused);
    shop.ledger.flush().await.expect("the store works");
    let told = shop
        .ledger
        .tell_change(purse.change(&shop, 100, &coins))
        .await;
    assert_eq!(told.expect("tells").told.len(), 1);
    let trial = shop.sound().await;
    assert_eq!(house(&trial, &Rail::Ecash(mint()).to_string()), 0);
}

/// Coins are received once: together with others they are refused, and alone they are known.
pub async fn a_coin_is_received_once(place: &dyn Place) {
    let shop = Shop::open(place);
    let purse = Purse::new(&shop, 100);
    let facts = purse.begin(&shop).await;
    let known = shop.ledger.begin_swap(purse.request(&shop)).await;
    assert!(
        matches!(&known, Ok(SwapBegun::Exists(view)) if view.id == facts.id),
        "{known:?}"
    );
    let mut overlapping = Purse::new(&shop, 100);
    overlapping.received = Arc::from([point(), purse.received[1]]);
    let refused = shop.ledger.begin_swap(overlapping.request(&shop)).await;
    assert!(matches!(refused, Ok(SwapBegun::Overlaps)), "{refused:?}");
    let at = now(&shop);
    for _ in 0..2 {
        let ended = shop.ledger.end_swap(facts.clone(), SwapEnd::Refused, at);
        ended.await.expect("ends");
    }
    let kept = shop.ledger.swap(facts.id).await.expect("reads");
    assert_eq!(kept, None, "nothing can come of it");
    // They are their holder's again, who may bring them in whatever company.
    overlapping.begin(&shop).await;
    shop.sound().await;
}

/// What turns up of a swap that had come to nothing is credited, once.
pub async fn coins_that_turn_up_late_are_credited_once(place: &dyn Place) {
    let mut shop = Shop::open(place);
    let purse = Purse::new(&shop, 100);
    let facts = purse.begin(&shop).await;
    let at = now(&shop);
    let let_go = shop.ledger.end_swap(facts.clone(), SwapEnd::LetGo, at);
    let_go.await.expect("ends");
    let second = purse.begin(&shop).await;
    shop.ledger
        .end_swap(second, SwapEnd::Spent, at)
        .await
        .expect("ends");
    let until = |end: UnixMillis| shop.ledger.vain_swaps(mint(), UnixMillis::new(0)..end);
    let vain = until(at.plus(Duration::from_millis(1)))
        .await
        .expect("reads");
    assert_eq!(vain.len(), 2);
    assert_eq!(vain[0].body.as_ref(), b"what its coins can be found by");
    assert_eq!(until(at).await.expect("reads"), []);
    shop = shop.reopen(place).await;
    let coins = purse.coins();
    for _ in 0..2 {
        let end = SwapEnd::Done(coins.clone());
        let ended = shop.ledger.end_swap(facts.clone(), end, at);
        ended.await.expect("ends");
    }
    let kept = shop.ledger.coins_of(purse.account).await.expect("reads");
    assert_eq!(worth(&kept, CoinState::Reserved), 100);
    let swap = shop
        .ledger
        .swap(facts.id)
        .await
        .expect("reads")
        .expect("is kept");
    assert_eq!(swap.state, SwapState::Done);
    let found = shop.ledger.swap_of(purse.account).await.expect("reads");
    assert_eq!(found.map(|swap| swap.id), Some(facts.id));
    shop.sound().await;
}

/// An open swap is found by the next run, and what becomes of it is written there.
pub async fn an_open_swap_is_found_by_the_next_run(place: &dyn Place) {
    let mut shop = Shop::open(place);
    let purse = Purse::new(&shop, 100);
    let facts = purse.begin(&shop).await;
    shop = shop.reopen(place).await;
    let open = shop.ledger.open_swaps().await.expect("reads");
    assert_eq!(
        open.iter().map(|swap| swap.id).collect::<Vec<_>>(),
        [facts.id]
    );
    assert_eq!(open[0].terms, purse.terms);
    assert_eq!(open[0].received, purse.received);
    let end = SwapEnd::Done(purse.coins());
    let ended = shop.ledger.end_swap(open[0].facts(), end, now(&shop));
    ended.await.expect("ends");
    assert_eq!(shop.ledger.open_swaps().await.expect("reads"), []);
    let account = shop.ledger.account(purse.account).await.expect("reads");
    assert_eq!(account.expect("is credited").balance, msat(100));
    shop.sound().await;
}

/// No more of one unit of one mint is taken than may be.
pub async fn a_mint_is_trusted_with_so_much_and_no_more(place: &dyn Place) {
    let shop = Shop::open(place);
    Purse::new(&shop, 60).buy(&shop, 60, Rest::Stays).await;
    let mut request = Purse::new(&shop, 50).request(&shop);
    request.most = msat(100);
    let exposed = shop.ledger.begin_swap(request.clone()).await;
    assert!(matches!(exposed, Ok(SwapBegun::Exposed)), "{exposed:?}");
    request.most = msat(110);
    let begun = shop.ledger.begin_swap(request).await;
    assert!(matches!(begun, Ok(SwapBegun::Begun)), "{begun:?}");
}

/// What is kept of a token goes with its account; coins that are free stay.
pub async fn swaps_are_forgotten_with_their_accounts_and_free_coins_stay(place: &dyn Place) {
    let shop = Shop::open(place);
    let (purse, vain) = (Purse::new(&shop, 96), Purse::new(&shop, 10));
    let coins = purse.buy(&shop, 64, Rest::Owed).await;
    let request = purse.change(&shop, 32, &coins);
    shop.ledger.tell_change(request).await.expect("tells");
    let facts = vain.begin(&shop).await;
    let ended = shop.ledger.end_swap(facts, SwapEnd::Spent, now(&shop));
    ended.await.expect("ends");
    shop.clock.forward(100 * DAY);
    assert_eq!(shop.ledger.prune().await.expect("prunes").accounts, 1);
    assert_eq!(
        shop.ledger.coins_of(purse.account).await.expect("reads"),
        []
    );
    let all = UnixMillis::new(0)..UnixMillis::new(u64::MAX >> 1);
    let vain = shop.ledger.vain_swaps(mint(), all).await;
    assert_eq!(vain.expect("reads"), []);
    let free = shop.ledger.free_coins(mint(), 10).await.expect("reads");
    assert_eq!(worth(&free, CoinState::Free), 64);
    let trial = shop.sound().await;
    assert_eq!(house(&trial, &Rail::Ecash(mint()).to_string()), -64);
}

/// The first part of change is told while the rest is held; what comes of that is told as the next part.
pub async fn change_is_told_in_parts(place: &dyn Place) {
    let shop = Shop::open(place);
    let purse = Purse::new(&shop, 96);
    let facts = purse.begin(&shop).await;
    let coins = purse.coins();
    let request = purse.hold(&shop, 32, Some(Swapped { facts, coins }));
    let hold = held(shop.ledger.hold(request).await.expect("the store works"));
    let coins = shop.ledger.coins_of(purse.account).await.expect("reads");
    let mut first = purse.change(&shop, 64, &coins);
    let freed = std::mem::take(&mut first.freed);
    let mut early = first.clone();
    early.freed = freed.clone();
    let refused = shop.ledger.tell_change(early).await;
    assert!(matches!(refused, Err(LedgerError::InUse)), "{refused:?}");
    shop.ledger.tell_change(first.clone()).await.expect("tells");
    let standing = shop.ledger.standing(purse.account).await.expect("looks");
    let standing = standing.expect("there is an account");
    assert_eq!((standing.free, standing.is_in_use), (msat(0), true));
    hold.void(VoidReason::Refused);
    let standing = shop.ledger.standing(purse.account).await.expect("looks");
    assert_eq!(standing.expect("is there").free, msat(32));
    let second = ChangeRequest {
        part: 1,
        given: freed,
        amount: msat(32),
        text: "cashuB of the rest".into(),
        ..first.clone()
    };
    let told = shop
        .ledger
        .tell_change(second.clone())
        .await
        .expect("tells");
    assert_eq!(told.told, [first.text.clone(), second.text.clone()]);
    let again = shop.ledger.tell_change(first).await.expect("tells");
    assert_eq!(again, told);
    let skipped = ChangeRequest { part: 3, ..second };
    let skipped = shop.ledger.tell_change(skipped).await;
    assert!(matches!(skipped, Err(LedgerError::NoChange)), "{skipped:?}");
    let trial = shop.sound().await;
    assert_eq!(house(&trial, &Rail::Ecash(mint()).to_string()), 0);
}
