//! A round of pruning goes through its tables by ranges.

use rusqlite::StatementStatus;

use super::*;
use crate::sqlite::schema;

const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);

/// A database with so many old retries of one account, and old notes of payments.
fn database(folder: &tempfile::TempDir, rows: i64) -> Connection {
    let connection = schema::open(&folder.path().join("ledger.db")).unwrap();
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    );
    let name = "CAST(printf('%032d', i) AS BLOB)";
    connection
        .execute_batch(&format!(
            "{numbers} INSERT INTO retries SELECT 1, {name}, x'00', x'00', 1, 1 FROM n;
             {numbers} INSERT INTO names SELECT {name}, 0, NULL, NULL, NULL, 2, 1, NULL, 0 FROM n;"
        ))
        .unwrap();
    connection
}

const fn step(is_first: bool) -> PruneStep {
    PruneStep {
        is_first,
        before: NOW,
        now: NOW,
    }
}

/// What SQLite did for the first step of a round.
fn work(rows: i64) -> [i32; 4] {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder, rows);
    let closed = find(&connection, &mut Walk::start(), step(true)).unwrap();
    let range = usize::try_from(STEP_ROWS).unwrap();
    assert_eq!((closed.retries, closed.past.len()), (4_096, range));
    assert!(!closed.is_last);
    [END_OF_RETRIES, FORGET_RETRIES, END_OF_NAMES, NAMES].map(|sql| {
        let statement = connection.prepare_cached(sql).unwrap();
        let steps = statement.get_status(StatementStatus::VmStep);
        assert!(steps > 0, "{sql}");
        steps
    })
}

#[test]
fn a_step_of_pruning_does_no_more_the_more_rows_there_are() {
    assert_eq!(work(2 * STEP_ROWS), work(8 * STEP_ROWS));
}

#[test]
fn a_round_of_pruning_comes_to_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let rows = 3 * STEP_ROWS + 7;
    let connection = database(&folder, rows);
    let (mut walk, mut sum) = (Walk::start(), (0, 0));
    for count in 1.. {
        let closed = find(&connection, &mut walk, step(count == 1)).unwrap();
        sum = (sum.0 + closed.retries, sum.1 + closed.past.len());
        if closed.is_last {
            assert_eq!(count, 4);
            break;
        }
    }
    let all = rows.unsigned_abs();
    assert_eq!(sum, (all, usize::try_from(all).unwrap()));
}

/// Every payment there ever was has its name: nothing looks through all of them for one key.
#[test]
fn what_waits_for_a_key_is_found_by_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder, 1);
    let plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {KEYS}"));
    let mut plan = plan.unwrap();
    let lines = plan.query_map((1, 1, 1, 1), |row| row.get::<_, String>(3));
    let lines: Vec<_> = lines.unwrap().map(Result::unwrap).collect();
    let by_index = |line: &String| line.contains("names_of_keys");
    assert!(lines.iter().any(by_index), "{lines:?}");
}

#[test]
fn a_row_of_another_form_stays_and_keeps_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let connection = database(&folder, 3);
    connection
        .execute_batch("INSERT INTO names VALUES (x'0102', 0, NULL, NULL, NULL, 2, 1, NULL, 0)")
        .unwrap();
    let closed = find(&connection, &mut Walk::start(), step(true)).unwrap();
    assert_eq!((closed.past.len(), closed.is_last), (3, true));
}
