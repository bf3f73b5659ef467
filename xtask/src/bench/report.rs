//! What was measured, next to what is demanded.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Value, json};

use super::units::{Nanos, thousands};

/// Where Nagle's algorithm and delayed acknowledgements meet: a p50 in here is a socket without
/// `TCP_NODELAY`, not work.
const PLATEAU: std::ops::RangeInclusive<Nanos> = Nanos(38_000_000)..=Nanos(48_000_000);

/// One demand and how it was met.
#[derive(Debug)]
struct Figure {
    name: String,
    measured: String,
    demanded: String,
    passed: bool,
}

/// All of a run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Vec<(&'static str, String)>,
    figures: Vec<Figure>,
    tables: Vec<Vec<Vec<String>>>,
    raw: BTreeMap<String, Vec<Value>>,
    on_plateau: Vec<String>,
}

impl Report {
    pub(crate) const fn new(machine: Vec<(&'static str, String)>) -> Self {
        Self {
            machine,
            figures: Vec::new(),
            tables: Vec::new(),
            raw: BTreeMap::new(),
            on_plateau: Vec::new(),
        }
    }

    /// What was measured under `name`, and whether that is what is demanded.
    pub(crate) fn demand(
        &mut self,
        name: &str,
        measured: impl Display,
        demanded: &str,
        passed: bool,
    ) {
        self.figures.push(Figure {
            name: name.to_owned(),
            measured: measured.to_string(),
            demanded: demanded.to_owned(),
            passed,
        });
    }

    /// At least so much, `of` somebody else's or in some unit.
    pub(crate) fn demand_at_least<T: Copy + Display + Ord>(
        &mut self,
        name: &str,
        seen: T,
        least: T,
        of: &str,
    ) {
        let (passed, demanded) = (seen >= least, format!("≥ {least}{of}"));
        self.demand(name, format!("{seen}"), &demanded, passed);
    }

    pub(crate) fn demand_at_most<T: Copy + Display + Ord>(&mut self, name: &str, seen: T, most: T) {
        let (passed, demanded) = (seen <= most, format!("≤ {most}"));
        self.demand(name, seen, &demanded, passed);
    }

    /// That something did not happen, which is told only when it did.
    pub(crate) fn demand_none_of(&mut self, name: &str, count: u64) {
        if count > 0 {
            self.demand(name, thousands(count), "none", false);
        }
    }

    /// A table of figures without demands; the first row are their names.
    pub(crate) fn table(&mut self, rows: Vec<Vec<String>>) {
        self.tables.push(rows);
    }

    /// Single measurements, for the JSON file.
    pub(crate) fn raw(&mut self, name: &str, values: Vec<Value>) {
        self.raw.insert(name.to_owned(), values);
    }

    /// Notes a p50 that sits on the plateau.
    pub(crate) fn watch_p50(&mut self, name: &str, seen: impl IntoIterator<Item = Nanos>) {
        let caught = seen.into_iter().filter(|p50| PLATEAU.contains(p50));
        self.on_plateau
            .extend(caught.map(|p50| format!("{name}: {p50}")));
    }

    pub(crate) fn check_plateau(&mut self) {
        let caught = self.on_plateau.join(", ");
        let measured = if caught.is_empty() { "none" } else { &caught };
        self.demand(
            "p50 on the Nagle plateau",
            measured,
            "none of 38–48 ms",
            caught.is_empty(),
        );
    }

    pub(crate) fn progress(&self, what: &str) {
        println!("   {what}");
    }

    pub(crate) fn failures(&self) -> usize {
        self.figures.iter().filter(|figure| !figure.passed).count()
    }

    pub(crate) fn print_head(&self) {
        for (name, value) in &self.machine {
            println!("{name}: {value}");
        }
    }

    pub(crate) fn print(&self) {
        if self.figures.is_empty() {
            return;
        }
        for table in &self.tables {
            println!();
            print_table(table);
        }
        let mut rows = vec![
            ["figure", "measured", "demanded", ""]
                .map(str::to_owned)
                .to_vec(),
        ];
        for Figure {
            name,
            measured,
            demanded,
            passed,
        } in &self.figures
        {
            let verdict = if *passed { "PASS" } else { "FAIL" };
            rows.push(vec![
                name.clone(),
                measured.clone(),
                demanded.clone(),
                verdict.to_owned(),
            ]);
        }
        println!();
        print_table(&rows);
    }

    pub(crate) fn to_json(&self) -> String {
        let figure = |figure: &Figure| {
            json!({
                "figure": figure.name, "measured": figure.measured,
                "demanded": figure.demanded, "passed": figure.passed,
            })
        };
        let machine: BTreeMap<_, _> = self.machine.iter().cloned().collect();
        let figures: Vec<Value> = self.figures.iter().map(figure).collect();
        let (tables, raw) = (&self.tables, &self.raw);
        let all = json!({
            "machine": machine, "figures": figures, "tables": tables, "measurements": raw,
        });
        format!("{all:#}\n")
    }
}

/// As Markdown, so that it can be pasted into `docs/benchmarks.md`.
fn print_table(rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"));
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
            println!("| {} |", rules.join(" | "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_p50_of_forty_milliseconds_fails_the_run() {
        let mut report = Report::new(Vec::new());
        report.watch_p50("plain", [Nanos(300_000), Nanos(60_000_000)]);
        report.check_plateau();
        assert_eq!(report.failures(), 0);
        report.watch_p50("plain", [Nanos(40_000_000)]);
        report.check_plateau();
        assert_eq!(report.failures(), 1);
    }
}
