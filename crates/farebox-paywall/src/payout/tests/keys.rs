//! What a key can give: never more than the node vouches for at this moment.

use farebox_core::KeyHash;
use farebox_ledger::{Deposit, OpenKey};

use super::*;

const KEY: KeyHash = KeyHash::from_bytes([9; 32]);

impl House {
    /// A key with these deposits, all of them paid at the node.
    async fn key_with(&self, deposits: &[u64]) -> Vec<PaymentHash> {
        let open = OpenKey {
            key: KEY,
            public_id: "fk_1".to_owned(),
            created_at: self.clock.now(),
            note: None,
        };
        self.ledger.open_key(open).await.unwrap();
        let mut hashes = Vec::new();
        for amount in deposits {
            let invoice = self.invoice(&self.node, *amount).await;
            self.node.pay(&invoice.bolt11).unwrap();
            let deposit = Deposit {
                payment_hash: invoice.payment_hash,
                amount: msat(*amount),
                at: self.clock.now(),
            };
            self.ledger.deposit(KEY, deposit).await.unwrap();
            hashes.push(invoice.payment_hash);
        }
        hashes
    }

    async fn of_key(&self, amount: u64) -> RefundRequest {
        let to = self.invoice(&self.payee, amount).await;
        RefundRequest {
            source: Source::Key(KEY),
            destination: Destination::Bolt11(to.bolt11),
            asked_by: AskedBy::Operator,
            client: None,
            amount: None,
            repeat: None,
        }
    }

    /// From now on the node says `state` of this payment, or nothing, and knows the others as they
    /// are.
    fn doubt(
        &self,
        ours: PaymentHash,
        state: impl Into<Option<InvoiceState>>,
        others: &[PaymentHash],
    ) {
        let teller = Teller {
            node: Arc::clone(&self.node),
            looks_up: true,
            state: state.into(),
            ours,
            others: others.to_vec(),
        };
        self.payouts.replace(Some(backends(teller)), rules());
    }
}

#[tokio::test]
async fn what_was_paid_for_a_key_goes_back_as_often_as_it_lasts() {
    let house = House::open();
    house.key_with(&[30_000, 20_000]).await;
    for amount in [10_000, 35_000] {
        let view = house
            .payouts
            .refund(house.of_key(amount).await)
            .await
            .unwrap();
        assert_eq!(view.state, PayoutState::Paid);
    }
    let more = house.payouts.refund(house.of_key(5_001).await).await;
    assert!(
        matches!(more, Err(RefundError::NothingLeft { .. })),
        "{more:?}"
    );
    assert_eq!(house.node.paid_out(), (2, msat(45_000)));
    house.end().await;
}

#[tokio::test]
async fn a_deposit_that_the_node_no_longer_vouches_for_is_not_paid_out() {
    for state in [
        InvoiceState::Open,
        InvoiceState::Unknown,
        InvoiceState::Canceled,
        InvoiceState::Settled { received: None },
    ] {
        let house = House::open();
        let deposits = house.key_with(&[30_000, 20_000]).await;
        house.doubt(deposits[0], state, &deposits);
        let much = house.payouts.refund(house.of_key(20_001).await).await;
        assert!(
            matches!(much, Err(RefundError::NothingLeft { available }) if available == msat(20_000)),
            "{state:?}: {much:?}"
        );
        // What one part of the money paid for is not paid with it again.
        for amount in [12_000, 8_000] {
            let paid = house.payouts.refund(house.of_key(amount).await).await;
            assert_eq!(paid.unwrap().state, PayoutState::Paid);
        }
        let more = house.payouts.refund(house.of_key(1_000).await).await;
        assert!(
            matches!(
                more,
                Err(RefundError::NotSettled | RefundError::AmountUnknown)
            ),
            "{state:?}: {more:?}"
        );
        assert_eq!(house.node.paid_out(), (2, msat(20_000)));
        house.end().await;
    }
}

#[tokio::test]
async fn only_as_many_deposits_are_asked_about_as_are_needed() {
    let house = House::open();
    let deposits = house.key_with(&[50_000, 20_000]).await;
    let spend = house.payouts.refund(house.of_key(20_000).await).await;
    assert_eq!(spend.unwrap().state, PayoutState::Paid);
    // The smaller one would be asked about only for what the larger one does not cover.
    house.doubt(deposits[1], InvoiceState::Unknown, &deposits);
    let paid = house.payouts.refund(house.of_key(30_000).await).await;
    assert_eq!(paid.unwrap().state, PayoutState::Paid);
    house.end().await;
}

#[tokio::test]
async fn what_a_node_that_is_away_could_vouch_for_is_not_called_gone() {
    let house = House::open();
    let deposits = house.key_with(&[30_000, 20_000]).await;
    house.doubt(deposits[1], None, &deposits);
    let wish = house.of_key(45_000).await;
    let early = house.payouts.refund(wish.clone()).await;
    assert!(matches!(early, Err(RefundError::Node(_))), "{early:?}");
    house.doubt(deposits[1], InvoiceState::Unknown, &deposits);
    let gone = house.payouts.refund(wish.clone()).await;
    assert!(
        matches!(gone, Err(RefundError::NothingLeft { .. })),
        "{gone:?}"
    );
    let node = house.node.backend();
    house.payouts.replace(Some(backends(node)), rules());
    let paid = house.payouts.refund(wish).await.unwrap();
    assert_eq!(paid.state, PayoutState::Paid);
    house.end().await;
}

#[tokio::test]
async fn holder_and_operator_who_ask_at_once_do_not_both_get_it() {
    let house = House::open();
    house.key_with(&[30_000, 20_000]).await;
    let mut wishes = Vec::new();
    for asked_by in [AskedBy::Holder, AskedBy::Operator].repeat(4) {
        let wish = house.of_key(40_000).await;
        wishes.push(RefundRequest { asked_by, ..wish });
    }
    let ask = |wish| {
        tokio::spawn({
            let payouts = Arc::clone(&house.payouts);
            async move { payouts.refund(wish).await }
        })
    };
    let asked: Vec<_> = wishes.into_iter().map(ask).collect();
    let mut paid = 0;
    for told in asked {
        match told.await.unwrap() {
            Ok(view) => paid += usize::from(view.state == PayoutState::Paid),
            Err(
                RefundError::UnderWay | RefundError::Reserved | RefundError::NothingLeft { .. },
            ) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(paid, 1);
    assert_eq!(house.node.paid_out(), (1, msat(40_000)));
    house.end().await;
}

#[tokio::test]
async fn the_account_of_a_key_is_not_paid_out_as_that_of_a_token() {
    let house = House::open();
    house.key_with(&[30_000]).await;
    let of_token = |claim| Source::Token {
        payment_hash: PaymentHash::from_bytes(*KEY.as_bytes()),
        claim,
    };
    let Source::Token { claim, .. } = house.wish(10_000).await.source else {
        unreachable!("a token's wish")
    };
    for source in [of_token(None), of_token(claim)] {
        let wish = house.of_key(10_000).await;
        let told = house.payouts.refund(RefundRequest { source, ..wish }).await;
        let is_refused = matches!(told, Err(RefundError::Unknown | RefundError::NotSettled));
        assert!(is_refused, "{told:?}");
    }
    assert_eq!(house.node.paid_out().0, 0);
    house.end().await;
}
