//! Push of the statement about tokens to every gateway, and its report.

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::accounts::Accounts;
use crate::error::Code;
use crate::gateway_client::{self, CallError, StatementReceipt, StatementToPush};

use super::push::failure;
use super::target_args::{GatewayCalls, GatewayTargets, NewestCrl};
use crate::cli::session::CommandSession;
use crate::terminal::progress;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure};

/// Options of commands that can wait until every gateway refuses the tokens that they revoke.
#[derive(Debug, Args)]
pub(crate) struct StatementWait {
    /// Push the statement about tokens to every gateway, and return when each enforces it
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    targets: GatewayTargets,
}

impl StatementWait {
    /// Prepare the calls, with `--wait`. It runs before any change, so that a mistake in the options or files changes
    /// nothing.
    pub(crate) fn plan(&self, session: &CommandSession) -> Result<Option<GatewayCalls>, Failure> {
        match self.targets.given() {
            Some(argument) if !self.wait => {
                let message = format!("{argument} requires --wait");
                Err(Failure::new(Code::usage("usage.wait"), message)
                    .with_hint("add --wait; nothing was changed"))
            }
            _ if self.wait => {
                // Without a statement, no gateway can have accepted a token of this cluster.
                statement(session)?;
                self.targets.plan_before_change(session).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The arguments of `gateways push-tokens`.
#[derive(Debug, Args)]
#[command(after_help = "\
The server of the CA signs cluster.tokens in the home, and each change that revokes tokens signs it again.
gateways.yaml in the home lists the gateways: see cluster-ca crl push --help.

Exit code 4: a gateway could not be reached, or did not confirm that it enforces the statement.")]
pub(crate) struct PushStatement {
    #[command(flatten)]
    targets: GatewayTargets,
}

impl PushStatement {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        statement(session)?;
        let plan = self.targets.plan(session)?;
        Ok(Box::new(push_statement(session, &plan)?))
    }
}

/// Statement in the home.
fn statement(session: &CommandSession) -> Result<StatementToPush, Failure> {
    let accounts = Accounts::new(session.home(), session.context.clone());
    match accounts.statement()? {
        Some((published, text)) => Ok(StatementToPush::new(published.number, text)),
        None => Err(Failure::new(
            Code::refused("tokens.no_statement"),
            "this home has no statement about tokens: no server has issued any",
        )),
    }
}

/// Push the statement of the home to every gateway. If it is signed again in the meantime, the push starts over.
pub(crate) fn push_statement(
    session: &CommandSession,
    plan: &GatewayCalls,
) -> Result<StatementPushReport, Failure> {
    let begun = session.context.clock.monotonic();
    let progress = progress::gateways(plan.gateways.len(), session.format());
    loop {
        let (newest, context) = (statement(session)?, plan.call_context(&NewestCrl::of(session)?)?);
        progress.set_position(0);
        let answers = gateway_client::push_statement(&plan.gateways, &context, &newest, || progress.inc(1))
            .map_err(|error| Failure::caused(Code::environment("system.network"), &error))?;
        let is_refused = |answer: &Result<_, CallError>| matches!(answer, Err(CallError::Refused { .. }));
        if answers.iter().any(is_refused) && statement(session)?.number > newest.number {
            continue;
        }
        progress.finish_and_clear();
        let addresses = plan.gateways.iter().map(|gateway| gateway.address.to_string());
        let results = addresses.zip(answers).map(|(address, answer)| match answer {
            Ok(receipt) => StatementResult { address, receipt: Some(receipt), error: None },
            Err(error) => StatementResult { address, receipt: None, error: Some(failure(&error)) },
        });
        let elapsed = session.context.clock.monotonic() - begun;
        return Ok(StatementPushReport {
            statement: newest.number,
            gateways: results.collect(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// Result of one gateway.
#[derive(Serialize)]
struct StatementResult {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<StatementReceipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Result of a push of a statement.
#[derive(Serialize)]
pub(crate) struct StatementPushReport {
    /// Number of the statement.
    statement: u64,
    elapsed_ms: u64,
    gateways: Vec<StatementResult>,
}

impl StatementPushReport {
    /// 4 if a gateway did not confirm that it enforces the statement.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.gateways.iter().any(|gateway| gateway.error.is_some()) { 4 } else { 0 }
    }
}

impl fmt::Display for StatementPushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { statement, elapsed_ms, gateways } = self;
        let without = |gateway: &&StatementResult| gateway.receipt == Some(StatementReceipt::NoTokens);
        let without = gateways.iter().filter(without).count();
        let of = gateways.len() - without;
        let confirmed = gateways.iter().filter(|gateway| gateway.receipt.is_some()).count() - without;
        writeln!(
            f,
            "{confirmed}/{of} gateway{} enforce{} statement {statement} after {}.{} s",
            if of == 1 { "" } else { "s" },
            if of == 1 { "s" } else { "" },
            elapsed_ms / 1_000,
            elapsed_ms % 1_000 / 100,
        )?;
        if without > 0 {
            writeln!(f, "  {without} more accept no tokens")?;
        }
        for StatementResult { address, error, .. } in gateways {
            let Some(failure) = error else { continue };
            writeln!(f, "  not enforced {address}: {failure}")?;
            if let Some(hint) = failure.hint() {
                writeln!(f, "    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl CommandOutcome for StatementPushReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}
