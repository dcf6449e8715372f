//! Markdown as plain text: headings underlined, paragraphs and tables wrapped, code indented.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// The longest line, however wide the terminal is.
pub(super) const LONGEST_LINE: usize = 100;

/// The text of `markdown` in lines of at most `width` columns; code is not wrapped.
pub(super) fn plain_text(markdown: &str, width: usize) -> String {
    let mut page = Page { width, ..Page::default() };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        page.event(event);
    }
    page.text
}

/// State of the renderer.
#[derive(Debug, Default)]
struct Page {
    text: String,
    width: usize,
    /// Inline text of the block that is open.
    line: String,
    /// Open lists: the number of the next item, or none for bullets.
    lists: Vec<Option<u64>>,
    /// The bullet or number that the next paragraph begins with.
    marker: Option<String>,
    /// The target of the link that is open.
    link: Option<String>,
    code: bool,
    /// The rows of the table that is open, the header first.
    rows: Vec<Vec<String>>,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.line.push_str(&text),
            Event::Code(code) => self.line.push_str(&format!("`{code}`")),
            Event::SoftBreak | Event::HardBreak => self.line.push(' '),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => {
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}. ");
                        *number += 1;
                        marker
                    }
                    _ => "- ".to_owned(),
                });
            }
            Tag::Link { dest_url, .. } => self.link = Some(dest_url.into_string()),
            Tag::CodeBlock(kind) => {
                self.code = true;
                if let CodeBlockKind::Fenced(info) = kind
                    && let Some(reason) = info.strip_prefix("sh not run: ")
                {
                    // Users who copy the commands need it.
                    self.line.push_str(&format!("# {reason}\n"));
                }
            }
            Tag::TableHead | Tag::TableRow => self.rows.push(Vec::new()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let title = std::mem::take(&mut self.line);
                let rule = if level == HeadingLevel::H1 { "=" } else { "-" };
                self.block(&format!("{title}\n{}\n", rule.repeat(title.chars().count())));
            }
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::List(_) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.text.push('\n');
                }
            }
            TagEnd::Link => {
                if let Some(target) = self.link.take()
                    && !self.line.ends_with(&target)
                {
                    self.line.push_str(&format!(" ({target})"));
                }
            }
            TagEnd::CodeBlock => {
                self.code = false;
                let code = std::mem::take(&mut self.line);
                let indented: String = code
                    .lines()
                    .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") })
                    .collect();
                self.block(&indented);
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.line);
                if let Some(row) = self.rows.last_mut() {
                    row.push(cell);
                }
            }
            TagEnd::Table => {
                let table = table(&std::mem::take(&mut self.rows), self.width);
                self.block(&table);
            }
            _ => {}
        }
    }

    /// End a paragraph or the text of a list's item.
    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        if self.lists.is_empty() {
            let wrapped = wrap(&line, "", "", self.width);
            self.block(&wrapped);
            return;
        }
        let outer = "  ".repeat(self.lists.len() - 1);
        let marker = self.marker.take().unwrap_or_else(|| "  ".to_owned());
        let hanging = format!("{outer}{}", " ".repeat(marker.len()));
        self.text.push_str(&wrap(&line, &format!("{outer}{marker}"), &hanging, self.width));
    }

    /// Add a block and the empty line after it.
    fn block(&mut self, block: &str) {
        self.text.push_str(block);
        self.text.push('\n');
    }
}

/// The words of `text` in lines of at most `width` columns, where no word is longer.
fn wrap(text: &str, first: &str, hanging: &str, width: usize) -> String {
    let mut wrapped = first.to_owned();
    let mut columns = first.chars().count();
    let mut fresh = true;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if !fresh && columns + 1 + length > width {
            wrapped.push('\n');
            wrapped.push_str(hanging);
            columns = hanging.chars().count();
            fresh = true;
        }
        if !fresh {
            wrapped.push(' ');
            columns += 1;
        }
        wrapped.push_str(word);
        columns += length;
        fresh = false;
    }
    wrapped.push('\n');
    wrapped
}

fn table(rows: &[Vec<String>], width: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    for (index, row) in rows.iter().enumerate() {
        if index == 0 {
            table.set_header(row.iter().map(|cell| cell.to_uppercase()));
        } else {
            table.add_row(row);
        }
    }
    let last = table.column_count().saturating_sub(1);
    // A code or a path that is broken over two lines can be neither read nor copied.
    let longest_word = |index: usize| {
        let words = rows.iter().filter_map(|row| row.get(index)).flat_map(|cell| cell.split(' '));
        words.map(|word| word.chars().count()).max().unwrap_or_default()
    };
    let fits = (0..=last).map(|index| longest_word(index) + 2).sum::<usize>() <= width + 2;
    for (index, column) in table.column_iter_mut().enumerate() {
        let padding = if index == last { 0 } else { 2 };
        column.set_padding((0, padding));
        if fits && let Ok(least) = u16::try_from(longest_word(index)) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least + padding)));
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_has_its_form() {
        let markdown = "# Title\n\n<!-- not shown -->\n\nA `code` and a [link](https://a.example/b) that is\nlong.\n\n\
                        ## Part\n\n- one two three four five six seven\n- b\n\n1. c\n2. d\n\n```sh\nls -l\n\nid\n```\n\n\
                        ```sh not run: needs a token\nid\n```\n\n| A | B |\n|---|---|\n| x | `y` |\n| long | z |\n\nEnd.\n";
        let expected = "\
Title
=====

A `code` and a link
(https://a.example/b) that is
long.

Part
----

- one two three four five six
  seven
- b

1. c
2. d

    ls -l

    id

    # needs a token
    id

A     B
x     `y`
long  z

End.
";
        assert_eq!(plain_text(markdown, 29).trim_end(), expected.trim_end());
    }

    #[test]
    fn no_word_of_a_table_is_broken_where_it_fits() {
        let code = "`connection.failed_handshakes_limit`";
        let text = "limits of one address ".repeat(5);
        let markdown = format!("| Reason | Cause | Remedy |\n|---|---|---|\n| {code} | {text} | {text} |\n");
        for width in [72, 80, 100] {
            let plain = plain_text(&markdown, width);
            assert!(plain.contains(code), "{plain}");
            assert!(plain.lines().all(|line| line.chars().count() <= width), "{plain}");
        }
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_but_of_code() {
        let text = "word ".repeat(100);
        let rows = format!("| a | b |\n|---|---|\n| {text} | {text} |\n");
        for width in [40, 72, 100] {
            for markdown in [&text, &rows, &format!("- {text}")] {
                let plain = plain_text(markdown, width);
                assert!(plain.lines().all(|line| line.chars().count() <= width), "{plain}");
            }
        }
    }
}
