//! Check of a configuration and all its files.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tracing::subscriber::NoSubscriber;

use crate::clock::{Clock, format_duration, rfc3339};
use crate::error::with_causes;
use crate::gateway::admin::AdminSocket;
use crate::gateway::policy::PolicyWarning;
use crate::gateway::process::load::{load, load_state, loader};
use crate::gateway::process::{GatewayError, RunError};
use crate::gateway::state::StateError;
use crate::keys::Protection;
use crate::mtls::{ClientCertificate, Listener};
use crate::serving::access_log::AccessLog;
use crate::serving::log_file::LogFile;

/// Treatment of private keys in a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCheck {
    /// Leave them closed, as on a machine without access to their KMS or passphrase.
    Skip,
    /// Open each once.
    Open,
}

/// Check the configuration at `path` and all its files, without serving. Keys come last: if one cannot be
/// opened, everything else is valid.
///
/// # Errors
/// [`RunError`] with all problems of the configuration, or the first error of its files.
pub fn check(path: &Path, keys: KeyCheck, clock: &Arc<dyn Clock>) -> Result<CheckReport, RunError> {
    let config = load(path)?;
    if let Some(admin) = &config.admin {
        AdminSocket::check(admin).map_err(GatewayError::from)?;
    }
    if let AccessLog::File(path) = &config.access_log {
        LogFile::check(path).map_err(|source| RunError::AccessLog { path: path.clone(), source })?;
    }
    let mut state = load_state(&config, clock)?;
    if keys == KeyCheck::Open {
        let loader = loader(clock);
        loader.key_opener().try_once(config.keys()).map_err(StateError::from).map_err(GatewayError::from)?;
        // Loaded a second time: its warnings have been logged.
        let load_all = || loader.first(&config).map_err(GatewayError::from);
        state = tracing::subscriber::with_default(NoSubscriber::default(), load_all)?;
    }
    let open = |listener: &&Listener| listener.client_certificate == ClientCertificate::Optional;
    let routes_for_anyone = config.policy.routes().filter(|route| route.is_for_anyone());
    Ok(CheckReport {
        listen: config.listen.iter().map(|listener| listener.address).collect(),
        open: config.listen.iter().filter(open).map(|listener| listener.address).collect(),
        routes_for_anyone: routes_for_anyone.map(|route| route.path.to_string()).collect(),
        routes_with_body: config
            .policy
            .routes()
            .filter(|route| route.content)
            .map(|route| format!("{} for {}", route.path, route.methods.without_content()))
            .collect(),
        warnings: config.policy.warnings(),
        shadow_warnings: config.shadow.as_ref().map(|shadow| shadow.policy.warnings()).unwrap_or_default(),
        shadow_routes: config.shadow.as_ref().map(|shadow| shadow.policy.routes().len()),
        trust_domain: state.verifier.trust_domain().to_string(),
        routes: config.policy.routes().len(),
        upstreams: config.upstreams.len(),
        certificate_not_after: rfc3339(state.credentials.own.leaf.not_after),
        crl_grace: config.trust.revocation.grace().as_secs(),
        crl_next_update: state.verifier.crls().map(|crl| crl.next_update).min().map(rfc3339),
        excluded_authorities: state
            .verifier
            .trust()
            .excluded()
            .iter()
            .map(|error| with_causes(error))
            .collect(),
        key_protection: state.credentials.own.key.as_ref().map(|key| key.protection.clone()),
    })
}

/// Summary of a valid configuration.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// Addresses of the listeners.
    pub listen: Vec<SocketAddr>,
    /// Listeners that accept clients without a certificate.
    pub open: Vec<SocketAddr>,
    /// Routes open to clients without a certificate.
    pub routes_for_anyone: Vec<String>,
    /// Routes that forward content with methods that give it no meaning.
    pub routes_with_body: Vec<String>,
    /// Warnings about routes that contradict each other.
    pub warnings: Vec<PolicyWarning>,
    /// Warnings about routes of the shadow policy.
    pub shadow_warnings: Vec<PolicyWarning>,
    /// Number of routes of the shadow policy.
    pub shadow_routes: Option<usize>,
    /// Trust domain of accepted callers.
    pub trust_domain: String,
    /// Number of routes.
    pub routes: usize,
    /// Number of upstreams.
    pub upstreams: usize,
    /// Expiry of the gateway's certificate.
    pub certificate_not_after: String,
    /// Earliest nextUpdate of its CRLs; `None` if revocation is disabled.
    pub crl_next_update: Option<String>,
    /// Grace period of an expired CRL, in seconds.
    pub crl_grace: u64,
    /// Trust anchors and intermediate CAs that are left out, each with the rule that it violates.
    pub excluded_authorities: Vec<String>,
    /// Protection of the private key; `None` if it was not opened.
    pub key_protection: Option<Protection>,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routes, upstreams, trust_domain, certificate_not_after, .. } = self;
        writeln!(
            f,
            "The configuration is valid: {routes} route(s) to {upstreams} upstream(s) for callers of {trust_domain}."
        )?;
        write!(f, "The gateway's certificate expires at {certificate_not_after}; ")?;
        match &self.crl_next_update {
            Some(next_update) => {
                writeln!(f, "the CRL expires at {next_update}{}.", grace_clause(self.crl_grace))?
            }
            None => writeln!(f, "revocation is disabled.")?,
        }
        match &self.key_protection {
            None => writeln!(f, "The private key was not opened: it may not match the certificate.")?,
            Some(Protection::None) => {}
            Some(protection) => writeln!(f, "The private key was opened; it is protected by: {protection}.")?,
        }
        for excluded in &self.excluded_authorities {
            writeln!(f, "Not trusted, although it is in the files of `trust`: {excluded}.")?;
        }
        for address in &self.open {
            let reached = self.routes_for_anyone.join(", ");
            writeln!(f, "On {address}, clients without a certificate reach {reached}.")?;
        }
        if !self.routes_with_body.is_empty() {
            let routes = self.routes_with_body.join("; ");
            writeln!(f, "A body is forwarded although the method gives it no meaning: {routes}.")?;
        }
        if let Some(routes) = self.shadow_routes {
            writeln!(f, "The shadow policy has {routes} route(s).")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for warning in &self.shadow_warnings {
            writeln!(f, "warning: shadow policy: {warning}")?;
        }
        Ok(())
    }
}

/// Clause on the grace period of an expired CRL; empty without one.
fn grace_clause(grace: u64) -> String {
    match i64::try_from(grace) {
        Ok(0) => String::new(),
        grace => {
            let grace = time::Duration::seconds(grace.unwrap_or(i64::MAX));
            format!(", and is accepted for {} after that", format_duration(grace))
        }
    }
}
