//! Markdown documents and their fenced blocks.

use std::fs;
use std::path::{Path, PathBuf};

/// A README or guide.
pub(crate) struct Document {
    /// File name, such as `renewal.md`.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// All of it.
    pub(crate) text: String,
    /// Its fenced blocks.
    pub(crate) blocks: Vec<Block>,
}

/// A fenced block.
pub(crate) struct Block {
    /// The document's file name.
    pub(crate) document: String,
    /// The line of its opening fence, from 1.
    pub(crate) line: usize,
    /// The use that its info string stands for.
    pub(crate) kind: Kind,
    /// Its lines.
    pub(crate) lines: Vec<String>,
}

/// The use of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Commands to run, and the expected exit code of the last.
    Run(u8),
    /// Commands of another machine or service.
    NotRun,
    /// The output of the block before it.
    Output,
    /// A file to write.
    File(String),
    /// YAML that is not written.
    Yaml,
    /// Anything else.
    Shown,
}

impl Document {
    pub(crate) fn read(path: &Path) -> Self {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("the document can be read");
        let blocks = blocks(&name, &text);
        Self { name, path: path.to_owned(), text, blocks }
    }

    /// The guide whose commands run first.
    pub(crate) fn continues(&self) -> Option<String> {
        let named = self.text.split("<!-- continues: ").nth(1)?.split(" -->").next()?;
        Some(format!("{named}.md"))
    }
}

fn blocks(document: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(usize, &str, Vec<String>)> = None;
    let mut follows_commands = false;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(info), None) => open = Some((number + 1, info, Vec::new())),
            (Some(_), Some((line, info, lines))) => {
                let kind = kind(document, line, info, &lines, follows_commands);
                follows_commands = matches!(kind, Kind::Run(_));
                blocks.push(Block { document: document.to_owned(), line, kind, lines });
            }
            (None, Some((begin, info, mut lines))) => {
                lines.push(line.to_owned());
                open = Some((begin, info, lines));
            }
            (None, None) => follows_commands &= line.is_empty(),
        }
    }
    assert!(open.is_none(), "{document}: a block is not closed");
    blocks
}

fn kind(document: &str, line: usize, info: &str, lines: &[String], follows_commands: bool) -> Kind {
    if let Some(code) = info.strip_prefix("sh exits ") {
        return Kind::Run(code.parse().expect("an exit code"));
    }
    match info {
        "sh" => Kind::Run(0),
        "text" if follows_commands => Kind::Output,
        "yaml" => match lines.first().and_then(|line| line.strip_prefix("# ")) {
            Some(file) => Kind::File(file.to_owned()),
            None => Kind::Yaml,
        },
        "text" | "ini" | "hcl" | "json" => Kind::Shown,
        info if info.strip_prefix("sh not run: ").is_some_and(|reason| !reason.is_empty()) => Kind::NotRun,
        _ => panic!("{document}:{line}: no such block: {info}"),
    }
}
