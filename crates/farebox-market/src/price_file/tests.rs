use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.json");
    (folder, path)
}

/// One model with this price of a token written.
fn list(output: &str) -> PriceTable {
    let mut table = PriceTable::default();
    let price = ModelPrice {
        currency: "usd".parse().unwrap(),
        rows: BTreeMap::from([(Unit::Output, output.parse().unwrap())]),
        images: BTreeMap::new(),
        context_tokens: Some(1_000),
        max_output_tokens: None,
        is_free: false,
    };
    table.insert("a", price);
    table
}

/// Why this text is no price list.
#[track_caller]
fn why(text: &str) -> String {
    let (_folder, path) = folder();
    fs::write(&path, text).unwrap();
    read(&path).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_again_digit_for_digit() {
    let (_folder, path) = folder();
    let table = list("0.000000150000001");
    write(&path, &table).unwrap();
    assert_eq!(read(&path).unwrap(), table);
    assert_eq!(fs::read_to_string(&path).unwrap(), text(&table));
}

#[test]
fn a_list_that_cannot_be_written_leaves_the_old_one() {
    let (folder, path) = folder();
    write(&path, &list("0.00001")).unwrap();
    // A folder stands where the new file would be written.
    fs::create_dir(folder.path().join("prices.json.new")).unwrap();
    let refused = write(&path, &list("0.00002"));
    assert!(matches!(refused, Err(FileError::Write { .. })));
    assert_eq!(read(&path).unwrap(), list("0.00001"));
}

#[test]
fn what_a_crash_left_half_written_is_written_over() {
    let (folder, path) = folder();
    fs::write(folder.path().join("prices.json.new"), "{\"vers").unwrap();
    write(&path, &list("0.00001")).unwrap();
    assert_eq!(read(&path).unwrap(), list("0.00001"));
}

#[test]
fn what_is_no_price_list_is_refused_with_its_reason() {
    let one = |price: &str| format!(r#"{{"version": 1, "models": {{"a": {price}}}}}"#);
    let rows = |currency: &str, output: &str| {
        let price = format!(r#"{{"currency": "{currency}", "rows": {{"output": "{output}"}}}}"#);
        one(&price)
    };
    assert!(why("{\"vers").contains("not a price list"));
    assert!(why(r#"{"version": 2, "models": {}}"#).contains("version 2"));
    assert!(why(&one(r#"{"currency": "usd", "rows": {}, "free": true}"#)).contains("not a price"));
    assert!(why(&rows("dollars", "0.00001")).contains("a: "));
    assert!(why(&rows("usd", "0")).contains("costs nothing"));
    // The price of a million, taken for that of one.
    assert!(why(&rows("usd", "0.6")).contains("absurd"));
    let nowhere = read(Path::new("/nowhere/prices.json"));
    assert!(matches!(nowhere, Err(FileError::Read { .. })));
}
