//! The one-way rule of `docs/architecture.md`: a module imports only what lies to its right on the
//! road, what lies below it, and the border values that are made for it.
//!
//! Read from the sources: every path that begins with `crate::`, in `use` items and elsewhere, and
//! every chain of `super::` that climbs to the crate root. Comments are left out, test code is not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The road, from the client to the server. Each may import what stands behind it.
const ROAD: [&str; 8] = [
    "server", "auth", "session", "sql", "policy", "retry", "pool", "upstream",
];

/// What every module on the road may import too.
const BELOW: [&str; 4] = ["wire", "net", "config", "telemetry"];

/// Modules beside the road, and all that each may import.
const BESIDE: [(&str, &[&str]); 5] = [
    ("wire", &[]),
    ("net", &["wire"]),
    ("config", &[]),
    ("telemetry", &["wire", "config"]),
    // It must not share a mistake with what it is there to test: no policy, pool, session, upstream.
    ("emulator", &["wire", "net", "config", "sql", "telemetry"]),
];

/// Modules that bring the others together, and may import all of them. Nothing on the road, below
/// it or beside it may import these.
const ABOVE: [&str; 5] = ["main", "lib", "cli", "admin", "torture"];

/// Values made by one module for those to its right, which must name their type to take them.
/// A statement comes with its syntax tree.
const BORDER: [(&str, &str); 8] = [
    ("auth", "Identity"),
    ("auth", "Binding"),
    ("auth", "Claims"),
    ("auth", "Subject"),
    ("sql", "Statement"),
    ("sql", "Kind"),
    ("sql", "Tree"),
    ("sql", "tree"),
];

/// Breaches that exist and are to go: file and imported path. An entry whose breach is gone fails
/// the test, so that the list can only shrink.
const KNOWN: [(&str, &str); 0] = [];

/// One path found in a file, as its first two segments below the crate root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    module: String,
    item: String,
}

/// The text without line comments. A `//` inside a string cuts the line too, which can only hide
/// what follows it on that line.
fn without_comments(text: &str) -> String {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// Every path of the file that starts at the crate root. `depth` is the number of names in the
/// file's own module path.
fn imports(text: &str, depth: usize) -> BTreeSet<Import> {
    let code = without_comments(text);
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if is_word_start(&code, at) {
            read_tree(&code[at + "crate::".len()..], &mut Vec::new(), &mut found);
        }
    }
    for (at, _) in code.match_indices("super::") {
        let inside = code[..at].trim_end().ends_with("super::");
        if is_word_start(&code, at) && !inside {
            let mut rest = &code[at..];
            let mut climbed = 0;
            while let Some(behind) = rest.strip_prefix("super::") {
                (rest, climbed) = (behind, climbed + 1);
            }
            if climbed >= depth {
                let mut tree = BTreeSet::new();
                read_tree(rest, &mut Vec::new(), &mut tree);
                // Inside an inline module the same chain ends lower, at names of this module.
                found.extend(tree.into_iter().filter(|import| is_known(&import.module)));
            }
        }
    }
    found
}

fn is_word_start(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$')
}

/// Reads one tree of a `use` item (or a path in code); gives what is left of the text.
fn read_tree<'t>(text: &'t str, path: &mut Vec<String>, found: &mut BTreeSet<Import>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix('}') {
                return behind;
            }
            let before = rest.len();
            rest = read_tree(rest, path, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
            if rest.len() == before {
                return "";
            }
        }
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'))
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    path.push(name.to_owned());
    if let Some(behind) = rest.strip_prefix("::") {
        rest = read_tree(behind, path, found);
    } else {
        found.insert(Import {
            module: path.first().cloned().unwrap_or_default(),
            item: path.get(1).cloned().unwrap_or_default(),
        });
        if let Some(behind) = rest.trim_start().strip_prefix("as ") {
            rest = behind.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        }
    }
    path.pop();
    rest
}

fn is_known(module: &str) -> bool {
    ROAD.contains(&module)
        || ABOVE.contains(&module)
        || BESIDE.iter().any(|(name, _)| *name == module)
}

/// Whether `module` may import this.
fn may(module: &str, import: &Import) -> bool {
    let target = import.module.as_str();
    if module == target || ABOVE.contains(&module) {
        return target != "main" && is_known(target);
    }
    if let Some((_, allowed)) = BESIDE.iter().find(|(name, _)| *name == module) {
        return allowed.contains(&target);
    }
    let place = |name: &str| ROAD.iter().position(|known| *known == name);
    match (place(module), place(target)) {
        (Some(from), Some(to)) => from < to || BORDER.contains(&(target, import.item.as_str())),
        (Some(_), None) => BELOW.contains(&target),
        (None, _) => false,
    }
}

