//! Text of a `hosts.yaml`, changed entry by entry: comments, order and spelling of the other entries stay.

use std::fmt::{self, Write as _};

use crate::error::{Code, Coded};
use crate::yaml::{self, Document, YamlProblem};

use super::delivery_list::{Delivery, DeliveryList, DeliveryListError, EntryFields};

/// A `hosts.yaml` that was read, with its text.
#[derive(Clone, Debug)]
pub struct DeliveryListText {
    file: String,
    text: String,
    list: DeliveryList,
    /// First line of each entry, counted from zero; `None` where it has no line of its own.
    starts: Vec<Option<usize>>,
}

impl DeliveryListText {
    /// Parse the text of a file; error texts call it `file`. `None` is a file that does not exist.
    ///
    /// # Errors
    /// [`DeliveryListError`] with every problem of the file.
    pub fn parse(file: &str, bytes: Option<&[u8]>) -> Result<Self, DeliveryListError> {
        let Some(bytes) = bytes else {
            let (text, list, starts) = (String::new(), DeliveryList::default(), Vec::new());
            return Ok(Self { file: file.to_owned(), text, list, starts });
        };
        let document =
            Document::parse_within(DeliveryList::LIMIT, file, bytes).map_err(DeliveryListError::one)?;
        let list = DeliveryList::read(&document)?;
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let place = document.at("deliveries");
        let starts = (0..list.deliveries().len())
            .map(|index| entry_start(&lines, place.at(index).line()?.checked_sub(1)?))
            .collect();
        Ok(Self { file: file.to_owned(), text, list, starts })
    }

    /// Deliveries, in the order of the file.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        self.list.deliveries()
    }

    /// Text with one more entry, at the end.
    ///
    /// # Errors
    /// [`DeliveryListTextError`] if the list would be invalid, or if the text cannot be changed.
    pub fn with(&self, delivery: &Delivery) -> Result<String, DeliveryListTextError> {
        let mut expected = self.deliveries().to_vec();
        expected.push(delivery.clone());
        let mut lines: Vec<String> = self.lines().map(str::to_owned).collect();
        let indent = self.indent()?;
        let entry = entry_lines(delivery, indent).ok_or_else(|| self.uneditable())?;
        if self.deliveries().is_empty() {
            self.replace_head(&mut lines, "deliveries:")?;
        }
        let end = lines.iter().rposition(|line| is_content(line)).map_or(0, |last| last.saturating_add(1));
        lines.splice(end..end, entry);
        self.checked(&lines, &expected)
    }

    /// Text without the entries at these positions.
    ///
    /// # Errors
    /// [`DeliveryListTextError`] if the text cannot be changed.
    pub fn without(&self, removed: &[usize]) -> Result<String, DeliveryListTextError> {
        let is_kept = |index: &usize| !removed.contains(index);
        let expected: Vec<Delivery> = (0..self.deliveries().len())
            .filter(is_kept)
            .filter_map(|index| self.deliveries().get(index).cloned())
            .collect();
        let lines: Vec<&str> = self.lines().collect();
        let mut keep = vec![true; lines.len()];
        for index in removed {
            let start = self.starts.get(*index).copied().flatten().ok_or_else(|| self.uneditable())?;
            let next = self.starts.get(index.saturating_add(1)).copied().flatten().unwrap_or(lines.len());
            // Comments after the entry belong to what follows.
            let entry = lines.get(start..next).unwrap_or_default();
            let length =
                entry.iter().rposition(|line| is_content(line)).map_or(0, |last| last.saturating_add(1));
            keep.iter_mut().skip(start).take(length).for_each(|keep| *keep = false);
        }
        let mut kept: Vec<String> =
            lines.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(line, _)| line.to_owned()).collect();
        if expected.is_empty() {
            self.replace_head(&mut kept, "deliveries: []")?;
        }
        self.checked(&kept, &expected)
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }

    /// Columns before the dash of each entry.
    fn indent(&self) -> Result<usize, DeliveryListTextError> {
        let Some(first) = self.starts.first() else { return Ok(2) };
        let line = first.and_then(|line| self.lines().nth(line)).ok_or_else(|| self.uneditable())?;
        Ok(line.len().saturating_sub(line.trim_start().len()))
    }

    /// Replace the line with the key of the list, or add it to a text without any value.
    fn replace_head(&self, lines: &mut Vec<String>, head: &str) -> Result<(), DeliveryListTextError> {
        let mut content = lines.iter_mut().filter(|line| is_content(line) && line.trim() != "---");
        match (content.next(), content.next()) {
            (None, _) => lines.push(head.to_owned()),
            (Some(line), None) => {
                let comment = line.find(" #").and_then(|at| line.get(at..)).unwrap_or_default();
                *line = format!("{head}{comment}");
            }
            (Some(_), Some(_)) => return Err(self.uneditable()),
        }
        Ok(())
    }

    /// The new text, if it has exactly the expected entries.
    fn checked(&self, lines: &[String], expected: &[Delivery]) -> Result<String, DeliveryListTextError> {
        let mut text = lines.join("\n");
        text.push('\n');
        let read = DeliveryList::parse(&self.file, text.as_bytes());
        match read {
            Ok(list) if list.deliveries() == expected => Ok(text),
            Err(error) if error.is_about_deliveries() => Err(error.into()),
            Ok(_) | Err(_) => Err(self.uneditable()),
        }
    }

    fn uneditable(&self) -> DeliveryListTextError {
        DeliveryListTextError::Form { file: self.file.clone() }
    }
}

