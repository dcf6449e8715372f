//! Status query to every gateway.

use std::io;

use http::Method;

use super::context::CallContext;
use super::error::CallError;
use super::fan_out::call_all;
use super::list::GatewayEntry;
use super::messages::{ReportedCrl, StatusReport, crl_of_issuer, parse};
use super::session::GatewaySession;
use crate::x509::{Certificate, KeyIdentifier};

const STATUS_PATH: &str = "/.well-known/cluster/status";

/// Status of a gateway: its own report, and the certificate that it authenticated with.
#[derive(Clone, Debug)]
pub struct GatewayStatus {
    /// Report of the gateway.
    pub report: StatusReport,
    /// Leaf certificate of the gateway.
    pub certificate: Certificate,
}

impl GatewayStatus {
    /// The CRL of `issuer` in force at the gateway.
    ///
    /// # Errors
    /// [`CallError::NoCrl`], or [`CallError::Unreadable`] if the gateway reports several.
    pub fn crl(&self, issuer: &KeyIdentifier) -> Result<&ReportedCrl, CallError> {
        crl_of_issuer(&self.report.crl, issuer)
    }
}

/// Query the status of every gateway. `on_done` runs after each answer. The results are in the order of
/// `gateways`.
///
/// # Errors
/// [`io::Error`] if the operating system provides no event queue.
pub fn query_status(
    gateways: &[GatewayEntry],
    context: &CallContext,
    on_done: impl FnMut(),
) -> io::Result<Vec<Result<GatewayStatus, CallError>>> {
    call_all(gateways, context, query, on_done)
}

async fn query(mut session: GatewaySession) -> Result<GatewayStatus, CallError> {
    Ok(GatewayStatus { report: fetch_report(&mut session).await?, certificate: session.certificate })
}

/// Fetch the status report over an open session.
pub(super) async fn fetch_report(session: &mut GatewaySession) -> Result<StatusReport, CallError> {
    parse(&session.send(Method::GET, STATUS_PATH, None).await?.success()?)
}
