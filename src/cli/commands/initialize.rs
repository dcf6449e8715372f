//! `initialize NAME`: create a cluster.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use time::Duration;

use crate::ca::{self, CaError, Initialized, NewCluster};
use crate::clock::{parse_duration, rfc3339};
use crate::error::{Code, Coded};
use crate::keys::Protection;
use crate::keys::kms::vault::VaultAddress;
use crate::keys::kms::{
    Configuration, Credential, LoginEnd, Pkcs11Uri, ServiceLogin, SigningService, TokenKey,
};
use crate::x509::KeyAlgorithm;

use super::kms::{VaultAccess, ca_of_environment, or_address_of_environment, pem_text};
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandResult, Failure, Shown, typed};

/// The arguments of `initialize`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --signer the root's key is an existing non-exportable P-256 key. In a Vault, create it with
`bao write transit/keys/KEY type=ecdsa-p256`. In a PKCS#11 token the private key must be allowed to
sign, be sensitive and not extractable, and the token must also have the public key:
  pkcs11-tool --module MODULE --token-label prod --login --keypairgen --key-type EC:prime256v1 \\
    --usage-sign --id 01 --label root
  cluster-ca initialize prod --signer 'pkcs11:token=prod;object=root?module-path=MODULE'

The URI follows RFC 7512: object or id, or both; token, serial, model, manufacturer or slot-id to choose
among several tokens; ?module-path=/PATH; and &pin-source=file:/PATH for a PIN in a file. The module
runs inside this program: its file must not be writable by other users.

Whenever the root's key is needed, the PIN is read from --pin-file, CLUSTER_CA_PKCS11_PIN, the URI's
pin-source or kms.json (--keep-pin), in this order, or else from a prompt. It is tried once.")]
pub(crate) struct Initialize {
    /// Name of the cluster, and common name of its root certificate
    name: String,

    /// SPIFFE trust domain of its identities [default: NAME, if it is a valid one]
    #[arg(long, value_name = "TRUST_DOMAIN")]
    trust_domain: Option<String>,

    /// Type of the root's key: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096
    #[arg(long, value_name = "TYPE")]
    key_type: Option<KeyAlgorithm>,

    /// Validity of the root, such as 10y [default: the profile's]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    validity: Option<Duration>,

    /// Prompt for a passphrase that protects the root's key; --passphrase-file and --passphrase-fd
    /// do the same without a prompt
    #[arg(long)]
    ask_passphrase: bool,

    /// Use a non-exportable key as the root's: vault:KEY, in the Transit engine of a Vault, or
    /// pkcs11:URI, in a PKCS#11 token. No key is generated here
    #[arg(long, value_name = "vault:KEY|pkcs11:URI", conflicts_with_all = ["key_type", "ask_passphrase"])]
    signer: Option<String>,

    /// Address of the Vault: https://HOST:PORT [default: BAO_ADDR or VAULT_ADDR]
    #[arg(long, value_name = "ADDRESS", requires = "signer")]
    signer_address: Option<VaultAddress>,

    /// CA that issued the Vault's certificate, in PEM [default: BAO_CACERT or VAULT_CACERT, or the system's
    /// trust store]
    #[arg(long, value_name = "FILE", requires = "signer")]
    signer_ca_cert: Option<PathBuf>,

    /// Store the token's PIN in kms.json (0600), so that commands that sign do not prompt for it
    #[arg(long, requires = "signer")]
    keep_pin: bool,

    #[command(flatten)]
    access: VaultAccess,
}

impl Initialize {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let passphrase = match session.passphrase().given(&session.home().key())? {
            None if self.ask_passphrase => Some(session.passphrase().choose(&session.home().key())?),
            given => given,
        };
        let vault = VaultOptions {
            address: self.signer_address,
            ca_certificate: self.signer_ca_cert,
            access: self.access,
        };
        let signer = match self.signer {
            Some(_) if passphrase.is_some() => {
                return Err(Failure::new(
                    Code::usage("usage.passphrase"),
                    "a key in a signer has no passphrase",
                ));
            }
            Some(signer) if Pkcs11Uri::is_like(&signer) => {
                vault.refuse_given()?;
                Some(token_signer(&signer, self.keep_pin, session)?)
            }
            Some(signer) => Some(vault_signer(&signer, self.keep_pin, vault, session)?),
            None => {
                vault.refuse_given()?;
                None
            }
        };
        let wanted = NewCluster {
            name: self.name.parse()?,
            trust_domain: self.trust_domain.map(|given| given.parse()).transpose()?,
            key_algorithm: self.key_type,
            validity: self.validity,
            passphrase,
            signer,
        };
        let made = ca::initialize(&session.home(), &wanted, &session.profiles()?, &session.context)
            .map_err(for_a_new_cluster)?;
        if made.removed_leftovers {
            session
                .note("an earlier initialize ended before its cluster was complete; its files were removed");
        }
        if let Some(before) = made.restricted_from {
            let home = session.home();
            let directory = typed(home.directory());
            session.note(format_args!(
                "the mode of the directory {directory} was {before:04o} and is 0700 now: it has private files"
            ));
        }
        // A signer has just signed with it: what is not known now is reported when it is used.
        for ServiceLogin { service, end } in Configuration::load(&session.home().kms())?.logins() {
            if let Ok(end @ (LoginEnd::At { .. } | LoginEnd::Unknown)) = end {
                session.note(format_args!("the login to {} ends {end}", service.address()));
            }
        }
        Ok(Box::new(Shown(InitializeReport(made))))
    }
}

