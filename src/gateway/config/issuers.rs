//! Roles that each issuer may vouch for, from `trust.issuers`.

use super::error::ConfigError;
use crate::identity::Role;
use crate::mtls::IssuerRoles;
use crate::x509::KeyIdentifier;
use crate::yaml::reader::Item;

/// Read a mapping of key identifiers to lists of roles.
pub(super) fn read(item: &Item<'_>) -> Option<IssuerRoles> {
    let named = item.named();
    if named.is_empty() {
        item.report(ConfigError::NoIssuers);
    }
    let mut issuers: Vec<(KeyIdentifier, Vec<Role>)> = Vec::with_capacity(named.len());
    for (name, item) in named {
        match name.parse() {
            Ok(issuer) if issuers.iter().any(|(other, _)| *other == issuer) => {
                item.report(ConfigError::Repeated)
            }
            Ok(issuer) => issuers.push((issuer, roles(&item)?)),
            Err(error) => item.report(error),
        }
    }
    (!issuers.is_empty()).then(|| IssuerRoles::new(issuers))
}

fn roles(item: &Item<'_>) -> Option<Vec<Role>> {
    let roles = item.list()?.into_iter().map(|item| item.read(str::parse));
    roles.collect()
}
