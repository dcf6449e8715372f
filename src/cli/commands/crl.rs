//! `crl show|publish|push|verify`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::ca::{Authority, Cluster, PublishedCrl, RecoveryOutcome};
use crate::clock::{format_duration, parse_duration, parse_time, rfc3339};
use crate::error::Code;
use crate::files::{self, Access, Placement};
use crate::revocation::{Crl, RevocationReason};
use crate::x509::crl::UnverifiedCrl;
use crate::x509::{KeyIdentifier, Sha256};

use super::gateways::{FollowUp, GatewayTargets, Push, PushedBody, is_listed};
use crate::cli::group::GroupedCommand;
use crate::cli::input::output_path;
use crate::cli::server_args::{ServerChoice, failure, refuse_on_server};
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown, typed};

/// Subcommands of `crl`.
#[derive(Debug, Subcommand)]
pub(crate) enum CrlCommand {
    /// Show the CRL: number, dates, count of revoked certificates by reason (default)
    Show(ShowCrl),
    /// Sign a new CRL now; run it from a timer, well before the next update is due
    Publish(Publish),
    /// Push the CRL to every gateway, and return when each enforces it
    Push(Push),
    /// Check that the CRL is signed by the root, the newest, complete and not expired
    Verify(VerifyCrl),
}

/// The arguments of `crl show`.
#[derive(Debug, Default, Args)]
pub(crate) struct ShowCrl {
    /// Also write the CRL as DER to this file
    #[arg(long, value_name = "FILE", value_parser = output_path())]
    der: Option<PathBuf>,

    #[command(flatten)]
    server: ServerChoice,
}

/// The arguments of `crl publish`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Validity of this and later CRLs, such as 180d: at least 1h, and not beyond the root's expiry
    /// [default: that of the previous CRL, limited by the root's expiry]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    next_update: Option<Duration>,

    /// Also write the CRL as DER to this file
    #[arg(long, value_name = "FILE", value_parser = output_path())]
    der: Option<PathBuf>,

    /// Reason for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Push the CRL to every gateway, and return when each enforces it (default if the home has a gateways.yaml).
    /// Nothing is published if the gateways cannot be called
    #[arg(long)]
    push: bool,

    /// Do not call the gateways in gateways.yaml
    #[arg(long, conflicts_with_all = ["push", "gateways", "operator", "operator_cert", "timeout"])]
    no_push: bool,

    #[command(flatten)]
    targets: GatewayTargets,
}

/// The arguments of `crl verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyCrl {
    /// The CRL, PEM or DER [default: cluster.crl in the home]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Verify as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<OffsetDateTime>,
}

impl Default for CrlCommand {
    fn default() -> Self {
        Self::Show(ShowCrl::default())
    }
}

impl GroupedCommand for CrlCommand {
    fn run(self, session: &CommandSession) -> CommandResult {
        match self {
            Self::Show(show) => show.run(session),
            Self::Publish(publish) => publish.run(session),
            Self::Push(push) => push.run(session),
            Self::Verify(verify) => verify.run(session),
        }
    }
}

/// CRL in the answer of a server.
#[derive(Deserialize)]
struct ServedCrl {
    issuer: KeyIdentifier,
    number: String,
    this_update: String,
    next_update: String,
    revoked: usize,
    sha256: Sha256,
}

impl ShowCrl {
    fn run(self, session: &CommandSession) -> CommandResult {
        if let Some(api) = self.server.open(session)? {
            refuse_on_server(&[("--der", self.der.is_some())])?;
            let crl: ServedCrl = api.get("/crl").map_err(failure)?;
            return Ok(Box::new(Shown(CrlReport {
                file: None,
                issuer: crl.issuer,
                crl_number: crl.number,
                this_update: crl.this_update,
                next_update: crl.next_update,
                revoked: crl.revoked,
                reasons: None,
                sha256: crl.sha256,
            })));
        }
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let file = session.home().crl();
        let (crl, der) = cluster.read_crl(&file, session.context.clock.now())?;
        write_der(self.der.as_deref(), &der)?;
        Ok(Box::new(Shown(CrlReport::new(file, &crl, &der)?)))
    }
}

