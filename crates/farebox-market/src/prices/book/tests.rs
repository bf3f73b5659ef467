//! What is taken over, what waits, and what is on the disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use farebox_core::UnixMillis;
use farebox_meter::Unit;
use farebox_testkit::ManualClock;
use tempfile::TempDir;

use super::*;

struct House {
    folder: TempDir,
    prices: Arc<Prices>,
    rules: BookRules,
}

impl House {
    fn new() -> Self {
        let prices = Arc::new(Prices::default());
        Self {
            folder: tempfile::tempdir().unwrap(),
            rules: BookRules {
                configured: PriceTable::default(),
                prices: Arc::clone(&prices),
                rates: Arc::new(Rates::new(Duration::from_secs(60), 0)),
                guard: 300_000,
                allow_hosts: AllowedHosts::default(),
            },
            prices,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("farebox.prices.json")
    }

    fn open(&self) -> Arc<PriceBook> {
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_000)));
        PriceBook::open(self.file(), self.rules.clone(), clock).unwrap()
    }

    /// What a token written by a model costs now.
    fn output(&self, model: &str) -> Option<String> {
        let table = self.prices.table();
        let row = table.find(model)?.row(Unit::Output);
        row.map(|price| price.to_string())
    }
}

fn list(models: &[(&str, &str)], add: bool) -> Import {
    let entries = models.iter().map(|(name, output)| {
        format!(
            "{{\"id\": \"{name}\", \"pricing\": {{\"prompt\": \"0.000001\", \"completion\": \"{output}\"}}}}"
        )
    });
    let entries: Vec<_> = entries.collect();
    Import {
        form: ListForm::OpenRouter,
        source: "openrouter".to_owned(),
        list: format!("{{\"data\": [{}]}}", entries.join(",")).into(),
        selection: Selection::default(),
        add,
    }
}

#[test]
fn models_are_added_only_when_asked_for() {
    let house = House::new();
    let book = house.open();
    let models = [("a", "0.00001"), ("b", "0.00001")];
    let imported = book.import(&list(&models, false)).unwrap();
    assert_eq!(imported.not_added, ["a", "b"]);
    assert!(imported.needs_rate);
    assert_eq!(house.output("a"), None);
    assert!(!house.file().exists());
    let imported = book.import(&list(&models, true)).unwrap();
    assert_eq!(imported.added, ["a", "b"]);
    assert_eq!(house.output("a").as_deref(), Some("0.00001"));
}

#[test]
fn a_price_beyond_the_band_waits_until_it_is_approved() {
    let house = House::new();
    let book = house.open();
    book.import(&list(&[("a", "0.00001"), ("b", "0.00001")], true))
        .unwrap();
    let imported = book
        .import(&list(&[("a", "0.0001"), ("b", "0.000012")], false))
        .unwrap();
    assert_eq!(imported.waiting[0].0, "a");
    assert_eq!(imported.changed[0].0, "b");
    assert_eq!(house.output("a").as_deref(), Some("0.00001"));
    assert_eq!(house.output("b").as_deref(), Some("0.000012"));
    // Approving is of what was seen, and of what waits.
    let revision = imported.revision;
    assert!(matches!(
        book.approve(None, Some(revision - 1)),
        Err(BookError::Changed { .. })
    ));
    let nobody = ["b".to_owned()];
    assert!(matches!(
        book.approve(Some(&nobody), None),
        Err(BookError::NotWaiting(_))
    ));
    assert_eq!(book.approve(None, Some(revision)).unwrap(), ["a"]);
    assert_eq!(house.output("a").as_deref(), Some("0.0001"));
    assert!(book.kept().waiting.is_empty());
}

#[test]
fn a_price_that_comes_back_into_the_band_waits_no_longer() {
    let house = House::new();
    let book = house.open();
    book.import(&list(&[("a", "0.00001")], true)).unwrap();
    book.import(&list(&[("a", "0.00009")], true)).unwrap();
    assert_eq!(book.kept().waiting.len(), 1);
    book.import(&list(&[("a", "0.00001")], true)).unwrap();
    assert!(book.kept().waiting.is_empty());
}

