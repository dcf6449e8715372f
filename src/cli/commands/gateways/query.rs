//! Query of the CRLs that gateways enforce, before a restore.

use std::collections::BTreeMap;
use std::path::Path;

use crate::ca::Cluster;
use crate::ca::backup::{BackupContents, EnforcedCrl, inspect};
use crate::error::Code;
use crate::gateway_client::{self, CallContext, GatewayList, GatewayTrust};
use crate::identity::{Name, Role};
use crate::keys::PrivateKey;
use crate::mtls::tls::ClientCredentials;
use crate::secret::Secret;
use crate::x509::pem;

use super::push::failure;
use super::target_args::{GatewayTargets, listed};
use crate::cli::session::CommandSession;
use crate::terminal::progress;
use crate::terminal::report::Failure;

impl GatewayTargets {
    /// Queries the CRLs that gateways enforce: those given on the command line, or else in `gateways.yaml`
    /// in the home or the backup.
    ///
    /// An unreachable gateway is noted and skipped. A gateway given with `--gateway` that does not
    /// authenticate as one is an error.
    pub(crate) fn enforced(
        &self,
        session: &CommandSession,
        backup: &Path,
        passphrase: &Secret,
    ) -> Result<Vec<EnforcedCrl>, Failure> {
        let at_home = listed(session)?;
        let look = |listed: Option<&GatewayList>| {
            let pair = self.operator(listed).map(|(role, name)| pair_names(role, &name));
            let wanted =
                |name: &str| name == GatewayList::FILE || pair.iter().flatten().any(|wanted| wanted == name);
            inspect(backup, passphrase, &session.context, wanted)
        };
        let mut inside = look(at_home.as_ref())?;
        let mut listed = at_home;
        if listed.is_none()
            && let Some(bytes) = inside.parts.get(GatewayList::FILE)
        {
            listed = Some(GatewayList::parse(GatewayList::FILE, bytes.expose())?);
            // Only now is the operator known, whose certificate and key are in the backup.
            if self.operator(None).is_none() && self.operator(listed.as_ref()).is_some() {
                inside = look(listed.as_ref())?;
            }
        }
        if !self.names_gateways() && listed.is_none() {
            return match self.given() {
                Some(argument) => Err(Failure::new(
                    Code::usage("usage.gateways"),
                    format!("{argument} is for querying gateways, and no gateway is given"),
                )),
                None => Ok(Vec::new()),
            };
        }
        match self.ask(session, inside, listed.as_ref()) {
            Err(failure) if self.given().is_none() => {
                session
                    .note(format_args!("the gateways in {} were not queried: {failure}", GatewayList::FILE));
                Ok(Vec::new())
            }
            asked => asked,
        }
    }

    fn ask(
        &self,
        session: &CommandSession,
        inside: BackupContents,
        listed: Option<&GatewayList>,
    ) -> Result<Vec<EnforcedCrl>, Failure> {
        let gateways = self.gateways(listed)?;
        let operator = self.operator(listed);
        let pair = operator.as_ref().map(|(role, name)| pair_names(*role, name));
        let credentials = match (pair, Cluster::open(&session.home(), &session.context)) {
            (Some(pair), Err(_)) => credentials_from_backup(&inside.parts, &pair)?,
            _ => self.credentials(session, operator)?,
        };
        let BackupContents { trust: bundle, trust_domain, .. } = inside;
        // The backup's CRL may be expired, so it is not enforced here. A forged answer can at most block
        // the restore, or report no CRL, as a gateway does that is down.
        let trust = GatewayTrust::new(bundle, None, trust_domain, session.context.clock.now());
        let call_context =
            CallContext::new(&credentials, trust, self.timeout()).map_err(|fault| failure(&fault))?;
        let progress = progress::gateways(gateways.len(), session.format());
        let answers = gateway_client::query_status(&gateways, &call_context, || progress.inc(1))
            .map_err(|error| Failure::caused(Code::environment("system.network"), &error))?;
        progress.finish_and_clear();
        let mut enforced = Vec::new();
        for (gateway, answer) in gateways.iter().zip(answers) {
            let gateway = gateway.address.to_string();
            match answer {
                Ok(answered) => enforced.extend(answered.report.crl.into_iter().map(|crl| EnforcedCrl {
                    gateway: gateway.clone(),
                    issuer: crl.issuer,
                    number: crl.number,
                })),
                Err(fault) if fault.is_unreachable() || !self.names_gateways() => {
                    session.note(format_args!("the gateway {gateway} was not queried: {}", failure(&fault)));
                }
                Err(fault) => return Err(failure(&fault).at(gateway)),
            }
        }
        Ok(enforced)
    }
}

/// File names of the certificate and the key of an identity in a backup.
fn pair_names(role: Role, name: &Name) -> [String; 2] {
    ["crt", "key"].map(|end| format!("issued/{}{name}.{end}", role.file_prefix()))
}

fn credentials_from_backup(
    parts: &BTreeMap<String, Secret>,
    pair: &[String; 2],
) -> Result<ClientCredentials, Failure> {
    let part = |name: &String| {
        parts.get(name).ok_or_else(|| {
            Failure::new(
                Code::usage("usage.operator"),
                format!("the backup has no {name}, which is needed to call gateways"),
            )
            .with_hint(
                "give the operator's files with --operator-cert and --operator-key; nothing was changed",
            )
        })
    };
    let [certificate, key] = pair;
    let chain = pem::certificates(part(certificate)?.expose())?;
    let key = PrivateKey::from_pem(part(key)?)?;
    Ok(ClientCredentials { chain, key })
}
