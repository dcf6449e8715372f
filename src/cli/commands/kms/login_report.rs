//! Report of the end of a login.

use std::fmt;

use serde::Serialize;

use crate::keys::kms::{Configuration, KmsService, LoginEnd};

/// End of the login to a service.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct LoginReport(LoginEnd);

impl LoginReport {
    /// Ask the service. `None` if it does not answer: what it is asked for beside this reports that.
    pub(super) fn of(configuration: &Configuration, service: &KmsService) -> Option<Self> {
        configuration.connect(service).and_then(|kms| kms.login_end()).ok().map(Self)
    }
}

impl fmt::Display for LoginReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LoginEnd::Open => Ok(()),
            LoginEnd::At { .. } | LoginEnd::Unknown => writeln!(f, "  login ends   {}", self.0),
        }
    }
}
