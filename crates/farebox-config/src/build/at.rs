//! A place in the configuration, and what is wrong there.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use crate::mistake::{KeyPath, Mistakes};
use crate::units::{ByteSize, Lasting};

/// One key while it is built. Whatever is wrong with it is noted, and the building goes on, so that all
/// mistakes are found at once.
#[derive(Clone)]
pub(super) struct At<'m> {
    key: KeyPath,
    mistakes: &'m RefCell<Mistakes>,
}

impl<'m> At<'m> {
    /// The whole file.
    pub(super) fn root(mistakes: &'m RefCell<Mistakes>) -> Self {
        Self {
            key: KeyPath::default(),
            mistakes,
        }
    }

    /// A key of this table.
    pub(super) fn key(&self, name: &str) -> Self {
        Self {
            key: self.key.key(name),
            mistakes: self.mistakes,
        }
    }

    /// An item of this list.
    pub(super) fn index(&self, index: usize) -> Self {
        Self {
            key: self.key.index(index),
            mistakes: self.mistakes,
        }
    }

    /// Notes what is wrong here.
    pub(super) fn note(&self, reason: impl Display) {
        self.mistakes.borrow_mut().note(self.key.clone(), reason);
    }

    /// Notes the same about each key of this table of which it is true.
    pub(super) fn note_each<const N: usize>(&self, keys: [(&str, bool); N], reason: impl Display) {
        for (name, _) in keys.into_iter().filter(|(_, is_wrong)| *is_wrong) {
            self.key(name).note(&reason);
        }
    }

    /// Takes the value out of a result, or notes why there is none.
    pub(super) fn take<T, E: Display>(&self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }

    /// A duration during which something can happen.
    pub(super) fn not_zero(&self, written: Lasting) -> Duration {
        if written.0.is_zero() {
            self.note("must be longer than zero");
        }
        written.0
    }

    /// A size that fits this machine.
    pub(super) fn bytes(&self, size: ByteSize) -> Option<usize> {
        let fits = usize::try_from(size.0).ok();
        if fits.is_none() {
            self.note("more than this machine can address");
        }
        fits
    }

    /// How much is wrong until now, anywhere.
    pub(super) fn mistakes(&self) -> usize {
        self.mistakes.borrow().len()
    }
}
