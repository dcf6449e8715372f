//! Footers of help pages: paragraphs of any line length in the source, filled by clap to the width of the terminal.

use clap::Command;

/// Join the lines of each paragraph in the footers of `command` and its subcommands.
///
/// clap breaks long lines and keeps the line breaks of the source, so a paragraph that was broken in the source would be
/// broken twice. Indented lines are examples, and stay as they are.
pub(crate) fn with_filled_footers(mut command: Command) -> Command {
    if let Some(footer) = command.get_after_help().map(|footer| joined(&footer.to_string())) {
        command = command.after_help(footer);
    }
    if let Some(footer) = command.get_after_long_help().map(|footer| joined(&footer.to_string())) {
        command = command.after_long_help(footer);
    }
    command.mut_subcommands(with_filled_footers)
}

/// `text` with each line appended to the one before, where that does not end a sentence or announce a list.
fn joined(text: &str) -> String {
    let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(before) if is_prose(before) && !before.ends_with(['.', ':']) && is_prose(line) => {
                before.push(' ');
                before.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_joined_and_examples_are_not() {
        let source = "\
Examples:
  program run \\
      --option
  program stop

A sentence that is
broken. And another that
is broken, too.
A line of its own:
  key: value
Exit code 4: no answer";
        let filled = "\
Examples:
  program run \\
      --option
  program stop

A sentence that is broken. And another that is broken, too.
A line of its own:
  key: value
Exit code 4: no answer";
        assert_eq!(joined(source), filled);
        let inner = Command::new("inner").after_help(source).after_long_help(source);
        let program = with_filled_footers(Command::new("program").subcommand(inner));
        let inner = program.find_subcommand("inner").unwrap();
        assert_eq!(inner.get_after_help().unwrap().to_string(), filled);
        assert_eq!(inner.get_after_long_help().unwrap().to_string(), filled);
    }
}
