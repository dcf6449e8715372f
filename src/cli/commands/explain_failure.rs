//! `explain-failure HOST:PORT`: in one line why a connection is refused, and what to do about it.

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

use crate::cli::session::Session;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::report::{CommandResult, Failure, Outcome};

/// The arguments of `explain-failure`.
#[derive(Debug, Args)]
pub(crate) struct ExplainFailure {
    /// Where the service listens, as its callers write it
    #[arg(value_name = "HOST:PORT")]
    endpoint: String,

    /// The caller's certificate
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The caller's private key [default: FILE.key beside the certificate FILE.crt, if it is there and
    /// open; without a key, the certificate is judged and not presented]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// The trust bundle [default: cluster.crt in the home]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The revocation list [default: cluster.crl in the home, if it is there]
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,

    /// Judge as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<OffsetDateTime>,
}

impl ExplainFailure {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
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
        let judge = TrustContext { chains: &chains, at };
        let cause = judge.diagnose(&endpoint, claim, &seen);
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

    /// The key that was named, or one that lies beside the certificate and opens by itself.
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
            // A caller's machine has a bundle and, in most cases, no list.
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

/// What to do about a cause: the server's own certificate is mended where the server is.
fn remedy(cause: &RefusalCause) -> &'static str {
    let reader = match cause.side {
        AtFault::Client => Audience::Ca,
        AtFault::Server => Audience::Server,
    };
    hint(reader, cause.code.name())
        .unwrap_or("see the server's log at this moment: it says which rule refused")
}

#[derive(Serialize)]
struct Explanation {
    endpoint: String,
    /// Whether it does; nobody knows where the key of the certificate is not here.
    works: Option<bool>,
    #[serde(flatten)]
    cause: Option<RefusalCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl Outcome for Explanation {
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
                "{}: nothing is wrong with the server, nor with the certificate; --key FILE tries a connection with it",
                self.endpoint
            ),
            _ => writeln!(f, "{}: the connection works", self.endpoint),
        }
    }
}
