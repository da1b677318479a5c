//! Names of types and objects, in PostgreSQL's words.

use pg_query::NodeEnum;
use pg_query::protobuf::{ObjectType, TypeName};

use super::build;

/// Longest identifier, in bytes.
const IDENTIFIER: usize = 63;

/// Name of a type in the catalog, such as `int4`, without schema, length and array.
pub(super) fn catalog(name: &TypeName) -> &str {
    build::last(&name.names)
}

/// True for a type that is PostgreSQL's own, as far as its name tells.
pub(super) fn is_builtin(name: &TypeName) -> bool {
    match build::strings(&name.names).as_slice() {
        [_] => true,
        [schema, _] => *schema == "pg_catalog",
        _ => false,
    }
}

/// A type as PostgreSQL displays it, such as `integer[]`.
pub(super) fn display(name: &TypeName) -> String {
    let base = match catalog(name) {
        "bool" => "boolean",
        "bpchar" => "character",
        "float4" => "real",
        "float8" => "double precision",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "time" => "time without time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "timetz" => "time with time zone",
        "varbit" => "bit varying",
        "varchar" => "character varying",
        other => other,
    };
    if name.array_bounds.is_empty() {
        base.to_owned()
    } else {
        format!("{base}[]")
    }
}

/// The name PostgreSQL would choose for an object of a table: parts joined by `_`, the longer of
/// the first two cut until all fit an identifier.
pub(super) fn chosen(table: &str, column: Option<&str>, label: &str) -> String {
    let mut parts = [table, column.unwrap_or_default()];
    let glue = label.len() + 1 + usize::from(column.is_some());
    while parts[0].len() + parts[1].len() + glue > IDENTIFIER {
        let longer = usize::from(parts[0].len() <= parts[1].len());
        let mut end = parts[longer].len().saturating_sub(1);
        while !parts[longer].is_char_boundary(end) {
            end -= 1;
        }
        parts[longer] = &parts[longer][..end];
    }
    match column {
        Some(_) => format!("{}_{}_{label}", parts[0], parts[1]),
        None => format!("{}_{label}", parts[0]),
    }
}

/// The kind of object a statement names, by PostgreSQL's name for it.
pub(super) fn object_kind(node: &NodeEnum) -> Option<&'static str> {
    let kind = match node {
        NodeEnum::DropStmt(drop) => drop.remove_type,
        NodeEnum::CommentStmt(comment) => comment.objtype,
        NodeEnum::GrantStmt(grant) => grant.objtype,
        NodeEnum::RenameStmt(rename) => rename.rename_type,
        NodeEnum::AlterObjectSchemaStmt(alter) => alter.object_type,
        NodeEnum::AlterOwnerStmt(alter) => alter.object_type,
        NodeEnum::AlterTableStmt(alter) => alter.objtype,
        NodeEnum::CreateTableAsStmt(create) => create.objtype,
        NodeEnum::AlterDefaultPrivilegesStmt(alter) => alter.action.as_ref()?.objtype,
        NodeEnum::SecLabelStmt(label) => label.objtype,
        _ => return None,
    };
    ObjectType::try_from(kind)
        .ok()
        .map(|kind| kind.as_str_name())
}

/// `OBJECT_LARGEOBJECT` in words for a message.
pub(super) fn object_words(kind: &str) -> String {
    match kind {
        "OBJECT_LARGEOBJECT" => "large object".to_owned(),
        "OBJECT_MATVIEW" => "materialized view".to_owned(),
        "OBJECT_FDW" => "foreign-data wrapper".to_owned(),
        "OBJECT_TABCONSTRAINT" => "constraint".to_owned(),
        "OBJECT_TSCONFIGURATION" => "text search configuration".to_owned(),
        "OBJECT_TSDICTIONARY" => "text search dictionary".to_owned(),
        "OBJECT_TSPARSER" => "text search parser".to_owned(),
        "OBJECT_TSTEMPLATE" => "text search template".to_owned(),
        other => other
            .trim_start_matches("OBJECT_")
            .to_ascii_lowercase()
            .replace('_', " "),
    }
}

/// Command tag of statements that PostgreSQL tells apart by their object.
pub(super) fn tag(node: &NodeEnum) -> Option<String> {
    let object = || object_kind(node).map(|kind| object_words(kind).to_ascii_uppercase());
    Some(match node {
        NodeEnum::DropStmt(_) => format!("DROP {}", object()?),
        NodeEnum::AlterTableStmt(_)
        | NodeEnum::AlterOwnerStmt(_)
        | NodeEnum::AlterObjectSchemaStmt(_) => format!("ALTER {}", object()?),
        NodeEnum::GrantStmt(grant) if grant.is_grant => "GRANT".to_owned(),
        NodeEnum::GrantStmt(_) => "REVOKE".to_owned(),
        NodeEnum::AlterDefaultPrivilegesStmt(_) => "ALTER DEFAULT PRIVILEGES".to_owned(),
        NodeEnum::VacuumStmt(vacuum) if vacuum.is_vacuumcmd => "VACUUM".to_owned(),
        NodeEnum::VacuumStmt(_) => "ANALYZE".to_owned(),
        NodeEnum::CreateExtensionStmt(_) => "CREATE EXTENSION".to_owned(),
        NodeEnum::AlterExtensionStmt(_) => "ALTER EXTENSION".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_as_postgresql_does() {
        assert_eq!(chosen("t", Some("a"), "seq"), "t_a_seq");
        assert_eq!(chosen("t", None, "pkey"), "t_pkey");
        let long = "a".repeat(60);
        let name = chosen(&long, Some("column"), "key");
        assert_eq!(name.len(), 63);
        assert_eq!(name, format!("{}_column_key", "a".repeat(52)));
        let name = chosen(&"ü".repeat(31), Some("spalte"), "idx");
        assert!(name.len() <= 63 && name.ends_with("_spalte_idx"), "{name}");
        let name = chosen(&long, Some(&"b".repeat(60)), "key");
        assert_eq!(name, format!("{}_{}_key", "a".repeat(29), "b".repeat(29)));
    }
}
