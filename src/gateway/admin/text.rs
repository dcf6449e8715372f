//! Responses of the admin socket as text.

use serde_json::Value;

use crate::gateway::admin::request::AdminRequest;
use crate::terminal::color::Color;
use crate::terminal::escaped::one_line;
use crate::terminal::table::{Cell, Column, Table, TableOutput, date, to_the_minute};

/// Label, and JSON pointer of the value.
const STATUS: &[(&str, &str)] = &[
    ("version", "/version"),
    ("time", "/time"),
    ("generation", "/generation"),
    ("connections", "/connections"),
    ("certificate", "/certificate/serial_number"),
    ("certificate expires", "/certificate/not_after"),
    ("key protected by", "/certificate/key/protection"),
    ("key wrapped by", "/certificate/key/wrapping_key"),
    ("trust anchors", "/trust/anchors"),
    ("last reload", "/reload/last_success"),
    ("last reload failed", "/reload/last_error/message"),
    ("opening key", "/reload/awaits_key"),
    ("restart needed for", "/reload/needs_restart"),
];

/// Column of a table, and the value in it.
#[derive(Clone, Copy)]
struct Field {
    column: Column,
    /// JSON pointer of the value.
    pointer: &'static str,
    /// Short form of the value, for a table that fits the terminal.
    fitting: Option<fn(&str) -> String>,
    color: Option<fn(&str) -> Color>,
}

impl Field {
    const fn new(column: Column, pointer: &'static str) -> Self {
        Self { column, pointer, fitting: None, color: None }
    }

    const fn fitting(self, form: fn(&str) -> String) -> Self {
        Self { fitting: Some(form), ..self }
    }

    const fn colored(self, color: fn(&str) -> Color) -> Self {
        Self { color: Some(color), ..self }
    }

    fn cell(&self, row: &Value, output: TableOutput) -> Cell {
        let value = row.pointer(self.pointer).map(plain).unwrap_or_default();
        let color = self.color.map(|color| color(&value));
        match (self.fitting, output) {
            (Some(form), TableOutput::Fitting) => Cell::new(form(&value)),
            _ => Cell::new(value),
        }
        .colored(color)
    }
}

const INTERMEDIATES: &[Field] = &[
    Field::new(Column::new("INTERMEDIATE AUTHORITY").flexible(), "/key_identifier"),
    Field::new(Column::new("SUBJECT").flexible(), "/subject"),
    Field::new(Column::new("SERIAL NUMBER").wide(), "/serial_number"),
    Field::new(Column::new("EXPIRES"), "/not_after").fitting(date),
    Field::new(Column::new("REVOKED"), "/revoked").colored(revoked_color),
];

const EXCLUDED: &[Field] = &[Field::new(Column::new("AUTHORITY THAT IS NOT TRUSTED"), "/message")];

const CRLS: &[Field] = &[
    Field::new(Column::new("CRL OF ISSUER").flexible(), "/issuer"),
    Field::new(Column::new("NUMBER").number(), "/number"),
    Field::new(Column::new("REVOKED").number(), "/revoked"),
    Field::new(Column::new("THIS UPDATE").wide(), "/this_update"),
    Field::new(Column::new("NEXT UPDATE"), "/next_update").fitting(date),
    Field::new(Column::new("STATUS"), "/standing").colored(freshness_color),
];

const SESSIONS: &[Field] = &[
    Field::new(Column::new("SESSION").wide(), "/session"),
    Field::new(Column::new("ROLE"), "/role"),
    Field::new(Column::new("NAME").flexible(), "/name"),
    Field::new(Column::new("SERIAL NUMBER").wide(), "/serial_number"),
    Field::new(Column::new("FROM").flexible(), "/remote"),
    Field::new(Column::new("TLS").wide(), "/tls_version"),
    Field::new(Column::new("HTTP").wide(), "/alpn"),
    Field::new(Column::new("RESUMED").wide(), "/resumed"),
    Field::new(Column::new("SECONDS").number(), "/seconds_open"),
    Field::new(Column::new("IN FLIGHT").number(), "/requests_running"),
    Field::new(Column::new("EXPIRES").wide(), "/expires"),
];

