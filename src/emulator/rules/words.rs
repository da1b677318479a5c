//! Errors in DSQL's words, and SQL text made of names and values.

use pg_query::protobuf::RangeVar;

use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{FEATURE_NOT_SUPPORTED, PROGRAM_LIMIT_EXCEEDED, SqlState};

pub(super) const TOO_MANY_COLUMNS: SqlState = "54011";
pub(super) const UNDEFINED_OBJECT: SqlState = "42704";
pub(super) const WRONG_TEXT: SqlState = "22P02";
pub(super) const ACTIVE_TRANSACTION: SqlState = "25001";
pub(in crate::emulator) const INVALID_SCHEMA: SqlState = "3F000";

/// 0A000.
pub(super) fn unsupported(message: impl Into<String>) -> ClientError {
    ClientError::error(FEATURE_NOT_SUPPORTED, message)
}

/// 54000.
pub(super) fn over_limit(message: impl Into<String>) -> ClientError {
    ClientError::error(PROGRAM_LIMIT_EXCEEDED, message)
}

/// 42704.
pub(super) fn undefined(message: impl Into<String>) -> ClientError {
    ClientError::error(UNDEFINED_OBJECT, message)
}

/// The refusal of a setting that is not on the allow-list.
pub(super) fn setting_refused(name: &str) -> ClientError {
    unsupported(format!(
        "setting configuration parameter \"{name}\" not supported"
    ))
}

/// The refusal of changes to what belongs to the system.
pub(super) fn system_entity() -> ClientError {
    unsupported("feature not supported on system entity")
}

/// A string constant.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A relation's name, schema included if it was given.
pub(super) fn relation(name: &RangeVar) -> String {
    if name.schemaname.is_empty() {
        identifier(&name.relname)
    } else {
        format!(
            "{}.{}",
            identifier(&name.schemaname),
            identifier(&name.relname)
        )
    }
}

/// An expression that finds a relation's oid, NULL when there is none.
pub(super) fn relation_oid(name: &RangeVar) -> String {
    format!("pg_catalog.to_regclass({})", literal(&relation(name)))
}

/// A query that refuses with 0A000 and `message` when `condition` holds.
pub(super) fn refuse_when(code: SqlState, message: &str, condition: &str) -> String {
    format!(
        "SELECT {}, {} WHERE {condition}",
        literal(code),
        literal(message)
    )
}
