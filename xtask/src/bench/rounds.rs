//! Everybody's turns, round by round. What is compared is compared within a round, where both sides had the
//! same machine; a figure is the median of the rounds.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::report::Report;
use super::units::{Nanos, Ratio, median};

/// Somebody whose turn comes in every round.
#[derive(Debug)]
pub(crate) struct Course<W, T> {
    pub(crate) name: String,
    /// What is asked, and of whom.
    pub(crate) what: W,
    pub(crate) turns: Vec<T>,
}

/// Gives everybody a turn in each round, back and forth, so that a machine that grows slower or faster favours
/// nobody. `turn` is told the number of the round.
pub(crate) fn run<W, T>(
    title: &str,
    rounds: u32,
    courses: &mut [Course<W, T>],
    report: &Report,
    mut turn: impl FnMut(&W, u32) -> Result<T>,
) -> Result<()> {
    for round in 0..rounds {
        for index in order(round, courses.len()) {
            let course = &mut courses[index];
            course.turns.push(turn(&course.what, round)?);
        }
        report.progress(&format!("{title}: round {} of {rounds}", round + 1));
    }
    Ok(())
}

fn order(round: u32, courses: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..courses).collect();
    if !round.is_multiple_of(2) {
        order.reverse();
    }
    order
}

impl<W, T> Course<W, T> {
    pub(crate) fn new(name: impl Into<String>, what: W) -> Self {
        Self {
            name: name.into(),
            what,
            turns: Vec::new(),
        }
    }

    pub(crate) fn median(&self, of: impl Fn(&T) -> u64) -> u64 {
        median(self.turns.iter().map(of))
    }

    pub(crate) fn nanos(&self, of: impl Fn(&T) -> Nanos) -> Nanos {
        Nanos(self.median(|turn| of(turn).0))
    }

    pub(crate) fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.turns.iter().map(of).sum()
    }

    /// `of` a turn here in parts of the same in the same round of `base`.
    pub(crate) fn ratio(&self, base: &Self, of: impl Fn(&T) -> u64) -> Ratio {
        let rounds = self.turns.iter().zip(&base.turns);
        Ratio(median(
            rounds.map(|(own, base)| Ratio::of(of(own), of(base)).0),
        ))
    }

    /// How much longer it takes than in the same round of `base`; nothing where it is shorter.
    pub(crate) fn above(&self, base: &Self, of: impl Fn(&T) -> Nanos) -> Nanos {
        let rounds = self.turns.iter().zip(&base.turns);
        Nanos(median(
            rounds.map(|(own, base)| of(own).0.saturating_sub(of(base).0)),
        ))
    }
}

/// A column of a table: its head, and what it says about a course.
pub(crate) type Column<'a, C> = (&'a str, &'a dyn Fn(&C) -> String);

/// Shows the courses in a table, and keeps their single turns for the JSON file.
pub(crate) fn tell<W, T: Serialize>(
    title: &str,
    courses: &[Course<W, T>],
    columns: &[Column<'_, Course<W, T>>],
    report: &mut Report,
) {
    let row = |course: &Course<W, T>| {
        let cells = columns.iter().map(|(_, cell)| cell(course));
        std::iter::once(course.name.clone()).chain(cells).collect()
    };
    let heads = std::iter::once(title).chain(columns.iter().map(|(head, _)| *head));
    let mut table = vec![heads.map(str::to_owned).collect()];
    table.extend(courses.iter().map(row));
    report.table(table);
    let turns = |course: &Course<W, T>| json!({ "target": course.name, "turns": course.turns });
    report.raw(title, courses.iter().map(turns).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(turns: &[u64]) -> Course<(), Nanos> {
        Course {
            turns: turns.iter().copied().map(Nanos).collect(),
            ..Course::new("it", ())
        }
    }

    #[test]
    fn every_second_round_goes_the_other_way() {
        let mut courses = ["a", "b", "c"].map(|name| Course::new(name, name));
        let mut seen = String::new();
        let turn = |name: &&str, _| {
            seen += name;
            Ok(())
        };
        run("test", 3, &mut courses, &Report::new(Vec::new()), turn).unwrap();
        assert_eq!(seen, "abccbaabc");
        assert!(courses.iter().all(|course| course.turns.len() == 3));
    }

    #[test]
    fn turns_are_compared_with_those_of_the_same_round() {
        // The second round had a slower machine.
        let (base, own) = (course(&[100, 1_000, 100]), course(&[150, 1_500, 90]));
        assert_eq!(own.ratio(&base, |turn| turn.0), Ratio(1_500));
        assert_eq!(own.above(&base, |turn| *turn), Nanos(50));
        assert_eq!(own.nanos(|turn| *turn), Nanos(150));
        assert_eq!(own.sum(|turn| turn.0), 1_740);
    }
}
