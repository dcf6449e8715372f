//! `initialize NAME`.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use time::Duration;

use crate::ca::{self, Initialized, NewCluster};
use crate::clock::{parse_duration, rfc3339};
use crate::keys::Protection;
use crate::keys::kms::{Configuration, VaultAddress};
use crate::x509::KeyAlgorithm;

use super::Session;
use super::kms::{VaultAccess, text_of};
use super::report::{CommandResult, Failure, Shown, typed};

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

    /// Let this key of a Vault's Transit engine (type ecdsa-p256) be the root's and sign: vault:KEY.
    /// No key is made here
    #[arg(long, value_name = "vault:KEY", requires = "signer_address", conflicts_with_all = ["key_type", "ask_passphrase"])]
    signer: Option<String>,

    /// Where the signer is: https://HOST:PORT
    #[arg(long, value_name = "ADDRESS", requires = "signer")]
    signer_address: Option<VaultAddress>,

    /// The CA that the signer's certificate comes from, in PEM [default: those the system believes]
    #[arg(long, value_name = "FILE", requires = "signer")]
    signer_ca_cert: Option<PathBuf>,

    #[command(flatten)]
    access: VaultAccess,
}

impl Initialize {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let passphrase = match session.passphrase().given(&session.home().key())? {
            None if self.ask_passphrase => Some(session.passphrase().choose(&session.home().key())?),
            given => given,
        };
        let signer = match (self.signer, self.signer_address) {
            (Some(signer), Some(address)) => {
                if passphrase.is_some() {
                    return Err(Failure::new(
                        "usage.passphrase",
                        "a key that is held by a signer has no passphrase",
                    ));
                }
                Some(held_by(&signer, address, self.signer_ca_cert, self.access)?)
            }
            _ if self.access.is_given() => {
                return Err(Failure::new(
                    "usage.signer",
                    "the options of a Vault are for --signer vault:KEY",
                ));
            }
            _ => None,
        };
        let wanted = NewCluster {
            name: self.name.parse()?,
            trust_domain: self.trust_domain.map(|given| given.parse()).transpose()?,
            key_algorithm: self.key_type,
            validity: self.validity,
            passphrase,
            signer,
        };
        let made = ca::initialize(&session.home(), &wanted, &session.profiles()?, &session.context)?;
        if made.swept {
            session
                .note("an earlier initialize ended before its cluster was whole; what it left was removed");
        }
        Ok(Box::new(Shown(Made(made))))
    }
}

/// The configuration in which this key of a Vault signs.
fn held_by(
    signer: &str,
    address: VaultAddress,
    ca: Option<PathBuf>,
    access: VaultAccess,
) -> Result<Configuration, Failure> {
    let key = signer.strip_prefix("vault:").ok_or_else(|| {
        Failure::new("usage.signer", "--signer takes vault:KEY, a key of a Vault's Transit engine")
    })?;
    let mut configuration = Configuration::default();
    configuration.ca_certificate = ca.as_deref().map(text_of).transpose()?;
    configuration.sign_with(access.service(address, key.parse()?)?)?;
    Ok(configuration)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Made(Initialized);

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = &self.0;
        writeln!(f, "Made the cluster {} (trust domain {})", made.cluster, made.trust_domain)?;
        writeln!(f, "  certificate  {}  (public: copy it to every machine)", typed(&made.certificate))?;
        match &made.key {
            Some(key) => writeln!(f, "  key          {}  ({})", typed(key), caution(&made.key_protection))?,
            None => {
                writeln!(f, "  key          held by the signer; without it nothing can be issued any more")?
            }
        }
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
