//! A list pushed to every gateway, and what became of it.

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::error::Code;
use crate::gateway_client::{self, CallError, PushReceipt};
use crate::probe::AtFault;

use super::target_args::{Newest, Plan, Reach, is_listed};
use crate::cli::session::Session;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::progress;
use crate::terminal::report::{CommandResult, Failure, Outcome};

/// How a failure begins that came before anything else.
const UNCHANGED: &str = "nothing was changed yet, since the gateways could not be called";

/// Waiting until every gateway enforces a change.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Push the list to every gateway, and return when each enforces it
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    reach: Reach,
}

impl Wait {
    /// What it takes to call them, when they are to be waited for. Read before anything is changed, so
    /// that a mistake in it is no half-done change.
    pub(crate) fn plan(&self, session: &Session) -> Result<Option<Plan>, Failure> {
        match self.reach.given() {
            Some(argument) if !self.wait => {
                let message = format!("{argument} is for waiting, and --wait is not given");
                Err(Failure::new(Code::usage("usage.wait"), message)
                    .with_hint("give --wait, too; nothing was changed"))
            }
            // In a hurry nobody should take this for a revocation that only could not be pushed.
            _ if self.wait => self.reach.plan(session).map(Some).map_err(|failure| failure.at(UNCHANGED)),
            _ => Ok(None),
        }
    }
}

/// What follows a change of the revocation list.
pub(crate) enum FollowUp {
    /// It is in the home; whether gateways are listed there that `crl push` would call.
    Left {
        /// Whether they are.
        listed: bool,
    },
    /// It was pushed.
    Pushed(Result<PushReport, Failure>),
}

impl FollowUp {
    /// Pushes the list where there is a plan to.
    pub(crate) fn of(session: &Session, plan: Option<&Plan>) -> Self {
        match plan {
            Some(plan) => Self::Pushed(push(session, plan)),
            None => Self::Left { listed: is_listed(session) },
        }
    }

    /// What became of the push, for programs.
    pub(crate) fn pushed(&self) -> Option<&Result<PushReport, Failure>> {
        match self {
            Self::Left { .. } => None,
            Self::Pushed(pushed) => Some(pushed),
        }
    }

    /// What even those hear who want to hear of errors only.
    pub(crate) fn complaint(&self) -> Option<String> {
        (self.exit_code() != 0).then(|| self.to_string().trim_start().to_owned())
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.pushed() {
            None => 0,
            Some(Ok(report)) => report.exit_code(),
            Some(Err(failure)) => failure.exit_code(),
        }
    }
}

/// After a change that was recorded and is in the list: what is still to be done about it.
impl fmt::Display for FollowUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STANDS: &str = "This is recorded and in cluster.crl whatever a gateway says";
        match self {
            Self::Left { .. } => Ok(()),
            Self::Pushed(Ok(report)) => {
                write!(f, "\n{report}")?;
                if report.exit_code() == 0 {
                    Ok(())
                } else {
                    writeln!(f, "\n{STANDS}. Next: cluster-ca crl push")
                }
            }
            Self::Pushed(Err(failure)) => {
                writeln!(f, "\nNo gateway was called: {failure}")?;
                if let Some(hint) = failure.hint() {
                    writeln!(f, "    hint: {hint}")?;
                }
                writeln!(f, "\n{STANDS}. Next: cluster-ca crl push")
            }
        }
    }
}

/// What became of one gateway.
#[derive(Serialize)]
struct Line {
    address: String,
    enforced: bool,
    #[serde(flatten)]
    answer: Option<PushReceipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    #[serde(skip)]
    accuses_home: bool,
}

impl Line {
    fn new(address: String, answer: Result<PushReceipt, CallError>) -> Self {
        match answer {
            Ok(answer) => {
                Self { address, enforced: true, answer: Some(answer), error: None, accuses_home: false }
            }
            Err(fault) => Self {
                address,
                enforced: false,
                answer: None,
                accuses_home: fault.is_home_outdated(),
                error: Some(failure(&fault)),
            },
        }
    }
}

/// A fault with what to do about it: what is wrong with a gateway's certificate is mended there.
pub(crate) fn failure(fault: &CallError) -> Failure {
    let failure = Failure::of(fault);
    match fault {
        CallError::Handshake(cause) if cause.side == AtFault::Server => failure.with_hint(
            hint(Audience::Server, cause.code.name())
                .unwrap_or("see the gateway's log at this moment: it says what it refused"),
        ),
        _ => failure,
    }
}

