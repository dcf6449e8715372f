//! Table of all guides, and the programs that show them.

/// A guide of one or both programs.
#[derive(Debug)]
pub(super) struct Guide {
    /// Name on the command line.
    pub(super) topic: &'static str,
    /// Programs that show the guide.
    pub(super) readers: Readers,
    /// Markdown source.
    pub(super) markdown: &'static str,
}

/// Programs that show a guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Both programs.
    Both,
    /// `cluster-ca`.
    Ca,
    /// `cluster-gateway`.
    Gateway,
}

/// Rows of the table: the topic is the file's name.
macro_rules! guides {
    ($($topic:literal $readers:ident),+ $(,)?) => {
        &[$(Guide {
            topic: $topic,
            readers: Readers::$readers,
            markdown: include_str!(concat!("../../guide/", $topic, ".md")),
        }),+]
    };
}

/// All guides, in the order in which they are listed.
const GUIDES: &[Guide] = guides![
    "quick-start" Both,
    "issuing" Ca,
    "distribution" Ca,
    "renewal" Ca,
    "revocation" Both,
    "monitoring" Ca,
    "server" Ca,
    "backup" Ca,
    "accounts" Ca,
    "kms" Both,
    "pkcs11" Ca,
    "gateway-configuration" Gateway,
    "policy" Gateway,
    "trust" Gateway,
    "upstream-identity" Gateway,
    "operations" Gateway,
    "limits" Gateway,
    "metrics" Gateway,
    "access-log" Gateway,
    "files" Both,
    "exit-codes" Both,
    "json" Both,
    "troubleshooting" Both,
    "flocker-migration" Both,
];

impl Guide {
    /// The sentence below its title.
    pub(super) fn summary(&self) -> &'static str {
        self.markdown.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default()
    }
}

/// The guides of `cluster-gateway`, or else those of `cluster-ca`.
pub(super) fn guides(of_gateway: bool) -> impl Iterator<Item = &'static Guide> {
    let other = if of_gateway { Readers::Ca } else { Readers::Gateway };
    GUIDES.iter().filter(move |guide| guide.readers != other)
}

/// True if one of the programs has a guide of this name.
pub(in crate::terminal) fn has(of_gateway: bool, topic: &str) -> bool {
    guides(of_gateway).any(|guide| guide.topic == topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_the_table_and_begins_with_title_and_summary() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut topics: Vec<String> = GUIDES.iter().map(|guide| format!("{}.md", guide.topic)).collect();
        topics.sort();
        assert_eq!(topics, files);
        for guide in GUIDES {
            assert!(guide.markdown.starts_with("# "), "{}", guide.topic);
            assert!(guide.summary().ends_with('.') && guide.summary().len() <= 110, "{}", guide.topic);
        }
    }

    #[test]
    fn every_guide_that_a_text_names_is_one_of_that_program() {
        let readme = include_str!("../../../README.md");
        for text in GUIDES.iter().map(|guide| guide.markdown).chain([readme]) {
            for (program, of_gateway) in [("cluster-ca", false), ("cluster-gateway", true)] {
                for named in text.split(&format!("`{program} guide ")).skip(1) {
                    let topic = named.split('`').next().unwrap();
                    assert!(guides(of_gateway).any(|guide| guide.topic == topic), "{program} guide {topic}");
                }
            }
        }
    }
}
