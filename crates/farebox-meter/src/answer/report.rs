//! A report of what an answer used, whoever wrote it and under whichever names (see `names`).
//!
//! | in which order | what is believed |
//! |---|---|
//! | 1 | what was read and written, under the endpoint's own names, else under another provider's |
//! | 2 | a surplus of the total: the cache counts that are told, where they fit into it, then thoughts that are told; thoughts also where nothing else is told that could explain it (Gemini) |
//! | 3 | what the total says of what was read, or of what was written, where that is missing |
//! | 4 | details, each cut to what is left of the sum that it belongs to |
//!
//! A count that is no whole number, or absurd, is as good as absent; the rest of the report stands.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::names::{self, Form, NAMES, Says};
use crate::endpoint::Endpoint;
use crate::json::Name;
use crate::pointer;
use crate::usage::{Unit, Usage};

/// More than any model has ever read at once, by far.
const ABSURD: u64 = 1 << 40;

/// What is told, each count under one name whoever wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    read: Read,
    written: Written,
    /// Everything read and written.
    all: Option<u64>,
}

/// What is told of what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Read {
    sum: Option<u64>,
    cached: Option<u64>,
    cache_written: Option<u64>,
    sound: Option<u64>,
    pictures: Option<u64>,
    /// The cache counts come on top of the sum.
    is_cache_apart: bool,
    /// The cache counts are a part of the sum by their names, and can be one.
    is_cache_within: bool,
}

/// What is told of what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    sum: Option<u64>,
    thoughts: Option<u64>,
    sound: Option<u64>,
    pictures: Option<u64>,
    /// The thoughts come on top of the sum.
    are_thoughts_apart: bool,
}

impl Report {
    /// Reads one usage object. A fragment of a stream may tell only one side.
    pub(crate) fn read(endpoint: Endpoint, usage: &RawValue) -> Option<Self> {
        let told = Told::read(usage)?;
        told.is_something().then(|| told.resolve(endpoint))
    }

    /// What two reports of the same call come to, the later one second. Reports tell sums, so that
    /// the later one is right: whatever it tells of a side replaces what was told of that. One that
    /// tells nothing of a side but zeros takes nothing back.
    #[must_use]
    pub(crate) fn updated_by(self, later: Self) -> Self {
        let mut updated = self;
        if later.read.is_told() {
            updated.read = self.read.updated_by(later.read);
            updated.all = later.all;
        }
        if later.written.is_told() {
            updated.written = self.written.updated_by(later.written);
            updated.all = later.all;
        }
        updated
    }

    /// Whether it tells that something was written, were it only by its total.
    pub(crate) fn tells_output(self, endpoint: Endpoint) -> bool {
        self.written.is_told() || self.to_usage(endpoint).all_output() > 0
    }

    /// In classes that do not overlap. A side that is not told is zero.
    #[must_use]
    pub(crate) fn to_usage(self, endpoint: Endpoint) -> Usage {
        let (read, written) = self.sums();
        let surplus = self
            .all
            .map_or(0, |all| all.saturating_sub(read).saturating_sub(written));
        let (is_cache_apart, surplus) = self.cache_in(surplus);
        let (written, thoughts) = match self.written.is_told() {
            true => (written, self.thoughts_in(surplus)),
            false if endpoint.writes() => (surplus, 0),
            false => (0, 0),
        };
        let usage = self.read.split(read, is_cache_apart);
        match endpoint {
            Endpoint::Images => usage.with(Unit::ImageOutput, written),
            _ => self.written.split(written, thoughts, usage),
        }
    }

    /// What was read and what was written, as far as the forms count them. A total stands in for
    /// what was read where that is missing.
    fn sums(&self) -> (u64, u64) {
        let (read, written) = (self.read.sum.unwrap_or(0), self.written.sum.unwrap_or(0));
        match self.all {
            Some(all) if read == 0 && !self.read.is_told() => {
                (all.saturating_sub(written), written)
            }
            _ => (read, written),
        }
    }

