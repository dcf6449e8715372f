//! Which gateways are called, as whom, and whom to believe there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use time::Duration;

use crate::ca::{Authority, Cluster, Target};
use crate::clock::parse_duration;
use crate::error::Code;
use crate::files;
use crate::gateway_client::{CallContext, CrlToPush, GatewayEntry, GatewayList, GatewayTrust};
use crate::identity::{Name, Role, role_and_name};
use crate::keys::PrivateKey;
use crate::mtls::tls::ClientCredentials;
use crate::probe::Endpoint;
use crate::revocation::RevocationSet;
use crate::store::{Record, StoreError};
use crate::x509::pem;

use crate::cli::session::Session;
use crate::terminal::report::Failure;

/// How long a gateway may take unless somebody says otherwise.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Which gateways are called, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// A gateway to call; can be repeated [default: all in gateways.yaml]
    #[arg(long = "gateway", value_name = "HOST:PORT")]
    gateways: Vec<Endpoint>,

    /// Whose certificate and key to call with [default: the operator in gateways.yaml]
    #[arg(long, value_name = "ROLE/NAME", value_parser = role_and_name, conflicts_with = "operator_cert")]
    operator: Option<(Role, Name)>,

    /// A certificate to call with, instead of one of this home
    #[arg(long, value_name = "FILE", requires = "operator_key")]
    operator_cert: Option<PathBuf>,

    /// Its private key
    #[arg(long, value_name = "FILE", requires = "operator_cert")]
    operator_key: Option<PathBuf>,

    /// The longest that a gateway may take [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl Reach {
    /// The first argument that says whom to call, as whom or how, if there is one.
    pub(crate) fn given(&self) -> Option<&'static str> {
        [
            (!self.gateways.is_empty(), "--gateway"),
            (self.operator.is_some(), "--operator"),
            (self.operator_cert.is_some(), "--operator-cert"),
            (self.timeout.is_some(), "--timeout"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }

    /// Whether it says which gateways.
    pub(crate) fn names_gateways(&self) -> bool {
        !self.gateways.is_empty()
    }

    /// Reads all that it takes to call them; nobody is called yet.
    pub(crate) fn plan(&self, session: &Session) -> Result<Plan, Failure> {
        let listed = listed(session)?;
        let gateways = self.gateways(listed.as_ref())?;
        let caller = self.caller(session, self.operator(listed.as_ref()))?;
        Ok(Plan { gateways, caller, patience: self.patience() })
    }

    /// Whose certificate and key of the home to call with, if somebody says.
    pub(crate) fn operator(&self, listed: Option<&GatewayList>) -> Option<(Role, Name)> {
        if self.operator_cert.is_some() {
            return None;
        }
        self.operator.clone().or_else(|| listed.and_then(|listed| listed.operator.clone()))
    }

    pub(crate) fn patience(&self) -> std::time::Duration {
        self.timeout.map_or(PATIENCE, Duration::unsigned_abs)
    }

    pub(crate) fn gateways(&self, listed: Option<&GatewayList>) -> Result<Vec<GatewayEntry>, Failure> {
        if self.gateways.is_empty() {
            return listed.map(|listed| listed.gateways.clone()).ok_or_else(|| {
                Failure::new(Code::usage("usage.gateways"), "nobody says which gateways there are")
                    .with_hint("list them in gateways.yaml in the home (see cluster-ca crl push --help), or name one with --gateway")
            });
        }
        let mut taken = HashSet::new();
        if let Some(twice) = self.gateways.iter().find(|address| !taken.insert(*address)) {
            return Err(Failure::new(
                Code::usage("usage.gateways"),
                format!("--gateway {twice} is given twice"),
            )
            .with_hint("name each gateway once"));
        }
        let gateway = |address: &Endpoint| {
            listed.map_or_else(|| GatewayEntry::at(address.clone()), |listed| listed.at(address))
        };
        Ok(self.gateways.iter().map(gateway).collect())
    }

    pub(crate) fn caller(
        &self,
        session: &Session,
        operator: Option<(Role, Name)>,
    ) -> Result<ClientCredentials, Failure> {
        if let (Some(certificate), Some(key)) = (&self.operator_cert, &self.operator_key) {
            return from_files(session, certificate, key);
        }
        let (role, name) = operator.ok_or_else(|| {
            Failure::new(Code::usage("usage.operator"), "nobody says as whom the gateways are called").with_hint(
                "name an identity that is among their operators: --operator api-user/admin, or `operator` in gateways.yaml",
            )
        })?;
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let operator = format!("the operator {role}/{name}");
        let leaf = cluster.export(&Target::Identity(role, name));
        let leaf = leaf.map_err(|error| Failure::from(error).at(&operator))?;
        let serial_number = leaf.record.reservation.serial_number;
        let no_key = || Failure::from(StoreError::NoKey { serial_number }).at(&operator);
        let key = PrivateKey::from_pem(&leaf.key_pem.ok_or_else(no_key)?)?;
        Ok(ClientCredentials { chain: pem::certificates(&leaf.certificate_pem)?, key })
    }
}

