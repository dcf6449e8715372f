//! Push of the newest CRL to every gateway, and its report.

use std::fmt;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::error::{Code, with_causes};
use crate::files::DirectoryLock;
use crate::gateway_client::{
    self, AcknowledgedCrl, AcknowledgedCrls, AcknowledgedCrlsError, CallError, CrlToPush, PushReceipt,
};
use crate::probe::AtFault;

use super::crl_route::CrlRoute;
use super::target_args::{GatewayCalls, GatewayTargets, NewestCrl};
use crate::cli::session::CommandSession;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::progress;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, counted};

/// Longest wait for another command to release the home.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of commands that can wait until every gateway enforces a change.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Push the CRL to every gateway, and return when each enforces it
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    targets: GatewayTargets,
}

impl Wait {
    /// True if an option is given.
    pub(crate) fn is_given(&self) -> bool {
        self.wait || self.targets.given().is_some()
    }

    /// Prepare the calls, with `--wait`. It runs before any change, so that a mistake in the options or
    /// files changes nothing.
    pub(crate) fn plan(&self, session: &CommandSession) -> Result<Option<GatewayCalls>, Failure> {
        match self.targets.given() {
            Some(argument) if !self.wait => {
                let message = format!("{argument} requires --wait");
                Err(Failure::new(Code::usage("usage.wait"), message)
                    .with_hint("add --wait; nothing was changed"))
            }
            _ if self.wait => self.targets.plan_before_change(session).map(Some),
            _ => Ok(None),
        }
    }
}

/// Push that follows a change of the CRL.
pub(crate) enum FollowUp {
    /// Not pushed: the CRL is in the home.
    NotPushed(CrlRoute),
    /// Pushed, or failed before the first call.
    Pushed {
        result: Result<PushReport, Failure>,
        /// Repeat the push, with the same options.
        push_command: String,
    },
}

impl FollowUp {
    /// Push the CRL, if a plan is given.
    pub(crate) fn of(session: &CommandSession, plan: Option<&GatewayCalls>) -> Self {
        match plan {
            Some(plan) => {
                Self::Pushed { push_command: plan.push_command.clone(), result: push(session, plan) }
            }
            None => Self::NotPushed(CrlRoute::of(session)),
        }
    }

    /// Result of the push, if there was one.
    pub(crate) fn pushed(&self) -> Option<&Result<PushReport, Failure>> {
        match self {
            Self::NotPushed(_) => None,
            Self::Pushed { result, .. } => Some(result),
        }
    }

    /// JSON of the push, if there was one.
    pub(crate) fn body(&self) -> Option<PushedBody<'_>> {
        self.pushed().map(|pushed| match pushed {
            Ok(report) => PushedBody::Report(report),
            Err(error) => PushedBody::Failed { error },
        })
    }

    /// Text that `--quiet` prints on a failure.
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

/// JSON of a push.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum PushedBody<'a> {
    /// No gateway was called.
    Failed {
        error: &'a Failure,
    },
    Report(&'a PushReport),
}

/// Report after a recorded change, with the next command.
impl fmt::Display for FollowUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STANDS: &str = "The change is recorded and in cluster.crl";
        match self {
            Self::NotPushed(_) => Ok(()),
            Self::Pushed { result: Ok(report), push_command } => {
                write!(f, "\n{report}")?;
                if report.exit_code() == 0 { Ok(()) } else { writeln!(f, "\n{STANDS}. Next: {push_command}") }
            }
            Self::Pushed { result: Err(failure), push_command } => {
                writeln!(f, "\nNo gateway was called: {failure}")?;
                if let Some(hint) = failure.hint() {
                    writeln!(f, "    hint: {hint}")?;
                }
                writeln!(f, "\n{STANDS}. Next: {push_command}")
            }
        }
    }
}

/// Result of one gateway.
#[derive(Serialize)]
struct PushResult {
    address: String,
    enforced: bool,
    #[serde(flatten)]
    answer: Option<PushReceipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    #[serde(skip)]
    accuses_home: bool,
}

