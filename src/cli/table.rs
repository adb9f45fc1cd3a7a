//! Columns of text for a terminal.
//!
//! Cells are padded by their characters before they are coloured, so that
//! escape sequences never shift a column. The last column is free text: it is
//! not padded, and cut where the line would leave the terminal.

use owo_colors::{OwoColorize, Style};

/// One piece of text in one style.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pieces: Vec<(String, Style)>,
}

/// Rows under a heading.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Row>,
}

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<Cell>),
    /// A line of its own, outside the columns.
    Line(Cell),
}

/// Blanks between two columns.
const GAP: &str = "  ";

/// The least that is left of a free text, however narrow the terminal.
const LEAST_TEXT: usize = 16;

/// Renders pieces one behind the other, in as many lines as a terminal of this
/// width needs; a piece is never broken, and further lines are indented.
pub(super) fn flow(pieces: &[Cell], width: Option<usize>) -> String {
    let mut text = String::new();
    let mut column = 0;
    for piece in pieces {
        let end = column + piece.width();
        if column > 0 && width.is_some_and(|width| end > width) {
            text.push('\n');
            text.push_str(GAP);
            column = GAP.len();
        }
        text.push_str(&piece.paint());
        column += piece.width();
    }
    text.push('\n');
    text
}

// === impl Cell ===

impl Cell {
    pub(super) fn new(text: impl Into<String>, style: Style) -> Self {
        Self::default().and(text, style)
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Style::new())
    }

    /// Adds a piece behind what is there.
    pub(super) fn and(mut self, text: impl Into<String>, style: Style) -> Self {
        self.pieces.push((text.into(), style));
        self
    }

    /// Adds all of another cell behind what is there.
    pub(super) fn append(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    fn width(&self) -> usize {
        self.pieces
            .iter()
            .map(|(text, _)| text.chars().count())
            .sum()
    }

    fn paint(&self) -> String {
        self.pieces
            .iter()
            .filter(|(text, _)| !text.is_empty())
            .map(|(text, style)| text.style(*style).to_string())
            .collect()
    }

    /// Returns the cell, cut to so many characters; a cut shows as an ellipsis.
    pub(super) fn cut(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut cut = Self::default();
        for (text, style) in self.pieces {
            let kept: String = text.chars().take(left).collect();
            left -= kept.chars().count();
            let ends_here = left == 0;
            cut = cut.and(
                if ends_here {
                    format!("{}…", kept.trim_end())
                } else {
                    kept
                },
                style,
            );
            if ends_here {
                break;
            }
        }
        cut
    }
}

// === impl Table ===

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of one cell per column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a line that belongs to the row before it.
    pub(super) fn line(&mut self, cell: Cell) {
        self.rows.push(Row::Line(cell));
    }

    /// Returns the characters that a terminal of this width leaves to the last
    /// column; nothing when that column is empty or there is no width.
    pub(super) fn room_for_text(&self, width: Option<usize>) -> Option<usize> {
        let last = self.columns.len().checked_sub(1)?;
        let before: usize = (0..last)
            .map(|column| self.width_of(column))
            .filter(|width| *width > 0)
            .map(|width| width + GAP.len())
            .sum();
        match self.width_of(last) {
            0 => None,
            _ => width.map(|width| width.saturating_sub(before)),
        }
    }

    /// Renders the table, cut to `width` characters where there is a width.
    ///
    /// Columns without anything in them are left out, and so is a table of none.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|i| self.width_of(i)).collect();
        let shown: Vec<usize> = (0..widths.len()).filter(|i| widths[*i] > 0).collect();
        if shown.is_empty() {
            return String::new();
        }
        let heading: Vec<Cell> = self
            .columns
            .iter()
            .map(|(title, _)| Cell::new(*title, Style::new().dimmed()))
            .collect();

        let mut text = self.line_of(&heading, &shown, &widths, width);
        for row in &self.rows {
            text.push_str(&match row {
                Row::Cells(cells) => self.line_of(cells, &shown, &widths, width),
                Row::Line(cell) => format!("{}\n", cell.paint()),
            });
        }
        text
    }

    fn line_of(
        &self,
        cells: &[Cell],
        shown: &[usize],
        widths: &[usize],
        width: Option<usize>,
    ) -> String {
        let mut line = String::new();
        let mut taken = 0;
        for (position, &column) in shown.iter().enumerate() {
            let cell = &cells[column];
            let is_last = position + 1 == shown.len();
            if is_last && self.columns[column].1 == Align::Left {
                let rest = width.map_or(usize::MAX, |width| width.saturating_sub(taken));
                line.push_str(&cell.clone().cut(rest.max(LEAST_TEXT)).paint());
            } else {
                line.push_str(&self.pad(cell, column, widths[column]));
                line.push_str(GAP);
                taken += widths[column] + GAP.len();
            }
        }
        format!("{}\n", line.trim_end())
    }

    fn pad(&self, cell: &Cell, column: usize, width: usize) -> String {
        let blanks = " ".repeat(width.saturating_sub(cell.width()));
        match self.columns[column].1 {
            Align::Left => format!("{}{blanks}", cell.paint()),
            Align::Right => format!("{blanks}{}", cell.paint()),
        }
    }

    /// Returns the width of a column; zero when no row has anything in it.
    fn width_of(&self, column: usize) -> usize {
        let widest = self
            .rows
            .iter()
            .filter_map(|row| match row {
                Row::Cells(cells) => Some(cells[column].width()),
                Row::Line(_) => None,
            })
            .max()
            .unwrap_or(0);
        match widest {
            0 => 0,
            widest => widest.max(self.columns[column].0.chars().count()),
        }
    }
}
