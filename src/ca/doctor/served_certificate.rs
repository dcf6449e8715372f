//! Check of the certificate that a live endpoint serves.

use time::Duration;

use super::codes::DoctorCode;
use super::finding::{Examination, Severity};
use crate::ca::cluster::Cluster;
use crate::ca::context::Context;
use crate::ca::error::CaError;
use crate::ca::home::directory::Home;
use crate::ca::target::Target;
use crate::ca::verify::Expectation;
use crate::clock::rfc3339;
use crate::identity::Host;
use crate::x509::Certificate;
use crate::x509::trust::Purpose;

/// A served certificate is reported this long before it expires.
const EXPIRY_WARNING: Duration = Duration::days(30);

/// Check the chain that a server presented for `host`: trust, name, revocation, and whether it is the
/// newest of its identity.
///
/// # Errors
/// [`CaError`] if the home cannot be read.
pub fn examine_served(
    home: &Home,
    context: &Context,
    chain: &[Certificate],
    host: &Host,
    found: &mut Examination,
) -> Result<(), CaError> {
    let cluster = Cluster::open(home, context)?;
    let at = context.now();
    let expected = Expectation { purpose: Some(Purpose::Server), host: Some(host.clone()), at };
    let verdict = cluster.verify(chain, &expected)?;
    for rule in &verdict.broken {
        found.add(
            Severity::Error,
            rule.code.name(),
            format!("the certificate served at {host}: {}", rule.message),
        );
    }
    if verdict.not_after >= at && verdict.not_after < at.saturating_add(EXPIRY_WARNING) {
        let end = rfc3339(verdict.not_after);
        let message = format!("the certificate served at {host} expires at {end}");
        found.add(Severity::Warning, DoctorCode::ServedEndsSoon.name(), message);
    }
    let records = cluster.candidates(&Target::Serial(verdict.serial_number))?;
    if let Some(newer) = records.iter().find_map(|record| record.superseded_by.as_ref()) {
        let message = format!(
            "{host} serves certificate {}, which was replaced by {}",
            verdict.serial_number, newer.serial_number
        );
        found.add(Severity::Warning, DoctorCode::ServedSuperseded.name(), message);
    }
    Ok(())
}
