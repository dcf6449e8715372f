//! Paths named by shipped code: in `use` trees, expressions, types, attributes and macro arguments.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Macro, Meta, Stmt, TraitItem};

use crate::tree::{Doc, Import, attributes_of, doc_lines, is_for_tests, leaves, line};

/// A path as written, `use` trees spelled out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    /// Written in a `use`.
    pub(crate) is_import: bool,
    /// Written with leading colons: the first segment is a crate.
    pub(crate) is_foreign: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) imports: Vec<Import>,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) docs: Vec<Doc>,
    names: Vec<String>,
    is_help: bool,
}

/// Everything that `items` name, without tests and without the contents of inner modules.
pub(crate) fn read(items: &[Item]) -> Found {
    let mut found = Found::default();
    for item in items.iter().filter(|item| !matches!(item, Item::Mod(_))) {
        found.visit_item(item);
    }
    found
}

/// Arguments of serde attributes whose string is a path.
const PATHS_IN_STRINGS: &[&str] = &[
    "default",
    "deserialize_with",
    "from",
    "into",
    "serialize_with",
    "skip_serializing_if",
    "try_from",
    "with",
];

impl Found {
    fn mention(&mut self, line: usize, segments: Vec<String>, is_foreign: bool) {
        self.mentions.push(Mention { line, segments, is_import: false, is_foreign });
    }

    fn document(&mut self, attributes: &[Attribute], name: &str, line: usize) {
        let lines = doc_lines(attributes);
        if !lines.is_empty() {
            let text = lines.join("\n");
            self.docs.push(Doc { line, name: name.to_owned(), is_help: self.is_help, text });
        }
    }

    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) if begins_path(&tokens, at) => {
                    let line = first.span().start().line;
                    let is_foreign = at >= 2 && is_separator(&tokens, at - 2);
                    let mut segments = vec![first.to_string()];
                    while is_separator(&tokens, at + 1)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 3)
                    {
                        segments.push(next.to_string());
                        at += 3;
                    }
                    // Alone, it stands in `pub(crate)`.
                    if segments != ["crate"] {
                        self.mention(line, segments, is_foreign);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn strings_of_serde(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for window in tokens.windows(3) {
            let [TokenTree::Ident(key), TokenTree::Punct(equals), TokenTree::Literal(value)] = window else {
                continue;
            };
            if equals.as_char() == '=' && PATHS_IN_STRINGS.contains(&key.to_string().as_str()) {
                let text = value.to_string();
                let segments = text.trim_matches('"').split("::").map(str::to_owned).collect();
                self.mention(key.span().start().line, segments, false);
            }
        }
    }
}

/// Whether the identifier at `at` is the head of a path: no field, method, lifetime or macro variable.
fn begins_path(tokens: &[TokenTree], at: usize) -> bool {
    let mark = |back: usize| match at.checked_sub(back).and_then(|i| tokens.get(i)) {
        Some(TokenTree::Punct(punct)) => Some(punct.as_char()),
        _ => None,
    };
    match mark(1) {
        Some('.') => mark(2) == Some('.'),
        Some('\'') => false,
        Some('$') => matches!(&tokens[at], TokenTree::Ident(name) if name == "crate"),
        Some(':') if at >= 2 && is_separator(tokens, at - 2) => match at.checked_sub(3).map(|i| &tokens[i]) {
            Some(TokenTree::Ident(name)) => name == "return" || name == "in" || name == "else",
            Some(TokenTree::Punct(punct)) => punct.as_char() != '>',
            _ => true,
        },
        _ => true,
    }
}

/// Whether `::` stands at `at`.
fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| match tokens.get(at) {
        Some(TokenTree::Punct(punct)) if punct.as_char() == ':' => Some(punct.spacing()),
        _ => None,
    };
    colon(at) == Some(Spacing::Joint) && colon(at + 1).is_some()
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes_of(item)) {
            return;
        }
        let name = match item {
            Item::Const(item) => item.ident.to_string(),
            Item::Enum(item) => item.ident.to_string(),
            Item::Fn(item) => item.sig.ident.to_string(),
            Item::Static(item) => item.ident.to_string(),
            Item::Struct(item) => item.ident.to_string(),
            Item::Trait(item) => item.ident.to_string(),
            Item::Type(item) => item.ident.to_string(),
            _ => String::new(),
        };
        self.is_help = is_clap(attributes_of(item));
        self.document(attributes_of(item), &name, line(item));
        self.names.push(name);
        visit::visit_item(self, item);
        self.names.pop();
        self.is_help = false;
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let (attributes, name) = match item {
            ImplItem::Const(item) => (&item.attrs, item.ident.to_string()),
            ImplItem::Fn(item) => (&item.attrs, item.sig.ident.to_string()),
            ImplItem::Type(item) => (&item.attrs, item.ident.to_string()),
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_for_tests(attributes) {
            self.document(attributes, &name, line(item));
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let (attributes, name) = match item {
            TraitItem::Const(item) => (&item.attrs, item.ident.to_string()),
            TraitItem::Fn(item) => (&item.attrs, item.sig.ident.to_string()),
            TraitItem::Type(item) => (&item.attrs, item.ident.to_string()),
            _ => return visit::visit_trait_item(self, item),
        };
        if !is_for_tests(attributes) {
            self.document(attributes, &name, line(item));
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !is_for_tests(&field.attrs) {
            let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
            self.document(&field.attrs, &name, line(field));
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !is_for_tests(&variant.attrs) {
            self.document(&variant.attrs, &variant.ident.to_string(), line(variant));
            visit::visit_variant(self, variant);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let is_test = match statement {
            Stmt::Local(local) => is_for_tests(&local.attrs),
            Stmt::Macro(call) => is_for_tests(&call.attrs),
            _ => false,
        };
        if !is_test {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        leaves(&item.tree, &[], &mut found);
        for (line, import) in found {
            let segments = import.segments.clone();
            let is_foreign = item.leading_colon.is_some();
            self.mentions.push(Mention { line, segments, is_import: true, is_foreign });
            self.imports.push(import);
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let segments = vec![item.ident.to_string()];
        self.mentions.push(Mention { line: line(item), segments, is_import: true, is_foreign: true });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.mention(line(path), segments, path.leading_colon.is_some());
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        match &path.qself {
            // `<T>::name`: nothing before the name is a path.
            Some(qualified) if qualified.position == 0 => self.visit_type(&qualified.ty),
            _ => visit::visit_expr_path(self, path),
        }
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        match &path.qself {
            Some(qualified) if qualified.position == 0 => self.visit_type(&qualified.ty),
            _ => visit::visit_type_path(self, path),
        }
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let path = attribute.path();
        if path.segments.len() > 1 {
            self.visit_path(path);
        }
        match &attribute.meta {
            Meta::List(list) => {
                self.scan(list.tokens.clone());
                if path.is_ident("serde") {
                    self.strings_of_serde(list.tokens.clone());
                }
            }
            Meta::NameValue(pair) => self.visit_expr(&pair.value),
            Meta::Path(_) => {}
        }
    }
}

/// Whether clap derives a command or arguments from what carries `attributes`.
fn is_clap(attributes: &[Attribute]) -> bool {
    const DERIVES: &[&str] = &["Args", "Parser", "Subcommand", "ValueEnum"];
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("derive") => {
            let text = list.tokens.to_string();
            text.split([',', ' ', ':']).any(|word| DERIVES.contains(&word))
        }
        _ => false,
    })
}
