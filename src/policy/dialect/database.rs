//! CREATE, DROP and ALTER DATABASE: schemas of the one database of a cluster
//! ([`crate::policy::databases`]).

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, ObjectType};

use super::{Case, Changed, Draft, build};
use crate::policy::Procedure;
use crate::policy::databases::{CLOSED, DatabaseChange};

/// Options of CREATE DATABASE that say what holds anyway, or nothing.
const IDLE: [&str; 10] = [
    "allow_connections",
    "connection_limit",
    "collation_version",
    "encoding",
    "is_template",
    "locale_provider",
    "oid",
    "owner",
    "strategy",
    "tablespace",
];

/// Options about how texts are sorted.
const SORTING: [&str; 6] = [
    "builtin_locale",
    "icu_locale",
    "icu_rules",
    "lc_collate",
    "lc_ctype",
    "locale",
];

/// CREATE DATABASE.
pub(super) fn create(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::CreatedbStmt(create) = tree else {
        return None;
    };
    let name = create.dbname.clone();
    let change = DatabaseChange::Create { name: name.clone() };
    Some((Procedure::Database(change), name))
}

/// DROP DATABASE.
pub(super) fn drop(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::DropdbStmt(drop) = tree else {
        return None;
    };
    let change = DatabaseChange::Drop {
        name: drop.dbname.clone(),
        if_exists: drop.missing_ok,
        force: build::options(&drop.options).any(|option| option.defname == "force"),
    };
    Some((Procedure::Database(change), drop.dbname.clone()))
}

/// ALTER DATABASE RENAME.
pub(super) fn rename(tree: &NodeEnum, _: &Case<'_>) -> Option<(Procedure, String)> {
    let NodeEnum::RenameStmt(rename) = tree else {
        return None;
    };
    if rename.rename_type() != ObjectType::ObjectDatabase {
        return None;
    }
    let change = DatabaseChange::Rename {
        name: rename.subname.clone(),
        to: rename.newname.clone(),
    };
    Some((Procedure::Database(change), rename.subname.clone()))
}

/// Any of them inside a transaction.
pub(super) fn in_transaction(tree: &NodeEnum, case: &Case<'_>) -> Vec<String> {
    let words = match tree {
        NodeEnum::CreatedbStmt(_) => "CREATE DATABASE",
        NodeEnum::DropdbStmt(_) => "DROP DATABASE",
        NodeEnum::RenameStmt(rename) if rename.rename_type() == ObjectType::ObjectDatabase => {
            "ALTER DATABASE"
        }
        _ => return Vec::new(),
    };
    match case.facts.transaction.open {
        true => vec![words.to_owned()],
        false => Vec::new(),
    }
}

/// A database in the place of another one, or with an encoding that there is not.
pub(super) fn copy(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let NodeEnum::CreatedbStmt(create) = tree else {
        return Vec::new();
    };
    build::options(&create.options)
        .filter_map(|option| {
            let word = value(option)?;
            match option.defname.as_str() {
                "template" => (!matches!(word.as_str(), "template1" | CLOSED))
                    .then(|| format!("created from \"{word}\"")),
                "encoding" => {
                    let plain: String = word
                        .chars()
                        .filter(char::is_ascii_alphanumeric)
                        .collect::<String>()
                        .to_ascii_lowercase();
                    (!matches!(plain.as_str(), "utf8" | "unicode" | "6"))
                        .then(|| format!("created with encoding {word}"))
                }
                "is_template" => is_on(&word).then(|| "created as a template".to_owned()),
                "allow_connections" => {
                    (!is_on(&word)).then(|| "created closed to connections".to_owned())
                }
                _ => None,
            }
        })
        .collect()
}

/// Drops the options of CREATE DATABASE; those that are about sorting are told.
pub(super) fn options(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let NodeEnum::CreatedbStmt(create) = &mut draft.tree else {
        return Ok(Vec::new());
    };
    let mut told = Vec::new();
    create.options.retain(|option| match &option.node {
        Some(NodeEnum::DefElem(option)) => {
            let name = option.defname.as_str();
            let sorts = SORTING.contains(&name);
            let plain = value(option).is_none_or(|word| {
                let word = word.to_ascii_lowercase();
                word == "c" || word == "posix" || word.starts_with("c.")
            });
            if sorts && !plain {
                told.push(name.to_ascii_uppercase());
            }
            !sorts && !IDLE.contains(&name) && name != "template"
        }
        _ => true,
    });
    Ok(told)
}

/// An option's value; none is DEFAULT.
fn value(option: &DefElem) -> Option<String> {
    build::word(option)
}

fn is_on(word: &str) -> bool {
    matches!(
        word.to_ascii_lowercase().as_str(),
        "true" | "on" | "1" | "yes"
    )
}
