//! Graph of imports between the files of a tree, each path followed to the file that defines what it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::Mention;
use crate::tree::{Module, Tree};

/// Target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A module as a whole.
    Module(usize),
    /// Something that the module defines.
    Item(usize),
}

/// A path that leads into the tree.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) target: Target,
    /// The modules named on the way, as written.
    pub(crate) passed: Vec<usize>,
    /// The module that only re-exports what the path names in it.
    pub(crate) re_exported_by: Option<usize>,
}

/// An import of one file by another.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// Names that are being resolved, so that a circle of re-exports ends.
type Visited = BTreeSet<(usize, String)>;

impl Tree {
    /// Follows `mention` in `module`; none if it leads to another crate or to a local name.
    pub(crate) fn resolve(&self, module: usize, mention: &Mention) -> Option<Resolved> {
        if mention.is_foreign {
            return None;
        }
        let mut resolved = self.follow(module, &mention.segments, &mut Visited::new())?;
        // A name used alone was bound by a `use`, which counts; what a glob binds counts where it is used.
        if mention.segments.len() == 1 && !mention.is_import {
            resolved.re_exported_by = None;
        }
        Some(resolved)
    }

    /// Whether the head of the path is a name of the module, of its crate or of the library.
    fn head(&self, module: usize, name: &str, more: bool, visited: &mut Visited) -> Option<Target> {
        match name {
            "crate" => Some(Target::Module(self.modules[module].root)),
            "cluster_ca" => self.library().map(Target::Module),
            "self" => Some(Target::Module(module)),
            "super" => self.modules[module].parent.map(Target::Module),
            "Self" => None,
            _ => self.lookup(module, name, more, visited).map(|(target, _)| target),
        }
    }

    fn follow(&self, module: usize, segments: &[String], visited: &mut Visited) -> Option<Resolved> {
        let (first, rest) = segments.split_first()?;
        let mut target = self.head(module, first, !rest.is_empty(), visited)?;
        let mut passed = Vec::new();
        let mut re_exported_by = None;
        for (at, segment) in rest.iter().enumerate() {
            let Target::Module(current) = target else { break };
            passed.push(current);
            if segment == "*" {
                break;
            }
            if segment == "super" {
                target = Target::Module(self.modules[current].parent?);
                continue;
            }
            let Some((next, is_re_export)) = self.lookup(current, segment, at + 1 < rest.len(), visited)
            else {
                break;
            };
            if is_re_export {
                re_exported_by = Some(current);
            }
            target = next;
        }
        if let Target::Module(last) = target
            && !passed.contains(&last)
        {
            passed.push(last);
        }
        Some(Resolved { target, passed, re_exported_by })
    }

    /// What `name` is in `module`, and whether it is only re-exported there.
    fn lookup(&self, module: usize, name: &str, more: bool, visited: &mut Visited) -> Option<(Target, bool)> {
        let here: &Module = &self.modules[module];
        let child = here.children.get(name).map(|child| (Target::Module(*child), false));
        let item = here.items.get(name).map(|_| (Target::Item(module), false));
        let own = if more { child.or(item) } else { item.or(child) };
        if own.is_some() {
            return own;
        }
        if !visited.insert((module, name.to_owned())) {
            return None;
        }
        for import in here.imports.iter().filter(|import| import.name.as_deref() == Some(name)) {
            if let Some(resolved) = self.follow(module, &import.segments, visited) {
                return Some((resolved.target, true));
            }
        }
        for import in here.imports.iter().filter(|import| import.name.is_none()) {
            let (_, source) = import.segments.split_last()?;
            if let Some(Resolved { target: Target::Module(source), .. }) =
                self.follow(module, source, visited)
                && source != module
                && let Some((target, _)) = self.lookup(source, name, more, visited)
            {
                return Some((target, true));
            }
        }
        None
    }

    /// Every import of one shipped file by another.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (index, module) in self.shipped() {
            for mention in &module.mentions {
                let Some(Resolved { target: Target::Item(target), .. }) = self.resolve(index, mention) else {
                    continue;
                };
                let to = self.modules[target].file;
                if to != module.file {
                    let what = mention.segments.join("::");
                    edges.push(Edge { from: module.file, to, line: mention.line, what });
                }
            }
        }
        edges
    }
}

/// The strongly connected components of more than one node.
pub(crate) fn components(nodes: usize, edges: &[Edge]) -> Vec<Vec<usize>> {
    let mut after: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut before: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for edge in edges {
        after.entry(edge.from).or_default().insert(edge.to);
        before.entry(edge.to).or_default().insert(edge.from);
    }
    let mut left: BTreeSet<usize> = (0..nodes).collect();
    let mut found = Vec::new();
    while let Some(node) = left.first().copied() {
        let component: Vec<usize> =
            reached(node, &after).intersection(&reached(node, &before)).copied().collect();
        left.retain(|node| !component.contains(node));
        if component.len() > 1 {
            found.push(component);
        }
    }
    found
}

/// `node` and everything that can be reached from it.
fn reached(node: usize, next: &BTreeMap<usize, BTreeSet<usize>>) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([node]);
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        let fresh = next.get(&node).into_iter().flatten().filter(|next| found.insert(**next)).copied();
        open.extend(fresh.collect::<Vec<_>>());
    }
    found
}
