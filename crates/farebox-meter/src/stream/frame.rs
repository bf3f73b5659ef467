//! Server-sent events as bytes: where one ends, what its data is, and how another data is put into
//! its place (the HTML standard, section 9.2).

use std::borrow::Cow;

/// The longest event that is looked into; a longer one passes on as it comes.
pub(super) const MAX_EVENT: usize = 4 * 1024 * 1024;

/// May stand at the beginning of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Cuts a stream into events, each with the empty line that ends it.
#[derive(Default)]
pub(super) struct Frames {
    pending: Vec<u8>,
    /// Bytes of the line that is not ended yet.
    line: usize,
    /// The last byte was a CR, so that an LF would be the same end of line.
    after_cr: bool,
    /// The event is too long: its rest passes unread.
    too_long: bool,
    unread: u64,
    /// The event before was taken out, and so goes the rest of its end.
    taken_out: bool,
}

impl Frames {
    /// The next complete event of what came so far; takes from `bytes` what it has looked at. What
    /// belongs to no event that is read goes to `out` at once.
    pub(super) fn next(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Option<Vec<u8>> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let Some(end) = end else {
                self.line += bytes.len();
                self.after_cr = false;
                self.keep(bytes, out);
                *bytes = &[];
                return None;
            };
            let same_end = end == 0 && self.after_cr && bytes[0] == b'\n';
            self.after_cr = bytes[end] == b'\r';
            let is_empty = self.line + end == 0 && !same_end;
            self.line = 0;
            let (line, rest) = bytes.split_at(end + 1);
            *bytes = rest;
            if same_end && self.pending.is_empty() && !self.too_long {
                // The rest of the end of the event before.
                if !self.taken_out {
                    out.push(b'\n');
                }
                continue;
            }
            self.keep(line, out);
            if is_empty {
                self.taken_out = false;
                if std::mem::take(&mut self.too_long) {
                    continue;
                }
                return Some(std::mem::take(&mut self.pending));
            }
        }
        None
    }

    fn keep(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.too_long {
            self.unread += u64::try_from(bytes.len()).unwrap_or_default();
            out.extend_from_slice(bytes);
            return;
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() > MAX_EVENT {
            self.too_long = true;
            self.unread += u64::try_from(self.pending.len()).unwrap_or_default();
            out.append(&mut self.pending);
        }
    }

    /// The event that was given last does not pass on.
    pub(super) const fn take_out(&mut self) {
        self.taken_out = true;
    }

    /// Bytes that passed unread since this was asked last.
    pub(super) fn take_unread(&mut self) -> u64 {
        std::mem::take(&mut self.unread)
    }

    /// What is left at the end of the stream.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }
}

/// The data of an event: its `data` lines, put together. Nothing for comments and other fields.
pub(super) fn data(event: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut found: Option<Cow<'_, [u8]>> = None;
    for line in lines(event) {
        let Some(value) = value_of(line) else {
            continue;
        };
        found = Some(match found {
            None => Cow::Borrowed(value),
            Some(before) => {
                let mut joined = before.into_owned();
                joined.push(b'\n');
                joined.extend_from_slice(value);
                Cow::Owned(joined)
            }
        });
    }
    found
}

/// Writes `event` with another data: its other lines stay, and so does its way to end lines.
pub(super) fn write(event: &[u8], data: &[u8], out: &mut Vec<u8>) {
    let end = line_end(event);
    let mut written = false;
    for line in lines(event) {
        if value_of(line).is_none() {
            out.extend_from_slice(line);
            out.extend_from_slice(end);
        } else if !written {
            written = true;
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(data);
            out.extend_from_slice(end);
        }
    }
    out.extend_from_slice(after_last_line(event, end));
}

/// The empty line after an event, as far as it came with it: of a last CRLF, the LF comes later.
fn after_last_line<'a>(event: &'a [u8], end: &[u8]) -> &'a [u8] {
    let last = event
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    let rest = last.map_or(event, |last| event.split_at(last + 1).1);
    rest.strip_prefix(end).unwrap_or_default()
}

fn value_of(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    let value = line.strip_prefix(b"data")?;
    if value.is_empty() {
        return Some(value);
    }
    let value = value.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// The lines of an event that have something in them.
fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    event
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter(|line| !line.is_empty())
}

fn line_end(event: &[u8]) -> &'static [u8] {
    let at = event.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    match at.map(|at| (event[at], event.get(at + 1))) {
        Some((b'\r', Some(b'\n'))) => b"\r\n",
        Some((b'\r', _)) => b"\r",
        _ => b"\n",
    }
}
