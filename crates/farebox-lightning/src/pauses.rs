//! How long to wait before a connection that broke is made again.

use std::time::Duration;

/// The pause after the first failure; each further one doubles it.
const FIRST: Duration = Duration::from_millis(250);

pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) const fn up_to(longest: Duration) -> Self {
        let next = FIRST;
        Self { next, longest }
    }

    /// The pause after a connection that held for `lasted`. One that held for as long as the longest
    /// pause was a good one: the next pause is short again.
    pub(crate) fn next(&mut self, lasted: Duration) -> Duration {
        if lasted >= self.longest {
            self.next = FIRST;
        }
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_shrink_after_a_good_connection() {
        let longest = Duration::from_secs(10);
        let mut pauses = Pauses::up_to(longest);
        let brief = Duration::from_millis(3);
        let millis: Vec<_> = (0..8).map(|_| pauses.next(brief).as_millis()).collect();
        assert_eq!(millis, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(pauses.next(longest), FIRST);
        assert_eq!(pauses.next(brief), FIRST * 2);
    }
}
