//! `backup` and `restore`: a home in one sealed file, and back.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ca::backup::{self, CreatedBackup, Manifest, Restored};
use crate::ca::{Authority, Cluster};
use crate::clock::rfc3339;

use super::gateways::{Reach, is_listed};
use crate::cli::password::PasswordSource;
use crate::cli::session::Session;
use crate::terminal::report::{CommandResult, Outcome, typed};

/// The arguments of `backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write; it must not exist
    file: PathBuf,

    /// Check a backup instead of making one: that the password opens it and that all of it is there and
    /// belongs together
    #[arg(long, conflicts_with = "with_issued")]
    verify: bool,

    /// Also the certificates and keys in issued/
    #[arg(long)]
    with_issued: bool,

    #[command(flatten)]
    password: PasswordSource,
}

/// The arguments of `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca --home /srv/ca restore prod.backup --crl cluster.crl
  cluster-ca restore prod.backup --gateway api.example.com:4523 \\
      --operator-cert admin.crt --operator-key admin.key
  cluster-ca restore prod.backup --reconcile --crl gateway.crl --certificates old/issued

What was revoked after the backup would hold again, so somebody has to know the newest list: a gateway,
a --crl, or the list or inventory in the home, as new as the backup's at least. If nobody does, the
restore is refused, unless --no-newer-list takes it upon you.

The gateways of gateways.yaml, in the home or the backup, are asked which list they enforce, or those
given with --gateway; a state that is older is refused. The operator's certificate and key come from the
files, from the home, or from a backup --with-issued. A gateway that cannot be reached is told of and
passed over; one given with --gateway that answers as no gateway of this cluster does ends it.")]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,

    /// Take in what happened since: from the inventory, the revocation list and issued/ in the home, and
    /// from --crl and --certificates
    #[arg(long)]
    reconcile: bool,

    /// A newer revocation list to take in, such as a gateway's; can be repeated
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,

    /// You know that nothing was revoked since the backup; the audit log will say that you said so
    #[arg(long)]
    no_newer_list: bool,

    /// A directory of certificates that may have been issued since the backup; can be repeated
    #[arg(long, value_name = "DIR", requires = "reconcile")]
    certificates: Vec<PathBuf>,

    #[command(flatten)]
    reach: Reach,

    #[command(flatten)]
    password: PasswordSource,
}

impl Backup {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        if self.verify {
            let password = self.password.enter("the backup")?;
            let manifest = backup::verify_backup(&self.file, &password, &session.context)?;
            return Ok(Box::new(Told(Sound { file: self.file, manifest })));
        }
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let password = self.password.choose("the backup")?;
        let made = backup::create(&cluster, &self.file, &password, self.with_issued, &session.context)?;
        Ok(Box::new(Told(Made(made))))
    }
}

impl Restore {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        let password = self.password.enter("the backup")?;
        let home = session.home();
        let enforced = self.reach.enforced(session, &self.file, &password)?;
        let wanted = backup::RestoreOptions {
            file: &self.file,
            passphrase: &password,
            reconcile: self.reconcile,
            crls: &self.crl,
            certificates: &self.certificates,
            enforced: &enforced,
            no_newer_crl: self.no_newer_list,
        };
        let restored = backup::restore(&home, &wanted, &session.context)?;
        // Opening it writes the list that is owed; the home is whole without that, too.
        match Authority::open(&home, &session.context) {
            Ok(authority) => session.tell_opened(&authority),
            Err(error) => session.note(format_args!(
                "the home is restored, but could not be opened yet ({error}); the next issuing command \
                 writes the revocation list that it owes"
            )),
        }
        Ok(Box::new(Told(PutBack { restored, listed: is_listed(session) })))
    }
}

/// What is told of a backup; programs get the number of its list as they get every other one, as text.
struct Told<T>(T);

impl<T: fmt::Display> fmt::Display for Told<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display + Serialize> Outcome for Told<T> {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        let mut told = serde_json::to_value(&self.0)?;
        if let Some(number) = told.get_mut("crl_number") {
            *number = serde_json::Value::String(number.to_string());
        }
        Ok(told)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Made(CreatedBackup);

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CreatedBackup { file, manifest, files } = &self.0;
        writeln!(f, "Made the backup {}", typed(file))?;
        manifest_text(manifest, f)?;
        writeln!(f, "  files         {}", files.len())?;
        writeln!(f)?;
        writeln!(
            f,
            "Next: cluster-ca backup --verify {}    (then keep it elsewhere, away from its password)",
            typed(file)
        )
    }
}

/// A backup in order.
#[derive(Serialize)]
struct Sound {
    #[serde(serialize_with = "crate::files::as_text")]
    file: PathBuf,
    #[serde(flatten)]
    manifest: Manifest,
}

impl fmt::Display for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The backup {} is whole", typed(&self.file))?;
        manifest_text(&self.manifest, f)
    }
}

#[derive(Serialize)]
struct PutBack {
    #[serde(flatten)]
    restored: Restored,
    /// Whether the home says which gateways there are.
    #[serde(skip)]
    listed: bool,
}

impl fmt::Display for PutBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restored = &self.restored;
        writeln!(f, "Restored {}", typed(&restored.home))?;
        manifest_text(&restored.manifest, f)?;
        writeln!(f, "  put back      {}", restored.files.join(", "))?;
        if restored.kept_inventory {
            writeln!(f, "  inventory     the one that was there stays: it has all of the backup, and more")?;
        }
        if restored.kept_key {
            writeln!(
                f,
                "  root's key    stays as it is protected here; to have the backup's, move it away first"
            )?;
        }
        if restored.adopted + restored.revocations > 0 {
            writeln!(
                f,
                "  taken in      {} certificates and {} revocations that the backup does not know",
                restored.adopted, restored.revocations
            )?;
        }
        writeln!(f)?;
        let then = if self.listed { "cluster-ca crl push" } else { "copy cluster.crl to every gateway" };
        writeln!(f, "Next: cluster-ca doctor    (then {then})")
    }
}

fn manifest_text(manifest: &Manifest, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "  cluster       {} ({})", manifest.cluster, manifest.uuid)?;
    writeln!(f, "  made at       {}", rfc3339(manifest.made_at))?;
    writeln!(f, "  certificates  {}", manifest.certificates)?;
    writeln!(f, "  CRL           number {}", manifest.crl_number)
}