    /// Whether the cache counts come on top of what was read, and what they leave of the surplus.
    fn cache_in(&self, surplus: u64) -> (bool, u64) {
        let cache = self.read.cache();
        let is_apart = self.read.is_cache_apart;
        let rest = surplus.saturating_sub(cache);
        let is_beside_thoughts = cache < surplus && self.written.thoughts == Some(rest);
        let does_not_fit = cache <= surplus && cache > self.read.sum.unwrap_or(0);
        let explains = cache == surplus || does_not_fit || is_beside_thoughts;
        if cache > 0 && (is_apart || explains) {
            return (true, surplus.saturating_sub(cache));
        }
        (is_apart, surplus)
    }

    /// How many thoughts come on top of what was written.
    fn thoughts_in(&self, surplus: u64) -> u64 {
        match self.written.thoughts {
            Some(thoughts) if self.written.are_thoughts_apart => thoughts,
            Some(thoughts) => thoughts.min(surplus),
            // Gemini's answers in OpenAI's form tell thoughts in the total alone.
            None if self.read.cache() == 0 || self.read.is_cache_within => surplus,
            None => 0,
        }
    }
}

impl Read {
    fn cache(&self) -> u64 {
        let (cached, written) = (self.cached.unwrap_or(0), self.cache_written.unwrap_or(0));
        cached.saturating_add(written)
    }

    fn is_told(&self) -> bool {
        self.sum.is_some_and(|sum| sum > 0) || self.cache() > 0
    }

    /// What the later one does not tell stays, unless that is as much as all that was told before: then
    /// it is the same prompt in other classes.
    fn updated_by(self, later: Self) -> Self {
        let told = later.sum.unwrap_or(0).saturating_add(later.cache());
        let before = self.sum.unwrap_or(0).saturating_add(self.cache());
        let kept = match later.is_cache_apart && told >= before {
            true => Self::default(),
            false => self,
        };
        Self {
            sum: later.sum.or(kept.sum),
            cached: later.cached.or(kept.cached),
            cache_written: later.cache_written.or(kept.cache_written),
            sound: later.sound.or(kept.sound),
            pictures: later.pictures.or(kept.pictures),
            is_cache_apart: later.is_cache_apart,
            is_cache_within: later.is_cache_within,
        }
    }

    fn split(&self, all: u64, is_cache_apart: bool) -> Usage {
        let (cached, written) = (self.cached.unwrap_or(0), self.cache_written.unwrap_or(0));
        let mut rest = Rest(all);
        let (cached, written) = if is_cache_apart {
            (cached, written)
        } else {
            (rest.take(cached), rest.take(written))
        };
        let sound = rest.take(self.sound.unwrap_or(0));
        let pictures = rest.take(self.pictures.unwrap_or(0));
        Usage::of_request()
            .with(Unit::CachedInput, cached)
            .with(Unit::CacheWrite, written)
            .with(Unit::AudioInput, sound)
            .with(Unit::ImageInput, pictures)
            .with(Unit::Input, rest.0)
    }
}

impl Written {
    fn is_told(&self) -> bool {
        let counts = [self.sum, self.thoughts];
        counts.into_iter().flatten().any(|count| count > 0)
    }

    fn updated_by(self, later: Self) -> Self {
        Self {
            sum: later.sum.or(self.sum),
            thoughts: later.thoughts.or(self.thoughts),
            sound: later.sound.or(self.sound),
            pictures: later.pictures.or(self.pictures),
            are_thoughts_apart: later.are_thoughts_apart,
        }
    }

    /// `apart` of the thoughts come on top of the rest.
    fn split(&self, all: u64, apart: u64, usage: Usage) -> Usage {
        let mut rest = Rest(all);
        let thoughts = match apart {
            0 => rest.take(self.thoughts.unwrap_or(0)),
            apart => apart,
        };
        let sound = rest.take(self.sound.unwrap_or(0));
        let pictures = rest.take(self.pictures.unwrap_or(0));
        usage
            .with(Unit::Reasoning, thoughts)
            .with(Unit::AudioOutput, sound)
            .with(Unit::ImageOutput, pictures)
            .with(Unit::Output, rest.0)
    }
}

/// What is left of a sum while its details are taken out of it.
struct Rest(u64);

