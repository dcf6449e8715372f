//! `explain-failure HOST:PORT`: cause of a refused connection, with the remedy.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use crate::ca::Home;
use crate::clock::parse_time;
use crate::files;
use crate::keys::PrivateKey;
use crate::mtls::ChainVerifier;
use crate::mtls::crl::CrlsInForce;
use crate::mtls::tls::ClientCredentials;
use crate::probe::{self, AtFault, ClientClaim, Endpoint, RefusalCause, TrustContext};
use crate::revocation::RevocationSet;
use crate::x509::trust::TrustBundle;
use crate::x509::{Certificate, pem};

use crate::cli::session::CommandSession;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::report::{CommandOutcome, CommandResult, Failure};

/// The arguments of `explain-failure`.
#[derive(Debug, Args)]
pub(crate) struct ExplainFailure {
    /// Address of the service, as clients use it
    #[arg(value_name = "HOST:PORT")]
    endpoint: String,

    /// The client's certificate
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The client's private key [default: FILE.key beside the certificate FILE.crt, if it exists and is
    /// not protected; without a key, the certificate is verified but not presented]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// The trust bundle [default: cluster.crt in the home]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The CRL [default: cluster.crl in the home, if it exists]
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,

    /// Verify as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<OffsetDateTime>,
}

impl ExplainFailure {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let endpoint: Endpoint = self.endpoint.parse()?;
        let at = self.at.unwrap_or_else(|| session.context.clock.now());
        let chains = self.trust(&session.home(), at)?;
        let (chain, key) = (self.chain()?, self.key()?);
        let (mut unproved, mut caller) = (None, None);
        match (chain, key) {
            (Some(chain), Some(key)) => caller = Some(ClientCredentials { chain, key }),
            (chain, _) => unproved = chain,
        }
        let claim = match (&caller, &unproved) {
            (Some(caller), _) => ClientClaim::WithKey(caller),
            (None, Some(chain)) => ClientClaim::CertificateOnly(chain),
            (None, None) => ClientClaim::Anonymous,
        };
        let seen = probe::observe(&endpoint, caller.as_ref())?;
        let context = TrustContext { chains: &chains, at };
        let cause = context.diagnose(&endpoint, claim, &seen);
        let works = match (&cause, claim) {
            (Some(_), _) => Some(false),
            (None, ClientClaim::CertificateOnly(_)) => None,
            (None, ClientClaim::Anonymous | ClientClaim::WithKey(_)) => Some(true),
        };
        let remedy = cause.as_ref().map(remedy);
        Ok(Box::new(Explanation { endpoint: endpoint.to_string(), works, cause, remedy }))
    }

    fn chain(&self) -> Result<Option<Vec<Certificate>>, Failure> {
        let Some(path) = &self.cert else { return Ok(None) };
        let chain = pem::certificates(&files::read(path, files::SMALL_FILE)?);
        chain.map(Some).map_err(|error| Failure::of(&error).about(path))
    }

    /// Open the given key, or an unprotected one beside the certificate.
    fn key(&self) -> Result<Option<PrivateKey>, Failure> {
        match (&self.cert, &self.key) {
            (_, Some(path)) => {
                PrivateKey::open(path).map(Some).map_err(|error| Failure::of(&error).about(path))
            }
            (Some(certificate), None) => Ok(PrivateKey::open(&certificate.with_extension("key")).ok()),
            (None, None) => Ok(None),
        }
    }

    fn trust(&self, home: &Home, at: OffsetDateTime) -> Result<ChainVerifier, Failure> {
        let path = self.ca.clone().unwrap_or_else(|| home.certificate());
        let bundle = TrustBundle::from_pem(&files::read(&path, files::SMALL_FILE)?, at)
            .map_err(|error| Failure::of(&error).about(&path))?;
        let path = match &self.crl {
            Some(path) => path.clone(),
            // A client host has a bundle and, in most cases, no CRL.
            None if self.ca.is_some() || !home.crl().exists() => {
                return Ok(ChainVerifier { trust: bundle, revocation: None });
            }
            None => home.crl(),
        };
        let crls = RevocationSet::from_pem(&files::read(&path, files::CRL_FILE)?, &bundle, at)
            .map_err(|error| Failure::of(&error).about(&path))?;
        Ok(ChainVerifier { trust: bundle, revocation: Some(CrlsInForce::without_grace(crls)) })
    }
}

/// Remedy for a cause. A fault of the server's certificate is repaired on the server.
fn remedy(cause: &RefusalCause) -> &'static str {
    let reader = match cause.side {
        AtFault::Client => Audience::Ca,
        AtFault::Server => Audience::Server,
    };
    hint(reader, cause.code.name())
        .unwrap_or("see the server's log at this time: it names the rule that refused")
}

#[derive(Serialize)]
struct Explanation {
    endpoint: String,
    /// `None` if the key of the certificate is not available, so that it was not presented.
    works: Option<bool>,
    #[serde(flatten)]
    cause: Option<RefusalCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl CommandOutcome for Explanation {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.works == Some(false))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, self.remedy) {
            (Some(cause), Some(remedy)) => {
                writeln!(f, "{}: {} [{}]; {remedy}", self.endpoint, cause.message, cause.code)
            }
            _ if self.works.is_none() => writeln!(
                f,
                "{}: no fault in the server or the certificate; --key FILE tests a connection with it",
                self.endpoint
            ),
            _ => writeln!(f, "{}: the connection works", self.endpoint),
        }
    }
}
