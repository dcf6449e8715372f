//! `guide`: the list of guides, or one of them.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::terminal::generated::Generated;
use crate::terminal::guide::render::{LONGEST_LINE, plain_text};
use crate::terminal::guide::topics::guides;
use crate::terminal::report::CommandResult;

/// `guide`, of `cluster-gateway` or of `cluster-ca`.
#[derive(Debug, Args)]
pub struct ShowGuide<const OF_GATEWAY: bool> {
    /// The guide to show; without it, all guides are listed
    #[arg(value_name = "TOPIC", value_parser = topics(OF_GATEWAY), hide_possible_values = true)]
    topic: Option<String>,

    /// Print the Markdown source
    #[arg(long, requires = "topic")]
    markdown: bool,
}

/// The topics, for parsing and for completion.
fn topics(of_gateway: bool) -> PossibleValuesParser {
    guides(of_gateway).map(|guide| PossibleValue::new(guide.topic).help(guide.summary())).into()
}

impl<const OF_GATEWAY: bool> ShowGuide<OF_GATEWAY> {
    /// The text as an outcome.
    pub(crate) fn run(self) -> CommandResult {
        Ok(Box::new(Generated(self.text().into_bytes())))
    }

    /// The guide, as wide as the terminal, or the list.
    #[must_use]
    pub fn text(self) -> String {
        let guide = self.topic.and_then(|topic| guides(OF_GATEWAY).find(|guide| guide.topic == topic));
        match guide {
            Some(guide) if self.markdown => guide.markdown.to_owned(),
            Some(guide) => plain_text(guide.markdown, width()),
            None => list(OF_GATEWAY),
        }
    }
}

fn list(of_gateway: bool) -> String {
    let longest = guides(of_gateway).map(|guide| guide.topic.len()).max().unwrap_or_default();
    guides(of_gateway).map(|guide| format!("{:longest$}  {}\n", guide.topic, guide.summary())).collect()
}

/// The columns of the terminal, at most [`LONGEST_LINE`]; as many where there is no terminal.
fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { LONGEST_LINE } else { columns.clamp(40, LONGEST_LINE) }
}
