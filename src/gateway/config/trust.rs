//! Settings of certificate verification: trust anchors, revocation checking, resumption of sessions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::{issuers, schema};
use crate::mtls::IssuerRoles;
use crate::x509::trust::{TrustBundle, TrustError};
use crate::yaml::reader::Item;
use crate::yaml::values::{ValueError, duration, guarded};

/// Settings for verifying the certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustSettings {
    /// File of the trust anchors.
    pub bundle: PathBuf,
    /// File of CAs below the anchors. They complete the chains of clients, and their CRLs are accepted.
    pub intermediates: Option<PathBuf>,
    /// Treatment of unfit certificates in these two files.
    pub unfit_anchors: UnfitAnchors,
    /// Revocation checking.
    pub revocation: Revocation,
    /// Roles that each issuer may vouch for.
    pub issuers: IssuerRoles,
}

/// Treatment of a trust anchor or intermediate CA that is unfit, such as an expired one.
///
/// To exclude it is the default, since that can only refuse more. To refuse the file keeps the previous, perhaps wider
/// bundle in force, or the gateway from starting, because one of several organizations let its root expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnfitAnchors {
    /// Leave out that one, with an error in the log. A file without any fit one is refused.
    #[default]
    Exclude,
    /// Refuse the file.
    Refuse,
}

impl UnfitAnchors {
    /// Accept or refuse a bundle from which certificates may have been excluded.
    ///
    /// # Errors
    /// The first exclusion, if it refuses the file.
    pub fn apply(self, bundle: TrustBundle) -> Result<TrustBundle, TrustError> {
        match self {
            Self::Exclude => Ok(bundle),
            Self::Refuse => bundle.without_exclusions(),
        }
    }
}

/// Settings of revocation checking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Certificates are checked against CRLs.
    Crls {
        /// Files of CRLs; at least one.
        paths: Vec<PathBuf>,
        /// Time after nextUpdate during which a CRL is accepted; zero by default.
        grace: Duration,
    },
    /// Revocation checking is disabled by `revocation: disabled`.
    Disabled,
}

/// Resumption of TLS sessions, which skips the proof of possession of the private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Every connection needs a full handshake.
    Disabled,
    /// Greatest age of the full handshake.
    MaxAge(Duration),
}

impl Default for Resumption {
    fn default() -> Self {
        Self::MaxAge(Duration::from_secs(8 * 3_600))
    }
}

impl Revocation {
    /// Time after nextUpdate during which a CRL is accepted.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        match self {
            Self::Crls { grace, .. } => *grace,
            Self::Disabled => Duration::ZERO,
        }
    }

    /// Files of CRLs.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Crls { paths, .. } => paths,
            Self::Disabled => &[],
        }
    }
}

impl TrustSettings {
    /// Read `trust`; `disabled` is the value of `revocation`.
    pub(super) fn read(item: &Item<'_>, disabled: Option<&Item<'_>>, base: &Path) -> Option<Self> {
        let mut fields = item.fields(&schema::TRUST)?;
        let bundle = fields.required("bundle").and_then(|item| guarded(&item, base));
        let crl = fields.optional("crl");
        let intermediates = match fields.optional("intermediates") {
            Some(item) => guarded(&item, base).map(Some),
            None => Some(None),
        };
        let unfit_anchors = match fields.optional("unfit_anchors") {
            Some(item) => item.read(unfit_anchors),
            None => Some(UnfitAnchors::default()),
        };
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
                paths.zip(grace).map(|(paths, grace)| Revocation::Crls { paths, grace })
            }
            (None, Some(revocation)) => {
                if let Some(unused) = staleness {
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
        Some(Self {
            bundle: bundle?,
            intermediates: intermediates?,
            unfit_anchors: unfit_anchors?,
            revocation: revocation?,
            issuers: issuers?,
        })
    }
}

impl Resumption {
    /// Read `disabled`, or `{ max_age: 8h }`.
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
        item.report(ValueError::NoFile);
        return None;
    }
    let paths: Vec<_> = items.iter().map(|item| guarded(item, base)).collect();
    paths.into_iter().collect()
}

/// Read `refuse`, or `{ grace: 7d }`.
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

fn unfit_anchors(text: &str) -> Result<UnfitAnchors, ConfigError> {
    match text {
        "exclude" => Ok(UnfitAnchors::Exclude),
        "refuse" => Ok(UnfitAnchors::Refuse),
        _ => Err(ConfigError::UnfitAnchors { given: text.to_owned() }),
    }
}

fn only_disabled(text: &str) -> Result<(), ConfigError> {
    match text {
        "disabled" => Ok(()),
        _ => Err(ConfigError::OnlyDisabled { given: text.to_owned() }),
    }
}