/// Line of the dash of the entry whose first key is in `line`.
fn entry_start(lines: &[&str], line: usize) -> Option<usize> {
    let is_dash = |line: &str| line.trim_start() == "-" || line.trim_start().starts_with("- ");
    let before = lines.get(..=line)?;
    let start = before.iter().rposition(|line| is_content(line) && is_dash(line))?;
    // Nothing but the dash may precede the first key.
    let between = before.get(start.saturating_add(1)..line).unwrap_or_default();
    (start == line || !between.iter().any(|line| is_content(line))).then_some(start)
}

/// True for a line that is more than space and a comment.
fn is_content(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

/// An entry as YAML, its dash in column `indent`; `None` for a value that YAML cannot express.
fn entry_lines(delivery: &Delivery, indent: usize) -> Option<Vec<String>> {
    struct Written(EntryFields);
    impl fmt::Display for Written {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            yaml::write(&self.0, f)
        }
    }
    let mut text = String::new();
    write!(text, "{}", Written(EntryFields::of(delivery))).ok()?;
    let lines = text.lines().enumerate().map(|(index, line)| {
        let lead = if index == 0 { "- " } else { "  " };
        format!("{:indent$}{lead}{line}", "")
    });
    Some(lines.collect())
}

/// A list that cannot be changed as requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryListTextError {
    /// The changed list is invalid.
    #[error(transparent)]
    List(#[from] DeliveryListError),
    /// The entries are not written one below the other.
    #[error("{file} has a form that a program cannot change without losing parts of it; nothing was changed")]
    Form {
        /// Name of the file in error texts.
        file: String,
    },
}

impl DeliveryListError {
    /// True if it names at least one entry, rather than the file.
    fn is_about_deliveries(&self) -> bool {
        self.problems.iter().map(YamlProblem::to_string).any(|problem| problem.contains("deliveries["))
    }
}

