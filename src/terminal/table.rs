//! Tables of both programs: headings, columns that fit the terminal, and states in color.
//!
//! A table is at most as wide as the terminal, and 80 columns where there is none. Columns that are only
//! [`wide`](Column::wide) are left out, and the longest cells of [`flexible`](Column::flexible) columns are shortened.
//! `--output wide` prints everything.

use std::fmt::{self, Write};

use clap::{Args, ValueEnum};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::terminal::color::{Color, Painted};
use crate::terminal::escaped::one_line;

/// Width of a table where standard output is not a terminal.
const STANDARD_WIDTH: usize = 80;
/// Spaces between two columns.
const GAP: usize = 2;
/// A flexible column keeps this width.
const LEAST_WIDTH: usize = 8;

/// Extent of a table. An option of the command line is an `Option` of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableOutput {
    /// As much as fits the terminal
    #[default]
    #[value(skip)]
    Fitting,
    /// All columns, in full
    Wide,
}

/// Option of a command that prints a table.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct TableArgs {
    /// Print all columns in full
    #[arg(long = "output", value_enum, value_name = "FORM")]
    form: Option<TableOutput>,
}

impl TableArgs {
    pub(crate) fn output(self) -> TableOutput {
        self.form.unwrap_or_default()
    }
}

/// Column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    is_wide: bool,
    is_flexible: bool,
    is_number: bool,
}

impl Column {
    /// Column that is always shown in full.
    pub(crate) const fn new(heading: &'static str) -> Self {
        Self { heading, is_wide: false, is_flexible: false, is_number: false }
    }

    /// Shown with `--output wide` only.
    #[must_use]
    pub(crate) const fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }

    /// Shortened if the table does not fit.
    #[must_use]
    pub(crate) const fn flexible(self) -> Self {
        Self { is_flexible: true, ..self }
    }

    /// Aligned to the right.
    #[must_use]
    pub(crate) const fn number(self) -> Self {
        Self { is_number: true, ..self }
    }
}

/// Cell of a table: text without effect on the terminal, and its color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    width: usize,
    color: Option<Color>,
}

impl Cell {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        let text = one_line(&text.to_string());
        Self { width: text.width(), text, color: None }
    }

    #[must_use]
    pub(crate) fn colored(self, color: Option<Color>) -> Self {
        Self { color, ..self }
    }
}

impl<T: fmt::Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// The date of a time (RFC 3339), for a column that must be narrow.
pub(crate) fn date(time: &str) -> String {
    time.chars().take("2027-01-31".len()).collect()
}

/// Date and time (RFC 3339) without seconds, for a column that must be narrow.
pub(crate) fn to_the_minute(time: &str) -> String {
    time.chars().take("2027-01-31T12:00".len()).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// The date of a time (RFC 3339), or all of it with `--output wide`.
pub(crate) fn date_in(output: TableOutput, time: &str) -> String {
    if output == TableOutput::Wide { time.to_owned() } else { date(time) }
}

/// Columns with their widths.
#[derive(Debug)]
pub(crate) struct TableLayout {
    columns: Vec<Column>,
    /// Width of each column; `None` for one that is left out.
    widths: Vec<Option<usize>>,
    is_wide: bool,
}

impl TableLayout {
    /// Layout for `rows`. Later rows may have longer cells, which are shortened or, with `--output wide`, stand out.
    pub(crate) fn of(columns: &[Column], rows: &[Vec<Cell>], output: TableOutput) -> Self {
        Self::within(columns, rows, output, terminal_width())
    }

    fn within(columns: &[Column], rows: &[Vec<Cell>], output: TableOutput, available: usize) -> Self {
        let is_wide = output == TableOutput::Wide;
        let mut widths: Vec<Option<usize>> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width);
                (is_wide || !column.is_wide).then(|| cells.fold(column.heading.width(), usize::max))
            })
            .collect();
        if !is_wide {
            shorten(columns, &mut widths, available);
        }
        Self { columns: columns.to_vec(), widths, is_wide }
    }

    /// Write the line of headings.
    pub(crate) fn write_headings(&self, out: &mut impl Write) -> fmt::Result {
        let headings: Vec<Cell> = self.columns.iter().map(|column| Cell::new(column.heading)).collect();
        self.write_row(&headings, out)
    }

    /// Write one row, without spaces at its end.
    pub(crate) fn write_row(&self, cells: &[Cell], out: &mut impl Write) -> fmt::Result {
        // Spaces before the next cell.
        let mut pending = 0;
        for ((column, cell), width) in self.columns.iter().zip(cells).zip(&self.widths) {
            let Some(width) = *width else { continue };
            let shortened = (!self.is_wide && cell.width > width).then(|| shortened(&cell.text, width));
            let (text, used) = match &shortened {
                Some(text) => (text.as_str(), text.width()),
                None => (cell.text.as_str(), cell.width),
            };
            let padding = width.saturating_sub(used);
            let (before, after) = if column.is_number { (padding, 0) } else { (0, padding) };
            if !text.is_empty() {
                write!(out, "{:1$}{2}", "", pending + before, Painted(text, cell.color))?;
                pending = 0;
            } else {
                pending += before;
            }
            pending += after + GAP;
        }
        out.write_char('\n')
    }
}

