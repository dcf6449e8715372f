//! `crl show|publish|push|verify`: the revocation list.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::ca::{Authority, Cluster, PublishedCrl};
use crate::clock::{format_duration, parse_duration, parse_time, rfc3339};
use crate::error::Code;
use crate::files::{self, Access, Placement};
use crate::revocation::{Crl as Verified, RevocationReason};
use crate::x509::crl::UnverifiedCrl;
use crate::x509::{KeyIdentifier, Sha256};

use super::gateways::{Push, is_listed};
use crate::cli::session::Session;
use crate::terminal::report::{CommandResult, Failure, Shown, typed};

/// The commands about the revocation list.
#[derive(Debug, Subcommand)]
pub(crate) enum Crl {
    /// Say what is in the list: number, dates, how many are revoked and why
    Show(Show),
    /// Sign a new list now, as a timer does long before the old one ends
    Publish(Publish),
    /// Push the list to every gateway, and return when each enforces it
    Push(Push),
    /// Check that the list is the root's, the newest, complete and not past its end
    Verify(Verify),
}

/// The arguments of `crl show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Also write the list as DER to this file
    #[arg(long, value_name = "FILE")]
    der: Option<PathBuf>,
}

/// The arguments of `crl publish`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// How long this list and those after it hold, such as 180d: at least 1h, and not past the root's end
    /// [default: as long as the one before, cut off at the root's end]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    next_update: Option<Duration>,

    /// Also write the list as DER to this file
    #[arg(long, value_name = "FILE")]
    der: Option<PathBuf>,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The arguments of `crl verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The list, PEM or DER [default: cluster.crl in the home]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Judge as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<OffsetDateTime>,
}

impl Crl {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        match self {
            Self::Show(show) => show.run(session),
            Self::Publish(publish) => publish.run(session),
            Self::Push(push) => push.run(session),
            Self::Verify(verify) => verify.run(session),
        }
    }
}

impl Show {
    fn run(self, session: &Session) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let file = session.home().crl();
        let (crl, der) = cluster.read_crl(&file, session.context.clock.now())?;
        write_der(self.der.as_deref(), &der)?;
        Ok(Box::new(Shown(Listed::new(file, &crl, &der)?)))
    }
}

impl Publish {
    fn run(self, session: &Session) -> CommandResult {
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.tell_opened(&authority);
        let published = authority.publish_crl(self.next_update, self.reason.as_deref())?;
        if self.der.is_some() {
            let (_, der) = authority.cluster().read_crl(&published.crl, published.this_update)?;
            write_der(self.der.as_deref(), &der)?;
        }
        Ok(Box::new(Shown(Published { crl: published, listed: is_listed(session) })))
    }
}

impl Verify {
    fn run(self, session: &Session) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let at = self.at.unwrap_or_else(|| session.context.clock.now());
        let file = self.file.unwrap_or_else(|| session.home().crl());
        let (crl, der) = cluster.verify_crl(&file, at)?;
        if crl.is_expired_at(at) {
            let ended = rfc3339(crl.next_update);
            let message = format!("{}: its successor was due on {ended}", typed(&file));
            return Err(Failure::new(Code::refused("revocation.crl_expired"), message));
        }
        Ok(Box::new(Shown(Good(Listed::new(file, &crl, &der)?))))
    }
}

fn write_der(file: Option<&Path>, der: &[u8]) -> Result<(), Failure> {
    match file {
        Some(file) => Ok(files::write(file, Access::Public, Placement::Replace, der)?),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct Listed {
    #[serde(serialize_with = "crate::files::as_text")]
    file: PathBuf,
    issuer: KeyIdentifier,
    crl_number: String,
    this_update: String,
    next_update: String,
    revoked: usize,
    reasons: BTreeMap<RevocationReason, usize>,
    sha256: Sha256,
}

impl Listed {
    fn new(file: PathBuf, crl: &Verified, der: &[u8]) -> Result<Self, Failure> {
        let mut reasons = BTreeMap::new();
        for entry in UnverifiedCrl::from_der(der).map_err(|fault| Failure::of(&fault))?.entries() {
            let code = entry.map_err(|fault| Failure::of(&fault))?.reason_code;
            let reason = code.and_then(RevocationReason::from_code).unwrap_or(RevocationReason::Unspecified);
            *reasons.entry(reason).or_default() += 1;
        }
        Ok(Self {
            file: files::absolute(&file)?,
            issuer: crl.issuer.clone(),
            crl_number: crl.number.to_string(),
            this_update: rfc3339(crl.this_update),
            next_update: rfc3339(crl.next_update),
            revoked: crl.len(),
            reasons,
            sha256: crl.sha256,
        })
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "CRL {}", self.crl_number)?;
        writeln!(f, "  file         {}", typed(&self.file))?;
        writeln!(f, "  issuer key   {}", self.issuer)?;
        writeln!(f, "  made         {}", self.this_update)?;
        writeln!(f, "  next update  {}", self.next_update)?;
        writeln!(f, "  revoked      {}", self.revoked)?;
        for (reason, count) in &self.reasons {
            writeln!(f, "    {reason:22} {count}")?;
        }
        writeln!(f, "  sha256       {}", self.sha256)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Good(Listed);

impl fmt::Display for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Good: signed by the root, the newest, complete, and not past its end")?;
        self.0.fmt(f)
    }
}

#[derive(Serialize)]
struct Published {
    #[serde(flatten)]
    crl: PublishedCrl,
    /// Whether the home says which gateways there are.
    #[serde(skip)]
    listed: bool,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crl, listed } = self;
        writeln!(f, "Published CRL {}", crl.crl_number)?;
        writeln!(f, "  file         {}", typed(&crl.crl))?;
        writeln!(f, "  next update  {}", rfc3339(crl.next_update))?;
        let next = match listed {
            true => "cluster-ca crl push".to_owned(),
            false => format!("scp {} root@GATEWAY:/etc/cluster/", typed(&crl.crl)),
        };
        let half = format_duration((crl.next_update - crl.this_update) / 2);
        writeln!(f, "\nNext: {next}  (and again within {half})")
    }
}
