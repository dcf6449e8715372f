//! `completions`: completion scripts for shells.

use clap::Args;
use clap_complete::Shell;

use crate::terminal::generated::Generated;
use crate::terminal::report::CommandResult;

/// `completions SHELL`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

impl Completions {
    /// Generate the script of `program`.
    pub(crate) fn run(self, program: clap::Command) -> CommandResult {
        Ok(Box::new(Generated(completion_script(self.shell, program))))
    }
}

/// Generate the completion script of `program`.
fn completion_script(shell: Shell, mut program: clap::Command) -> Vec<u8> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    script
}
