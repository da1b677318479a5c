//! What procedures look up.

use crate::policy::unstorable::SCHEMA;
use crate::policy::{TableName, is_marked};

/// An identifier in quotes.
pub(in crate::session) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A constant in quotes.
pub(super) fn literal(text: &str) -> String {
    // Backslashes mean themselves whatever standard_conforming_strings says.
    match text.contains('\\') {
        true => format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Whether a relation is a materialized view.
pub(super) fn materialized(table: &TableName) -> String {
    format!(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({}) AND {})",
        literal(&table.0),
        is_marked("")
    )
}

fn regclass(table: &TableName) -> String {
    format!("{}::pg_catalog.regclass", literal(&table.0))
}

/// Status and details of a job; no row when it is not listed (any more).
pub(super) fn job(id: &str) -> String {
    format!(
        "SELECT status, details FROM sys.jobs WHERE job_id = {}",
        literal(id)
    )
}

/// Whether a table is there, and the names of types.
pub(super) fn types(table: &TableName, types: &[(u32, i32)]) -> String {
    let names: Vec<String> = types
        .iter()
        .map(|(oid, modifier)| format!("pg_catalog.format_type({oid}, {modifier})"))
        .collect();
    format!(
        "SELECT pg_catalog.to_regclass({})::text, {}",
        literal(&table.0),
        names.join(", ")
    )
}

/// The type of a column that can keep values of another type.
pub(in crate::session) fn storable(name: &str) -> &str {
    match name {
        // Of DSQL's own it would be numeric(18,6).
        "numeric" => "numeric(38,9)",
        "unknown" | "name" | "\"char\"" => "text",
        name => name,
    }
}

/// Name, type and type modifier of each column of a RowDescription.
pub(in crate::session) fn columns(body: &[u8]) -> Vec<(String, u32, i32)> {
    let mut columns = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some(end) = memchr::memchr(0, rest) {
        // Table and number of the column, type and its length, modifier, format.
        let Some(fields) = rest.get(end + 1..end + 19) else {
            break;
        };
        let four = |at: usize| {
            let bytes = fields.get(at..).and_then(<[u8]>::first_chunk::<4>);
            bytes.copied().unwrap_or_default()
        };
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        columns.push((
            name,
            u32::from_be_bytes(four(6)),
            i32::from_be_bytes(four(12)),
        ));
        rest = &rest[end + 19..];
    }
    columns
}

/// Columns of the primary key, one a row. The index behind it has all other columns too.
pub(super) fn key(table: &TableName) -> String {
    format!(
        "SELECT a.attname FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_attribute a \
         ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) \
         WHERE c.contype = 'p' AND c.conrelid = {} \
         ORDER BY pg_catalog.array_position(c.conkey, a.attnum)",
        regclass(table)
    )
}

/// Columns that number the rows of a table, one a row.
pub(super) fn numbered(table: &TableName) -> String {
    format!(
        "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = {} AND attidentity <> '' \
         AND NOT attisdropped ORDER BY attnum",
        regclass(table)
    )
}

/// Columns of a table that can be written, one a row in their order: name, type, the domain if it is a text
/// that stands for something else, and whether only OVERRIDING SYSTEM VALUE writes it.
/// The type is without a length, so that nothing is cut, but of `numeric`, which alone is `numeric(18,6)`.
pub(super) fn written(table: &TableName) -> String {
    format!(
        "SELECT a.attname, \
         pg_catalog.format_type(a.atttypid, CASE WHEN a.atttypid = 'pg_catalog.numeric'::pg_catalog.regtype THEN a.atttypmod ELSE -1 END), \
         CASE WHEN t.typtype = 'd' AND t.typnamespace = pg_catalog.to_regnamespace('{SCHEMA}') THEN t.typname END, \
         a.attidentity = 'a' FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         WHERE a.attrelid = {} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum",
        regclass(table)
    )
}

/// Tables that refer to each other, at most.
const DEEPEST: u32 = 16;

/// These tables and all that refer to them by foreign keys, in an order in which rows can be deleted:
/// name, whether it is one of these, and one that it refers to.
pub(super) fn referring(tables: &[TableName]) -> String {
    let given: Vec<String> = tables.iter().map(regclass).collect();
    let given = given.join(", ");
    // The depth ends the recursion of keys in a circle, and shows who is in one or refers to one.
    format!(
        "WITH RECURSIVE touched (relation, referred, depth) AS (\
         SELECT oid, 0::pg_catalog.oid, 0 FROM pg_catalog.pg_class WHERE oid IN ({given}) \
         UNION SELECT c.conrelid, c.confrelid, t.depth + 1 FROM touched t \
         JOIN pg_catalog.pg_constraint c ON c.confrelid = t.relation AND c.contype = 'f' \
         AND c.conrelid <> c.confrelid WHERE t.depth < {DEEPEST}) \
         SELECT relation::pg_catalog.regclass::text, relation IN ({given}), \
         max(referred)::pg_catalog.regclass::text, max(depth) >= {DEEPEST} \
         FROM touched GROUP BY relation ORDER BY max(depth) DESC, 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read() {
        let body = b"\0\x02a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
                     b c\0\0\0\0\0\0\0\0\0\x04\x13\xff\xff\0\0\0\x0e\0\0";
        let expected = [("a".to_owned(), 23, -1), ("b c".to_owned(), 1043, 14)];
        assert_eq!(columns(body), expected);
        assert_eq!(columns(&body[..body.len() - 1]).len(), 1);
        assert_eq!(columns(b""), []);
    }
}
