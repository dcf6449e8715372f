//! Commands that are not run here, as the programs' argument parsers read them.

use std::process::Command;

use clap::CommandFactory;

use crate::document::{Block, Document, Kind};

/// Everything that the argument parsers refuse, and every block that is no YAML.
pub(crate) fn problems(document: &Document) -> Vec<String> {
    let mut problems = Vec::new();
    for block in &document.blocks {
        let at = |text: &str| format!("{}:{}: {text}", block.document, block.line);
        match &block.kind {
            Kind::NotRun => {
                let commands = commands(block);
                problems.extend(commands.iter().filter_map(|command| refusal(command)).map(|text| at(&text)));
            }
            Kind::Yaml | Kind::File(_) => {
                let parsed: Result<serde_yaml::Value, _> = serde_yaml::from_str(&block.lines.join("\n"));
                problems.extend(parsed.err().map(|error| at(&error.to_string())));
            }
            _ => {}
        }
    }
    problems
}

/// The commands of a block, continued lines as one.
fn commands(block: &Block) -> Vec<String> {
    let text = block.lines.join("\n").replace("\\\n", " ");
    text.lines().map(str::to_owned).filter(|line| line.starts_with("cluster-")).collect()
}

fn refusal(command: &str) -> Option<String> {
    let words = words(command);
    let parser = match words.first().map(String::as_str) {
        Some("cluster-ca") => cluster_ca::cli::Cli::command(),
        Some("cluster-gateway") => return None,
        _ => return Some(format!("{command}: no program of this project")),
    };
    let error = parser.try_get_matches_from(words).err()?;
    error.use_stderr().then(|| format!("{command}: {error}"))
}

/// The words of a command, as bash takes it apart; redirections and what follows a pipe are cut off.
fn words(command: &str) -> Vec<String> {
    let end = [" | ", " >", " 2>", " && ", " &"].iter().filter_map(|mark| command.find(mark)).min();
    let command = command.get(..end.unwrap_or(command.len())).unwrap_or_default();
    let script = format!("set -f; words=({command}); printf '%s\\n' \"${{words[@]}}\"");
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
