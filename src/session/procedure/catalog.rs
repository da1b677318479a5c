//! What procedures look up.

use crate::policy::TableName;

/// An identifier in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A constant in quotes.
fn literal(text: &str) -> String {
    // Backslashes mean themselves whatever standard_conforming_strings says.
    match text.contains('\\') {
        true => format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
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

/// These tables and all that refer to them by foreign keys, in an order in which rows can be deleted:
/// name, whether it is one of these, and one that it refers to.
pub(super) fn referring(tables: &[TableName]) -> String {
    let given: Vec<String> = tables.iter().map(regclass).collect();
    let given = given.join(", ");
    // The depth ends the recursion of keys in a circle.
    format!(
        "WITH RECURSIVE touched (relation, referred, depth) AS (\
         SELECT oid, 0::pg_catalog.oid, 0 FROM pg_catalog.pg_class WHERE oid IN ({given}) \
         UNION SELECT c.conrelid, c.confrelid, t.depth + 1 FROM touched t \
         JOIN pg_catalog.pg_constraint c ON c.confrelid = t.relation AND c.contype = 'f' \
         AND c.conrelid <> c.confrelid WHERE t.depth < 16) \
         SELECT relation::pg_catalog.regclass::text, relation IN ({given}), \
         max(referred)::pg_catalog.regclass::text \
         FROM touched GROUP BY relation ORDER BY max(depth) DESC, 1"
    )
}