#[test]
fn a_list_that_gives_away_or_forgets_changes_nothing_by_itself() {
    let house = House::new();
    let book = house.open();
    book.import(&list(&[("a", "0.00001")], true)).unwrap();
    let imported = book.import(&list(&[("a", "0")], true)).unwrap();
    assert_eq!(imported.waiting.len(), 1);
    assert_eq!(house.output("a").as_deref(), Some("0.00001"));
    book.import(&list(&[], true)).unwrap();
    assert_eq!(house.output("a").as_deref(), Some("0.00001"));
}

#[test]
fn the_configuration_wins_and_a_reload_keeps_what_was_approved() {
    let mut house = House::new();
    let book = house.open();
    book.import(&list(&[("a", "0.00001"), ("b", "0.00001")], true))
        .unwrap();
    let own = book.kept().approved["a"].price.clone();
    let mut own = ModelPrice::try_from(&own).unwrap();
    own.rows.insert(Unit::Output, "0.5".parse().unwrap());
    house.rules.configured.insert("a", own);
    house.prices = Arc::new(Prices::default());
    house.rules.prices = Arc::clone(&house.prices);
    book.replace(house.rules.clone());
    assert_eq!(house.output("a").as_deref(), Some("0.5"));
    assert_eq!(house.output("b").as_deref(), Some("0.00001"));
    let imported = book.import(&list(&[("a", "0.000011")], true)).unwrap();
    assert_eq!(imported.overridden, ["a"]);
    assert_eq!(house.output("a").as_deref(), Some("0.5"));
}

#[test]
fn what_is_approved_and_what_waits_survives_a_restart() {
    let house = House::new();
    let book = house.open();
    book.import(&list(&[("a", "0.00001")], true)).unwrap();
    book.import(&list(&[("a", "0.0001")], true)).unwrap();
    let kept = book.kept();
    drop(book);
    let mode = house.file().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    house.prices.replace(PriceTable::default());
    let again = house.open();
    assert_eq!(again.kept(), kept);
    assert_eq!(house.output("a").as_deref(), Some("0.00001"));
}

#[test]
fn a_change_that_cannot_be_written_is_not_in_force() {
    let house = House::new();
    let book = house.open();
    book.import(&list(&[("a", "0.00001")], true)).unwrap();
    let before = std::fs::read(house.file()).unwrap();
    // A folder stands where the new file would be written.
    std::fs::create_dir(house.folder.path().join("farebox.prices.json.new")).unwrap();
    let refused = book.import(&list(&[("a", "0.000011")], true));
    assert!(matches!(
        refused,
        Err(BookError::File(FileError::Write { .. }))
    ));
    assert_eq!(house.output("a").as_deref(), Some("0.00001"));
    assert_eq!(std::fs::read(house.file()).unwrap(), before);
    assert_eq!(
        book.kept().approved["a"].price.rows[&Unit::Output].to_string(),
        "0.00001"
    );
}

#[test]
fn what_a_crash_left_half_written_is_passed_over_and_a_broken_file_is_not() {
    let house = House::new();
    std::fs::write(half(&house.file()), "{\"vers").unwrap();
    let book = house.open();
    book.import(&list(&[("a", "0.00001")], true)).unwrap();
    assert!(!half(&house.file()).exists());
    drop(book);
    for broken in [
        "{\"vers",
        "{\"version\": 2, \"revision\": 1, \"approved\": {}, \"waiting\": {}}",
    ] {
        std::fs::write(house.file(), broken).unwrap();
        let clock = Arc::new(ManualClock::new(UnixMillis::new(1_000)));
        assert!(PriceBook::open(house.file(), house.rules.clone(), clock).is_err());
    }
}

fn half(file: &Path) -> PathBuf {
    file.with_file_name("farebox.prices.json.new")
}
