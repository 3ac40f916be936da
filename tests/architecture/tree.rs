//! Reads Rust sources into modules, their names, and the paths that they use.
//!
//! The sources are parsed, so comments and strings are not taken for code. Paths inside macro calls
//! and attributes are found among the tokens.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use proc_macro2::Ident;
use proc_macro2::TokenStream;
use proc_macro2::TokenTree;
use syn::visit;
use syn::visit::Visit;

/// A Rust file: its path relative to the repository, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A path as it is written in a module, such as `crate::event::Event`.
#[derive(Debug)]
pub(crate) struct PathUse {
    /// The module in which it stands, an index of [`Tree::modules`].
    pub(crate) module: usize,
    /// At least one.
    pub(crate) segments: Vec<String>,
    /// Whether it stands in a `use`. A single word elsewhere counts only if it is
    /// [passed on](Module::passed_on): the line that brings in any other word counts already.
    pub(crate) is_import: bool,
    pub(crate) line: usize,
    /// Whether it is compiled for tests only.
    pub(crate) is_test: bool,
}

/// A type that other files can name.
#[derive(Debug)]
pub(crate) struct SharedType {
    pub(crate) name: String,
    /// `FILE:LINE`.
    pub(crate) place: String,
}

/// A module, inline or of a file of its own.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// An index of [`Tree::sources`].
    pub(crate) file: usize,
    pub(crate) parent: Option<usize>,
    /// The root module of its crate.
    pub(crate) root: usize,
    pub(crate) children: BTreeMap<String, usize>,
    /// What is defined here.
    pub(crate) items: BTreeSet<String>,
    /// What `use` brings in, by the name it has here; also what is only passed on.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// Modules of which `use` brings in everything.
    pub(crate) globs: Vec<Vec<String>>,
    /// Which imports are passed on by `pub use`. That alone is no use of them.
    pub(crate) passed_on: BTreeSet<String>,
}

/// All modules of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
    pub(crate) modules: Vec<Module>,
    /// The root module of each crate, by its name in paths.
    pub(crate) crates: BTreeMap<String, usize>,
    pub(crate) uses: Vec<PathUse>,
    pub(crate) types: Vec<SharedType>,
    /// Files that no module declaration leads to.
    pub(crate) orphans: Vec<String>,
}

impl Tree {
    /// Parses the sources of all crates.
    ///
    /// # Panics
    /// If a file does not parse, or is missing.
    pub(crate) fn parse(sources: Vec<Source>) -> Self {
        Self::parse_roots(sources, crate_of_root)
    }

    /// Parses sources, beginning with the files for which `root_name` returns a name.
    ///
    /// # Panics
    /// If a file does not parse, or is missing.
    pub(crate) fn parse_roots(
        sources: Vec<Source>,
        root_name: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut tree = Self {
            sources,
            ..Self::default()
        };
        let mut reached = BTreeSet::new();
        for file in 0..tree.sources.len() {
            if let Some(name) = root_name(&tree.sources[file].path) {
                let root = tree.add_module(file, None);
                tree.crates.insert(name, root);
                read_file(&mut tree, &mut reached, root, false);
            }
        }
        tree.orphans = (0..tree.sources.len())
            .filter(|file| !reached.contains(file))
            .map(|file| tree.sources[file].path.clone())
            .collect();
        tree
    }

    fn add_module(&mut self, file: usize, parent: Option<usize>) -> usize {
        let index = self.modules.len();
        let root = parent.map_or(index, |parent| self.modules[parent].root);
        self.modules.push(Module {
            file,
            parent,
            root,
            ..Module::default()
        });
        index
    }

