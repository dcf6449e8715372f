//! Source tree of one crate as data: modules, definitions, imports and every path that shipped code names.
//!
//! Read once with `syn`. Code under `#[cfg(test)]` is left out, except in [`SourceFile::test_code`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Attribute, Item, Lit, Meta, UseTree, Visibility};

use crate::paths::{self, Mention};

/// Source files and the modules in them.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) modules: Vec<Module>,
}

#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Path below the tree's root: `gateway/config/mod.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Reached only through a `#[cfg(test)]` declaration.
    pub(crate) for_tests: bool,
    /// Reached from a crate root.
    pub(crate) is_reached: bool,
    /// Items compiled for tests only, as source text without comments.
    pub(crate) test_code: Vec<String>,
    /// Items that are neither `mod NAME;` nor `use`, tests left out: line and what it is.
    pub(crate) other_items: Vec<(usize, String)>,
}

/// A module: a file, or a `mod NAME { … }` inside of one.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) file: usize,
    /// Names from the crate root; a binary's begin with `bin` and its name.
    pub(crate) path: Vec<String>,
    /// The crate root that `crate` stands for.
    pub(crate) root: usize,
    pub(crate) parent: Option<usize>,
    pub(crate) children: BTreeMap<String, usize>,
    pub(crate) items: BTreeMap<String, Definition>,
    pub(crate) imports: Vec<Import>,
    pub(crate) mentions: Vec<Mention>,
    /// Inner documentation (`//!`), line by line.
    pub(crate) head: Vec<String>,
    /// Doc comments of everything in the module, fields and variants included.
    pub(crate) docs: Vec<Doc>,
}

#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) is_public: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Type,
    Other,
}

/// One leaf of a `use` tree.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// The name that it binds; none for a glob.
    pub(crate) name: Option<String>,
    pub(crate) segments: Vec<String>,
}

/// A doc comment.
#[derive(Clone, Debug)]
pub(crate) struct Doc {
    pub(crate) line: usize,
    /// The name of what is documented.
    pub(crate) name: String,
    /// Whether clap prints it as help.
    pub(crate) is_help: bool,
    pub(crate) text: String,
}

impl Tree {
    /// Reads every `.rs` file below `directory`.
    pub(crate) fn read(directory: &Path) -> Self {
        Self::parse(read_sources(directory))
    }

    /// A tree of the given files, by path and text.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self::parse(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn parse(sources: Vec<(String, String)>) -> Self {
        let file = |(path, text)| SourceFile {
            path,
            text,
            for_tests: false,
            is_reached: false,
            test_code: Vec::new(),
            other_items: Vec::new(),
        };
        let mut tree = Self { files: sources.into_iter().map(file).collect(), modules: Vec::new() };
        for index in 0..tree.files.len() {
            let path = tree.files[index].path.clone();
            let name = path.strip_suffix(".rs").unwrap_or(&path);
            if name == "lib" {
                tree.module_of_file(index, Vec::new(), None, false);
            } else if let Some(binary) = name.strip_prefix("bin/")
                && !binary.contains('/')
            {
                tree.module_of_file(index, vec!["bin".to_owned(), binary.to_owned()], None, false);
            }
        }
        tree
    }

    pub(crate) fn path_of(&self, module: usize) -> &str {
        &self.files[self.modules[module].file].path
    }

    /// The modules that ship.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &Module)> {
        self.modules.iter().enumerate().filter(|(_, module)| !self.files[module.file].for_tests)
    }

    /// The library's root module.
    pub(crate) fn library(&self) -> Option<usize> {
        self.modules.iter().position(|module| module.path.is_empty())
    }

    fn module_of_file(
        &mut self,
        file: usize,
        path: Vec<String>,
        parent: Option<usize>,
        for_tests: bool,
    ) -> usize {
        let source = &mut self.files[file];
        source.is_reached = true;
        source.for_tests = for_tests;
        let parsed = syn::parse_file(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
        let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        let (parents, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let is_root = parent.is_none() || name == "mod";
        let directory = if is_root { parents.to_owned() } else { stem.to_owned() };
        if for_tests {
            let code = parsed.items.iter().map(|item| item.to_token_stream().to_string());
            self.files[file].test_code.extend(code);
        }
        self.module(file, path, parent, &directory, &parsed.attrs, &parsed.items)
    }

    fn module(
        &mut self,
        file: usize,
        path: Vec<String>,
        parent: Option<usize>,
        directory: &str,
        attributes: &[Attribute],
        items: &[Item],
    ) -> usize {
        let index = self.modules.len();
        let head = doc_lines(attributes);
        let root = parent.map_or(index, |parent| self.modules[parent].root);
        self.modules.push(Module {
            file,
            path: path.clone(),
            root,
            parent,
            children: BTreeMap::new(),
            items: BTreeMap::new(),
            imports: Vec::new(),
            mentions: Vec::new(),
            head,
            docs: Vec::new(),
        });
        let for_tests = self.files[file].for_tests;
        for item in items {
            if let Item::Mod(declared) = item {
                let is_test = for_tests || is_for_tests(&declared.attrs);
                let name = declared.ident.to_string();
                let inner = [path.as_slice(), std::slice::from_ref(&name)].concat();
                if let Some((_, content)) = &declared.content {
                    if is_test {
                        self.files[file].test_code.push(item.to_token_stream().to_string());
                        continue;
                    }
                    self.files[file].other_items.push((line(item), format!("mod {name} {{ … }}")));
                    let below = join(directory, &name);
                    let child = self.module(file, inner, Some(index), &below, &declared.attrs, content);
                    self.modules[index].children.insert(name, child);
                } else if let Some(found) = self.file_of(directory, &name, &declared.attrs, file) {
                    let child = self.module_of_file(found, inner, Some(index), is_test);
                    if !is_test || for_tests {
                        self.modules[index].children.insert(name, child);
                    }
                }
                continue;
            }
            if is_for_tests(attributes_of(item)) {
                self.files[file].test_code.push(item.to_token_stream().to_string());
                continue;
            }
            self.define(index, item);
        }
        let found = paths::read(items);
        self.modules[index].imports = found.imports;
        self.modules[index].mentions = found.mentions;
        self.modules[index].docs = found.docs;
        index
    }

    fn define(&mut self, module: usize, item: &Item) {
        let Some((name, visibility, kind, what)) = definition(item) else {
            if !matches!(item, Item::Use(_)) {
                let file = self.modules[module].file;
                self.files[file].other_items.push((line(item), "an `impl`, or a macro".to_owned()));
            }
            return;
        };
        let file = self.modules[module].file;
        self.files[file].other_items.push((line(item), format!("{what} {name}")));
        let is_public = visibility.is_none_or(|visibility| !matches!(visibility, Visibility::Inherited));
        self.modules[module].items.insert(name, Definition { line: line(item), kind, is_public });
    }

    /// The file that `mod NAME;` in `directory` stands for.
    fn file_of(
        &self,
        directory: &str,
        name: &str,
        attributes: &[Attribute],
        declaring: usize,
    ) -> Option<usize> {
        let at = |path: &str| self.files.iter().position(|file| file.path == path);
        if let Some(path) = attributes.iter().find_map(path_attribute) {
            let beside = self.files[declaring].path.rsplit_once('/').map_or("", |(parents, _)| parents);
            return at(&join(beside, &path));
        }
        at(&format!("{}.rs", join(directory, name)))
            .or_else(|| at(&format!("{}/mod.rs", join(directory, name))))
    }
}

/// The `.rs` files below `directory`, by their path below it.
pub(crate) fn read_sources(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no source below {}", directory.display());
    found.sort();
    found
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

pub(crate) fn line(spanned: &impl Spanned) -> usize {
    spanned.span().start().line
}

/// Whether `#[cfg(test)]`, `#[cfg(all(test, …))]` or `#[test]` is among `attributes`.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let Meta::List(list) = &attribute.meta else { return false };
        let text: String = list.tokens.to_string().split_whitespace().collect();
        list.path.is_ident("cfg") && (text == "test" || text.starts_with("all(test"))
    })
}

