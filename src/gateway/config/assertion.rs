//! Settings of assertions: signed statements about the client, sent to upstreams.

use std::path::Path;
use std::time::Duration;

use super::error::ConfigError;
use super::{key, schema};
use crate::mtls::keys::KeySource;
use crate::yaml::reader::Item;
use crate::yaml::values::{duration_of, with_unit};

/// Claims, validity and signing key of assertions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionSettings {
    /// Claim `iss`; `None` for the trust domain.
    pub issuer: Option<String>,
    /// Claim `aud`; `None` for the name of the upstream.
    pub audience: Option<String>,
    /// Validity of one assertion, 1 s to 10 min.
    pub lifetime: Duration,
    /// Signing key; `None` for one that is generated at the start.
    pub key: Option<KeySource>,
}

impl AssertionSettings {
    /// Default of [`AssertionSettings::lifetime`].
    pub const LIFETIME: Duration = Duration::from_secs(30);

    /// Upper limit: a longer-lived assertion could be reused for other requests.
    const LONGEST: Duration = Duration::from_secs(600);

    pub(super) fn read(item: &Item<'_>, base: &Path) -> Option<Self> {
        let mut fields = item.fields(&schema::ASSERTION)?;
        let issuer = fields.optional("issuer").map(|item| item.read(claim));
        let audience = fields.optional("audience").map(|item| item.read(claim));
        let lifetime = fields.optional("lifetime").map(|item| with_unit(&item, lifetime));
        let key = fields.optional("key");
        let key = key::read(key.as_ref(), &mut fields, base);
        fields.finish();
        // Values that could not be read have been reported.
        Some(Self {
            issuer: issuer.flatten(),
            audience: audience.flatten(),
            lifetime: lifetime.flatten().unwrap_or(Self::LIFETIME),
            key,
        })
    }
}

/// Read a claim that verifiers compare; without characters that would be invisible in it.
fn claim(text: &str) -> Result<String, ConfigError> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=255).contains(&text.len()) { Ok(text.to_owned()) } else { Err(ConfigError::Claim) }
}

fn lifetime(text: &str) -> Result<Duration, ConfigError> {
    match duration_of(text) {
        Ok(lifetime) if (Duration::from_secs(1)..=AssertionSettings::LONGEST).contains(&lifetime) => {
            Ok(lifetime)
        }
        _ => Err(ConfigError::AssertionLifetime),
    }
}
