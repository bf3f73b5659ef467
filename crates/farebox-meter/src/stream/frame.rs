//! Server-sent events as bytes: where one ends, what its data is, and how another data is put into
//! its place (the HTML standard, section 9.2).

use std::borrow::Cow;

use crate::json::BYTE_ORDER_MARK;

/// The longest event that is looked into; a longer one passes on as it comes.
pub(super) const MAX_EVENT: usize = 4 * 1024 * 1024;

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
    /// The event before ended with its line; an empty line belongs to its end.
    was_alone: bool,
    /// Whether the event is one by itself was asked already.
    is_judged: bool,
}

impl Frames {
    /// The next complete event of what came so far; takes from `bytes` what it has looked at. What
    /// belongs to no event that is read passes on at once.
    ///
    /// An event ends with an empty line. Some servers write none: a line of data that is one whole JSON
    /// object is an event by itself as soon as no empty line follows it at once.
    pub(super) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
        out: &mut Passing<'_>,
    ) -> Option<Cow<'a, [u8]>> {
        if self.after_cr && self.line == 0 && ends_no_line(bytes) && self.pending_is_alone() {
            return Some(self.end_alone());
        }
        let mut event = *bytes;
        while !bytes.is_empty() {
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.line += bytes.len();
                self.after_cr = false;
                *bytes = &[];
                break;
            };
            let same_end = end == 0 && self.after_cr && bytes[0] == b'\n';
            self.after_cr = bytes[end] == b'\r';
            let is_empty = self.line + end == 0 && !same_end;
            self.line = 0;
            *bytes = bytes.split_at(end + 1).1;
            let so_far = event.split_at(event.len() - bytes.len()).0;
            let is_rest = (same_end || (is_empty && self.was_alone)) && self.is_nothing(so_far);
            if is_rest {
                // The rest of the end of the event before.
                self.was_alone &= same_end;
                if !self.taken_out {
                    out.pass(so_far);
                }
                event = *bytes;
            } else if is_empty {
                self.begin();
                event = *bytes;
                if let Some(whole) = self.end(so_far, out) {
                    return Some(whole);
                }
            } else if ends_no_line(bytes) || (bytes.is_empty() && !self.after_cr) {
                if self.pending.is_empty() && self.may_be_alone(so_far) {
                    self.end_alone();
                    return Some(Cow::Borrowed(so_far));
                }
                if !self.pending.is_empty() {
                    self.keep(so_far, out);
                    event = *bytes;
                    if self.pending_is_alone() {
                        return Some(self.end_alone());
                    }
                }
            }
        }
        self.keep(event, out);
        None
    }

    /// Whether a part is the one byte that ends a line, with no event before it.
    fn is_nothing(&self, part: &[u8]) -> bool {
        part.len() == 1 && self.pending.is_empty() && !self.too_long
    }

    /// Whether these lines are an event by themselves. Only the first data of an event can be.
    fn may_be_alone(&mut self, lines: &[u8]) -> bool {
        if self.is_judged || self.too_long || !matches!(lines.trim_ascii_end(), [.., b'}' | b']']) {
            return false;
        }
        self.is_judged = true;
        stands_alone(lines)
    }

    fn pending_is_alone(&mut self) -> bool {
        let pending = std::mem::take(&mut self.pending);
        let is_alone = self.may_be_alone(&pending);
        self.pending = pending;
        is_alone
    }

    /// The event that is kept ends with its line.
    fn end_alone<'a>(&mut self) -> Cow<'a, [u8]> {
        self.begin();
        self.was_alone = true;
        Cow::Owned(std::mem::take(&mut self.pending))
    }

    /// The next event begins.
    const fn begin(&mut self) {
        self.taken_out = false;
        self.was_alone = false;
        self.is_judged = false;
    }

    /// An event ends with `part`; nothing where it is too long to be read.
    fn end<'a>(&mut self, part: &'a [u8], out: &mut Passing<'_>) -> Option<Cow<'a, [u8]>> {
        if !self.too_long && self.pending.is_empty() && part.len() <= MAX_EVENT {
            return Some(Cow::Borrowed(part));
        }
        self.keep(part, out);
        if std::mem::take(&mut self.too_long) {
            return None;
        }
        Some(Cow::Owned(std::mem::take(&mut self.pending)))
    }

    fn keep(&mut self, bytes: &[u8], out: &mut Passing<'_>) {
        if self.too_long {
            self.unread += u64::try_from(bytes.len()).unwrap_or_default();
            out.pass(bytes);
            return;
        }
        if self.pending.len() + bytes.len() <= MAX_EVENT {
            self.pending.extend_from_slice(bytes);
            return;
        }
        self.too_long = true;
        self.unread += u64::try_from(self.pending.len() + bytes.len()).unwrap_or_default();
        out.pass(&std::mem::take(&mut self.pending));
        out.pass(bytes);
    }

    /// The event that was given last does not pass on.
    pub(super) const fn take_out(&mut self) {
        self.taken_out = true;
    }

    /// Bytes that passed unread since this was asked last.
    pub(super) fn take_unread(&mut self) -> u64 {
        std::mem::take(&mut self.unread)
    }

    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.pending.capacity()
    }

    /// What is left at the end of the stream.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }
}

