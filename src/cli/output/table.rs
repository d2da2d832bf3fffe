//! Tables: aligned columns that fit the terminal.
//!
//! A cell holds one line. Control characters are removed, because objects in the cluster may contain some, and a
//! terminal must not follow them.

use std::{borrow::Cow, fmt::Write};

use helm_guard_core::text::shortened;

use super::{
    terminal::Screen,
    tone::{Tone, toned},
};

/// Between two columns.
const GAP: &str = "   ";

/// No cell is cut below this many characters.
const SHORTEST_CELL: usize = 10;

/// How a column behaves where the terminal is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It is shown whole: a name that one copies into the next command.
    Whole,
    /// Its cells may be cut.
    Cut,
    /// It is shown only with `-o wide`.
    WideOnly,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Column {
    name: &'static str,
    fit: Fit,
}

impl Column {
    /// A column that is never cut.
    pub(in crate::cli) const fn whole(name: &'static str) -> Self {
        let fit = Fit::Whole;
        Self { name, fit }
    }

    /// A column whose cells may be cut.
    pub(in crate::cli) const fn cut(name: &'static str) -> Self {
        let fit = Fit::Cut;
        Self { name, fit }
    }

    /// A column of `-o wide`.
    pub(in crate::cli) const fn wide(name: &'static str) -> Self {
        let fit = Fit::WideOnly;
        Self { name, fit }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in the color of a tone.
    pub(in crate::cli) fn toned(tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            text: text.chars().filter(|char| !char.is_control()).collect(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

#[derive(Debug)]
pub(in crate::cli) struct Table<'c> {
    columns: &'c [Column],
    rows: Vec<Vec<Cell>>,
}

impl<'c> Table<'c> {
    /// A table; each row has a cell for each column.
    pub(in crate::cli) fn new(columns: &'c [Column], rows: Vec<Vec<Cell>>) -> Self {
        Self { columns, rows }
    }

    /// The text, one line a row.
    pub(in crate::cli) fn text(&self, screen: Screen) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| screen.is_wide || self.fit(*index) != Fit::WideOnly)
            .collect();
        let mut widths: Vec<usize> = shown.iter().map(|index| self.longest(*index)).collect();
        if let (Some(width), false) = (screen.width, screen.is_wide) {
            self.shrink(&shown, &mut widths, width);
        }
        let heading = self.columns.iter();
        let heading: Vec<Cell> = heading
            .map(|column| Cell::toned(Tone::Heading, column.name))
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            write_row(&mut text, row, &shown, &widths);
        }
        text
    }

    fn fit(&self, index: usize) -> Fit {
        self.columns
            .get(index)
            .map_or(Fit::Cut, |column| column.fit)
    }

    fn longest(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index));
        let cells = cells.map(|cell| length(&cell.text));
        let name = self.columns.get(index).map_or("", |column| column.name);
        cells.max().unwrap_or_default().max(length(name))
    }

    /// Cuts the widest columns to one width, the largest with which the rows fit.
    fn shrink(&self, shown: &[usize], widths: &mut [usize], width: usize) {
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let is_cuttable = |index: usize| self.fit(index) == Fit::Cut;
        let total = |cap: usize| -> usize {
            let capped = shown.iter().zip(&*widths).map(|(index, width)| {
                if is_cuttable(*index) {
                    cap.min(*width)
                } else {
                    *width
                }
            });
            capped.sum::<usize>() + gaps
        };
        let widest = widths.iter().copied().max().unwrap_or_default();
        if total(widest) <= width {
            return;
        }
        let caps: Vec<usize> = (SHORTEST_CELL..=width.max(SHORTEST_CELL)).collect();
        let fitting = caps.partition_point(|cap| total(*cap) <= width);
        let cap = SHORTEST_CELL + fitting.saturating_sub(1);
        for (index, width) in shown.iter().zip(widths) {
            if is_cuttable(*index) {
                *width = cap.min(*width);
            }
        }
    }
}

/// `text` in at most `width` characters.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if length(text) <= width {
        Cow::Borrowed(text)
    } else {
        shortened(text, width.saturating_sub(1))
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

// Writing to a string cannot fail.
fn write_row(text: &mut String, row: &[Cell], shown: &[usize], widths: &[usize]) {
    let mut padding = 0;
    for (index, width) in shown.iter().zip(widths) {
        let Some(cell) = row.get(*index) else {
            continue;
        };
        let cut = cut(&cell.text, *width);
        if !cut.is_empty() {
            let _ = write!(text, "{:padding$}{}", "", toned(cell.tone, &cut));
            padding = 0;
        }
        padding += width.saturating_sub(length(&cut)) + GAP.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::whole("NAME"),
        Column::cut("OBJECT"),
        Column::cut("REASON"),
        Column::wide("TICKET"),
    ];

    fn table(rows: &[[&str; 4]]) -> Table<'static> {
        let rows = rows.iter().map(|row| row.map(Cell::from).to_vec());
        Table::new(&COLUMNS, rows.collect())
    }

    fn plain(table: &Table<'_>, width: Option<usize>, is_wide: bool) -> String {
        let text = table.text(Screen { width, is_wide });
        anstream::adapter::strip_str(&text).to_string()
    }

    #[rstest]
    #[case::pipe(None, false, &[
        "NAME                  OBJECT                              REASON",
        "web-1a2b3c4d5e6f7a8   Deployment/web-frontend-of-a-shop   the payment provider is down",
        "b",
    ])]
    #[case::fits_the_terminal(Some(60), false, &[
        "NAME                  OBJECT              REASON",
        "web-1a2b3c4d5e6f7a8   Deployment/web-f…   the payment prov…",
        "b",
    ])]
    #[case::too_narrow(Some(40), false, &[
        "NAME                  OBJECT       REASON",
        "web-1a2b3c4d5e6f7a8   Deploymen…   the payme…",
        "b",
    ])]
    #[case::wide(Some(40), true, &[
        "NAME                  OBJECT                              REASON                         TICKET",
        "web-1a2b3c4d5e6f7a8   Deployment/web-frontend-of-a-shop   the payment provider is down   INC-1",
        "b",
    ])]
    fn a_table_fits_its_screen(
        #[case] width: Option<usize>,
        #[case] is_wide: bool,
        #[case] expected: &[&str],
    ) {
        let table = table(&[
            [
                "web-1a2b3c4d5e6f7a8",
                "Deployment/web-frontend-of-a-shop",
                "the payment provider is down",
                "INC-1",
            ],
            ["b", "", "", ""],
        ]);
        let text = plain(&table, width, is_wide);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "\n{text}");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let text = plain(
            &table(&[["a", "b\u{1b}[2Jc\nd\u{9b}", "", ""]]),
            None,
            false,
        );
        assert_eq!(text.lines().nth(1), Some("a      b[2Jcd"));
    }
}
