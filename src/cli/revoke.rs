//! `revoke SERIAL|ROLE/NAME`.

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::ca::{Authority, Revoked, Target};
use crate::clock::rfc3339;
use crate::revocation::RevocationReason;

use super::Session;
use super::report::{CommandResult, Failure, Shown, typed};

/// The arguments of `revoke`.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The certificate: its serial number, or ROLE/NAME such as api-user/alice
    #[arg(value_name = "SERIAL|ROLE/NAME")]
    target: String,

    /// Why, in RFC 5280's words: unspecified, key-compromise, affiliation-changed, superseded,
    /// cessation-of-operation or privilege-withdrawn
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: RevocationReason,

    /// More about it, for the audit log
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Revoke {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let target: Target = self.target.parse()?;
        if !RevocationReason::FOR_LEAVES.contains(&self.reason) {
            let message = format!("{} is not a reason for revoking a leaf certificate", self.reason);
            return Err(Failure::new("usage.reason", message));
        }
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.tell_opened(&authority);
        Ok(Box::new(Shown(Ended(authority.revoke(&target, self.reason, self.comment.as_deref())?))))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Ended(Revoked);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = &self.0;
        writeln!(f, "Revoked {}/{} ({})", ended.role, ended.name, ended.reason)?;
        writeln!(f, "  serial       {}", ended.serial_number)?;
        writeln!(
            f,
            "  CRL          {}  (number {}, until {})",
            typed(&ended.crl),
            ended.crl_number,
            rfc3339(ended.next_update)
        )?;
        writeln!(f)?;
        writeln!(f, "Next: copy the CRL to every gateway, for example")?;
        writeln!(f, "  scp {} root@GATEWAY:/etc/cluster/", typed(&ended.crl))
    }
}