/// What passes on of one piece: as long as that is how the piece begins, nothing is copied.
pub(super) struct Passing<'a> {
    piece: &'a [u8],
    same: usize,
    other: Option<Vec<u8>>,
}

impl<'a> Passing<'a> {
    pub(super) const fn of(piece: &'a [u8]) -> Self {
        Self {
            piece,
            same: 0,
            other: None,
        }
    }

    pub(super) fn pass(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.other.is_none() && self.continues_with(bytes) {
            self.same += bytes.len();
            return;
        }
        let begun = self.piece.split_at(self.same).0;
        let other = self.other.get_or_insert_with(|| {
            let mut other = Vec::with_capacity(self.piece.len() + bytes.len());
            other.extend_from_slice(begun);
            other
        });
        other.extend_from_slice(bytes);
    }

    /// Whether these very bytes are the next ones of the piece.
    fn continues_with(&self, bytes: &[u8]) -> bool {
        let next = self.piece.split_at(self.same).1;
        bytes.len() <= next.len() && std::ptr::eq(bytes.as_ptr(), next.as_ptr())
    }

    pub(super) fn finish(self) -> Cow<'a, [u8]> {
        match self.other {
            Some(other) => Cow::Owned(other),
            None => Cow::Borrowed(self.piece.split_at(self.same).0),
        }
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

/// Whether bytes have come, and they do not begin with the end of a line.
fn ends_no_line(bytes: &[u8]) -> bool {
    bytes
        .first()
        .is_some_and(|byte| !matches!(byte, b'\n' | b'\r'))
}

/// Whether an event has one line of data, and that is all that its data can be.
fn stands_alone(event: &[u8]) -> bool {
    let Some(Cow::Borrowed(data)) = data(event) else {
        return false;
    };
    let is_object = data.trim_ascii_start().starts_with(b"{");
    data.trim_ascii() == b"[DONE]"
        || (is_object && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok())
}

/// Bytes of the lines that are neither a field of an event nor a comment.
pub(super) fn no_field(event: &[u8]) -> u64 {
    const FIELDS: [&[u8]; 5] = [b"", b"data", b"event", b"id", b"retry"];
    let names_field = |line: &&[u8]| {
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        let name = line.split(|byte| *byte == b':').next();
        name.is_some_and(|name| FIELDS.contains(&name))
    };
    let others = lines(event).filter(|line| !names_field(line));
    others.fold(0, |sum, line| {
        sum + u64::try_from(line.len()).unwrap_or_default()
    })
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