/// The breaches of one file, given by its path below `src`.
fn breaches(file: &str, text: &str) -> Vec<Import> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let module = stem.split('/').next().unwrap_or_default();
    let depth = match stem {
        "main" | "lib" => 0,
        inside => inside.split('/').count(),
    };
    imports(text, depth.max(1))
        .into_iter()
        .filter(|import| !may(module, import))
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("src can be read");
    for entry in entries {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn modules_import_only_to_the_right_and_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40, "only {} files under src", files.len());
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    let mut seen = 0;
    for path in &files {
        let file = path.strip_prefix(&root).expect("below src");
        let file = file.to_str().expect("UTF-8 file name");
        let text = std::fs::read_to_string(path).expect("source can be read");
        seen += imports(&text, usize::MAX).len();
        for Import { module, item } in breaches(file, &text) {
            let target = format!("{module}::{item}");
            match KNOWN.iter().find(|entry| **entry == (file, &*target)) {
                Some(entry) => drop(known.insert(*entry)),
                None => problems.push(format!("src/{file} imports crate::{target}")),
            }
        }
    }
    assert!(
        seen > 100,
        "only {seen} imports found: are they still read?"
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let gone: Vec<_> = KNOWN
        .iter()
        .filter(|entry| !known.contains(*entry))
        .collect();
    assert!(
        gone.is_empty(),
        "no longer a breach, remove from KNOWN: {gone:?}"
    );
}

/// The check itself: lines that must pass and lines that must not.
#[test]
fn breaches_are_found() {
    let good = [
        ("session/run.rs", "use crate::pool::{Lease, Pool};"),
        ("session/run.rs", "use crate::auth::Identity;"),
        ("session/run.rs", "use crate::session::names::Names;"),
        ("session/run.rs", "use super::super::session::names;"),
        (
            "session/run.rs",
            "let x = crate::config::PoolMode::Session;",
        ),
        ("pool/slots.rs", "// use crate::session::Session;"),
        ("pool/slots.rs", "/// See [`crate::session::Session`]."),
        (
            "server/proxy.rs",
            "use crate::{auth, upstream::Target, wire::reply};",
        ),
        ("policy/decide.rs", "use crate::sql::Statement;"),
        ("cli/run.rs", "use crate::emulator::Emulator;"),
        ("admin/http.rs", "use crate::pool::Census;"),
        ("telemetry/log.rs", "use crate::config::Log;"),
        ("upstream/tests/fake.rs", "use super::super::login::log_in;"),
        ("main.rs", "use dsql_proxy::cli;"),
    ];
    for (file, text) in good {
        assert_eq!(breaches(file, text), [], "{file}: {text}");
    }
    let bad = [
        ("pool/slots.rs", "use crate::session::Session;"),
        ("pool/slots.rs", "pub use crate::session::Session;"),
        ("upstream/conn.rs", "use crate::pool::Lease;"),
        ("session/run.rs", "use crate::auth::{Gate, Identity};"),
        ("session/run.rs", "use crate::auth;"),
        ("session/run.rs", "use crate::auth::*;"),
        ("sql/scan.rs", "fn f(x: &crate::session::Session) {}"),
        (
            "sql/scan.rs",
            "use crate::{\n    wire::frame,\n    server as s,\n};",
        ),
        ("sql/scan.rs", "use super::super::server::Proxy;"),
        ("sql/mod.rs", "use super::server::Proxy;"),
        ("emulator/front.rs", "use crate::upstream::token;"),
        ("emulator/front.rs", "use crate::policy::decide;"),
        ("wire/reply.rs", "use crate::net::Stream;"),
        ("wire/reply.rs", "use crate::config::Config;"),
        ("config/check.rs", "use crate::auth::Verifier;"),
        ("telemetry/tally.rs", "use crate::pool::Census;"),
        ("server/proxy.rs", "use crate::cli::run;"),
        ("server/proxy.rs", "use crate::admin::http;"),
        ("session/run.rs", "use crate::emulator::Emulator;"),
        ("session/run.rs", "use crate::helpers::join;"),
        ("novelty/mod.rs", "use crate::wire::frame;"),
    ];
    for (file, text) in bad {
        assert_eq!(breaches(file, text).len(), 1, "{file}: {text}");
    }
}