const REJECTED: &[Field] = &[
    Field::new(Column::new("TIME"), "/time").fitting(to_the_minute),
    Field::new(Column::new("FROM").flexible(), "/remote"),
    Field::new(Column::new("REASON"), "/reason"),
    Field::new(Column::new("SUBJECT").flexible(), "/subject").fitting(common_name),
    Field::new(Column::new("SERIAL NUMBER").wide(), "/serial_number"),
    Field::new(Column::new("SERVER NAME").flexible(), "/server_name"),
    Field::new(Column::new("DETAIL").wide(), "/detail"),
];

/// Common name in a subject, which ends with it; the subject without one.
fn common_name(subject: &str) -> String {
    subject.rsplit_once("CN=").map_or(subject, |(_, name)| name).to_owned()
}

fn revoked_color(revoked: &str) -> Color {
    if revoked == NO { Color::Good } else { Color::Bad }
}

fn freshness_color(freshness: &str) -> Color {
    match freshness {
        "current" => Color::Good,
        "grace" => Color::Warning,
        _ => Color::Bad,
    }
}

/// Format the result of `request` as text.
#[must_use]
pub(crate) fn describe(request: &AdminRequest, result: &Value, output: TableOutput) -> String {
    let table = |fields, rows: &Value, none| table(fields, rows, none, output);
    match request {
        AdminRequest::Close { .. } if result["connections_closed"] == 0 => {
            "No connection is open with that serial number: `sessions` lists the open ones.\n".to_owned()
        }
        AdminRequest::Close { .. } => format!(
            "{} connection(s) closed. The client may reconnect: to block it, revoke its certificate.\n",
            plain(&result["connections_closed"])
        ),
        AdminRequest::Rejected => table(REJECTED, result, "no handshake was refused"),
        AdminRequest::Reload => format!(
            "Reloaded: generation {} is in force, {} connection(s) were closed.\n{}{}",
            plain(&result["generation"]),
            plain(&result["connections_closed"]),
            if result["awaits_key"] == true {
                "A key is still being opened; the previous certificate stays in force until then.\n"
            } else {
                ""
            },
            match result["needs_restart"].as_array().is_none_or(Vec::is_empty) {
                true => String::new(),
                false => format!("Restart the gateway to apply: {}.\n", plain(&result["needs_restart"])),
            }
        ),
        AdminRequest::Sessions => table(SESSIONS, result, "no connection is open"),
        AdminRequest::Status => {
            let crls = table(CRLS, &result["crl"], "revocation is disabled");
            let trust = &result["trust"];
            let further = |columns, rows: &Value| match rows.as_array().is_none_or(Vec::is_empty) {
                true => String::new(),
                false => format!("\n{}", table(columns, rows, "none")),
            };
            let intermediates = further(INTERMEDIATES, &trust["intermediates"]);
            let excluded = further(EXCLUDED, &trust["excluded"]);
            format!("{}\n{crls}{intermediates}{excluded}", facts(STATUS, result))
        }
    }
}

fn facts(fields: &[(&str, &str)], value: &Value) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = fields.iter().filter_map(|(name, at)| {
        let is_there =
            |value: &&Value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty());
        let value = value.pointer(at).filter(is_there)?;
        Some(format!("{name:width$}  {}\n", plain(value)))
    });
    lines.collect()
}

fn table(fields: &[Field], rows: &Value, none: &str, output: TableOutput) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let columns: Vec<Column> = fields.iter().map(|field| field.column).collect();
    let mut table = Table::new(&columns, output);
    for row in rows {
        table.push(fields.iter().map(|field| field.cell(row, output)));
    }
    table.to_string()
}

const YES: &str = "yes";
const NO: &str = "no";

/// Value without JSON quotes, with control characters escaped.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { YES } else { NO }.to_owned(),
        Value::String(text) => one_line(text),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
