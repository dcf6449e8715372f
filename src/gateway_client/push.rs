//! A revocation list on its way to every gateway.

use std::cmp::Ordering;
use std::io;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

use super::context::Calling;
use super::error::Fault;
use super::fan_out::ask_all;
use super::list::Gateway;
use super::messages::{CrlInForce, Pushed, only_of, read};
use super::session::{Answer, Conversation};
use super::status::report;
use crate::revocation::Crl;
use crate::x509::crl::CrlNumber;
use crate::x509::{KeyIdentifier, Sha256};

const CRL: &str = "/.well-known/cluster/crl";

/// The media type of a CRL in DER (RFC 5280, section 4.2.1.13; RFC 2585).
const PKIX_CRL: &str = "application/pkix-crl";

/// A list that every gateway is to enforce.
#[derive(Clone, Debug)]
pub struct RevocationList {
    /// The key that signed it.
    pub issuer: KeyIdentifier,
    /// Its number.
    pub number: CrlNumber,
    sha256: Sha256,
    der: Bytes,
}

impl RevocationList {
    /// The list `crl`, whose DER is `der`.
    #[must_use]
    pub fn new(crl: &Crl, der: Vec<u8>) -> Self {
        Self { issuer: crl.issuer.clone(), number: crl.number, sha256: crl.sha256, der: der.into() }
    }

    /// Whether `crls`, which a gateway says it enforces, have this one. `Ok(false)` is an older one.
    ///
    /// # Errors
    /// [`Fault::Ahead`] or [`Fault::NumberReused`] when it has another one that does not give way to this,
    /// and what keeps it from being told.
    pub fn is_among(&self, crls: &[CrlInForce]) -> Result<bool, Fault> {
        let (enforced, pushed) = (only_of(crls, &self.issuer)?, self.number);
        match enforced.number.cmp(&pushed) {
            Ordering::Less => Ok(false),
            Ordering::Greater => Err(Fault::Ahead { enforced: enforced.number, pushed }),
            Ordering::Equal if enforced.sha256.is_some_and(|sha256| sha256 != self.sha256) => {
                Err(Fault::NumberReused { number: pushed })
            }
            Ordering::Equal => Ok(true),
        }
    }
}

/// A gateway that enforces the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Enforced {
    /// Whether it did before.
    pub already: bool,
    /// How many connections it has cut.
    pub connections_cut: u64,
}

/// Has every gateway enforce `list`; `ended` is told each time one of them is through. The answers are
/// in the order of the gateways.
///
/// # Errors
/// When the system does not let anybody wait for the network.
pub fn push(
    gateways: &[Gateway],
    calling: &Calling,
    list: &RevocationList,
    ended: impl FnMut(),
) -> io::Result<Vec<Result<Enforced, Fault>>> {
    let list = list.clone();
    let enforce = move |conversation| enforce(conversation, list.clone());
    ask_all(gateways, calling, enforce, ended)
}

/// Asks first: a list of a million certificates is not sent to somebody who has it, or will not take it.
async fn enforce(mut gateway: Conversation, list: RevocationList) -> Result<Enforced, Fault> {
    let reported = report(&mut gateway).await?;
    match list.is_among(&reported.crl) {
        Ok(true) => return Ok(Enforced { already: true, connections_cut: 0 }),
        // Whoever has no list of ours says why when it is given one.
        Ok(false) | Err(Fault::NoCrl) => {}
        Err(fault) => return Err(fault),
    }
    let answer = gateway.ask(Method::PUT, CRL, Some((PKIX_CRL, list.der.clone()))).await?;
    let body = taken(answer, &list)?;
    let Pushed { crl, connections_cut } = read(&body)?;
    if list.is_among(&crl)? {
        return Ok(Enforced { already: false, connections_cut });
    }
    let enforced = only_of(&crl, &list.issuer)?.number;
    Err(Fault::Behind { enforced, pushed: list.number })
}

/// The answer to a list that was taken.
fn taken(answer: Answer, list: &RevocationList) -> Result<Bytes, Fault> {
    if answer.status == StatusCode::CONFLICT {
        let problem = answer.problem();
        // Somebody was faster with another one.
        match problem.current.map(|current| (current, current.cmp(&list.number))) {
            Some((enforced, Ordering::Greater)) => {
                return Err(Fault::Ahead { enforced, pushed: list.number });
            }
            Some((number, Ordering::Equal)) => return Err(Fault::NumberReused { number }),
            _ => {}
        }
    }
    answer.success()
}