impl Rest {
    fn take(&mut self, detail: u64) -> u64 {
        let taken = detail.min(self.0);
        self.0 -= taken;
        taken
    }
}

/// What stands in a usage object, by its place in the list of names.
struct Told([Option<u64>; NAMES.len()]);

impl Told {
    /// Nothing where it is no object.
    fn read(usage: &RawValue) -> Option<Self> {
        let mut told = Self([None; NAMES.len()]);
        told.take_in(None, usage)?;
        Some(told)
    }

    fn take_in(&mut self, holder: Option<&str>, object: &RawValue) -> Option<()> {
        let mut json = serde_json::Deserializer::from_str(object.get());
        json.deserialize_map(Members { told: self, holder }).ok()
    }

    fn is_something(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// The first row that says this and tells more than zero; else zero, where a row tells that.
    fn first(&self, says: Says) -> Option<u64> {
        let rows = NAMES.iter().zip(&self.0);
        let told = rows.filter(|((_, row), _)| *row == says);
        most_trusted(told.map(|(_, count)| *count))
    }

    /// One side of one form, and of which form it is: the endpoint's own before the others.
    fn side(&self, own: Form, says: impl Fn(Form) -> Says) -> (Form, Option<u64>) {
        let others = Form::ALL.into_iter().filter(|form| *form != own);
        let forms = std::iter::once(own).chain(others);
        let told = forms.filter_map(|form| Some((form, self.first(says(form))?)));
        let mut zero = None;
        for (form, count) in told {
            if count > 0 {
                return (form, Some(count));
            }
            zero = zero.or(Some(form));
        }
        (zero.unwrap_or(own), zero.map(|_| 0))
    }

    fn resolve(&self, endpoint: Endpoint) -> Report {
        let own = Form::of(endpoint);
        let all = self.first(Says::All);
        let (read_by, read) = self.side(own, Says::Read);
        let (written_by, written) = self.side(own, Says::Written);
        let by_lifetime = [Says::CacheWrittenBriefly, Says::CacheWrittenLonger];
        let [briefly, longer] = by_lifetime.map(|says| self.first(says));
        let cache_written = [self.first(Says::CacheWritten), sum(briefly, longer)];
        let cache_written = most_trusted(cache_written.into_iter());
        let within = self.first(Says::CachedWithin);
        let cached = [within, self.first(Says::Cached)];
        let can_be_within = 1..=read.unwrap_or(0);
        Report {
            read: Read {
                sum: read,
                cached: most_trusted(cached.into_iter()),
                cache_written,
                is_cache_within: within.is_some_and(|within| can_be_within.contains(&within))
                    && cache_written.unwrap_or(0) == 0,
                sound: self.first(Says::SoundRead),
                pictures: self.first(Says::PicturesRead),
                is_cache_apart: read_by.counts_cache_apart(endpoint, all.is_some()),
            },
            written: Written {
                sum: written,
                thoughts: self.first(Says::Thought),
                sound: self.first(Says::SoundWritten),
                pictures: self.first(Says::PicturesWritten),
                are_thoughts_apart: written_by.counts_thoughts_apart(),
            },
            all,
        }
    }
}

/// The first that is more than zero, else the first.
fn most_trusted(counts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    counts.flatten().reduce(|first, next| match first {
        0 => next,
        _ => first,
    })
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

/// A whole number of things that there can be so many of, however it is written.
fn count(raw: &RawValue) -> Option<u64> {
    let usual: Option<u64> = raw.get().parse().ok();
    let odd = || {
        let (digits, scale) = pointer::decimal(raw).ok()?.parts();
        u64::try_from(digits).ok().filter(|_| scale == 0)
    };
    let count = usual.or_else(odd)?;
    (count < ABSURD).then_some(count)
}

/// Takes in the members of one object.
struct Members<'a> {
    told: &'a mut Told,
    holder: Option<&'a str>,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            if let Some(at) = names::place(self.holder, &name) {
                self.told.0[at] = count(value);
            } else if self.holder.is_none() && names::is_holder(&name) {
                // What is no object tells nothing.
                let _ = self.told.take_in(Some(&name), value);
            }
        }
        Ok(())
    }
}