/// What `gateways.yaml` in the home says, if it is there.
pub(crate) fn listed(session: &Session) -> Result<Option<GatewayList>, Failure> {
    let file = session.home().directory().join(GatewayList::FILE);
    match files::read(&file, GatewayList::LIMIT) {
        Ok(bytes) => Ok(Some(GatewayList::parse(&file.display().to_string(), &bytes)?)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether the home says which gateways there are.
pub(crate) fn is_listed(session: &Session) -> bool {
    files::occupied(&session.home().directory().join(GatewayList::FILE))
}

fn from_files(session: &Session, certificate: &Path, key: &Path) -> Result<ClientCredentials, Failure> {
    let chain = pem::certificates(&files::read(certificate, files::SMALL_FILE)?)
        .map_err(|error| Failure::of(&error).about(certificate))?;
    let key = PrivateKey::unlock(key, session.context.unlock.as_ref())
        .map_err(|error| Failure::of(&error).about(key))?;
    Ok(ClientCredentials { chain, key })
}

/// Whom to call, and as whom.
pub(crate) struct Plan {
    pub(crate) gateways: Vec<GatewayEntry>,
    caller: ClientCredentials,
    patience: std::time::Duration,
}

impl Plan {
    /// Refuses to revoke the certificate that the gateways are called with: nobody could say afterwards
    /// whether they enforce it.
    pub(crate) fn refuse_among(&self, records: &[Record]) -> Result<(), Failure> {
        let own = self.caller.chain.first().map(|leaf| leaf.serial_number);
        match records.iter().map(|record| record.reservation.serial_number).find(|one| Some(*one) == own) {
            Some(serial_number) => Err(Failure::new(
                Code::refused("gateways.operator_revoked"),
                format!(
                    "certificate {serial_number} is the one that the gateways are called with; nothing was revoked"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Ready to call, believing whom this home believes.
    pub(crate) fn calling(&self, newest: &Newest) -> Result<CallContext, Failure> {
        let calling = CallContext::new(&self.caller, newest.trust.clone(), self.patience);
        calling.map_err(|fault| Failure::of(&fault))
    }
}

/// The newest revocation list of the home, and what it trusts.
pub(crate) struct Newest {
    pub(crate) cluster: Cluster,
    pub(crate) list: CrlToPush,
    /// Its number, as this project gives them.
    pub(crate) number: u64,
    pub(crate) trust: GatewayTrust,
}

impl Newest {
    /// The one in the home; when it is owed, damaged or past its end, the root's key is opened and it is
    /// made.
    pub(crate) fn of(session: &Session) -> Result<Self, Failure> {
        let mut cluster = Cluster::open(&session.home(), &session.context)?;
        let (crl, der) = match cluster.newest_crl()? {
            Some(newest) => newest,
            None => {
                let mut authority = Authority::open(&session.home(), &session.context)?;
                session.tell_opened(&authority);
                authority.ensure_crl()?;
                drop(authority);
                cluster = Cluster::open(&session.home(), &session.context)?;
                cluster.verify_crl(&session.home().crl(), session.context.clock.now())?
            }
        };
        let at = session.context.clock.now();
        let bundle = cluster.trust_bundle(at)?;
        let list = CrlToPush::new(&crl, der);
        let crls =
            RevocationSet::newest_of(&[Arc::new(crl)], &bundle).map_err(|error| Failure::of(&error))?;
        let trust = GatewayTrust::new(bundle, Some(crls), cluster.trust_domain().clone(), at);
        let number = cluster.inventory().active_issuer()?.crl.map(|crl| crl.number).unwrap_or_default();
        Ok(Self { list, cluster, number, trust })
    }

    /// Whether the home has a newer one by now.
    pub(crate) fn is_overtaken(&self, session: &Session) -> Result<bool, Failure> {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        Ok(cluster.inventory().active_issuer()?.crl.is_some_and(|crl| crl.number > self.number))
    }
}
