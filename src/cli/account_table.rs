//! Tables of organizations and users.

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets};

/// Writes rows below a header, without borders.
pub(crate) fn write_table<const COLUMNS: usize>(
    f: &mut fmt::Formatter<'_>,
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> fmt::Result {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.to_string().lines().try_for_each(|line| writeln!(f, "{}", line.trim()))
}
