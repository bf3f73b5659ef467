//! Standard output and standard error, for a reader who may be gone.

use std::error::Error;
use std::io::{self, Write};

use serde::Serialize;

use crate::command::Failure;

/// Writes one line to standard output and flushes it.
pub(crate) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes `value` as readable JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string_pretty(value).map_err(io::Error::other)?)
}

/// Writes one line to standard error. That it cannot be read is nobody's loss.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "farebox: {text}");
}

/// Says why a command failed, with every cause.
pub(crate) fn complain(failure: &Failure) {
    let said = matches!(
        failure,
        Failure::Reported | Failure::Unsound | Failure::Differ
    );
    // Whoever closed the pipe has read enough.
    let unread = matches!(failure, Failure::Io(error) if error.kind() == io::ErrorKind::BrokenPipe);
    if said || unread {
        return;
    }
    note(chain(failure));
}

/// An error with all of its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let shown = error.to_string();
        if !text.ends_with(&shown) {
            text.push_str(": ");
            text.push_str(&shown);
        }
        cause = error.source();
    }
    text
}
