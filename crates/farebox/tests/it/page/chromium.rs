//! A real browser on a payment page. Who pays, and how, is for the test to say.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use crate::parts;

/// Chromium, which waits on a payment page for somebody to pay.
#[derive(Debug)]
pub(crate) struct Buyer {
    child: Child,
    stdin: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What the page showed: `invoice`, `qr` as a camera reads it, and the cookies `scripts_see`.
    pub(crate) shown: Value,
}

impl Buyer {
    /// Goes to an address as `wish` says (see `conformance/browser.cjs`); nowhere without Chromium.
    pub(crate) fn goes(wish: &Value) -> Option<Self> {
        let mut child = parts::browser(wish)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let shown = read(&mut output);
        Some(Self {
            child,
            stdin,
            output,
            shown,
        })
    }

    /// The invoice on the page.
    pub(crate) fn invoice(&self) -> &str {
        self.shown["invoice"].as_str().unwrap()
    }

    /// Tells the buyer that it is `paid`, or a preimage to type in. Waits until the answer stands
    /// in the place of the page, and says what happened since.
    pub(crate) fn sees_the_answer(mut self, line: &str) -> Value {
        writeln!(self.stdin, "{line}").unwrap();
        let end = read(&mut self.output);
        assert!(self.child.wait().unwrap().success());
        end
    }
}

impl Drop for Buyer {
    fn drop(&mut self) {
        // Only where the test has failed is there still somebody to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[track_caller]
fn read(output: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("the browser said {line:?}: {e}"))
}
