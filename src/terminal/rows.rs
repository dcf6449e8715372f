//! Results of any length: rows that are printed while they are read, in constant memory.

use std::fmt;
use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::terminal::escaped::{EscapeForm, EscapingWriter};
use crate::terminal::report::{CommandOutcome, Format, Interruption};
use crate::terminal::table::{Cell, Column, TableLayout, TableOutput};

/// The columns get their widths from as many rows.
const MEASURED_ROWS: usize = 1_000;

/// Bytes that are written at once.
const PIECE: usize = 64 * 1024;

/// Form of a listing other than the table that fits the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListingOutput {
    /// All columns, in full
    Wide,
    /// Only the name of each object, one on a line
    Names,
}

/// Query or file whose rows are printed one by one.
pub(crate) trait RowSource {
    /// JSON object of one row.
    type Row: Serialize;

    /// Columns of the table.
    const COLUMNS: &'static [Column];
    /// Text without any rows.
    const NONE: &'static str;

    /// Pass each row to `each`, in their order.
    fn read(&self, each: &mut dyn FnMut(Self::Row) -> Result<(), Interruption>) -> Result<(), Interruption>;

    /// Cells of one row, those of wide columns included.
    fn cells(row: &Self::Row, output: TableOutput) -> Vec<Cell>;

    /// Name of the object, as commands take it.
    fn name(row: &Self::Row) -> String;
}

/// Listing of the rows of a source.
pub(crate) struct StreamedListing<S> {
    pub(crate) source: S,
    pub(crate) output: Option<ListingOutput>,
    /// Maximum number of rows.
    pub(crate) limit: Option<u64>,
}

impl<S: RowSource> StreamedListing<S> {
    /// Pass the rows up to the limit to `each`.
    fn read(&self, each: &mut dyn FnMut(S::Row) -> Result<(), Interruption>) -> Result<(), Interruption> {
        let mut left = self.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let read = self.source.read(&mut |row| {
            each(row)?;
            left -= 1;
            if left == 0 { Err(Interruption::Limit) } else { Ok(()) }
        });
        match read {
            Err(Interruption::Limit) => Ok(()),
            other => other,
        }
    }

    fn write_names(&self, pieces: &mut Pieces<'_>) -> Result<(), Interruption> {
        self.read(&mut |row| {
            pieces.text.push_str(&S::name(&row));
            pieces.text.push('\n');
            pieces.write_full()
        })
    }

    fn write_table(&self, output: TableOutput, pieces: &mut Pieces<'_>) -> Result<(), Interruption> {
        let mut measured: Vec<Vec<Cell>> = Vec::new();
        let mut layout = None;
        self.read(&mut |row| {
            let cells = S::cells(&row, output);
            match &layout {
                Some(layout) => pieces.push_row(layout, &cells),
                None => {
                    measured.push(cells);
                    if measured.len() == MEASURED_ROWS {
                        layout =
                            Some(pieces.push_measured(S::COLUMNS, &std::mem::take(&mut measured), output)?);
                    }
                    Ok(())
                }
            }
        })?;
        match layout {
            Some(_) => {}
            None if measured.is_empty() => {
                pieces.text.push_str(S::NONE);
                pieces.text.push('\n');
            }
            None => drop(pieces.push_measured(S::COLUMNS, &measured, output)?),
        }
        Ok(())
    }

    /// `ok` comes last: whether all rows can be read shows at the end.
    fn write_json(&self, pieces: &mut Pieces<'_>) -> Result<u8, Interruption> {
        let mut opening = "{\"result\":[";
        let read = self.read(&mut |row| {
            pieces.text.push_str(std::mem::replace(&mut opening, ","));
            pieces.text.push_str(&json(&row)?);
            pieces.write_full()
        });
        match read {
            Ok(()) => {
                if opening != "," {
                    pieces.text.push_str(opening);
                }
                pieces.text.push_str("],\"ok\":true}\n");
                Ok(0)
            }
            Err(Interruption::Source(failure)) if opening == "," => {
                let error = json(&failure)?;
                pieces.text.push_str(&format!("],\"ok\":false,\"error\":{error}}}\n"));
                Ok(failure.exit_code())
            }
            Err(other) => Err(other),
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, Interruption> {
    serde_json::to_string(value).map_err(Interruption::json)
}

impl<S: RowSource> CommandOutcome for StreamedListing<S> {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        Ok(serde_json::Value::Null)
    }

    fn stream(&self, format: Format, out: &mut dyn Write) -> Option<Result<u8, Interruption>> {
        let form = if format == Format::Json { EscapeForm::Json } else { EscapeForm::Colored };
        let mut pieces =
            Pieces { text: String::with_capacity(2 * PIECE), out: EscapingWriter::new(out, form) };
        let written = match (format, self.output) {
            (Format::Json, _) => self.write_json(&mut pieces),
            // The rows are read, so that an error is found.
            (Format::Quiet, _) => self.read(&mut |_| Ok(())).map(|()| 0),
            (Format::Text, Some(ListingOutput::Names)) => self.write_names(&mut pieces).map(|()| 0),
            (Format::Text, Some(ListingOutput::Wide)) => {
                self.write_table(TableOutput::Wide, &mut pieces).map(|()| 0)
            }
            (Format::Text, None) => self.write_table(TableOutput::Fitting, &mut pieces).map(|()| 0),
        };
        Some(written.and_then(|code| pieces.write().map(|()| code)))
    }
}

/// The rows are printed by [`CommandOutcome::stream`].
impl<S> fmt::Display for StreamedListing<S> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Output in large pieces of whole lines.
struct Pieces<'a> {
    text: String,
    out: EscapingWriter<&'a mut dyn Write>,
}

impl Pieces<'_> {
    fn push_measured(
        &mut self,
        columns: &[Column],
        rows: &[Vec<Cell>],
        output: TableOutput,
    ) -> Result<TableLayout, Interruption> {
        let layout = TableLayout::of(columns, rows, output);
        layout.write_headings(&mut self.text).map_err(Interruption::format)?;
        rows.iter().try_for_each(|row| self.push_row(&layout, row))?;
        Ok(layout)
    }

    fn push_row(&mut self, layout: &TableLayout, cells: &[Cell]) -> Result<(), Interruption> {
        layout.write_row(cells, &mut self.text).map_err(Interruption::format)?;
        self.write_full()
    }

    /// Write the text once it is long enough.
    fn write_full(&mut self) -> Result<(), Interruption> {
        if self.text.len() < PIECE { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), Interruption> {
        self.out.write_all(self.text.as_bytes()).map_err(Interruption::Output)?;
        self.text.clear();
        Ok(())
    }
}
