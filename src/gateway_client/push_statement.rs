//! Push of the statement about tokens to every gateway.

use std::io;

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use super::context::CallContext;
use super::error::CallError;
use super::fan_out::call_all;
use super::list::GatewayEntry;
use super::messages::{StatementResponse, parse};
use super::session::GatewaySession;
use super::status::fetch_report;
use crate::x509::Sha256;

const TOKENS_PATH: &str = "/.well-known/cluster/tokens";

/// Media type of a JWS in compact form (RFC 7515, section 9.2.1).
const JOSE: &str = "application/jose";

/// Statement to be enforced by every gateway that accepts tokens.
#[derive(Clone, Debug)]
pub struct StatementToPush {
    /// Number of the statement.
    pub number: u64,
    sha256: Sha256,
    text: Bytes,
}

impl StatementToPush {
    /// Prepare the statement of this number with this text.
    #[must_use]
    pub fn new(number: u64, text: Vec<u8>) -> Self {
        Self { number, sha256: Sha256::of(&text), text: text.into() }
    }
}

/// Confirmation of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementReceipt {
    /// It enforced the statement before the push.
    Already,
    /// It enforces the statement now.
    Enforced,
    /// It accepts no tokens, so that there is nothing to enforce.
    NoTokens,
}

/// Push `statement` to every gateway. `on_done` runs after each of them. The results are in the order of `gateways`.
///
/// # Errors
/// [`io::Error`] if the operating system provides no event queue.
pub fn push_statement(
    gateways: &[GatewayEntry],
    context: &CallContext,
    statement: &StatementToPush,
    on_done: impl FnMut(),
) -> io::Result<Vec<Result<StatementReceipt, CallError>>> {
    let statement = statement.clone();
    call_all(gateways, context, move |session| push_to_one(session, statement.clone()), on_done)
}

/// Query first: most gateways may accept no tokens, or have read the file.
async fn push_to_one(
    mut session: GatewaySession,
    statement: StatementToPush,
) -> Result<StatementReceipt, CallError> {
    let Some(enforced) = fetch_report(&mut session).await?.tokens else {
        return Ok(StatementReceipt::NoTokens);
    };
    if enforced.sha256 == statement.sha256 {
        return Ok(StatementReceipt::Already);
    }
    let body = Some((JOSE, statement.text.clone()));
    let response = session.send(Method::PUT, TOKENS_PATH, body).await?.success()?;
    match parse::<StatementResponse>(&response)?.tokens {
        Some(enforced) if enforced.sha256 == statement.sha256 => Ok(StatementReceipt::Enforced),
        _ => Err(CallError::Unreadable { why: "it accepted the statement and reports another one".into() }),
    }
}
