//! What a call used, in classes that do not overlap, so that each is counted once.

use serde::{Deserialize, Serialize};

farebox_core::words! {
    /// A class of things that are counted and priced.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Unit {
        /// Tokens read, neither from nor into a cache.
        Input = "input",
        /// Tokens read from a cache.
        CachedInput = "cached_input",
        /// Tokens written into a cache.
        CacheWrite = "cache_write",
        /// Tokens of the answer that the client sees.
        Output = "output",
        /// Tokens of the answer that the model kept to itself.
        Reasoning = "reasoning",
        /// Tokens of sound that were read.
        AudioInput = "audio_input",
        /// Tokens of sound in the answer.
        AudioOutput = "audio_output",
        /// Tokens of pictures that were read.
        ImageInput = "image_input",
        /// Tokens of pictures in the answer.
        ImageOutput = "image_output",
        /// Pictures made, where they are priced by the piece.
        Image = "image",
        /// Characters spoken.
        Character = "character",
        /// Seconds of sound transcribed.
        Second = "second",
        /// The call itself.
        Request = "request",
    }
}

/// How much of each was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    counts: [u64; Unit::ALL.len()],
}

impl Usage {
    const INPUTS: [Unit; 5] = [
        Unit::Input,
        Unit::CachedInput,
        Unit::CacheWrite,
        Unit::AudioInput,
        Unit::ImageInput,
    ];
    const OUTPUTS: [Unit; 4] = [
        Unit::Output,
        Unit::Reasoning,
        Unit::AudioOutput,
        Unit::ImageOutput,
    ];

    /// Nothing at all.
    pub const NONE: Self = Self {
        counts: [0; Unit::ALL.len()],
    };

    /// One call, and nothing else yet.
    #[must_use]
    pub const fn of_request() -> Self {
        Self::NONE.with(Unit::Request, 1)
    }

    /// The same with `count` of `unit`.
    #[must_use]
    pub const fn with(mut self, unit: Unit, count: u64) -> Self {
        self.counts[unit as usize] = count;
        self
    }

    /// How much of `unit`.
    #[must_use]
    pub const fn get(&self, unit: Unit) -> u64 {
        self.counts[unit as usize]
    }

    /// What is more than nothing.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        Unit::ALL
            .into_iter()
            .map(|unit| (unit, self.get(unit)))
            .filter(|(_, count)| *count > 0)
    }

    /// The same, with what `other` says of a side that it says nothing of: of what was read, and of
    /// what was written.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for side in [&Self::INPUTS[..], &Self::OUTPUTS[..]] {
            if self.sum(side) == 0 {
                for unit in side {
                    self.counts[*unit as usize] = other.get(*unit);
                }
            }
        }
        self
    }

    /// Everything that was read.
    #[must_use]
    pub fn all_input(&self) -> u64 {
        self.sum(&Self::INPUTS)
    }

    /// Everything that was written.
    #[must_use]
    pub fn all_output(&self) -> u64 {
        self.sum(&Self::OUTPUTS)
    }

    fn sum(&self, units: &[Unit]) -> u64 {
        units
            .iter()
            .fold(0, |sum, unit| sum.saturating_add(self.get(*unit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_has_its_own_place() {
        let mut usage = Usage::NONE;
        for (count, unit) in (1..).zip(Unit::ALL) {
            usage = usage.with(unit, count);
        }
        let counts: Vec<_> = usage.iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=13).collect::<Vec<u64>>());
    }

    #[test]
    fn a_side_that_is_not_told_comes_from_elsewhere() {
        let told = Usage::NONE.with(Unit::Reasoning, 7);
        let seen = Usage::NONE.with(Unit::Input, 10).with(Unit::Output, 1);
        assert_eq!(told.or(&seen), told.with(Unit::Input, 10));
        assert_eq!(Usage::NONE.or(&seen), seen);
    }
}