    /// Returns the file of the module `name` that `file` declares, with `#[path]` or without.
    fn file_of_child(&self, file: usize, inline: &[String], name: &str, at: Option<&str>) -> usize {
        let path = &self.sources[file].path;
        let (dir, own) = path.rsplit_once('/').expect("a file in a folder");
        let mut dir = match own {
            "mod.rs" | "lib.rs" | "main.rs" => dir.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        for name in inline {
            dir = format!("{dir}/{name}");
        }
        let mut wanted = vec![format!("{dir}/{name}.rs"), format!("{dir}/{name}/mod.rs")];
        if let Some(mut at) = at {
            let mut dir = dir.as_str();
            while let Some(rest) = at.strip_prefix("../") {
                at = rest;
                dir = dir.rsplit_once('/').map_or("", |(above, _)| above);
            }
            wanted = vec![format!("{dir}/{at}")];
        }
        self.sources
            .iter()
            .position(|source| wanted.contains(&source.path))
            .unwrap_or_else(|| panic!("{path}: no file for `mod {name};`"))
    }
}

/// Returns the name in paths of the crate whose root file this is.
///
/// A package `crates/NAME` is called `cocorun-NAME`.
fn crate_of_root(path: &str) -> Option<String> {
    match path {
        "src/lib.rs" => return Some("cocorun".to_owned()),
        "src/main.rs" => return Some("the program".to_owned()),
        _ => {}
    }
    let folder = path.strip_prefix("crates/")?.strip_suffix("/src/lib.rs")?;
    Some(format!("cocorun_{}", folder.replace('-', "_")))
}

fn read_file(tree: &mut Tree, reached: &mut BTreeSet<usize>, module: usize, is_test: bool) {
    let file = tree.modules[module].file;
    reached.insert(file);
    let source = &tree.sources[file];
    let parsed =
        syn::parse_file(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
    let mut reader = Reader {
        tree,
        reached,
        module,
        inline: Vec::new(),
        is_test,
    };
    reader.visit_file(&parsed);
}

/// Walks through one file.
struct Reader<'a> {
    tree: &'a mut Tree,
    reached: &'a mut BTreeSet<usize>,
    module: usize,
    /// Names of the inline modules around, outermost first.
    inline: Vec<String>,
    is_test: bool,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        &mut self.tree.modules[self.module]
    }

    fn add_use(&mut self, segments: Vec<String>, line: usize, is_import: bool) {
        self.tree.uses.push(PathUse {
            module: self.module,
            segments,
            is_import,
            line,
            is_test: self.is_test,
        });
    }

    fn add_item(&mut self, name: &Ident) {
        self.module().items.insert(name.to_string());
    }

    fn add_type(&mut self, name: &Ident, visibility: &syn::Visibility) {
        self.add_item(name);
        if self.is_test || matches!(visibility, syn::Visibility::Inherited) {
            return;
        }
        let file = self.module().file;
        let path = &self.tree.sources[file].path;
        let place = format!("{path}:{}", name.span().start().line);
        self.tree.types.push(SharedType {
            name: name.to_string(),
            place,
        });
    }

