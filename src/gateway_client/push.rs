//! Push of a CRL to every gateway.

use std::cmp::Ordering;
use std::io;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;

use super::context::CallContext;
use super::error::CallError;
use super::fan_out::call_all;
use super::list::GatewayEntry;
use super::messages::{PushResponse, ReportedCrl, crl_of_issuer, parse};
use super::session::{GatewayResponse, GatewaySession};
use super::status::fetch_report;
use crate::revocation::Crl;
use crate::x509::crl::CrlNumber;
use crate::x509::{KeyIdentifier, Sha256};

const CRL_PATH: &str = "/.well-known/cluster/crl";

/// Media type of a DER-encoded CRL (RFC 5280, section 4.2.1.13; RFC 2585).
const PKIX_CRL: &str = "application/pkix-crl";

/// CRL to be enforced by every gateway.
#[derive(Clone, Debug)]
pub struct CrlToPush {
    /// Key identifier of its issuer.
    pub issuer: KeyIdentifier,
    /// CRL number.
    pub number: CrlNumber,
    /// `nextUpdate`.
    pub next_update: OffsetDateTime,
    sha256: Sha256,
    der: Bytes,
}

impl CrlToPush {
    /// Prepare `crl`, whose encoding is `der`.
    #[must_use]
    pub fn new(crl: &Crl, der: Vec<u8>) -> Self {
        Self {
            issuer: crl.issuer.clone(),
            number: crl.number,
            next_update: crl.next_update,
            sha256: crl.sha256,
            der: der.into(),
        }
    }

    /// Compare with the CRL in force at a gateway that reports `crls`. Returns false if that is an older
    /// one.
    ///
    /// # Errors
    /// [`CallError::Ahead`] or [`CallError::NumberReused`] when the CRL in force there is not superseded
    /// by this one; [`CallError::NoCrl`] or [`CallError::Unreadable`] when none can be compared.
    pub fn is_enforced_by(&self, crls: &[ReportedCrl]) -> Result<bool, CallError> {
        let (enforced, pushed) = (crl_of_issuer(crls, &self.issuer)?, self.number);
        match enforced.number.cmp(&pushed) {
            Ordering::Less => Ok(false),
            Ordering::Greater => Err(CallError::Ahead { enforced: enforced.number, pushed }),
            Ordering::Equal if enforced.sha256.is_some_and(|sha256| sha256 != self.sha256) => {
                Err(CallError::NumberReused { number: pushed })
            }
            Ordering::Equal => Ok(true),
        }
    }
}

/// Confirmation that a gateway enforces the CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PushReceipt {
    /// True if the gateway enforced it before the push.
    pub already: bool,
    /// Number of connections that the gateway closed because of it.
    pub connections_closed: u64,
}

/// Push `crl` to every gateway. `on_done` runs after each of them. The results are in the order of
/// `gateways`.
///
/// # Errors
/// [`io::Error`] if the operating system provides no event queue.
pub fn push_crl(
    gateways: &[GatewayEntry],
    context: &CallContext,
    crl: &CrlToPush,
    on_done: impl FnMut(),
) -> io::Result<Vec<Result<PushReceipt, CallError>>> {
    let crl = crl.clone();
    call_all(gateways, context, move |session| push_to_one(session, crl.clone()), on_done)
}

/// Query first, then push: a CRL of a million entries is sent only to a gateway that needs it.
async fn push_to_one(mut session: GatewaySession, crl: CrlToPush) -> Result<PushReceipt, CallError> {
    let report = fetch_report(&mut session).await?;
    match crl.is_enforced_by(&report.crl) {
        Ok(true) => return Ok(PushReceipt { already: true, connections_closed: 0 }),
        // The response to the push explains a missing CRL better than its absence does.
        Ok(false) | Err(CallError::NoCrl) => {}
        Err(error) => return Err(error),
    }
    let response = session.send(Method::PUT, CRL_PATH, Some((PKIX_CRL, crl.der.clone()))).await?;
    let PushResponse { crl: crls, connections_closed } = parse(&accepted(response, &crl)?)?;
    if crl.is_enforced_by(&crls)? {
        return Ok(PushReceipt { already: false, connections_closed });
    }
    let enforced = crl_of_issuer(&crls, &crl.issuer)?.number;
    Err(CallError::Behind { enforced, pushed: crl.number })
}

/// The body of the response to an accepted push.
fn accepted(response: GatewayResponse, crl: &CrlToPush) -> Result<Bytes, CallError> {
    if response.status == StatusCode::CONFLICT {
        // Another push got there between the query and this one.
        let current = response.problem().and_then(|problem| problem.current);
        match current.map(|current| (current, current.cmp(&crl.number))) {
            Some((enforced, Ordering::Greater)) => {
                return Err(CallError::Ahead { enforced, pushed: crl.number });
            }
            Some((number, Ordering::Equal)) => return Err(CallError::NumberReused { number }),
            _ => {}
        }
    }
    response.success()
}
