//! What pruning does with rows that are broken.

use super::*;

/// What was told to the log as an error.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = String::new();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                text.push_str(&format!("{field}={value:?} "));
            },
        );
        self.0.lock().unwrap().push(text);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

fn of_payment(number: u8) -> HoldRequest {
    let mut request = request(number);
    let id = PaymentHash::from_bytes([number; 32]);
    request.account = id.account();
    let funding = request.funding.as_mut().unwrap();
    funding.terms.kind = Kind::Single;
    request
}

/// Uses up four payments. Then the receipts of the first have a hole, those of the second come back
/// to their beginning, and what was sold with the third is nothing that ever was.
async fn use_up_and_break(folder: &Path) {
    let options = options(folder);
    let (ledger, _) = crate::open(&options).unwrap();
    for number in 1..5 {
        match ledger.hold(of_payment(number)).await.unwrap() {
            Admitted::Held(hold) => hold.settle(),
            other => panic!("expected a hold, not {other:?}"),
        }
    }
    ledger.close().await;
    let database = rusqlite::Connection::open(&options.path).unwrap();
    let of = |number: u8| of_payment(number).account;
    let account = "(SELECT account FROM claims WHERE name = ?1)";
    for (number, sql) in [
        (
            1,
            format!("DELETE FROM transfers WHERE kind = 1 AND credit = {account}"),
        ),
        (
            2,
            format!("UPDATE transfers SET previous = id WHERE kind = 1 AND credit = {account}"),
        ),
        (
            3,
            "UPDATE claims SET methods = 99 WHERE name = ?1".to_owned(),
        ),
    ] {
        let changed = database.execute(&sql, [of(number).as_bytes()]).unwrap();
        assert_eq!(changed, 1);
    }
}

#[tokio::test]
async fn pruning_leaves_alone_what_is_broken_and_the_selling_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    use_up_and_break(folder.path()).await;
    let (mut writer, _) = idle(folder.path(), Arc::new(Later));
    let errors = Errors::default();
    let (reply, mut pruned) = oneshot::channel();
    tracing::subscriber::with_default(errors.clone(), || {
        writer.begin_round(&mut vec![reply]);
        while writer.round.is_some() {
            writer.prune_step();
        }
    });
    let pruned = pruned.try_recv().unwrap().unwrap();
    assert_eq!((pruned.accounts, pruned.transfers), (1, 2));
    let errors = errors.0.lock().unwrap();
    assert_eq!(errors.len(), 3, "{errors:?}");
    for number in 1..4 {
        let name = of_payment(number).account.to_string();
        assert!(errors.iter().any(|text| text.contains(&name)), "{errors:?}");
    }
    assert_eq!(writer.health, Health::Sound);
    let mut batch = Batch::default();
    let (admit, mut answer) = Command::ask(of_payment(5));
    batch.commands.push(admit);
    writer.write(&mut batch);
    let answer = answer.try_recv().unwrap();
    assert!(matches!(answer, Ok(Admitted::Held(_))), "{answer:?}");
}
