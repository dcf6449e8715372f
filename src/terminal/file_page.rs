//! Manual pages of YAML files (section 5), generated from the schemas that their parsers use.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::page_footer::PageFooter;
use crate::file_schema::{Absent, FileSchema, KeySchema};

/// The manual page of a file.
#[must_use]
pub(super) fn file_page(file: &FileSchema, footer: &PageFooter) -> Vec<u8> {
    let mut page = Roff::new();
    page.control("TH", [file.name, "5", footer.date, &footer.source, footer.manual]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{} - {}", file.name, file.about))]);
    page.control("SH", ["DESCRIPTION"]);
    for note in file.notes {
        page.control("PP", []);
        page.text([roman(*note)]);
    }
    for mapping in file.mappings {
        let title = if mapping.path.is_empty() { "KEYS" } else { mapping.path };
        page.control("SH", [title]);
        for key in mapping.keys {
            page.control("TP", []);
            page.text(head(key));
            page.text([roman(meaning(key))]);
        }
    }
    page.render().into_bytes()
}

fn head(key: &KeySchema) -> Vec<Inline> {
    let mark = if key.needs_restart { " (restart)" } else { "" };
    vec![bold(key.name), roman(": "), italic(key.value), roman(mark)]
}

fn meaning(key: &KeySchema) -> String {
    match key.absent {
        Absent::Refused => format!("{} Required.", key.about),
        Absent::Default(value) => format!("{} Default: {value}.", key.about),
        Absent::Means(text) => format!("{} Without it: {text}.", key.about),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribute::DELIVERY_LIST_FILE;

    #[test]
    fn every_key_is_on_the_page_with_its_default() {
        let footer =
            PageFooter { date: " ", source: "cluster-ca 1.2.3".to_owned(), manual: "Cluster CA Manual" };
        let page = String::from_utf8(file_page(&DELIVERY_LIST_FILE, &footer)).unwrap();
        let title = ".TH hosts.yaml 5 \" \" \"cluster-ca 1.2.3\" \"Cluster CA Manual\"";
        assert!(page.contains(title), "{page}");
        for key in DELIVERY_LIST_FILE.mappings.iter().flat_map(|mapping| mapping.keys) {
            assert!(page.contains(&format!("\\fB{}\\fR: \\fI", key.name)), "{}: {page}", key.name);
        }
        assert!(page.contains("Required."), "{page}");
    }
}
