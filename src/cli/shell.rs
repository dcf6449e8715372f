//! `completions` and `man`: made from the command tree, so that they cannot disagree with it.

use std::fmt;

use clap::Args;
use clap_complete::Shell;

use super::report::{CommandResult, Failure, Outcome};

/// `completions SHELL`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell to complete for
    shell: Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The page of one command, such as `create-node`; by default the page of cluster-ca itself
    #[arg(value_name = "COMMAND")]
    page: Option<String>,
}

impl Completions {
    pub(super) fn run(self) -> CommandResult {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "cluster-ca", &mut script);
        Ok(Box::new(Generated(script)))
    }
}

impl Man {
    pub(super) fn run(self) -> CommandResult {
        let mut tree = super::command();
        tree.build();
        let command = match &self.page {
            None => tree,
            Some(name) => tree.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::new("usage.command", format!("there is no command `{}`", name.escape_debug()))
                    .with_hint("see cluster-ca --help")
            })?,
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .map_err(|error| Failure::of("system.man", &error))?;
        Ok(Box::new(Generated(page)))
    }
}

struct Generated(Vec<u8>);

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Outcome for Generated {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        Ok(serde_json::Value::String(self.to_string()))
    }

    fn raw(&self) -> Option<&[u8]> {
        Some(&self.0)
    }
}
