//! Preconditions (RFC 9110, section 13): `If-Match` on changes, `If-None-Match` on queries.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use super::problem::Problem;
use crate::error::Code;
use crate::store::Record;
use crate::x509::Sha256;

/// Entity tag of the state of a certificate: it changes with each renewal, revocation, hold and release.
pub(super) fn etag(record: &Record) -> String {
    let state = format!(
        "{} {:?} {:?} {:?} {:?}",
        record.id(),
        record.issue.map(|issue| issue.fingerprint),
        record.revocation,
        record.release_entry,
        record.superseded_by
    );
    tag(&Sha256::of(state.as_bytes()))
}

/// Entity tag of a digest.
pub(super) fn tag(digest: &Sha256) -> String {
    let text = digest.to_string();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(32).collect();
    format!("\"{digits}\"")
}

/// Value of a tag for `ETag`.
pub(super) fn header(tag: &str) -> HeaderValue {
    HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// `If-Match` of a request: the tags that it accepts.
pub(super) fn if_match(headers: &HeaderMap) -> Option<String> {
    list(headers, IF_MATCH)
}

/// Refuse a change if the certificate is in another state than the caller has seen.
pub(super) fn check(if_match: Option<&str>, record: &Record) -> Result<(), Problem> {
    match if_match {
        Some(accepted) if !lists(accepted, &etag(record)) => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            Code::refused("server.changed_meanwhile"),
            format!("certificate {} was changed meanwhile: read it again", record.reservation.serial_number),
        )),
        _ => Ok(()),
    }
}

/// True if the caller has this state already.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    list(headers, IF_NONE_MATCH).is_some_and(|known| lists(&known, tag))
}

fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// True if a list of tags has this one, or is `*`. A weak tag matches none: changes need the strong comparison.
fn lists(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one == tag)
}
