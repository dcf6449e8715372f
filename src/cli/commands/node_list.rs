//! Nodes to issue certificates for, as listed in a file for `create-node --from`.
//!
//! ```yaml
//! nodes:
//!   - label: web-1
//!     hosts: [web-1.example.com, 10.0.0.5]
//!   - uuid: 6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e
//!     label: db-1
//! ```

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::error::{Code, Coded};
use crate::file_schema::{FileSchema, KeySchema, MappingSchema};
use crate::identity::{Host, IdentityError, MachineLabel, Name};
use crate::yaml::{Document, Place, YamlProblem};

/// Node of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedNode {
    /// Name of the identity; `None` for a new random UUID.
    pub(crate) name: Option<Name>,
    /// Hosts that the node serves on.
    pub(crate) hosts: Vec<Host>,
    /// Label of the machine.
    pub(crate) label: Option<MachineLabel>,
}

/// Content of a file for `create-node --from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeList(Vec<ListedNode>);

/// Keys of a list of nodes.
pub(crate) static NODE_LIST_FILE: FileSchema = FileSchema {
    name: "nodes.yaml",
    about: "nodes for cluster-ca create-node --from",
    notes: &[
        "The file may have any name; `-` is standard input. Unknown keys are errors. Maximum size: 16 MiB.",
        "A node without a UUID gets a new random one at each run.",
    ],
    mappings: &[
        &MappingSchema {
            path: "",
            keys: &[KeySchema::required("nodes", "list of nodes", "Nodes, in any order.")],
        },
        &MappingSchema {
            path: "nodes[]",
            keys: &[
                KeySchema::optional("uuid", "UUID (version 4)", "a new random one", "Name of the node."),
                KeySchema::optional(
                    "hosts",
                    "list of host names and IP addresses",
                    "the node serves nothing",
                    "Names and addresses that the node serves on.",
                ),
                KeySchema::optional(
                    "label",
                    "text of at most 64 bytes",
                    "none",
                    "Description of the machine, such as its host name. `list` and `show` find the node by it.",
                ),
            ],
        },
    ],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodesFile {
    nodes: Vec<NodeFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFields {
    uuid: Option<String>,
    hosts: Option<Vec<String>>,
    label: Option<String>,
}

impl NodeList {
    /// Largest size accepted, in bytes; enough for about a hundred thousand nodes.
    pub(crate) const LIMIT: u64 = 16 << 20;

    /// Parse the file; error texts call it `file`.
    ///
    /// # Errors
    /// [`NodeListError`] with every problem of the file.
    pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Self, NodeListError> {
        let document = Document::parse_within(Self::LIMIT, file, bytes).map_err(NodeListError::one)?;
        let NodesFile { nodes } = document.deserialize().map_err(NodeListError::one)?;
        let mut problems = Vec::new();
        if nodes.is_empty() {
            problems.push(document.at("nodes").problem("no node is listed"));
        }
        let mut taken = HashMap::new();
        let mut read = Vec::with_capacity(nodes.len());
        for (index, fields) in nodes.iter().enumerate() {
            let place = document.at("nodes").at(index);
            match node(fields, &place) {
                Ok(node) => {
                    if let Some(name) = &node.name
                        && let Some(earlier) = taken.insert(name.clone(), index)
                    {
                        problems.push(
                            place
                                .at("uuid")
                                .problem(format_args!("{name} is already listed as nodes[{earlier}]")),
                        );
                    }
                    read.push(node);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() { Ok(Self(read)) } else { Err(NodeListError { problems }) }
    }

    /// Nodes, in the order of the file.
    #[must_use]
    pub(crate) fn into_nodes(self) -> Vec<ListedNode> {
        self.0
    }
}

/// Parse one node; returns all its problems on failure.
fn node(fields: &NodeFields, place: &Place<'_>) -> Result<ListedNode, Vec<YamlProblem>> {
    let mut problems = Vec::new();
    let name = fields.uuid.as_deref().and_then(|text| {
        let read = text.parse::<Uuid>().ok().map_or_else(
            || Err(place.at("uuid").problem(IdentityError::node_uuid(text))),
            |uuid| Name::of_node(uuid).map_err(|error| place.at("uuid").problem(error)),
        );
        read.map_err(|problem| problems.push(problem)).ok()
    });
    let mut hosts = Vec::new();
    for (index, text) in fields.hosts.iter().flatten().enumerate() {
        match text.parse::<Host>() {
            Ok(host) => hosts.push(host),
            Err(error) => problems.push(place.at("hosts").at(index).problem(error)),
        }
    }
    let label = fields.label.as_deref().and_then(|text| {
        let read = text.parse::<MachineLabel>().map_err(|error| place.at("label").problem(error));
        read.map_err(|problem| problems.push(problem)).ok()
    });
    if problems.is_empty() { Ok(ListedNode { name, hosts, label }) } else { Err(problems) }
}

/// Problems of a list of nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of nodes is invalid{}", problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
pub(crate) struct NodeListError {
    /// Problems, each with file and line.
    pub(crate) problems: Vec<YamlProblem>,
}

impl NodeListError {
    fn one(problem: YamlProblem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Coded for NodeListError {
    fn coded(&self) -> Code {
        Code::refused("input.nodes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";

    fn problems(text: &str) -> Vec<String> {
        let error = NodeList::parse("nodes.yaml", text.as_bytes()).unwrap_err();
        error.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nodes_are_read_in_their_order() {
        let text = format!(
            "nodes:\n  - label: web-1\n    hosts: [web-1.example.com, 10.0.0.5]\n  - uuid: {NODE}\n    label: db 1\n"
        );
        let nodes = NodeList::parse("nodes.yaml", text.as_bytes()).unwrap().into_nodes();
        let [web, db] = nodes.as_slice() else { panic!("{nodes:?}") };
        assert_eq!((web.name.as_ref(), web.hosts.len()), (None, 2));
        assert_eq!(web.label.as_ref().unwrap().as_str(), "web-1");
        assert_eq!(db.name.as_ref().unwrap().as_str(), NODE);
        assert_eq!(db.label.as_ref().unwrap().as_str(), "db 1");
    }

    #[test]
    fn every_problem_is_reported_with_its_line() {
        let text = format!(
            "nodes:
  - uuid: web-1
    label: \"a\\nb\"
  - hosts: [good.example.com, 'a b']
  - uuid: {NODE}
  - uuid: {NODE}
  - uuid: 6ba7b810-9dad-11d1-80b4-00c04fd430c8
"
        );
        let problems = problems(&text);
        for (index, start) in [
            "nodes.yaml:2: nodes[0].uuid: `web-1` is not a version 4",
            "nodes.yaml:3: nodes[0].label: the label",
            "nodes.yaml:4: nodes[1].hosts[1]: ",
            "nodes.yaml:6: nodes[3].uuid: ",
            "nodes.yaml:7: nodes[4].uuid: ",
        ]
        .iter()
        .enumerate()
        {
            assert!(problems.get(index).is_some_and(|one| one.starts_with(start)), "{start}: {problems:#?}");
        }
        assert_eq!(problems.len(), 5, "{problems:#?}");
    }

    #[test]
    fn an_empty_list_and_unknown_keys_are_refused() {
        assert_eq!(problems("nodes: []\n"), ["nodes.yaml:1: nodes: no node is listed"]);
        let unknown = problems("nodes:\n  - uid: x\n");
        assert!(unknown[0].starts_with("nodes.yaml:2:") && unknown[0].contains("unknown field `uid`"));
        assert!(problems("hosts: []\n")[0].contains("unknown field"));
        assert!(problems("")[0].starts_with("nodes.yaml"));
    }

    #[test]
    fn the_reader_and_the_manual_page_have_the_same_keys() {
        for (mapping, text) in NODE_LIST_FILE.mappings.iter().zip(["x: 1\n", "nodes: [{ x: 1 }]\n"]) {
            let problems = problems(text);
            // Each key that serde knows stands between backticks, the unknown one too.
            assert_eq!(problems[0].matches('`').count(), 2 * (mapping.keys.len() + 1), "{problems:?}");
            for key in mapping.keys {
                assert!(problems[0].contains(&format!("`{}`", key.name)), "{}: {problems:?}", key.name);
            }
        }
    }
}
