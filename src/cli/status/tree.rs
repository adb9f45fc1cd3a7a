//! The tree of actors.
//!
//! One row per actor; under it, still inside the tree, what the actor says of
//! itself. The reasons why actors ended are a column where the terminal is wide
//! enough for sentences, and otherwise stand under their actors, whole.

use owo_colors::Style;

use super::report::{Actor, LastExit, Progress, Report};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::words::{ago, bad, faint, number, one_line, state, warning};

/// Where the reasons stand for which actors ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExitsIn {
    Column,
    /// On lines of their own, where the terminal has no room for the column.
    Remarks,
}

/// Characters that a column of sentences must have to be worth it.
const LEAST_ROOM: usize = 40;

/// What it takes to draw a part of the tree.
struct Branch<'a, 't> {
    report: &'a Report,
    exits: ExitsIn,
    all: &'a [(&'a Actor, Option<&'a str>)],
    table: &'t mut Table,
}

/// Renders the tree; lines are cut to `width` characters where there is one.
pub(super) fn actors(report: &Report, width: Option<usize>) -> String {
    let table = tree(report, ExitsIn::Column);
    match table.room_for_text(width) {
        Some(room) if room < LEAST_ROOM => tree(report, ExitsIn::Remarks).render(width),
        _ => table.render(width),
    }
}

fn tree(report: &Report, exits: ExitsIn) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("ACTOR", Left),
        ("STATE", Left),
        ("GEN", Right),
        ("RESTARTS", Right),
        ("MAILBOX", Right),
        ("SCORE", Right),
        ("SEEN", Right),
        ("LAST EXIT", Left),
    ]);
    let all = flatten(&report.actors, None);
    let roots = all.iter().filter(|(_, parent)| match parent {
        Some(parent) => !all.iter().any(|(actor, _)| actor.name == *parent),
        None => true,
    });
    for (root, _) in roots {
        let mut branch = Branch {
            report,
            exits,
            all: &all,
            table: &mut table,
        };
        branch.draw(root, "", "");
    }
    table
}

/// Returns every actor with the name of its parent, whether the report nests
/// its actors, lists them flat, or does both. A name counts once, so that what
/// hangs below a root is a tree, whatever the report says.
fn flatten<'a>(actors: &'a [Actor], above: Option<&'a str>) -> Vec<(&'a Actor, Option<&'a str>)> {
    let mut all: Vec<(&Actor, Option<&str>)> = Vec::new();
    for actor in actors.iter().filter(|actor| !actor.name.is_empty()) {
        let parent = actor.parent.as_deref().or(above);
        let nested = flatten(&actor.children, Some(&actor.name));
        for entry in std::iter::once((actor, parent)).chain(nested) {
            if !all.iter().any(|(known, _)| known.name == entry.0.name) {
                all.push(entry);
            }
        }
    }
    all
}

// === impl Branch ===

impl Branch<'_, '_> {
    /// Draws an actor and all below it; `twig` leads to the actor, `trunk` to its children.
    fn draw(&mut self, actor: &Actor, twig: &str, trunk: &str) {
        let mut cells = row(actor, twig);
        let exit = actor
            .last_exit
            .as_ref()
            .map(|exit| last_exit(self.report, exit));
        let mut remarks = remarks(actor);
        match self.exits {
            ExitsIn::Column => cells.push(exit.unwrap_or_default()),
            ExitsIn::Remarks => {
                cells.push(Cell::default());
                remarks.extend(exit);
            }
        }
        self.table.row(cells);
        let children: Vec<&Actor> = self
            .all
            .iter()
            .filter(|(_, parent)| *parent == Some(actor.name.as_str()))
            .map(|(child, _)| *child)
            .collect();
        let stem = if children.is_empty() { "  " } else { "│ " };
        for remark in remarks {
            let stem = Cell::new(format!("{trunk}{stem}"), faint());
            self.table.line(stem.append(remark));
        }
        for (position, child) in children.iter().enumerate() {
            let is_last = position + 1 == children.len();
            let (twig, under) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            self.draw(child, &format!("{trunk}{twig}"), &format!("{trunk}{under}"));
        }
    }
}

