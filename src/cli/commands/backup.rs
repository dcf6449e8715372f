//! `backup` and `restore`: encrypted backups of a home.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::ca::backup::{self, CreatedBackup, Manifest, Restored};
use crate::ca::{Authority, Cluster, RecoveryOutcome};
use crate::clock::rfc3339;

use super::gateways::{GatewayTargets, is_listed, missing_operator};
use crate::cli::input::output_path;
use crate::cli::password::PasswordSource;
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandOutcome, CommandResult, counted, typed};

/// The arguments of `backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to write; it must not exist
    #[arg(value_parser = output_path())]
    file: PathBuf,

    /// Verify a backup instead of creating one: password, completeness and consistency
    #[arg(long, conflicts_with = "with_issued")]
    verify: bool,

    /// Include the certificates and keys in issued/
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

Restore needs proof of the newest CRL: from the home, a gateway, or --crl. Without it, certificates
revoked after the backup would become valid again, so the restore is refused unless --no-newer-crl is
given.

Restore queries the gateways given with --gateway, or else those of gateways.yaml in the home or the
backup. It refuses a state that is older than the CRL they enforce. The operator's certificate and key
come from the given files, from the home, or from a backup made --with-issued. A gateway that cannot be
reached is reported and skipped. A gateway given with --gateway that does not authenticate as a gateway
of this cluster ends the restore.")]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,

    /// Import later changes: from the inventory, the CRL and issued/ in the home, and from --crl and
    /// --certificates
    #[arg(long)]
    reconcile: bool,

    /// A newer CRL to import, such as a gateway's; can be repeated
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,

    /// Assert that nothing was revoked since the backup; the audit log records the assertion
    #[arg(long, alias = "no-newer-list")]
    no_newer_crl: bool,

    /// Directory of certificates that may have been issued since the backup; can be repeated
    #[arg(long, value_name = "DIR", requires = "reconcile")]
    certificates: Vec<PathBuf>,

    #[command(flatten)]
    targets: GatewayTargets,

    #[command(flatten)]
    password: PasswordSource,
}

impl Backup {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        if self.verify {
            let password = self.password.enter("the backup", session.passphrase())?;
            let manifest = backup::verify_backup(&self.file, &password, &session.context)?;
            return Ok(Box::new(BackupResult(VerifiedBackup { file: self.file, manifest })));
        }
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let password = self.password.choose("the backup", Some(session.passphrase()))?;
        let made = backup::create(&cluster, &self.file, &password, self.with_issued, &session.context)?;
        Ok(Box::new(BackupResult(BackupReport(made))))
    }
}

impl Restore {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let password = self.password.enter("the backup", session.passphrase())?;
        let home = session.home();
        let enforced = self.targets.enforced(session, &self.file, &password)?;
        let wanted = backup::RestoreOptions {
            file: &self.file,
            passphrase: &password,
            reconcile: self.reconcile,
            crls: &self.crl,
            certificates: &self.certificates,
            enforced: &enforced,
            no_newer_crl: self.no_newer_crl,
        };
        let restored = backup::restore(&home, &wanted, &session.context)?;
        let mut signed_crl = None;
        // Opening it signs a pending CRL; the home is complete without that, too.
        match Authority::open(&home, &session.context) {
            Ok(authority) => {
                signed_crl = authority.recovered().iter().find_map(RecoveryOutcome::pending_crl);
                let is_other = |outcome: &&RecoveryOutcome| outcome.pending_crl().is_none();
                session.report_recovered(authority.recovered().iter().filter(is_other));
            }
            Err(error) => session.note(format_args!(
                "the home is restored, but could not be opened yet ({error}); the next issuing command \
                 signs the pending CRL"
            )),
        }
        let operator = missing_operator(session).map(|(role, name)| format!("{role}/{name}"));
        let listed = is_listed(session);
        Ok(Box::new(BackupResult(RestoreReport { restored, signed_crl, listed, missing_operator: operator })))
    }
}

/// Result of a backup command. In JSON, the CRL number is text, as everywhere.
struct BackupResult<T>(T);

impl<T: fmt::Display> fmt::Display for BackupResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display + Serialize> CommandOutcome for BackupResult<T> {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        let mut json = serde_json::to_value(&self.0)?;
        for key in ["crl_number", "signed_crl_number"] {
            if let Some(number) = json.get_mut(key) {
                *number = serde_json::Value::String(number.to_string());
            }
        }
        Ok(json)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct BackupReport(CreatedBackup);

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CreatedBackup { file, manifest, files } = &self.0;
        writeln!(f, "Created the backup {}", typed(file))?;
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

/// A backup that passed `--verify`.
#[derive(Serialize)]
struct VerifiedBackup {
    #[serde(serialize_with = "crate::files::as_text")]
    file: PathBuf,
    #[serde(flatten)]
    manifest: Manifest,
}

impl fmt::Display for VerifiedBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The backup {} is complete", typed(&self.file))?;
        manifest_text(&self.manifest, f)
    }
}

#[derive(Serialize)]
struct RestoreReport {
    #[serde(flatten)]
    restored: Restored,
    /// Number of the CRL that the restore signed, such as for imported revocations.
    #[serde(rename = "signed_crl_number", skip_serializing_if = "Option::is_none")]
    signed_crl: Option<u64>,
    /// Operator of `gateways.yaml` whose certificate is not in the home.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_operator: Option<String>,
    /// True if the home has a `gateways.yaml`.
    #[serde(skip)]
    listed: bool,
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restored = &self.restored;
        writeln!(f, "Restored {}", typed(&restored.home))?;
        manifest_text(&restored.manifest, f)?;
        writeln!(f, "  restored      {}", restored.files.join(", "))?;
        if restored.kept_inventory {
            writeln!(f, "  inventory     the existing one is kept: it contains all of the backup, and more")?;
        }
        if restored.kept_key {
            writeln!(
                f,
                "  root's key    the existing file is kept; to restore the backup's, move it away first"
            )?;
        }
        if restored.adopted + restored.revocations > 0 {
            writeln!(
                f,
                "  imported      {} and {} newer than the backup",
                counted(restored.adopted, "certificate"),
                counted(restored.revocations, "revocation")
            )?;
        }
        if let Some(number) = self.signed_crl {
            writeln!(f, "  signed        CRL {number}, which is in force now")?;
        }
        writeln!(f)?;
        if let Some(operator) = &self.missing_operator {
            return writeln!(
                f,
                "Next: cluster-ca rekey {operator}    (the operator's key is not in the backup; then cluster-ca crl push)"
            );
        }
        let then = if self.listed { "cluster-ca crl push" } else { "copy cluster.crl to every gateway" };
        writeln!(f, "Next: cluster-ca doctor    (then {then})")
    }
}

fn manifest_text(manifest: &Manifest, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "  cluster       {} ({})", manifest.cluster, manifest.uuid)?;
    writeln!(f, "  created       {}", rfc3339(manifest.made_at))?;
    writeln!(f, "  certificates  {}", manifest.certificates)?;
    writeln!(f, "  CRL           number {}", manifest.crl_number)
}