/// Hints for a cluster without a home: those of the shared table name commands that need one.
fn for_a_new_cluster(error: CaError) -> Failure {
    let hint = match error.code() {
        "kms.certificate_untrusted" => {
            "give the CA that issued the server's certificate: --signer-ca-cert FILE"
        }
        "kms.key_unfit" => "create a signing key: bao write transit/keys/KEY type=ecdsa-p256",
        "kms.login_refused" | "kms.token_refused" => {
            "give a valid token or role, whose policy allows `read` on transit/keys/KEY and `update` on transit/sign/KEY"
        }
        _ => return error.into(),
    };
    Failure::from(error).with_hint(hint)
}

/// Options of a signer in a Vault.
struct VaultOptions {
    address: Option<VaultAddress>,
    ca_certificate: Option<PathBuf>,
    access: VaultAccess,
}

impl VaultOptions {
    fn refuse_given(&self) -> Result<(), Failure> {
        if self.address.is_none() && self.ca_certificate.is_none() && !self.access.is_given() {
            return Ok(());
        }
        Err(Failure::new(Code::usage("usage.signer"), "the options of a Vault are for --signer vault:KEY"))
    }
}

/// Build the configuration of a signing key in a Vault.
fn vault_signer(
    signer: &str,
    keep_pin: bool,
    vault: VaultOptions,
    session: &CommandSession,
) -> Result<Configuration, Failure> {
    let usage = |message| Failure::new(Code::usage("usage.signer"), message);
    let key = signer.strip_prefix("vault:").ok_or_else(|| {
        usage("--signer takes vault:KEY, a key of a Vault's Transit engine, or pkcs11:URI, a key in a PKCS#11 token")
    })?;
    if keep_pin {
        return Err(usage("--keep-pin is for --signer pkcs11:URI"));
    }
    let address = or_address_of_environment(vault.address, session, "with --signer-address")?;
    let mut configuration = Configuration::default();
    configuration.ca_certificate = match vault.ca_certificate.as_deref() {
        Some(file) => Some(pem_text(file)?),
        None => ca_of_environment(session)?,
    };
    let access = vault.access.or_namespace_of_environment(session)?;
    configuration.sign_with(access.service(address, key.parse()?, session)?)?;
    Ok(configuration)
}

/// Build the configuration of a signing key in a token, without connecting to it.
fn token_signer(signer: &str, keep_pin: bool, session: &CommandSession) -> Result<Configuration, Failure> {
    let uri: Pkcs11Uri = signer.parse()?;
    let pin = match (keep_pin, uri.pin_source()) {
        (false, _) => None,
        (true, Some(_)) => {
            return Err(Failure::new(
                Code::usage("usage.keep_pin"),
                "--keep-pin is for a PIN that is not stored elsewhere; this URI has a pin-source",
            ));
        }
        (true, None) => Some(Credential::from_pin(
            &session.context.unlock.pin("that holds the root's key", &|| Ok(None))?,
        )?),
    };
    let mut configuration = Configuration::default();
    configuration.signer = Some(SigningService::Pkcs11(TokenKey { uri, pin }));
    Ok(configuration)
}

#[derive(Serialize)]
#[serde(transparent)]
struct InitializeReport(Initialized);

impl fmt::Display for InitializeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = &self.0;
        writeln!(f, "Created the cluster {} (trust domain {})", made.cluster, made.trust_domain)?;
        writeln!(f, "  certificate  {}  (public: copy it to every machine)", typed(&made.certificate))?;
        match &made.key {
            Some(key) => writeln!(f, "  key          {}  ({})", typed(key), caution(&made.key_protection))?,
            None => {
                writeln!(f, "  key          held by the signer; without it no certificate can be issued")?
            }
        }
        writeln!(
            f,
            "  CRL          {}  (empty; next update {})",
            typed(&made.crl),
            rfc3339(made.crl_next_update)
        )?;
        writeln!(f, "  inventory    {}", typed(&made.database))?;
        writeln!(f, "  root         {}, serial {}", made.key_algorithm, made.serial_number)?;
        writeln!(f, "  valid until  {}", rfc3339(made.not_after))?;
        if !made.trust_domain.as_str().contains('.') {
            // It cannot be changed later.
            writeln!(
                f,
                "  trust domain a single label; strict RFC 5280 linters want a domain name: --trust-domain {}.example.com",
                made.trust_domain
            )?;
        }
        writeln!(f)?;
        writeln!(f, "Next: cluster-ca create-control HOST    (the name or address that clients will use)")
    }
}

/// Warning about the root's key.
fn caution(protection: &Protection) -> &'static str {
    match protection {
        Protection::None => "0600; any user who can read it controls the cluster",
        _ => "protected by the passphrase; without it no certificate can be issued",
    }
}
