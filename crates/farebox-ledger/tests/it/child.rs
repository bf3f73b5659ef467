//! The process that dies: this test program again, asked to run the one test that tells a story,
//! and killed at a named point of it.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use farebox_ledger::Ledger;

use crate::place::{SqlitePlace, open_at};

const SIGKILL: i32 = 9;
/// Set in the child: where its ledger is.
const PATH: &str = "FAREBOX_LEDGER_TEST_PATH";
/// Set in the child: whether some of the answer was sent.
const SENDS: &str = "FAREBOX_LEDGER_TEST_SENDS";

/// Runs a story in a child that dies at `point`.
#[track_caller]
pub(crate) fn die_at(point: &str, story: &str, place: &SqlitePlace, sends: bool) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", story, "--nocapture"])
        .env(PATH, place.path())
        .env("FAREBOX_CRASH_AT", point);
    if sends {
        child.env(SENDS, "1");
    }
    let status = child.output().unwrap().status;
    assert_eq!(status.signal(), Some(SIGKILL), "at {point}: {status}");
}

/// In a child, its ledger; else nothing.
pub(crate) fn ledger() -> Option<Ledger> {
    let path = std::env::var_os(PATH).map(PathBuf::from)?;
    Some(open_at(&path).unwrap().0)
}

/// In a child, whether some of the answer is sent before it dies.
pub(crate) fn sends() -> bool {
    std::env::var_os(SENDS).is_some()
}
