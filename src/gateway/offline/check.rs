//! Check of a configuration and of the files that it names.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tracing::subscriber::NoSubscriber;

use crate::clock::{Clock, format_duration, rfc3339};
use crate::gateway::admin::AdminSocket;
use crate::gateway::config::AccessLog;
use crate::gateway::process::load::{load, load_state, loader};
use crate::gateway::process::{GatewayError, RunError};
use crate::gateway::state::StateError;
use crate::gateway::telemetry::log_file::LogFile;
use crate::keys::Protection;
use crate::mtls::{ClientCertificate, Listener};

/// Whether private keys are opened to see whether they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They are not: what opens them may be out of reach.
    Left,
    /// They are, by whatever it takes; it is tried once.
    Opened,
}

/// Reads the configuration in `path` and everything it names, and says what it comes to. Nothing is
/// served. The keys come last: where one cannot be opened, everything else is good.
///
/// # Errors
/// [`RunError`] with every problem of the configuration, or the first of the files it names.
pub fn check(path: &Path, keys: Keys, clock: &Arc<dyn Clock>) -> Result<Checked, RunError> {
    let config = load(path)?;
    if let Some(admin) = &config.admin {
        AdminSocket::check(admin).map_err(GatewayError::from)?;
    }
    if let AccessLog::File(path) = &config.access_log {
        LogFile::check(path).map_err(|source| RunError::AccessLog { path: path.clone(), source })?;
    }
    let mut state = load_state(&config, clock)?;
    if keys == Keys::Opened {
        let loader = loader(clock);
        loader.key_opener().try_once(config.keys()).map_err(StateError::from).map_err(GatewayError::from)?;
        // What there is to say of everything else has been said.
        let quietly = || loader.first(&config).map_err(GatewayError::from);
        state = tracing::subscriber::with_default(NoSubscriber::default(), quietly)?;
    }
    let open = |listener: &&Listener| listener.client_certificate == ClientCertificate::Optional;
    let for_anyone = config.policy.routes().filter(|route| route.is_for_anyone());
    Ok(Checked {
        listen: config.listen.iter().map(|listener| listener.address).collect(),
        open: config.listen.iter().filter(open).map(|listener| listener.address).collect(),
        routes_for_anyone: for_anyone.map(|route| route.path.to_string()).collect(),
        shadow_routes: config.shadow.as_ref().map(|shadow| shadow.policy.routes().len()),
        trust_domain: state.verifier.trust_domain().to_string(),
        routes: config.policy.routes().len(),
        upstreams: config.upstreams.len(),
        certificate_not_after: rfc3339(state.credentials.own.leaf.not_after),
        crl_grace: config.trust.revocation.grace().as_secs(),
        crl_next_update: state.verifier.crls().map(|crl| crl.next_update).min().map(rfc3339),
        key_protection: state.credentials.own.key.as_ref().map(|key| key.protection.clone()),
    })
}

/// What a configuration without a problem comes to.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where it lets callers without a certificate in.
    pub open: Vec<SocketAddr>,
    /// The routes that those reach.
    pub routes_for_anyone: Vec<String>,
    /// How many routes there are in the policy that is tried.
    pub shadow_routes: Option<usize>,
    /// Whose callers it lets in.
    pub trust_domain: String,
    /// How many routes there are.
    pub routes: usize,
    /// How many services are behind it.
    pub upstreams: usize,
    /// Until when its own certificate holds.
    pub certificate_not_after: String,
    /// When the first of its CRLs ends; none where revocation is disabled.
    pub crl_next_update: Option<String>,
    /// How many seconds after its end a CRL is still relied on.
    pub crl_grace: u64,
    /// What protects its key, which was opened; none where it was left.
    pub key_protection: Option<Protection>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routes, upstreams, trust_domain, certificate_not_after, .. } = self;
        writeln!(
            f,
            "The configuration is good: {routes} route(s) to {upstreams} upstream(s) for callers of {trust_domain}."
        )?;
        write!(f, "The gateway's certificate holds until {certificate_not_after}; ")?;
        match &self.crl_next_update {
            Some(next_update) => writeln!(f, "the CRL holds until {next_update}{}.", after(self.crl_grace))?,
            None => writeln!(f, "revocation is disabled.")?,
        }
        match &self.key_protection {
            None => writeln!(f, "Its key was not opened, and may not be the certificate's.")?,
            Some(Protection::None) => {}
            Some(protection) => writeln!(f, "Its key was opened; it is protected by: {protection}.")?,
        }
        for address in &self.open {
            let reached = self.routes_for_anyone.join(", ");
            writeln!(f, "On {address}, callers without a certificate reach {reached}.")?;
        }
        if let Some(routes) = self.shadow_routes {
            writeln!(f, "A policy of {routes} route(s) is tried beside it.")?;
        }
        Ok(())
    }
}

/// How long a list is relied on after its end, as a part of a sentence.
fn after(grace: u64) -> String {
    match i64::try_from(grace) {
        Ok(0) => String::new(),
        grace => {
            let grace = time::Duration::seconds(grace.unwrap_or(i64::MAX));
            format!(", and is relied on for {} after that", format_duration(grace))
        }
    }
}
