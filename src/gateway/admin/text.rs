//! Responses of the admin socket as text.

use comfy_table::{Table, presets};
use serde_json::Value;

use crate::gateway::admin::request::AdminRequest;
use crate::terminal::escaped::one_line;

/// Heading or label, and JSON pointer of the value.
type Field = (&'static str, &'static str);

const STATUS: &[Field] = &[
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

const INTERMEDIATES: &[Field] = &[
    ("INTERMEDIATE AUTHORITY", "/key_identifier"),
    ("SUBJECT", "/subject"),
    ("SERIAL NUMBER", "/serial_number"),
    ("EXPIRES", "/not_after"),
    ("REVOKED", "/revoked"),
];

const EXCLUDED: &[Field] = &[("AUTHORITY THAT IS NOT TRUSTED", "/message")];

const CRLS: &[Field] = &[
    ("CRL OF ISSUER", "/issuer"),
    ("NUMBER", "/number"),
    ("REVOKED", "/revoked"),
    ("THIS UPDATE", "/this_update"),
    ("NEXT UPDATE", "/next_update"),
    ("STATUS", "/standing"),
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
    ("IN FLIGHT", "/requests_running"),
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

/// Format the result of `request` as text.
#[must_use]
pub fn describe(request: &AdminRequest, result: &Value) -> String {
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
            "Reloaded: generation {} is in force, {} connection(s) were cut.\n{}{}",
            plain(&result["generation"]),
            plain(&result["connections_cut"]),
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

fn facts(fields: &[Field], value: &Value) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = fields.iter().filter_map(|(name, at)| {
        let is_there =
            |value: &&Value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty());
        let value = value.pointer(at).filter(is_there)?;
        Some(format!("{name:width$}  {}\n", plain(value)))
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
        table.add_row(columns.iter().map(|(_, at)| row.pointer(at).map(plain).unwrap_or_default()));
    }
    table.lines().map(|line| format!("{}\n", line.trim())).collect()
}

/// Value without JSON quotes, with control characters escaped.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => one_line(text),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
