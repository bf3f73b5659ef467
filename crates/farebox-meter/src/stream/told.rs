//! The number that a stream of events tells at one place, whatever else it says.

use super::frame::{self, Frames, Passing};
use crate::decimal::Decimal;
use crate::pointer::Pointer;

/// Watches a stream for a number at a JSON pointer. The last event that has one counts, as streams
/// tell totals. Nothing passes through here: the stream goes on by itself, and no more of it is kept
/// than one event of at most 4 MiB; a longer one is overlooked.
pub struct Told {
    frames: Frames,
    pointer: Pointer,
    last: Option<Decimal>,
    has_overlooked: bool,
}

impl Told {
    /// A watch that has seen nothing.
    #[must_use]
    pub fn new(pointer: Pointer) -> Self {
        Self {
            frames: Frames::default(),
            pointer,
            last: None,
            has_overlooked: false,
        }
    }

    /// Looks at what came.
    pub fn push(&mut self, mut bytes: &[u8]) {
        let mut passing = Passing::of(bytes);
        while let Some(event) = self.frames.next(&mut bytes, &mut passing) {
            self.has_overlooked |= self.frames.take_unread() > 0;
            self.read(&event);
        }
        self.has_overlooked |= self.frames.take_unread() > 0;
    }

    /// Looks at what came last, where the stream ended without the end of its event.
    pub fn finish(&mut self) {
        let rest = self.frames.take_rest();
        self.read(&rest);
    }

    /// The number that was told last.
    #[must_use]
    pub const fn last(&self) -> Option<Decimal> {
        self.last
    }

    /// Whether an event was too long to be looked into, and no number came after it: the last number
    /// may have stood there.
    #[must_use]
    pub const fn has_overlooked(&self) -> bool {
        self.has_overlooked
    }

    /// Most events have nothing there, or a null: neither takes back what was told before.
    fn read(&mut self, event: &[u8]) {
        let data = frame::data(event);
        let told = data.and_then(|data| self.pointer.cost(&data).ok());
        self.has_overlooked &= told.is_none();
        self.last = told.or(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[&str]) -> Option<String> {
        let mut told = Told::new("/usage/cost".parse().unwrap());
        pieces.iter().for_each(|piece| told.push(piece.as_bytes()));
        told.finish();
        told.last().map(|number| number.to_string())
    }

    #[test]
    fn the_last_event_that_has_the_number_counts() {
        let stream = "data: {\"usage\": {\"cost\": 1}}\r\n\r\n: a comment\n\n\
                      data: {\"usage\":\ndata: {\"cost\": \"2.50\"}}\n\n\
                      data: {\"usage\": null}\n\ndata: {\"usage\": {\"cost\": -3}}\n\n\
                      data: [DONE]\n\n";
        assert_eq!(told(&[stream]).as_deref(), Some("2.5"));
        let bytes: Vec<String> = stream.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        assert_eq!(told(&bytes).as_deref(), Some("2.5"));
    }

    #[test]
    fn an_event_that_the_stream_does_not_end_is_read_as_well() {
        let stream = "data: {\"usage\": {\"cost\": 7}}";
        assert_eq!(told(&[stream]).as_deref(), Some("7"));
        assert_eq!(told(&["data: {}\n\n", "plain text"]), None);
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn what_comes_after_an_event_that_is_too_long_to_be_looked_into_still_counts() {
        let mut told = Told::new("/a".parse().unwrap());
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..8 {
            told.push(&piece);
            assert!(told.frames.capacity() <= 2 * frame::MAX_EVENT);
        }
        assert!(told.has_overlooked());
        told.push(b"\n\ndata: {\"a\": 4}\n\n");
        assert_eq!(
            told.last().map(|number| number.to_string()).as_deref(),
            Some("4")
        );
        assert!(!told.has_overlooked());
    }

    #[test]
    fn a_number_is_unsure_once_an_event_after_it_was_too_long_to_be_looked_into() {
        let long = format!("data: {{\"x\": \"{}\"}}\n\n", "x".repeat(frame::MAX_EVENT));
        let overlooked = |pieces: &[&str]| {
            let mut told = Told::new("/a".parse().unwrap());
            pieces.iter().for_each(|piece| told.push(piece.as_bytes()));
            told.finish();
            told.has_overlooked()
        };
        let number = "data: {\"a\": 1}\n\n";
        assert!(overlooked(&[number, &long]));
        assert!(overlooked(&[&long, "data: {}\n\n"]));
        assert!(overlooked(&[number, long.trim_ascii_end()]));
        assert!(overlooked(&[&[number, &long].concat()]));
        assert!(!overlooked(&[&[&long, number].concat()]));
        assert!(!overlooked(&[number, "data: {}\n\n"]));
    }

    #[test]
    fn no_depth_hides_a_number() {
        let deep = [&"[".repeat(100_000), &*"]".repeat(100_000)].concat();
        let event =
            format!("data: {{\"b\": {deep}, \"usage\": {{\"c\": {deep}, \"cost\": 5}}}}\n\n");
        assert_eq!(told(&[&event]).as_deref(), Some("5"));
    }
}