/// Take width from the widest flexible column until the table fits.
fn shorten(columns: &[Column], widths: &mut [Option<usize>], available: usize) {
    let shown = widths.iter().flatten().count();
    let total = widths.iter().flatten().sum::<usize>() + GAP * shown.saturating_sub(1);
    for _ in available..total {
        let flexible = columns.iter().zip(widths.iter_mut());
        let widest = flexible
            .filter(|(column, _)| column.is_flexible)
            .filter_map(|(column, width)| Some((column, width.as_mut()?)))
            .filter(|(column, width)| **width > column.heading.width().max(LEAST_WIDTH))
            .max_by_key(|(_, width)| **width);
        let Some((_, width)) = widest else { return };
        *width -= 1;
    }
}

/// The beginning of `text`, with an ellipsis in the last place.
fn shortened(text: &str, width: usize) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept.push('\u{2026}');
    kept
}

fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(STANDARD_WIDTH)
}

/// Table in memory.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    output: TableOutput,
}

impl Table {
    pub(crate) fn new(columns: &[Column], output: TableOutput) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), output }
    }

    /// Add a row with a cell for each column, those of wide ones included.
    pub(crate) fn push<T: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = TableLayout::of(&self.columns, &self.rows, self.output);
        layout.write_headings(f)?;
        self.rows.iter().try_for_each(|row| layout.write_row(row, f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("STATUS"),
        Column::new("NAME").flexible(),
        Column::new("SERIAL").wide(),
        Column::new("COUNT").number(),
    ];

    fn written(output: TableOutput, available: usize, rows: &[[&str; 4]]) -> String {
        let rows: Vec<Vec<Cell>> =
            rows.iter().map(|row| row.iter().copied().map(Cell::from).collect()).collect();
        let layout = TableLayout::within(&COLUMNS, &rows, output, available);
        let mut text = String::new();
        layout.write_headings(&mut text).unwrap();
        rows.iter().for_each(|row| layout.write_row(row, &mut text).unwrap());
        text
    }

    #[test]
    fn a_table_fits_the_terminal_unless_it_is_wide() {
        let rows =
            [["valid", "a-rather-long-name.example.com", "0123", "7"], ["revoked", "b", "", "12345678"]];
        let text = written(TableOutput::Fitting, 40, &rows);
        assert_eq!(
            text,
            "STATUS   NAME                      COUNT\n\
             valid    a-rather-long-name.e…         7\n\
             revoked  b                      12345678\n"
        );
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        assert_eq!(
            written(TableOutput::Wide, 40, &rows),
            format!(
                "STATUS   NAME{:28}SERIAL     COUNT\n\
                 valid    a-rather-long-name.example.com  0123{:11}7\n\
                 revoked  b{:39}12345678\n",
                "", "", ""
            )
        );
    }

    #[test]
    fn wide_characters_and_control_characters_keep_the_columns_straight() {
        let rows = [["ok", "\u{4e2d}\u{6587}", "", "1"], ["ok", "\u{1b}[2J\n", "", "2"]];
        assert_eq!(
            written(TableOutput::Fitting, 80, &rows),
            "STATUS  NAME         COUNT\n\
             ok      \u{4e2d}\u{6587}             1\n\
             ok      \\u{1b}[2J\\n      2\n"
        );
        let text = written(TableOutput::Fitting, 24, &[["ok", &"\u{4e2d}".repeat(20), "", "1"]]);
        assert!(text.lines().all(|line| line.width() <= 24), "{text}");
    }

    #[test]
    fn no_line_ends_with_spaces() {
        let text = written(TableOutput::Wide, 80, &[["ok", "a", "", ""], ["", "", "", ""]]);
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
    }
}