    /// Records every leaf of a `use`.
    fn add_imports(&mut self, before: &[String], tree: &syn::UseTree, is_passed_on: bool) {
        let joined = |name: &Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => {
                self.add_imports(&joined(&path.ident), &path.tree, is_passed_on);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_imports(before, tree, is_passed_on);
                }
            }
            syn::UseTree::Glob(glob) => {
                if !is_passed_on {
                    let line = glob.star_token.spans[0].start().line;
                    self.add_use(before.to_vec(), line, true);
                }
                self.module().globs.push(before.to_vec());
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                let alias = before.last().cloned().unwrap_or_default();
                self.add_import(alias, before.to_vec(), &name.ident, is_passed_on);
            }
            syn::UseTree::Name(name) => {
                self.add_import(
                    name.ident.to_string(),
                    joined(&name.ident),
                    &name.ident,
                    is_passed_on,
                );
            }
            syn::UseTree::Rename(rename) => {
                let alias = rename.rename.to_string();
                self.add_import(alias, joined(&rename.ident), &rename.ident, is_passed_on);
            }
        }
    }

    fn add_import(&mut self, alias: String, path: Vec<String>, at: &Ident, is_passed_on: bool) {
        if is_passed_on {
            self.module().passed_on.insert(alias.clone());
        } else {
            self.add_use(path.clone(), at.span().start().line, true);
        }
        self.module().imports.insert(alias, path);
    }

    /// Finds `a::b::c` among the tokens of a macro call or an attribute.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.add_idents(&path);
                        path.clear();
                    }
                    path.push(name);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.add_idents(&path);
                    path.clear();
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.add_idents(&path);
                    path.clear();
                }
            }
        }
        self.add_idents(&path);
    }

    /// Finds what a macro defines, such as the `Code` of `pub enum Code`.
    fn add_defined_by(&mut self, tokens: TokenStream) {
        let mut is_definition = false;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if is_definition {
                        self.add_item(&word);
                    }
                    is_definition = ["enum", "struct", "fn"].iter().any(|known| word == known);
                }
                TokenTree::Group(group) => self.add_defined_by(group.stream()),
                _ => is_definition = false,
            }
        }
    }

    fn add_idents(&mut self, path: &[Ident]) {
        if let Some(first) = path.first() {
            let segments = path.iter().map(ToString::to_string).collect();
            self.add_use(segments, first.span().start().line, false);
        }
    }

    fn within_tests<T>(
        &mut self,
        attributes: &[syn::Attribute],
        visit: impl FnOnce(&mut Self) -> T,
    ) {
        let before = self.is_test;
        self.is_test |= attributes.iter().any(is_for_tests);
        visit(self);
        self.is_test = before;
    }
}

/// Whether an attribute is `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let words = list.tokens.to_string();
    list.path.is_ident("cfg")
        && (words == "test" || words.replace(' ', "").starts_with("all(test,"))
}

/// Returns the value of `#[path = "…"]`.
fn path_of(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        syn::Expr::Lit(value) if pair.path.is_ident("path") => match &value.lit {
            syn::Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn attributes_of(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Const(item) => self.add_item(&item.ident),
            syn::Item::Fn(item) => self.add_item(&item.sig.ident),
            syn::Item::Static(item) => self.add_item(&item.ident),
            syn::Item::Macro(item) => {
                item.ident.iter().for_each(|name| self.add_item(name));
                self.add_defined_by(item.mac.tokens.clone());
            }
            _ => {}
        }
        self.within_tests(attributes_of(item), |this| {
            match item {
                syn::Item::Enum(item) => this.add_type(&item.ident, &item.vis),
                syn::Item::Struct(item) => this.add_type(&item.ident, &item.vis),
                syn::Item::Trait(item) => this.add_type(&item.ident, &item.vis),
                syn::Item::Type(item) => this.add_type(&item.ident, &item.vis),
                _ => {}
            }
            visit::visit_item(this, item);
        });
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        let parent = self.module;
        let own_file = self.module().file;
        let file = if item.content.is_some() {
            own_file
        } else {
            let at = item.attrs.iter().find_map(path_of);
            self.tree
                .file_of_child(own_file, &self.inline, &name, at.as_deref())
        };
        let child = self.tree.add_module(file, Some(parent));
        self.module().children.insert(name.clone(), child);
        let Some((_, items)) = &item.content else {
            read_file(self.tree, self.reached, child, self.is_test);
            return;
        };
        self.module = child;
        self.inline.push(name);
        for item in items {
            self.visit_item(item);
        }
        self.inline.pop();
        self.module = parent;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_passed_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.add_imports(&[], &item.tree, is_passed_on);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within_tests(&item.attrs, |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let idents: Vec<Ident> = path.segments.iter().map(|it| it.ident.clone()).collect();
        self.add_idents(&idents);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.add_tokens(list.tokens.clone());
        }
    }

    // `pub(in crate::a)` is no use of `crate::a`.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
