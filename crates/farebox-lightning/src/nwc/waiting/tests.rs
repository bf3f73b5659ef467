use super::*;

fn id(n: u8) -> EventId {
    EventId::from_byte_array([n; 32])
}

fn expected(n: u8, spread: Spread, payment: Option<PaymentHash>) -> Expected {
    Expected {
        id: id(n),
        method: "pay_invoice",
        frame: "frame".into(),
        spread,
        payment,
    }
}

fn refused() -> Result<Reply, AnswerFault> {
    Err(AnswerFault::OtherInvoice)
}

#[test]
fn the_first_answer_counts_and_the_second_is_a_repetition() {
    let waiting = Waiting::default();
    let (_ticket, mut answer) = waiting.expect(expected(1, Spread::Everywhere, None));
    assert!(waiting.answer(id(1), 4, refused()).is_none());
    assert!(waiting.answer(id(1), 5, refused()).is_none());
    let Ok(Outcome::Heard { via, .. }) = answer.try_recv() else {
        panic!("not heard");
    };
    assert_eq!(via, 4);
    assert!(matches!(waiting.whose([id(1)].into_iter()), Match::Over));
    assert!(matches!(waiting.whose([id(2)].into_iter()), Match::Nobody));
}

#[test]
fn a_payment_that_may_have_been_sent_is_remembered_and_another_request_is_not() {
    let waiting = Waiting::default();
    let hash = PaymentHash::from_bytes([7; 32]);
    let (ticket, _answer) = waiting.expect(expected(1, Spread::Only(0), Some(hash)));
    assert!(waiting.begin_writing(&id(1)).is_some());
    assert!(ticket.withdraw());
    let whose = waiting.whose([id(1)].into_iter());
    assert!(matches!(whose, Match::Wanted(found, _) if found == id(1)));
    let late = waiting.answer(id(1), 0, refused());
    assert!(late.is_some_and(|(late, _)| late == hash));
    assert!(matches!(waiting.whose([id(1)].into_iter()), Match::Over));
    let (ticket, _answer) = waiting.expect(expected(2, Spread::Everywhere, None));
    drop(ticket);
    assert!(matches!(waiting.whose([id(2)].into_iter()), Match::Over));
}

#[test]
fn an_answer_that_crosses_the_withdrawal_is_not_lost() {
    let waiting = Waiting::default();
    let hash = PaymentHash::from_bytes([7; 32]);
    let (ticket, mut answer) = waiting.expect(expected(1, Spread::Only(0), Some(hash)));
    assert!(waiting.answer(id(1), 0, refused()).is_none());
    assert!(ticket.withdraw(), "it was sent, since it was answered");
    assert!(answer.try_recv().is_ok());
}

#[test]
fn a_withdrawn_request_that_was_not_written_never_is() {
    let waiting = Waiting::default();
    let hash = PaymentHash::from_bytes([7; 32]);
    let (ticket, _answer) = waiting.expect(expected(1, Spread::Only(0), Some(hash)));
    assert!(waiting.give(&id(1), 0));
    assert!(!ticket.withdraw());
    assert!(waiting.begin_writing(&id(1)).is_none());
}

#[test]
fn a_request_for_one_relay_is_given_to_no_other() {
    let waiting = Waiting::default();
    let (_first, _answer) = waiting.expect(expected(1, Spread::Only(2), None));
    let (_second, _answer) = waiting.expect(expected(2, Spread::Everywhere, None));
    assert!(!waiting.give(&id(1), 0) && waiting.give(&id(1), 2));
    assert!(waiting.give(&id(2), 0) && waiting.give(&id(2), 2));
    assert_eq!(waiting.repeatable(), [id(2)]);
}

#[test]
fn a_request_is_over_when_every_relay_that_has_it_refuses_it() {
    let waiting = Waiting::default();
    let (_ticket, mut answer) = waiting.expect(expected(1, Spread::Everywhere, None));
    assert!(waiting.give(&id(1), 0) && waiting.give(&id(1), 1));
    waiting.reject(id(1), 0, "no");
    waiting.reject(id(1), 0, "no");
    waiting.reject(id(1), 5, "never had it");
    assert!(answer.try_recv().is_err());
    waiting.reject(id(1), 1, "no");
    assert!(matches!(answer.try_recv(), Ok(Outcome::Rejected { .. })));
}

#[test]
fn what_is_remembered_is_bounded() {
    let waiting = Waiting::default();
    for n in 0..2000u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let hash = PaymentHash::from_bytes(bytes);
        let expected = Expected {
            id: EventId::from_byte_array(bytes),
            ..expected(0, Spread::Only(0), Some(hash))
        };
        let sent = expected.id;
        let (ticket, _answer) = waiting.expect(expected);
        waiting.begin_writing(&sent);
        drop(ticket);
    }
    let table = waiting.table();
    assert!(table.open.is_empty());
    assert_eq!(table.late.len(), MAX_LATE.get());
}