fn row(actor: &Actor, twig: &str) -> Vec<Cell> {
    let name = match actor.significant {
        Some(true) => Style::new().bold(),
        _ => Style::new(),
    };
    let restarts = match actor.restarts {
        Some(0) | None => faint(),
        Some(_) => warning(),
    };
    vec![
        Cell::new(twig, faint()).and(one_line(&actor.name), name),
        state(actor.state.as_deref().unwrap_or("unknown")),
        Cell::new(number(actor.generation), Style::new()),
        Cell::new(number(actor.restarts), restarts),
        mailbox(actor),
        score(actor.score),
        Cell::new(
            actor.status_age_seconds.map(ago).unwrap_or_default(),
            faint(),
        ),
    ]
}

fn mailbox(actor: &Actor) -> Cell {
    let Some(mailbox) = actor.mailbox else {
        return Cell::default();
    };
    let style = match mailbox.depth.saturating_mul(10) {
        0 => faint(),
        tenfold if tenfold >= mailbox.capacity.saturating_mul(9) => bad(),
        tenfold if tenfold >= mailbox.capacity.saturating_mul(5) => warning(),
        _ => Style::new(),
    };
    Cell::new(format!("{}/{}", mailbox.depth, mailbox.capacity), style)
}

fn last_exit(report: &Report, exit: &LastExit) -> Cell {
    let orderly = matches!(exit.reason.as_str(), "shutdown" | "normal");
    let style = if orderly { faint() } else { warning() };
    let mut cell = Cell::new(one_line(&exit.reason).replace('_', " "), style);
    if let Some(age) = exit.at.as_deref().and_then(|at| report.seconds_since(at)) {
        cell = cell.and(format!(" {} ago", ago(age)), faint());
    }
    match exit.message.as_deref().map(one_line) {
        Some(message) if !message.is_empty() => cell.and(format!(": {message}"), Style::new()),
        _ => cell,
    }
}

/// Returns what stands under an actor's row: its note, what it works on, the threads it lost.
fn remarks(actor: &Actor) -> Vec<Cell> {
    let mut remarks = Vec::new();
    if let Some(note) = actor
        .note
        .as_deref()
        .map(one_line)
        .filter(|note| !note.is_empty())
    {
        let style = if actor.score == Some(100) {
            faint()
        } else {
            warning()
        };
        remarks.push(Cell::new(note, style));
    }
    if let Some(progress) = &actor.progress {
        remarks.push(at_work(progress));
    }
    match actor.leaked {
        Some(0) | None => {}
        Some(1) => remarks.push(Cell::new("1 abandoned thread", warning())),
        Some(many) => remarks.push(Cell::new(format!("{many} abandoned threads"), warning())),
    }
    remarks
}

fn at_work(progress: &Progress) -> Cell {
    let item = format!("at work on {}", one_line(&progress.item));
    let (style, time) = match (progress.elapsed_seconds, progress.deadline_seconds) {
        (Some(elapsed), Some(deadline)) => {
            let style = if elapsed > deadline { bad() } else { faint() };
            (
                style,
                format!(" ({} of at most {})", ago(elapsed), ago(deadline)),
            )
        }
        (Some(elapsed), None) => (faint(), format!(" ({})", ago(elapsed))),
        (None, _) => (faint(), String::new()),
    };
    Cell::new(format!("{item}{time}"), style)
}

fn score(score: Option<u8>) -> Cell {
    let style = match score {
        Some(100) | None => faint(),
        Some(50..) => warning(),
        Some(_) => bad(),
    };
    Cell::new(
        score.map(|score| score.to_string()).unwrap_or_default(),
        style,
    )
}
