//! What a benchmark found: tables for people, JSON for programs, a verdict for each target.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::machine::{Machine, Noise};
use crate::stats::Spread;

/// The outcome of one suite.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Its name, also that of its file.
    pub(crate) suite: &'static str,
    machine: Machine,
    /// Every figure by its name, for programs.
    figures: BTreeMap<String, Spread>,
    tables: Vec<Table>,
    verdicts: Vec<Verdict>,
    /// Rounds that were taken, with what others did in each.
    rounds: Vec<Round>,
    notes: Vec<String>,
}

/// Figures in rows.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// One target, and whether it was met.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// What was promised.
    pub(crate) target: String,
    /// What was found.
    pub(crate) found: String,
    /// Whether the promise holds; nothing if no quiet round says so.
    pub(crate) met: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Round {
    what: String,
    #[serde(flatten)]
    noise: Noise,
    quiet: bool,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(suite: &'static str) -> Self {
        Self {
            suite,
            machine: Machine::read(),
            figures: BTreeMap::new(),
            tables: Vec::new(),
            verdicts: Vec::new(),
            rounds: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Keeps a figure under a name that ends in its unit, and returns it.
    pub(crate) fn figure(&mut self, name: impl Into<String>, figure: Spread) -> Spread {
        self.figures.insert(name.into(), figure);
        figure
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Keeps a round's noise; returns whether the round counts.
    pub(crate) fn round(&mut self, what: impl Into<String>, noise: Noise) -> bool {
        let what = what.into();
        say(&format!("    {what}: {noise}"));
        let quiet = noise.is_quiet();
        self.rounds.push(Round { what, noise, quiet });
        quiet
    }

    pub(crate) fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// Writes the report as `<suite>.json`.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}.json", self.suite));
        std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            writeln!(f, "\n{table}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let quiet = self.rounds.iter().filter(|round| round.quiet).count();
        if !self.rounds.is_empty() {
            writeln!(f, "rounds: {quiet} of {} were quiet", self.rounds.len())?;
        }
        Ok(())
    }
}

// === impl Table ===

impl Table {
    pub(crate) fn new<const N: usize>(title: impl Into<String>, columns: [&str; N]) -> Self {
        Self {
            title: title.into(),
            columns: columns.map(str::to_owned).into(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                let cells = self.rows.iter().filter_map(|row| row.get(index));
                let widest = cells.chain(self.columns.get(index));
                widest.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: &[String]| {
            let mut line = String::from("|");
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(line, " {cell:width$} |");
            }
            line
        };
        writeln!(f, "{}", self.title)?;
        writeln!(f, "{}", line(&self.columns))?;
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        write!(f, "{}", line(&rule))?;
        for row in &self.rows {
            write!(f, "\n{}", line(row))?;
        }
        Ok(())
    }
}

// === impl Verdict ===

impl Verdict {
    /// Judges a figure against a target; without a figure there is no judgement.
    pub(crate) fn new(target: &str, found: Option<String>, met: Option<bool>) -> Self {
        let found = found.unwrap_or_else(|| "no quiet round".to_owned());
        Self {
            target: target.to_owned(),
            found,
            met,
        }
    }

    /// Returns the verdict in a word.
    pub(crate) fn word(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not judged",
        }
    }
}

/// Says something to the person who waits.
#[expect(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
