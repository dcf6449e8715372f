//! Environment variables, those of the command lines of OpenBao and Vault among them.

use std::env;

/// Address of the service.
pub(crate) const ADDRESS: &[&str] = &["BAO_ADDR", "VAULT_ADDR"];

/// File with the CA of its certificate, in PEM.
pub(crate) const CA_CERTIFICATE: &[&str] = &["BAO_CACERT", "VAULT_CACERT"];

/// Namespace of the engine and of the login.
pub(crate) const NAMESPACE: &[&str] = &["BAO_NAMESPACE", "VAULT_NAMESPACE"];

/// The text of a variable. An empty one counts as not set.
pub(crate) fn text(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|text| !text.is_empty())
}

/// The first variable that is set, with its text.
pub(crate) fn first(variables: &[&'static str]) -> Option<(&'static str, String)> {
    variables.iter().find_map(|variable| Some((*variable, text(variable)?)))
}