impl Publish {
    fn run(self, session: &CommandSession) -> CommandResult {
        // A push that was asked for is prepared first, so that a mistake changes nothing. One that gateways.yaml alone
        // implies never keeps a CRL from being published.
        let plan = if self.push || self.targets.given().is_some() {
            Some(Ok(self.targets.plan_before_change(session)?))
        } else if is_listed(session) && !self.no_push {
            Some(self.targets.plan(session))
        } else {
            None
        };
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.report_opened(&authority);
        let is_fresh =
            authority.recovered().iter().any(|found| matches!(found, RecoveryOutcome::CrlPublished { .. }));
        let published = match self.next_update {
            // Opening the home signed one already.
            None if is_fresh => authority.ensure_crl()?,
            validity => authority.publish_crl(validity, self.reason.as_deref())?,
        };
        session.report_left_out(&published);
        if self.der.is_some() {
            let (_, der) = authority.cluster().read_crl(&published.crl, published.this_update)?;
            write_der(self.der.as_deref(), &der)?;
        }
        // Releases the home: another command need not wait for the gateways.
        drop(authority);
        let follow_up = match plan {
            Some(Err(failure)) => {
                FollowUp::Pushed { result: Err(failure), push_command: self.targets.push_command() }
            }
            Some(Ok(plan)) => FollowUp::of(session, Some(&plan)),
            None => FollowUp::of(session, None),
        };
        Ok(Box::new(Published { crl: published, follow_up }))
    }
}

impl VerifyCrl {
    fn run(self, session: &CommandSession) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let at = self.at.unwrap_or_else(|| session.context.clock.now());
        let file = self.file.unwrap_or_else(|| session.home().crl());
        let (crl, der) = cluster.verify_crl(&file, at)?;
        if crl.is_expired_at(at) {
            let ended = rfc3339(crl.next_update);
            let message = format!("{}: expired on {ended}", typed(&file));
            return Err(Failure::new(Code::refused("revocation.crl_expired"), message));
        }
        Ok(Box::new(Shown(VerifiedCrl(CrlReport::new(file, &crl, &der)?))))
    }
}

fn write_der(file: Option<&Path>, der: &[u8]) -> Result<(), Failure> {
    match file {
        Some(file) => Ok(files::write(file, Access::Public, Placement::Replace, der)?),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct CrlReport {
    /// Path in the home; a server gives none.
    #[serde(serialize_with = "crate::files::as_optional_text", skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    issuer: KeyIdentifier,
    crl_number: String,
    this_update: String,
    next_update: String,
    revoked: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<BTreeMap<RevocationReason, usize>>,
    sha256: Sha256,
}

impl CrlReport {
    fn new(file: PathBuf, crl: &Crl, der: &[u8]) -> Result<Self, Failure> {
        let mut reasons = BTreeMap::new();
        for entry in UnverifiedCrl::from_der(der).map_err(|fault| Failure::of(&fault))?.entries() {
            let code = entry.map_err(|fault| Failure::of(&fault))?.reason_code;
            let reason = code.and_then(RevocationReason::from_code).unwrap_or(RevocationReason::Unspecified);
            *reasons.entry(reason).or_default() += 1;
        }
        Ok(Self {
            file: Some(files::absolute(&file)?),
            issuer: crl.issuer.clone(),
            crl_number: crl.number.to_string(),
            this_update: rfc3339(crl.this_update),
            next_update: rfc3339(crl.next_update),
            revoked: crl.len(),
            reasons: Some(reasons),
            sha256: crl.sha256,
        })
    }
}

impl fmt::Display for CrlReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "CRL {}", self.crl_number)?;
        if let Some(file) = &self.file {
            writeln!(f, "  file         {}", typed(file))?;
        }
        writeln!(f, "  issuer key   {}", self.issuer)?;
        writeln!(f, "  issued       {}", self.this_update)?;
        writeln!(f, "  next update  {}", self.next_update)?;
        writeln!(f, "  revoked      {}", self.revoked)?;
        for (reason, count) in self.reasons.iter().flatten() {
            writeln!(f, "    {reason:22} {count}")?;
        }
        writeln!(f, "  sha256       {}", self.sha256)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct VerifiedCrl(CrlReport);

impl fmt::Display for VerifiedCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Valid: signed by the root, the newest, complete and not expired")?;
        self.0.fmt(f)
    }
}

/// Result of `crl publish`.
struct Published {
    crl: PublishedCrl,
    follow_up: FollowUp,
}

impl CommandOutcome for Published {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            crl: &'a PublishedCrl,
            #[serde(skip_serializing_if = "Option::is_none")]
            pushed: Option<PushedBody<'a>>,
        }
        serde_json::to_value(Body { crl: &self.crl, pushed: self.follow_up.body() })
    }

    fn exit_code(&self) -> u8 {
        self.follow_up.exit_code()
    }

    fn complaint(&self) -> Option<String> {
        self.follow_up.complaint()
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crl, follow_up } = self;
        writeln!(f, "Published CRL {}", crl.crl_number)?;
        writeln!(f, "  file         {}", typed(&crl.crl))?;
        writeln!(f, "  next update  {}", rfc3339(crl.next_update))?;
        match follow_up {
            FollowUp::NotPushed(route) => {
                let half = format_duration((crl.next_update - crl.this_update) / 2);
                writeln!(f, "  publish      again within {half}")?;
                route.write(&typed(&crl.crl), f)
            }
            pushed @ FollowUp::Pushed { .. } => write!(f, "{pushed}"),
        }
    }
}
