//! Gateways to call, the operator certificate to call them with, and their trust anchors.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use time::{Duration, OffsetDateTime};

use crate::ca::{Authority, Cluster, Target};
use crate::clock::parse_duration;
use crate::error::{Code, Coded};
use crate::files;
use crate::gateway_client::{CallContext, CrlToPush, GatewayEntry, GatewayList, GatewayTrust};
use crate::identity::{Name, Role, role_and_name};
use crate::keys::PrivateKey;
use crate::mtls::tls::ClientCredentials;
use crate::probe::Endpoint;
use crate::revocation::{Crl, ReadCrls, RevocationSet};
use crate::store::{Record, StoreError};
use crate::x509::pem;
use crate::x509::trust::TrustBundle;

use crate::cli::session::CommandSession;
use crate::terminal::report::{Failure, typed};

/// Default timeout of a gateway.
const DEFAULT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Prefix of a failure that precedes any change.
const UNCHANGED: &str = "nothing was changed, because the gateways cannot be called";

/// Options for the gateways to call and the operator.
#[derive(Debug, Args)]
pub(crate) struct GatewayTargets {
    /// A gateway to call; can be repeated [default: all in gateways.yaml]
    #[arg(long = "gateway", value_name = "HOST:PORT")]
    gateways: Vec<Endpoint>,

    /// Identity whose certificate and key are used to call gateways [default: operator in gateways.yaml]
    #[arg(long, value_name = "ROLE/NAME", value_parser = role_and_name, conflicts_with = "operator_cert")]
    operator: Option<(Role, Name)>,

    /// Certificate to call gateways with, instead of one of this home
    #[arg(long, value_name = "FILE", requires = "operator_key")]
    operator_cert: Option<PathBuf>,

    /// Its private key
    #[arg(long, value_name = "FILE", requires = "operator_cert")]
    operator_key: Option<PathBuf>,

    /// Timeout of each gateway [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl GatewayTargets {
    /// The first of these options that is given.
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

    /// True with `--gateway`.
    pub(crate) fn names_gateways(&self) -> bool {
        !self.gateways.is_empty()
    }

    /// [`Self::plan`] of a command that makes a change before it calls. The prefix of a failure rules out the reading
    /// that the change was made and only the push failed.
    pub(crate) fn plan_before_change(&self, session: &CommandSession) -> Result<GatewayCalls, Failure> {
        self.plan(session).map_err(|failure| failure.at(UNCHANGED))
    }

    /// Read the list of gateways and the operator's credentials, without connecting.
    pub(crate) fn plan(&self, session: &CommandSession) -> Result<GatewayCalls, Failure> {
        let listed = listed(session)?;
        let gateways = self.gateways(listed.as_ref())?;
        let credentials = self.credentials(session, self.operator(listed.as_ref()))?;
        Ok(GatewayCalls { gateways, credentials, timeout: self.timeout(), push_command: self.push_command() })
    }

    /// The `crl push` to the same gateways as the same operator, to be typed.
    pub(crate) fn push_command(&self) -> String {
        let mut command = "cluster-ca crl push".to_owned();
        for gateway in &self.gateways {
            command.push_str(&format!(" --gateway {gateway}"));
        }
        if let Some((role, name)) = &self.operator {
            command.push_str(&format!(" --operator {role}/{name}"));
        }
        if let (Some(certificate), Some(key)) = (&self.operator_cert, &self.operator_key) {
            let (certificate, key) = (typed(certificate), typed(key));
            command.push_str(&format!(" --operator-cert {certificate} --operator-key {key}"));
        }
        command
    }

    /// The operator of the options or `gateways.yaml`, unless its files are given.
    pub(crate) fn operator(&self, listed: Option<&GatewayList>) -> Option<(Role, Name)> {
        if self.operator_cert.is_some() {
            return None;
        }
        self.operator.clone().or_else(|| listed.and_then(|listed| listed.operator.clone()))
    }

    pub(crate) fn timeout(&self) -> std::time::Duration {
        self.timeout.map_or(DEFAULT_TIMEOUT, Duration::unsigned_abs)
    }

