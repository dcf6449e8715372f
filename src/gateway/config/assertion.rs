//! Whether and how the service behind gets a signed statement about each caller.

use std::path::Path;
use std::time::Duration;

use super::reader::Item;
use super::{key, schema};
use crate::gateway::config::error::ConfigError;
use crate::gateway::config::values::{duration_of, with_unit};
use crate::mtls::keys::KeySource;

/// How assertions are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Who makes them; without it, the trust domain.
    pub issuer: Option<String>,
    /// Whom they are for; without it, the upstream's name.
    pub audience: Option<String>,
    /// How long one holds.
    pub lifetime: Duration,
    /// The key that signs; without it, one that is made at the start.
    pub key: Option<KeySource>,
}

impl Assertion {
    /// The default of [`Assertion::lifetime`].
    pub const LIFETIME: Duration = Duration::from_secs(30);

    /// Longer ones could be used for more than the request that they are for.
    const LONGEST: Duration = Duration::from_secs(600);

    pub(super) fn read(item: &Item<'_>, base: &Path) -> Option<Self> {
        let mut fields = item.fields(&schema::ASSERTION)?;
        let issuer = fields.optional("issuer").map(|item| item.read(claim));
        let audience = fields.optional("audience").map(|item| item.read(claim));
        let lifetime = fields.optional("lifetime").map(|item| with_unit(&item, lifetime));
        let key = fields.optional("key");
        let key = key::read(key.as_ref(), &mut fields, base);
        fields.finish();
        // What was given and could not be read was reported.
        Some(Self {
            issuer: issuer.flatten(),
            audience: audience.flatten(),
            lifetime: lifetime.flatten().unwrap_or(Self::LIFETIME),
            key,
        })
    }
}

/// Text that says who: what a verifier compares, and nothing that could not be seen in it.
fn claim(text: &str) -> Result<String, ConfigError> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=255).contains(&text.len()) { Ok(text.to_owned()) } else { Err(ConfigError::Claim) }
}

fn lifetime(text: &str) -> Result<Duration, ConfigError> {
    match duration_of(text) {
        Ok(lifetime) if (Duration::from_secs(1)..=Assertion::LONGEST).contains(&lifetime) => Ok(lifetime),
        _ => Err(ConfigError::AssertionLifetime),
    }
}
