//! Whom to believe, and for how long: trust anchors, what is revoked, resumed sessions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::Item;
use super::{issuers, schema};
use crate::gateway::config::error::ConfigError;
use crate::gateway::config::values::{duration, guarded};
use crate::mtls::IssuerRoles;

/// What callers' certificates are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The file of the trust anchors.
    pub bundle: PathBuf,
    /// What is revoked.
    pub revocation: Revocation,
    /// Which issuer may vouch for which roles.
    pub issuers: IssuerRoles,
}

/// Where to learn which certificates are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// From CRLs.
    Crls {
        /// Their files; at least one.
        paths: Vec<PathBuf>,
        /// The file of the authorities below the anchors that have CRLs of their own.
        intermediates: Option<PathBuf>,
        /// How long after its end a CRL is still relied on; zero unless the configuration says so.
        grace: Duration,
    },
    /// Nowhere: the configuration says `revocation: disabled`.
    Disabled,
}

/// Whether a TLS session may be resumed without the key being proved again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Never.
    Disabled,
    /// As long as its proof is not older than this.
    MaxAge(Duration),
}

impl Default for Resumption {
    fn default() -> Self {
        Self::MaxAge(Duration::from_secs(8 * 3_600))
    }
}

impl Revocation {
    /// How long after its end a CRL is still relied on.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        match self {
            Self::Crls { grace, .. } => *grace,
            Self::Disabled => Duration::ZERO,
        }
    }

    /// The files of CRLs.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Crls { paths, .. } => paths,
            Self::Disabled => &[],
        }
    }
}

impl Trust {
    /// Reads `trust`; `disabled` is what the configuration says under `revocation`.
    pub(super) fn read(item: &Item<'_>, disabled: Option<&Item<'_>>, base: &Path) -> Option<Self> {
        let mut fields = item.fields(&schema::TRUST)?;
        let bundle = fields.required("bundle").and_then(|item| guarded(&item, base));
        let crl = fields.optional("crl");
        let intermediates = fields.optional("intermediates");
        let staleness = fields.optional("crl_staleness");
        let misplaced = fields.misplaced("revocation");
        let issuers = match fields.optional("issuers") {
            Some(item) => issuers::read(&item),
            None => Some(IssuerRoles::default()),
        };
        fields.finish();
        let revocation = match (crl, disabled) {
            (Some(crl), None) => {
                let paths = crls(&crl, base);
                let grace = staleness.map_or(Some(Duration::ZERO), |item| grace(&item));
                let intermediates = match intermediates {
                    Some(item) => guarded(&item, base).map(Some),
                    None => Some(None),
                };
                let read = paths.zip(intermediates).zip(grace);
                read.map(|((paths, intermediates), grace)| Revocation::Crls { paths, intermediates, grace })
            }
            (None, Some(revocation)) => {
                for unused in [intermediates, staleness].into_iter().flatten() {
                    unused.report(ConfigError::UnusedWhenDisabled);
                }
                revocation.read(only_disabled).map(|()| Revocation::Disabled)
            }
            (Some(_), Some(revocation)) => {
                revocation.report(ConfigError::DisabledWithCrl);
                None
            }
            (None, None) => {
                if misplaced.is_none() {
                    item.report(ConfigError::NoCrl);
                }
                None
            }
        };
        if let Some(item) = misplaced {
            item.report(ConfigError::RevocationInTrust);
        }
        Some(Self { bundle: bundle?, revocation: revocation?, issuers: issuers? })
    }
}

impl Resumption {
    /// Reads `disabled`, or `{ max_age: 8h }`.
    pub(super) fn read(item: &Item<'_>) -> Option<Self> {
        if item.is_text() {
            return item.read(only_disabled).map(|()| Self::Disabled);
        }
        let mut fields = item.fields(&schema::RESUMPTION)?;
        let max_age = fields.required("max_age").and_then(|item| duration(&item));
        fields.finish();
        max_age.map(Self::MaxAge)
    }
}

fn crls(item: &Item<'_>, base: &Path) -> Option<Vec<PathBuf>> {
    let items = item.one_or_more();
    if items.is_empty() {
        item.report(ConfigError::NoFile);
        return None;
    }
    let paths: Vec<_> = items.iter().map(|item| guarded(item, base)).collect();
    paths.into_iter().collect()
}

/// Reads `refuse`, or `{ grace: 7d }`.
fn grace(item: &Item<'_>) -> Option<Duration> {
    if item.is_text() {
        return item.read(|text| match text {
            "refuse" => Ok(Duration::ZERO),
            _ => Err(ConfigError::Staleness { given: text.to_owned() }),
        });
    }
    let mut fields = item.fields(&schema::STALENESS)?;
    let grace = fields.required("grace").and_then(|item| duration(&item));
    fields.finish();
    grace
}

fn only_disabled(text: &str) -> Result<(), ConfigError> {
    match text {
        "disabled" => Ok(()),
        _ => Err(ConfigError::OnlyDisabled { given: text.to_owned() }),
    }
}
