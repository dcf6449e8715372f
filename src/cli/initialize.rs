//! `initialize NAME`.

use std::fmt;

use clap::Args;
use serde::Serialize;
use time::Duration;

use crate::ca::{self, Initialized, NewCluster};
use crate::clock::{parse_duration, rfc3339};
use crate::keys::Protection;
use crate::x509::KeyAlgorithm;

use super::Session;
use super::report::{CommandResult, Shown, typed};

/// The arguments of `initialize`.
#[derive(Debug, Args)]
pub(super) struct Initialize {
    /// The cluster's name, which its root certificate bears
    name: String,

    /// The SPIFFE trust domain of its identities [default: NAME, where it can be one]
    #[arg(long, value_name = "TRUST_DOMAIN")]
    trust_domain: Option<String>,

    /// Type of the root's key: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096
    #[arg(long, value_name = "TYPE")]
    key_type: Option<KeyAlgorithm>,

    /// How long the root holds, such as 10y [default: the profile's]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    validity: Option<Duration>,

    /// Ask for a passphrase that protects the root's key; --passphrase-file and --passphrase-fd do
    /// the same without asking
    #[arg(long)]
    ask_passphrase: bool,
}

impl Initialize {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let passphrase = match session.passphrase().given(&session.home().key())? {
            None if self.ask_passphrase => Some(session.passphrase().choose(&session.home().key())?),
            given => given,
        };
        let wanted = NewCluster {
            name: self.name.parse()?,
            trust_domain: self.trust_domain.map(|given| given.parse()).transpose()?,
            key_algorithm: self.key_type,
            validity: self.validity,
            passphrase,
        };
        let made = ca::initialize(&session.home(), &wanted, &session.profiles()?, &session.context)?;
        if made.swept {
            session
                .note("an earlier initialize ended before its cluster was whole; what it left was removed");
        }
        Ok(Box::new(Shown(Made(made))))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Made(Initialized);

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = &self.0;
        writeln!(f, "Made the cluster {} (trust domain {})", made.cluster, made.trust_domain)?;
        writeln!(f, "  certificate  {}  (public: copy it to every machine)", typed(&made.certificate))?;
        writeln!(f, "  key          {}  ({})", typed(&made.key), caution(&made.key_protection))?;
        writeln!(f, "  CRL          {}  (empty; until {})", typed(&made.crl), rfc3339(made.crl_next_update))?;
        writeln!(f, "  inventory    {}", typed(&made.database))?;
        writeln!(f, "  root         {}, serial {}", made.key_algorithm, made.serial_number)?;
        writeln!(f, "  valid until  {}", rfc3339(made.not_after))?;
        writeln!(f)?;
        writeln!(f, "Next: cluster-ca create-control HOST    (the name or address that clients will use)")
    }
}

/// What to know about the root's key.
fn caution(protection: &Protection) -> &'static str {
    match protection {
        Protection::None => "0600; whoever reads it controls the cluster",
        _ => "protected by the passphrase; without it nothing can be issued any more",
    }
}
