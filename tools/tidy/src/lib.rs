//! The house rules as tests: floors, sizes, banned words. The rules stand in ARCHITECTURE.md; this crate only finds
//! where they are broken, and `tests/house.rs` fails on what it finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// Lines of a source file without its test module.
pub const FILE_LINES_MAX: usize = 600;
/// Lines of a function of the hot crates.
pub const HOT_FUNCTION_LINES_MAX: usize = 50;
/// Lines of any other function.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Crates whose code runs between a packet and its order.
pub const HOT_CRATES: [&str; 8] = [
    "engine/types",
    "engine/runtime",
    "engine/eventlog",
    "feeds/wire",
    "feeds/book",
    "strategy/model",
    "strategy/decide",
    "risk",
];
/// Crates that may hold hand-written unsafe code.
pub const UNSAFE_CRATES: [&str; 4] = ["engine/runtime", "engine/eventlog", "strategy/model", "feeds/source"];
/// Words that a source file must not hold, each with what to do instead.
pub const BANNED: [(&str, &str); 5] = [
    (concat!("to", "do!("), "finish it, or open an issue"),
    (concat!("unimpl", "emented!("), "finish it, or return a typed error"),
    (concat!("FIX", "ME"), "fix it, or open an issue"),
    (concat!("#[ign", "ore]"), "a test runs or goes"),
    (concat!("bypass", "_"), "there is no way around a check"),
];

/// Where a size rule would make the code worse: path and, for a function, its name; each with why.
pub const SIZE_EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("feeds/wire/src/itch50/rules.rs", "other_events", "one whole match, an arm for each message type"),
    ("strategy/decide/src/features/naive.rs", "vector", "the obvious twin: one line for each of the 32 features"),
];

fn is_excepted(path: &str, function: &str) -> bool {
    SIZE_EXCEPTIONS.iter().any(|(known, name, _)| *known == path && *name == function)
}

/// The project's top folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One source file, read once.
#[derive(Debug)]
pub struct Source {
    /// Path from the project's top folder, with `/`.
    pub path: String,
    /// The text.
    pub text: String,
}

/// Every Rust file that git knows or would take, by path.
///
/// # Errors
/// When git cannot be asked or a file cannot be read.
pub fn sources() -> Result<Vec<Source>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    let list = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    let mut sources = Vec::new();
    for path in list.lines().filter(|path| root().join(path).is_file()) {
        let text = fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
        sources.push(Source { path: path.to_owned(), text });
    }
    if sources.is_empty() {
        return Err("git lists no Rust file: is this a checkout?".to_owned());
    }
    Ok(sources)
}

/// Edges between crates of the workspace that run up or sideways. Edges for tests alone are free.
///
/// # Errors
/// When cargo cannot be asked or a crate names no floor.
pub fn floor_violations() -> Result<Vec<String>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let floor_of = |name: &str| {
        let package = packages.iter().find(|package| package["name"] == name)?;
        Some(package["metadata"]["floor"].as_i64())
    };
    let mut violations = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(floor) = package["metadata"]["floor"].as_i64() else {
            violations.push(format!("{name} names no floor in [package.metadata]"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"] == "dev" {
                continue;
            }
            match floor_of(on) {
                Some(Some(other)) if other >= floor => {
                    violations.push(format!("{name} (floor {floor}) uses {on} (floor {other})"));
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(violations)
}

/// Functions and files that are too long.
#[must_use]
pub fn size_violations(source: &Source) -> Vec<String> {
    if !source.path.contains("/src/") {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let file = match syn::parse_file(&source.text) {
        Ok(file) => file,
        Err(error) => return vec![format!("{}: not Rust: {error}", source.path)],
    };
    let total = source.text.lines().count();
    let tests: usize = file.items.iter().filter(|item| is_test_module(item)).map(line_count).sum();
    let lines = total.saturating_sub(tests);
    if lines > FILE_LINES_MAX && !is_excepted(&source.path, "") {
        violations.push(format!("{}: {lines} lines without tests, {FILE_LINES_MAX} are allowed", source.path));
    }
    let is_hot = HOT_CRATES.iter().any(|krate| source.path.starts_with(krate));
    let limit = if is_hot { HOT_FUNCTION_LINES_MAX } else { FUNCTION_LINES_MAX };
    let mut functions = Functions { found: Vec::new() };
    functions.visit_file(&file);
    for (name, lines) in functions.found {
        if lines > limit && !is_excepted(&source.path, &name) {
            violations.push(format!("{}: fn {name} has {lines} lines, {limit} are allowed", source.path));
        }
    }
    violations
}

fn is_test_module(item: &syn::Item) -> bool {
    matches!(item, syn::Item::Mod(module) if module.attrs.iter().any(is_test_attribute))
}

fn is_test_attribute(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    attribute.path().is_ident("cfg") && list.tokens.to_string().contains("test")
}

fn line_count<T: Spanned>(item: &T) -> usize {
    let span = item.span();
    span.end().line.saturating_sub(span.start().line).saturating_add(1)
}

/// Collects the name and body length of every function outside of test modules.
struct Functions {
    found: Vec<(String, usize)>,
}

impl Functions {
    fn note(&mut self, name: &syn::Ident, block: &syn::Block) {
        self.found.push((name.to_string(), line_count(block)));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test_module(item) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig.ident, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig.ident, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }
}

/// Unsafe code outside of the crates that may hold it.
#[must_use]
pub fn unsafe_violations(source: &Source) -> Vec<String> {
    let is_allowed = UNSAFE_CRATES.iter().any(|krate| source.path.starts_with(krate));
    if is_allowed || !source.path.contains("/src/") {
        return Vec::new();
    }
    let opens = concat!("expect(unsafe", "_code");
    let hits = source.text.lines().enumerate().filter(|(_, line)| line.contains(opens));
    hits.map(|(index, _)| format!("{}:{}: unsafe code is not allowed in this crate", source.path, index + 1)).collect()
}

/// Banned words.
#[must_use]
pub fn word_violations(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for (word, instead) in BANNED {
            if line.contains(word) {
                violations.push(format!("{}:{}: `{word}`: {instead}", source.path, index + 1));
            }
        }
    }
    violations
}
