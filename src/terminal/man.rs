//! `man`: manual pages.

use clap::Args;
use clap_mangen::roff::{Roff, roman};

use crate::error::{Code, excerpt};
use crate::file_schema::FileSchema;
use crate::terminal::file_page::file_page;
use crate::terminal::generated::Generated;
use crate::terminal::page_footer::PageFooter;
use crate::terminal::report::{CommandResult, Failure};

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// A command, such as `create-node` or `kms set vault`, or a configuration file, such as `hosts.yaml`
    /// [default: the program]
    #[arg(value_name = "COMMAND")]
    page: Vec<String>,
}

impl Man {
    /// Generate a page of `program` or of one of its `files`.
    pub(crate) fn run(self, program: clap::Command, files: &[&FileSchema]) -> CommandResult {
        show(program, files, &self.page)
    }
}

/// Show the manual page that `words` name: of a command of `program`, or of a file in `files`.
pub(crate) fn show(program: clap::Command, files: &[&FileSchema], words: &[String]) -> CommandResult {
    let name = program.get_name().to_owned();
    let no_such = || {
        let message = format!("there is no command `{}`", excerpt(&words.join(" ")));
        Failure::new(Code::usage("usage.command"), message).with_hint(format!("see {name} --help"))
    };
    Ok(Box::new(Generated(page(program, files, words).ok_or_else(no_such)?)))
}

/// Manual page of a file in `files`, or of a command of `program`.
fn page(program: clap::Command, files: &[&FileSchema], words: &[String]) -> Option<Vec<u8>> {
    let file =
        files.iter().find(|file| words.len() == 1 && words.first().is_some_and(|word| word == file.name));
    let footer = PageFooter::of(&program);
    file.map(|file| file_page(file, &footer)).or_else(|| manual_page(program, files, &footer, words))
}

/// Manual page of the command at the path `words` below `program`, or of the program itself; `None` for an
/// unknown command.
fn manual_page(
    mut program: clap::Command,
    files: &[&FileSchema],
    footer: &PageFooter,
    words: &[String],
) -> Option<Vec<u8>> {
    program.build();
    let name = program.get_name().to_owned();
    let mut command = &program;
    for word in words {
        command = command.find_subcommand(word)?;
    }
    let command = command.clone().override_usage(synopsis(command));
    let mut page = Vec::new();
    let man =
        clap_mangen::Man::new(command).date(footer.date).source(footer.source.as_str()).manual(footer.manual);
    // Writing to memory does not fail.
    man.render(&mut page).ok()?;
    let mut page = with_notes_as_written(&String::from_utf8_lossy(&page));
    let mut pages = Vec::new();
    if !words.is_empty() {
        pages.push(format!("{name}(1)"));
    }
    pages.extend(files.iter().map(|file| format!("{}(5)", file.name)));
    pages.push(format!("{name} guide"));
    let mut see_also = Roff::new();
    see_also.control("SH", ["SEE ALSO"]);
    see_also.text([roman(pages.join(", "))]);
    page.push_str(&see_also.render());
    Some(page.into_bytes())
}

/// Examples line by line, as `--help` prints them, and paragraphs of notes; without the version, which is in the footer.
fn with_notes_as_written(page: &str) -> String {
    let page = page.split_once("\n.SH VERSION\n").map_or(page, |(page, _)| page);
    let Some((before, notes)) = page.split_once("\n.SH EXTRA\n") else { return format!("{page}\n") };
    let (heading, notes) = match notes.strip_prefix("Examples:\n") {
        Some(examples) => ("EXAMPLES", examples),
        None => ("NOTES", notes),
    };
    let mut text = format!("{before}\n.SH {heading}\n");
    let (mut is_example, mut is_paragraph) = (false, false);
    for line in notes.trim_end().lines() {
        if line.starts_with(' ') != is_example {
            text.push_str(if is_example { ".fi\n" } else { ".nf\n" });
            is_example = !is_example;
        }
        // A line of prose is a paragraph; the next one begins on a line of its own.
        match line.is_empty() {
            true => text.push_str(".PP\n"),
            false if !is_example && is_paragraph => text.push_str(&format!(".br\n{line}\n")),
            false => text.push_str(&format!("{line}\n")),
        }
        is_paragraph = !is_example && !line.is_empty();
    }
    if is_example {
        text.push_str(".fi\n");
    }
    text
}

/// Synopsis of a command with its own options; global options are omitted.
fn synopsis(command: &clap::Command) -> String {
    let mut words = vec![command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()];
    let (positional, options): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .partition(|one| one.is_positional());
    let is_own = |option: &&&clap::Arg| {
        !option.is_global_set() && !["help", "version"].contains(&option.get_id().as_str())
    };
    for option in options.iter().filter(is_own) {
        let name = match (option.get_long(), option.get_short()) {
            (Some(long), _) => format!("--{long}"),
            (None, Some(short)) => format!("-{short}"),
            (None, None) => continue,
        };
        let takes = match option.get_action().takes_values() {
            true => format!(" {}", value_name(option)),
            false => String::new(),
        };
        words.push(match option.is_required_set() {
            true => format!("{name}{takes}"),
            false => format!("[{name}{takes}]"),
        });
    }
    words.push("[OPTIONS]".to_owned());
    for argument in positional {
        let (name, more) = (value_name(argument), if is_repeated(argument) { "..." } else { "" });
        words.push(match argument.is_required_set() {
            true => format!("{name}{more}"),
            false => format!("[{name}{more}]"),
        });
    }
    if command.has_subcommands() {
        words.push(if command.is_subcommand_required_set() { "COMMAND" } else { "[COMMAND]" }.to_owned());
    }
    words.join(" ")
}

fn value_name(argument: &clap::Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    match names.is_empty() {
        true => argument.get_id().as_str().to_uppercase(),
        false => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}

fn is_repeated(argument: &clap::Arg) -> bool {
    matches!(argument.get_action(), clap::ArgAction::Append)
}