impl Coded for DeliveryListTextError {
    fn coded(&self) -> Code {
        match self {
            Self::List(error) => error.coded(),
            Self::Form { .. } => Code::refused("hosts.form"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::role_and_name;

    fn delivery(identity: &str, to: &str) -> Delivery {
        let text = format!("deliveries:\n- {{identity: {identity}, to: '{to}'}}\n");
        DeliveryList::parse("hosts.yaml", text.as_bytes()).unwrap().deliveries()[0].clone()
    }

    fn read(text: &str) -> DeliveryListText {
        DeliveryListText::parse("hosts.yaml", Some(text.as_bytes())).unwrap()
    }

    const COMMENTED: &str = "# Our machines
deliveries:   # one a line
  # the API
  - identity: control-service/api.example.com   # first
    to: root@api.example.com:/etc/cluster
    # reloads by signal
    reload: \"systemctl reload api # now\"

  # plugins
  - identity: api-user/plugin
    to: root@api.example.com:/etc/cluster
    as: plugin
# end
";

    #[test]
    fn an_entry_is_added_at_the_end_and_comments_stay() {
        let added = read(COMMENTED).with(&delivery("api-user/b", "root@b:/etc/cluster")).unwrap();
        let entry = "    as: plugin\n  - identity: api-user/b\n    to: root@b:/etc/cluster\n# end\n";
        assert_eq!(added, COMMENTED.replace("    as: plugin\n# end\n", entry));
        assert_eq!(read(&added).deliveries().len(), 3);
    }

    #[test]
    fn a_removed_entry_leaves_the_comments_around_it() {
        let text = read(COMMENTED);
        let first = text.without(&[0]).unwrap();
        assert_eq!(
            first,
            "# Our machines
deliveries:   # one a line
  # the API

  # plugins
  - identity: api-user/plugin
    to: root@api.example.com:/etc/cluster
    as: plugin
# end
"
        );
        let none = text.without(&[0, 1]).unwrap();
        assert_eq!(none, "# Our machines\ndeliveries: [] # one a line\n  # the API\n\n  # plugins\n# end\n");
        assert_eq!(read(&none).deliveries(), []);
        let again = read(&none).with(&delivery("api-user/b", "root@b:/etc/cluster")).unwrap();
        assert_eq!(read(&again).deliveries().len(), 1, "{again}");
        assert!(
            again.starts_with("# Our machines\ndeliveries: # one a line\n  - identity: api-user/b\n"),
            "{again}"
        );
    }

    #[test]
    fn every_key_of_an_added_entry_is_read_back() {
        let text = "deliveries:
- identity: control-service/api.example.com
  to: 'root@[::1]:2222:/etc/cluster'
  as: api
  owner: svc
  group: '1000'
  mode: '0640'
  become: sudo
  reload: 'printf \"%s\\n\" \"a: b # c\"'
";
        let all = read(text).deliveries()[0].clone();
        for before in ["deliveries: []\n", "deliveries:\n- {identity: api-user/a, to: 'b:/c'}\n"] {
            let added = read(before).with(&all).unwrap();
            assert_eq!(read(&added).deliveries().last(), Some(&all), "{added}");
        }
        let new = DeliveryListText::parse("hosts.yaml", None).unwrap().with(&all).unwrap();
        assert_eq!(read(&new).deliveries(), [all]);
        assert!(
            new.starts_with("deliveries:\n  - identity: control-service/api.example.com\n    to: "),
            "{new}"
        );
    }

    #[test]
    fn entries_in_other_forms_are_changed_or_left_alone() {
        let (a, b) = (delivery("api-user/a", "a:/c"), delivery("api-user/b", "b:/c"));
        let dashes =
            "deliveries:\n-\n  identity: api-user/a\n  to: a:/c\n- {identity: api-user/b, to: 'b:/c'}\n";
        let text = read(dashes);
        assert_eq!(text.deliveries(), [a.clone(), b]);
        assert_eq!(read(&text.without(&[0]).unwrap()).deliveries().len(), 1);
        assert_eq!(text.without(&[1]).unwrap(), "deliveries:\n-\n  identity: api-user/a\n  to: a:/c\n");
        for uneditable in [
            "deliveries: [{identity: api-user/a, to: 'a:/c'}]\n",
            "{deliveries: [{identity: api-user/a, to: 'a:/c'}]}\n",
            "deliveries:\n  [{identity: api-user/a, to: 'a:/c'},\n   {identity: api-user/b, to: 'b:/c'}]\n",
        ] {
            let text = read(uneditable);
            let new = delivery("api-user/n", "n:/c");
            for refused in [text.with(&new), text.without(&[0])] {
                assert_eq!(refused.unwrap_err().code(), "hosts.form", "{uneditable}");
            }
        }
        let aliased =
            "deliveries:\n- &a {identity: api-user/a, to: 'a:/c'}\n- identity: api-user/b\n  to: 'b:/c'\n";
        assert!(read(aliased).with(&delivery("api-user/n", "n:/c")).is_ok());
    }

    #[test]
    fn an_entry_that_would_write_the_files_of_another_is_refused_with_its_line() {
        let error = read(COMMENTED).with(&delivery("control-service/b", "root@api.example.com:/etc/cluster"));
        let error = error.unwrap_err();
        assert_eq!(error.code(), "input.hosts");
        assert!(
            error.to_string().contains("hosts.yaml:14: deliveries[2].to: two deliveries write"),
            "{error}"
        );
        assert!(role_and_name("control-service/b").is_ok());
    }
}