impl PushResult {
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

/// Failure with a hint. A fault of the gateway's certificate is repaired on the gateway.
pub(crate) fn failure(fault: &CallError) -> Failure {
    let failure = Failure::of(fault);
    match fault {
        CallError::Handshake(cause) if cause.side == AtFault::Server => failure.with_hint(
            hint(Audience::Server, cause.code.name())
                .unwrap_or("see the gateway's log at this time: it names the reason"),
        ),
        _ => failure,
    }
}

/// Result of a push.
#[derive(Serialize)]
pub(crate) struct PushReport {
    #[serde(serialize_with = "crate::x509::crl::serialize_crl_number")]
    crl_number: u64,
    /// Number of gateways that enforce the CRL.
    enforced: usize,
    connections_closed: u64,
    elapsed_ms: u64,
    gateways: Vec<PushResult>,
}

/// Push the newest CRL of the home to every gateway.
///
/// If another command publishes a newer CRL in the meantime and a gateway already enforces it, the push
/// starts over with that CRL.
pub(crate) fn push(session: &CommandSession, plan: &GatewayCalls) -> Result<PushReport, Failure> {
    let begun = session.context.clock.monotonic();
    let progress = progress::gateways(plan.gateways.len(), session.format());
    let mut connections_closed = 0;
    loop {
        let newest = NewestCrl::of(session)?;
        progress.set_position(0);
        let answers =
            gateway_client::push_crl(&plan.gateways, &plan.call_context(&newest)?, &newest.list, || {
                progress.inc(1)
            })
            .map_err(|error| Failure::caused(Code::environment("system.network"), &error))?;
        connections_closed +=
            answers.iter().flatten().map(|enforced| enforced.connections_closed).sum::<u64>();
        let is_ahead =
            |answer: &Result<_, CallError>| answer.as_ref().err().is_some_and(CallError::is_home_outdated);
        if answers.iter().any(is_ahead) && newest.is_outdated(session)? {
            continue;
        }
        progress.finish_and_clear();
        remember(session, plan, &newest, &answers);
        let addresses = plan.gateways.iter().map(|gateway| gateway.address.to_string());
        let gateways: Vec<PushResult> =
            addresses.zip(answers).map(|(address, answer)| PushResult::new(address, answer)).collect();
        let elapsed = session.context.clock.monotonic() - begun;
        return Ok(PushReport {
            crl_number: newest.number,
            enforced: gateways.iter().filter(|result| result.enforced).count(),
            connections_closed,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            gateways,
        });
    }
}

/// Remember the gateways that confirmed the CRL. That they enforce it is true without the record, so that a
/// failure to write it is only noted.
fn remember(
    session: &CommandSession,
    plan: &GatewayCalls,
    newest: &NewestCrl,
    answers: &[Result<PushReceipt, CallError>],
) {
    let CrlToPush { issuer, number, next_update, .. } = &newest.list;
    let at = session.context.clock.now();
    let crl = AcknowledgedCrl { issuer: issuer.clone(), number: *number, next_update: *next_update, at };
    let confirmed = plan.gateways.iter().zip(answers).filter(|(_, answer)| answer.is_ok());
    let confirmed = confirmed.map(|(gateway, _)| (gateway.address.clone(), crl.clone()));
    let home = session.home();
    let recorded = DirectoryLock::acquire(home.directory(), LOCK_TIMEOUT, session.context.clock.as_ref())
        .map_err(AcknowledgedCrlsError::from)
        .and_then(|_lock| AcknowledgedCrls::record(home.directory(), confirmed));
    if let Err(error) = recorded {
        session.note(format_args!("the confirmations could not be recorded: {}", with_causes(&error)));
    }
}

impl PushReport {
    /// 4 if a gateway did not confirm that it enforces the CRL; 1 if it enforces a newer one.
    fn exit_code(&self) -> u8 {
        let code = |result: &PushResult| match (result.enforced, result.accuses_home) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 4,
        };
        self.gateways.iter().map(code).max().unwrap_or(0)
    }
}

impl fmt::Display for PushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crl_number, enforced, connections_closed, elapsed_ms, gateways } = self;
        writeln!(
            f,
            "{enforced}/{} gateway{} enforce{} CRL {crl_number} after {}.{} s, {} closed",
            gateways.len(),
            if gateways.len() == 1 { "" } else { "s" },
            if gateways.len() == 1 { "s" } else { "" },
            elapsed_ms / 1_000,
            elapsed_ms % 1_000 / 100,
            counted(*connections_closed, "connection"),
        )?;
        for result in gateways {
            let Some(failure) = &result.error else { continue };
            writeln!(f, "  not enforced {}: {failure}", result.address)?;
            if let Some(hint) = failure.hint() {
                writeln!(f, "    hint: {hint}")?;
            }
        }
        if gateways.iter().any(|result| result.accuses_home) {
            writeln!(
                f,
                "\nTHIS HOME IS NOT THE NEWEST STATE OF ITS CLUSTER: a gateway enforces revocations"
            )?;
            writeln!(
                f,
                "that are missing here. Do not issue or revoke certificates until this is resolved."
            )?;
        }
        Ok(())
    }
}

impl CommandOutcome for PushReport {
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

gateways.yaml in the home lists the gateways and the operator, whose certificate is used to call them:
  operator: api-user/admin                      # among the `operators` of each gateway
  gateways:
    - address: api1.example.com:4523
    - address: 10.0.0.5:4523
      server_name: api2.example.com             # if its certificate does not contain the address
      identity: control-service/api2.example.com    # required identity of its certificate

Exit code 4: a gateway could not be reached, or did not confirm that it enforces the CRL.
Exit code 1: a gateway enforces a newer CRL than that of this home.")]
pub(crate) struct Push {
    #[command(flatten)]
    targets: GatewayTargets,
}

impl Push {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let plan = self.targets.plan(session)?;
        Ok(Box::new(push(session, &plan)?))
    }
}