    pub(crate) fn gateways(&self, listed: Option<&GatewayList>) -> Result<Vec<GatewayEntry>, Failure> {
        if self.gateways.is_empty() {
            return listed.map(|listed| listed.gateways.clone()).ok_or_else(|| {
                Failure::new(Code::usage("usage.gateways"), "no gateways are given")
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

    pub(crate) fn credentials(
        &self,
        session: &CommandSession,
        operator: Option<(Role, Name)>,
    ) -> Result<ClientCredentials, Failure> {
        if let (Some(certificate), Some(key)) = (&self.operator_cert, &self.operator_key) {
            return credentials_from_files(session, certificate, key);
        }
        let (role, name) = operator.ok_or_else(|| {
            Failure::new(Code::usage("usage.operator"), "no operator is given to call the gateways with").with_hint(
                "give an identity among their operators: --operator api-user/admin, or `operator` in gateways.yaml",
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

/// Read `gateways.yaml` in the home, if it exists.
pub(crate) fn listed(session: &CommandSession) -> Result<Option<GatewayList>, Failure> {
    let file = session.home().directory().join(GatewayList::FILE);
    match files::read_write_protected(&file, GatewayList::LIMIT) {
        Ok(bytes) => Ok(Some(GatewayList::parse(&file.display().to_string(), &bytes)?)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// True if the home has a `gateways.yaml`.
pub(crate) fn is_listed(session: &CommandSession) -> bool {
    files::occupied(&session.home().directory().join(GatewayList::FILE))
}

/// Operator of `gateways.yaml` whose certificate or key is not where the inventory records it.
pub(crate) fn missing_operator(session: &CommandSession) -> Option<(Role, Name)> {
    let (role, name) = listed(session).ok().flatten()?.operator?;
    let cluster = Cluster::open(&session.home(), &session.context).ok()?;
    match cluster.export(&Target::Identity(role, name.clone())) {
        Ok(pair) => pair.key_pem.is_none().then_some((role, name)),
        Err(error) => (error.code() == "file.missing").then_some((role, name)),
    }
}

fn credentials_from_files(
    session: &CommandSession,
    certificate: &Path,
    key: &Path,
) -> Result<ClientCredentials, Failure> {
    let chain = pem::certificates(&files::read(certificate, files::SMALL_FILE)?)
        .map_err(|error| Failure::of(&error).about(certificate))?;
    let key = PrivateKey::unlock(key, session.context.unlock.as_ref())
        .map_err(|error| Failure::of(&error).about(key))?;
    Ok(ClientCredentials { chain, key })
}

/// Gateways to call, with the operator's credentials.
pub(crate) struct GatewayCalls {
    pub(crate) gateways: Vec<GatewayEntry>,
    credentials: ClientCredentials,
    timeout: std::time::Duration,
    /// Repeat the push to the same gateways.
    pub(crate) push_command: String,
}

impl GatewayCalls {
    /// Refuse to revoke or suspend the certificate that the gateways are called with: they would reject it, and the
    /// push could not be confirmed. `changed` is the participle of the command.
    pub(crate) fn refuse_among(&self, records: &[Record], changed: &str) -> Result<(), Failure> {
        let own = self.credentials.chain.first().map(|leaf| leaf.serial_number);
        match records.iter().map(|record| record.reservation.serial_number).find(|one| Some(*one) == own) {
            Some(serial_number) => Err(Failure::new(
                Code::refused("gateways.operator_revoked"),
                format!(
                    "certificate {serial_number} is the one used to call the gateways; nothing was {changed}"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Prepare the calls with the trust anchors of this home.
    pub(crate) fn call_context(&self, newest: &NewestCrl) -> Result<CallContext, Failure> {
        let call_context = CallContext::new(&self.credentials, newest.trust.clone(), self.timeout);
        call_context.map_err(|fault| Failure::of(&fault))
    }
}

/// Newest CRL of the home, with its trust bundle.
pub(crate) struct NewestCrl {
    pub(crate) cluster: Cluster,
    pub(crate) list: CrlToPush,
    /// CRL number.
    pub(crate) number: u64,
    pub(crate) trust: GatewayTrust,
}

impl NewestCrl {
    /// Read the CRL in the home. If it is pending, damaged or expired, opens the root's key and signs a
    /// new one.
    pub(crate) fn of(session: &CommandSession) -> Result<Self, Failure> {
        let mut cluster = Cluster::open(&session.home(), &session.context)?;
        let (crl, der) = match cluster.newest_crl()? {
            Some(newest) => newest,
            None => {
                let mut authority = Authority::open(&session.home(), &session.context)?;
                session.report_opened(&authority);
                session.report_left_out(&authority.ensure_crl()?);
                drop(authority);
                cluster = Cluster::open(&session.home(), &session.context)?;
                cluster.verify_crl(&session.home().crl(), session.context.clock.now())?
            }
        };
        let at = session.context.clock.now();
        let bundle = cluster.trust_bundle(at)?;
        let list = CrlToPush::new(&crl, der);
        let crls = crls_of_home(session, crl, &bundle, at)?;
        let trust = GatewayTrust::new(bundle, Some(crls), cluster.trust_domain().clone(), at);
        let number = cluster.inventory().active_issuer()?.crl.map(|crl| crl.number).unwrap_or_default();
        Ok(Self { list, cluster, number, trust })
    }

    /// True if the home has a newer CRL by now.
    pub(crate) fn is_outdated(&self, session: &CommandSession) -> Result<bool, Failure> {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        Ok(cluster.inventory().active_issuer()?.crl.is_some_and(|crl| crl.number > self.number))
    }
}

/// CRLs that the gateways' certificates are verified with: `own`, and those of other roots from `cluster.crl`. During a
/// change of roots, a gateway has a certificate of either.
fn crls_of_home(
    session: &CommandSession,
    own: Crl,
    bundle: &TrustBundle,
    at: OffsetDateTime,
) -> Result<RevocationSet, Failure> {
    let path = session.home().crl();
    let of_file = |error| Failure::of(&error).about(&path);
    let mut read = ReadCrls::read(&files::read(&path, files::CRL_FILE)?, bundle, at).map_err(of_file)?;
    // The file may have been replaced since `own` was read.
    read.trusted.retain(|crl| crl.issuer != own.issuer);
    read.trusted.push(Arc::new(own));
    RevocationSet::newest_read(&read, bundle).map_err(of_file)
}