/// The lines of the doc comments among `attributes`, without the space that follows the slashes.
pub(crate) fn doc_lines(attributes: &[Attribute]) -> Vec<String> {
    attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        })
        .flat_map(|text| {
            text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that `item` defines, its visibility (none: a macro's), and what it is.
fn definition(item: &Item) -> Option<(String, Option<&Visibility>, Kind, &'static str)> {
    let (name, visibility, kind, what) = match item {
        Item::Const(item) => (&item.ident, Some(&item.vis), Kind::Other, "const"),
        Item::Enum(item) => (&item.ident, Some(&item.vis), Kind::Type, "enum"),
        Item::Fn(item) => (&item.sig.ident, Some(&item.vis), Kind::Other, "fn"),
        Item::Macro(item) => (item.ident.as_ref()?, None, Kind::Other, "macro_rules!"),
        Item::Static(item) => (&item.ident, Some(&item.vis), Kind::Other, "static"),
        Item::Struct(item) => (&item.ident, Some(&item.vis), Kind::Type, "struct"),
        Item::Trait(item) => (&item.ident, Some(&item.vis), Kind::Type, "trait"),
        Item::TraitAlias(item) => (&item.ident, Some(&item.vis), Kind::Type, "trait alias"),
        Item::Type(item) => (&item.ident, Some(&item.vis), Kind::Type, "type"),
        Item::Union(item) => (&item.ident, Some(&item.vis), Kind::Type, "union"),
        _ => return None,
    };
    Some((name.to_string(), visibility, kind, what))
}

/// The leaves of a `use` tree.
pub(crate) fn leaves(tree: &UseTree, prefix: &[String], found: &mut Vec<(usize, Import)>) {
    let with = |name: &dyn ToString| [prefix, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident), found),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, prefix, found)),
        UseTree::Glob(glob) => {
            found.push((line(glob), Import { name: None, segments: with(&"*") }));
        }
        UseTree::Name(name) if name.ident == "self" => {
            found.push((line(name), Import { name: prefix.last().cloned(), segments: prefix.to_vec() }));
        }
        UseTree::Name(name) => {
            found.push((
                line(name),
                Import { name: Some(name.ident.to_string()), segments: with(&name.ident) },
            ));
        }
        UseTree::Rename(rename) => {
            let segments = if rename.ident == "self" { prefix.to_vec() } else { with(&rename.ident) };
            found.push((line(rename), Import { name: Some(rename.rename.to_string()), segments }));
        }
    }
}

/// The tokens of `text`, with the lines that they stand on.
pub(crate) fn tokens(file: &str, text: &str) -> TokenStream {
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}
