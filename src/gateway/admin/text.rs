//! Answers as people read them.

use comfy_table::{Table, presets};
use serde_json::Value;

use crate::gateway::admin::request::Request;

/// The heading of a column, or the name of a fact, and where it stands in the answer.
type Field = (&'static str, &'static str);

const STATUS: &[Field] = &[
    ("version", "/version"),
    ("time", "/time"),
    ("generation", "/generation"),
    ("connections", "/connections"),
    ("certificate", "/certificate/serial_number"),
    ("certificate until", "/certificate/not_after"),
    ("key protected by", "/certificate/key/protection"),
    ("key wrapped by", "/certificate/key/wrapping_key"),
    ("trust anchors", "/trust/anchors"),
    ("last reload", "/reload/last_success"),
    ("last reload failed", "/reload/last_error/message"),
    ("a key is awaited", "/reload/awaits_key"),
    ("a restart is needed for", "/reload/needs_restart"),
];

const INTERMEDIATES: &[Field] = &[
    ("INTERMEDIATE AUTHORITY", "/key_identifier"),
    ("SUBJECT", "/subject"),
    ("SERIAL NUMBER", "/serial_number"),
    ("UNTIL", "/not_after"),
    ("REVOKED", "/revoked"),
];

const CRLS: &[Field] = &[
    ("CRL OF ISSUER", "/issuer"),
    ("NUMBER", "/number"),
    ("REVOKED", "/revoked"),
    ("MADE", "/this_update"),
    ("NEXT DUE", "/next_update"),
    ("STANDING", "/standing"),
];

const SESSIONS: &[Field] = &[
    ("SESSION", "/session"),
    ("ROLE", "/role"),
    ("NAME", "/name"),
    ("SERIAL NUMBER", "/serial_number"),
    ("FROM", "/remote"),
    ("TLS", "/tls_version"),
    ("HTTP", "/alpn"),
    ("RESUMED", "/resumed"),
    ("OPEN FOR (s)", "/seconds_open"),
    ("UNDER WAY", "/requests_running"),
    ("EXPIRES", "/expires"),
];

const REJECTED: &[Field] = &[
    ("TIME", "/time"),
    ("FROM", "/remote"),
    ("REASON", "/reason"),
    ("SUBJECT", "/subject"),
    ("SERIAL NUMBER", "/serial_number"),
    ("DETAIL", "/detail"),
];

/// The answer to `request`, as text.
#[must_use]
pub fn describe(request: &Request, result: &Value) -> String {
    match request {
        Request::Close { .. } if result["connections_closed"] == 0 => {
            "No connection is open under that serial number: `sessions` shows those that are.\n".to_owned()
        }
        Request::Close { .. } => format!(
            "{} connection(s) closed. The caller may connect again: to keep it out, revoke its certificate.\n",
            shown(&result["connections_closed"])
        ),
        Request::Rejected => table(REJECTED, result, "no handshake was refused"),
        Request::Reload => format!(
            "Loaded: generation {} is in force, {} connection(s) were cut.\n{}{}",
            shown(&result["generation"]),
            shown(&result["connections_cut"]),
            if result["awaits_key"] == true {
                "A key is being opened still; the certificate before it stays until then.\n"
            } else {
                ""
            },
            match result["needs_restart"].as_array().is_none_or(Vec::is_empty) {
                true => String::new(),
                false => format!("Only a restart can follow: {}.\n", shown(&result["needs_restart"])),
            }
        ),
        Request::Sessions => table(SESSIONS, result, "no connection is open"),
        Request::Status => {
            let crls = table(CRLS, &result["crl"], "revocation is disabled");
            let below = &result["trust"]["intermediates"];
            let below = match below.as_array().is_none_or(Vec::is_empty) {
                true => String::new(),
                false => format!("\n{}", table(INTERMEDIATES, below, "none")),
            };
            format!("{}\n{crls}{below}", facts(STATUS, result))
        }
    }
}

fn facts(fields: &[Field], value: &Value) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = fields.iter().filter_map(|(name, at)| {
        let is_there =
            |value: &&Value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty());
        let value = value.pointer(at).filter(is_there)?;
        Some(format!("{name:width$}  {}\n", shown(value)))
    });
    lines.collect()
}

fn table(columns: &[Field], rows: &Value, none: &str) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|(heading, _)| *heading));
    for row in rows {
        table.add_row(columns.iter().map(|(_, at)| row.pointer(at).map(shown).unwrap_or_default()));
    }
    table.lines().map(|line| format!("{}\n", line.trim())).collect()
}

/// A value without the marks of JSON, and without anything that could move the cursor.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.chars().flat_map(visible).collect(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A character, escaped if it does not show itself.
fn visible(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}