/// What became of a push.
#[derive(Serialize)]
pub(crate) struct PushReport {
    #[serde(serialize_with = "crate::x509::crl::serialize_crl_number")]
    crl_number: u64,
    /// How many enforce it.
    enforced: usize,
    connections_cut: u64,
    elapsed_ms: u64,
    gateways: Vec<Line>,
}

/// Has every gateway enforce the newest list of the home.
///
/// When a gateway enforces a newer one because somebody else has revoked here in the meantime, all begin
/// again with that one.
pub(crate) fn push(session: &Session, plan: &Plan) -> Result<PushReport, Failure> {
    let begun = session.context.clock.monotonic();
    let progress = progress::gateways(plan.gateways.len(), session.format());
    let mut connections_cut = 0;
    loop {
        let newest = Newest::of(session)?;
        progress.set_position(0);
        let answers = gateway_client::push_crl(&plan.gateways, &plan.calling(&newest)?, &newest.list, || {
            progress.inc(1)
        })
        .map_err(|error| Failure::caused(Code::environment("system.network"), &error))?;
        connections_cut += answers.iter().flatten().map(|enforced| enforced.connections_cut).sum::<u64>();
        let is_ahead =
            |answer: &Result<_, CallError>| answer.as_ref().err().is_some_and(CallError::is_home_outdated);
        if answers.iter().any(is_ahead) && newest.is_overtaken(session)? {
            continue;
        }
        progress.finish_and_clear();
        let addresses = plan.gateways.iter().map(|gateway| gateway.address.to_string());
        let gateways: Vec<Line> =
            addresses.zip(answers).map(|(address, answer)| Line::new(address, answer)).collect();
        let elapsed = session.context.clock.monotonic() - begun;
        return Ok(PushReport {
            crl_number: newest.number,
            enforced: gateways.iter().filter(|line| line.enforced).count(),
            connections_cut,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            gateways,
        });
    }
}

impl PushReport {
    /// 4 when it is not known of a gateway that it enforces the list; 1 when it is known that it enforces
    /// another.
    fn exit_code(&self) -> u8 {
        let code = |line: &Line| match (line.enforced, line.accuses_home) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 4,
        };
        self.gateways.iter().map(code).max().unwrap_or(0)
    }
}

impl fmt::Display for PushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crl_number, enforced, connections_cut, elapsed_ms, gateways } = self;
        let one = |count: u64, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        writeln!(
            f,
            "{enforced}/{} gateway{} enforce{} CRL {crl_number} after {}.{} s, {} cut",
            gateways.len(),
            if gateways.len() == 1 { "" } else { "s" },
            if gateways.len() == 1 { "s" } else { "" },
            elapsed_ms / 1_000,
            elapsed_ms % 1_000 / 100,
            one(*connections_cut, "connection"),
        )?;
        for line in gateways {
            let Some(failure) = &line.error else { continue };
            writeln!(f, "  not enforced {}: {failure}", line.address)?;
            if let Some(hint) = failure.hint() {
                writeln!(f, "    hint: {hint}")?;
            }
        }
        if gateways.iter().any(|line| line.accuses_home) {
            writeln!(
                f,
                "\nTHIS HOME IS NOT THE NEWEST STATE OF ITS CLUSTER: certificates are revoked at a gateway"
            )?;
            writeln!(f, "that are not revoked here. Issue and revoke nothing in it before that is settled.")?;
        }
        Ok(())
    }
}

impl Outcome for PushReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}

/// The arguments of `crl push`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca crl push
  cluster-ca crl push --gateway api.example.com:4523 --operator api-user/admin

gateways.yaml in the home says which gateways there are, and as whom they are called:
  operator: api-user/admin                      # among the `operators` of each gateway
  gateways:
    - address: api1.example.com:4523
    - address: 10.0.0.5:4523
      server_name: api2.example.com             # where its certificate does not name the address
      identity: control-service/api2.example.com    # whose certificate it must be

Exit code 4: a gateway could not be reached, or did not say that it enforces the list.
Exit code 1: a gateway enforces a newer list than this home has.")]
pub(crate) struct Push {
    #[command(flatten)]
    reach: Reach,
}

impl Push {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        let plan = self.reach.plan(session)?;
        Ok(Box::new(push(session, &plan)?))
    }
}
