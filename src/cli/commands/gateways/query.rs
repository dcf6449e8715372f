//! What gateways enforce, asked before a backup is put back.

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
use super::target_args::{Reach, listed};
use crate::cli::session::Session;
use crate::terminal::progress;
use crate::terminal::report::Failure;

impl Reach {
    /// The lists that the gateways enforce that are given on the command line, or else in `gateways.yaml` in
    /// the home or the backup. What cannot be reached is told of; whoever answers, and not as such a gateway
    /// does, ends it where he was named to be asked.
    pub(crate) fn enforced(
        &self,
        session: &Session,
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
            // Now it is known whose certificate and key to look for.
            if self.operator(None).is_none() && self.operator(listed.as_ref()).is_some() {
                inside = look(listed.as_ref())?;
            }
        }
        if !self.names_gateways() && listed.is_none() {
            return match self.given() {
                Some(argument) => Err(Failure::new(
                    Code::usage("usage.gateways"),
                    format!("{argument} is for asking gateways, and nobody says which there are"),
                )),
                None => Ok(Vec::new()),
            };
        }
        match self.ask(session, inside, listed.as_ref()) {
            Err(failure) if self.given().is_none() => {
                session.note(format_args!("the gateways in {} were not asked: {failure}", GatewayList::FILE));
                Ok(Vec::new())
            }
            asked => asked,
        }
    }

    fn ask(
        &self,
        session: &Session,
        inside: BackupContents,
        listed: Option<&GatewayList>,
    ) -> Result<Vec<EnforcedCrl>, Failure> {
        let gateways = self.gateways(listed)?;
        let operator = self.operator(listed);
        let pair = operator.as_ref().map(|(role, name)| pair_names(*role, name));
        let caller = match (pair, Cluster::open(&session.home(), &session.context)) {
            (Some(pair), Err(_)) => of_backup(&inside.parts, &pair)?,
            _ => self.caller(session, operator)?,
        };
        let BackupContents { trust: bundle, trust_domain, .. } = inside;
        // The backup's list may be long past its end, and says nothing about what came after it. Whoever
        // lies here can keep a backup from being put back, or say as little as a gateway that is down.
        let trust = GatewayTrust::new(bundle, None, trust_domain, session.context.clock.now());
        let calling = CallContext::new(&caller, trust, self.patience()).map_err(|fault| failure(&fault))?;
        let progress = progress::gateways(gateways.len(), session.format());
        let answers = gateway_client::query_status(&gateways, &calling, || progress.inc(1))
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
                    session.note(format_args!("the gateway {gateway} was not asked: {}", failure(&fault)));
                }
                Err(fault) => return Err(failure(&fault).at(gateway)),
            }
        }
        Ok(enforced)
    }
}

/// What the certificate and the key of an identity are called in a backup.
fn pair_names(role: Role, name: &Name) -> [String; 2] {
    ["crt", "key"].map(|end| format!("issued/{}{name}.{end}", role.file_prefix()))
}

fn of_backup(parts: &BTreeMap<String, Secret>, pair: &[String; 2]) -> Result<ClientCredentials, Failure> {
    let part = |name: &String| {
        parts.get(name).ok_or_else(|| {
            Failure::new(
                Code::usage("usage.operator"),
                format!("the backup has no {name} to call gateways with"),
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
