//! What gateways enforce, asked before a backup is put back.

use std::collections::BTreeMap;
use std::path::Path;

use crate::ca::Cluster;
use crate::ca::backup::{EnforcedCrl, Inside, look_into};
use crate::gateways::{self, Calling, Gateways, Trust};
use crate::identity::{Name, Role};
use crate::keys::PrivateKey;
use crate::probe::Caller;
use crate::secret::Secret;
use crate::x509::pem;

use super::super::report::Failure;
use super::super::{Session, progress};
use super::pushed::failure;
use super::reach::{Reach, is_listed, listed};

impl Reach {
    /// The lists that the gateways given on the command line enforce. What cannot be reached is told of;
    /// whoever answers, and not as such a gateway does, ends it: he was named to be asked.
    pub(in crate::cli) fn enforced(
        &self,
        session: &Session,
        backup: &Path,
        passphrase: &Secret,
    ) -> Result<Vec<EnforcedCrl>, Failure> {
        if !self.names_gateways() {
            if let Some(argument) = self.given() {
                let message = format!("{argument} is for asking gateways, and no --gateway is given");
                return Err(Failure::new("usage.gateways", message));
            }
            if is_listed(session) {
                session.note("no gateway is asked which list it enforces: --gateway HOST:PORT does");
            }
            return Ok(Vec::new());
        }
        let at_home = listed(session)?;
        let mut operator = self.operator(at_home.as_ref());
        let look = |operator: Option<&(Role, Name)>| {
            let pair = operator.map(|(role, name)| pair_names(*role, name));
            let wanted =
                |name: &str| name == Gateways::FILE || pair.iter().flatten().any(|wanted| wanted == name);
            look_into(backup, passphrase, &session.context, wanted)
        };
        let mut inside = look(operator.as_ref())?;
        let listed = match (at_home, inside.parts.get(Gateways::FILE)) {
            (Some(at_home), _) => Some(at_home),
            (None, Some(bytes)) => Some(Gateways::parse(Gateways::FILE, bytes.expose())?),
            (None, None) => None,
        };
        if operator.is_none() {
            // Only the backup says who: then his files are in it, if anywhere.
            operator = self.operator(listed.as_ref());
            if operator.is_some() {
                inside = look(operator.as_ref())?;
            }
        }
        let gateways = self.gateways(listed.as_ref())?;
        let caller = match (&operator, Cluster::open(&session.home(), &session.context)) {
            (Some((role, name)), Err(_)) => of_backup(&inside.parts, &pair_names(*role, name))?,
            _ => self.caller(session, operator)?,
        };
        let Inside { trust: bundle, trust_domain, .. } = inside;
        // The backup's list may be long past its end, and says nothing about what came after it. Whoever
        // lies here can keep a backup from being put back, or say as little as a gateway that is down.
        let trust = Trust { bundle, crls: None, trust_domain, at: session.context.clock.now() };
        let calling = Calling::new(&caller, trust, self.patience()).map_err(|fault| failure(&fault))?;
        let progress = progress::gateways(gateways.len(), session);
        let answers = gateways::status(&gateways, &calling, || progress.inc(1))
            .map_err(|error| Failure::of("system.network", &error))?;
        progress.finish_and_clear();
        let mut enforced = Vec::new();
        for (gateway, answer) in gateways.iter().zip(answers) {
            let gateway = gateway.address.to_string();
            match answer {
                Ok(answered) => enforced.extend(answered.reported.crl.into_iter().map(|crl| EnforcedCrl {
                    gateway: gateway.clone(),
                    issuer: crl.issuer,
                    number: crl.number,
                })),
                Err(fault) if fault.is_unreachable() => {
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

fn of_backup(parts: &BTreeMap<String, Secret>, pair: &[String; 2]) -> Result<Caller, Failure> {
    let part = |name: &String| {
        parts.get(name).ok_or_else(|| {
            Failure::new("usage.operator", format!("the backup has no {name} to call gateways with"))
                .with_hint(
                    "give the operator's files with --operator-cert and --operator-key; nothing was changed",
                )
        })
    };
    let [certificate, key] = pair;
    let chain = pem::certificates(part(certificate)?.expose())?;
    let key = PrivateKey::from_pem(part(key)?)?;
    Ok(Caller { chain, key })
}
