//! What a client is told about procedures.

use crate::policy::{Step, TableName};
use crate::sql::scan::{Token, Tokens, identifier};
use crate::wire::backend::error_fields;
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate::{self, SqlState};

use super::task::Failure;
use crate::session::hints;

/// The name that a statement about an index or a constraint is about: the last word of VALIDATE
/// CONSTRAINT name, the one ahead of ON of CREATE INDEX.
fn object(sql: &str) -> String {
    let mut name = Vec::new();
    for token in Tokens::new(sql.as_bytes()) {
        if token.is("on") {
            break;
        }
        if let Token::Word(_) | Token::Quoted(_) = token
            && let Some(word) = identifier(token)
        {
            name = word;
        }
    }
    String::from_utf8_lossy(&name).into_owned()
}

/// A job has failed.
pub(super) fn job_failed(step: &Step, details: Option<&str>) -> ClientError {
    let code: SqlState = step.failure.unwrap_or(sqlstate::INTERNAL_ERROR);
    let object = object(&step.sql);
    let message = match code {
        "23505" => format!("could not create unique index \"{object}\""),
        "23502" => format!("constraint \"{object}\" is violated by some row: it has null values"),
        "23503" => format!("foreign key constraint \"{object}\" is violated by some row"),
        "23514" => format!("check constraint \"{object}\" is violated by some row"),
        _ => format!("the job of Aurora DSQL for \"{object}\" failed"),
    };
    let error = ClientError::error(code, message);
    match details.filter(|details| !details.is_empty()) {
        Some(details) => error.detail(format!("{}.", details.trim_end_matches('.'))),
        None => error,
    }
}

/// A job is not listed any more.
pub(super) fn job_missing(id: &str) -> ClientError {
    ClientError::error(
        sqlstate::INTERNAL_ERROR,
        format!("job {id} of Aurora DSQL is not listed; whether it succeeded is not known"),
    )
    .hint("Look whether the index or constraint is there and valid.")
}

/// Rows that have to go into one transaction are too many.
pub(super) fn too_much_to_copy() -> ClientError {
    ClientError::error(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        "the rows of COPY are more than the 10 MiB that a transaction of Aurora DSQL takes",
    )
    .hint("SET dsqlproxy.large_dml = batch to have them copied in batches, which is not atomic.")
}

/// A table cannot be changed in batches.
pub(super) fn no_key(table: &TableName) -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        format!(
            "table {} has no primary key, so its rows cannot be changed in batches",
            table.0
        ),
    )
}

/// The index of a materialized view is left out.
pub(super) fn unindexed(table: &TableName) -> String {
    format!(
        "materialized view {} is a view on Aurora DSQL and has no index; nothing was done",
        table.0
    )
}

/// A query has no columns to make a table of.
pub(super) fn no_columns(table: &TableName) -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        format!("table {} cannot be made from this query", table.0),
    )
    .detail("The columns of the query are not known.")
}

/// The values of a portal were not kept.
pub(super) fn long_parameters() -> ClientError {
    ClientError::error(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        "the parameters of a statement of several transactions take at most 8 KiB",
    )
}

/// TRUNCATE of a table that others refer to.
pub(super) fn referred_to(referring: &str, referred: &str) -> ClientError {
    ClientError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        "cannot truncate a table referenced in a foreign key constraint",
    )
    .detail(format!("Table \"{referring}\" references \"{referred}\"."))
    .hint(format!(
        "Truncate table \"{referring}\" at the same time, or use TRUNCATE ... CASCADE."
    ))
}

/// COMMIT or ROLLBACK AND CHAIN outside a transaction block.
pub(super) fn no_block(commit: bool) -> ClientError {
    let words = match commit {
        true => "COMMIT AND CHAIN",
        false => "ROLLBACK AND CHAIN",
    };
    ClientError::error(
        sqlstate::NO_ACTIVE_SQL_TRANSACTION,
        format!("{words} can only be used in transaction blocks"),
    )
}

/// The answer was lost with the connection.
pub(super) fn lost(subject: &str, deeds: &[String], cause: &str) -> ClientError {
    let detail = format!("It is not known whether this was carried out: {subject}.");
    ClientError::error(
        sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
        "the upstream connection was lost in the middle of a statement of several transactions",
    )
    .detail(with_deeds(&detail, deeds))
    .hint(format!(
        "Cause: {cause}. Look what is there before repeating the statement."
    ))
}

/// What has been done, behind another sentence.
pub(super) fn with_deeds(detail: &str, deeds: &[String]) -> String {
    if deeds.is_empty() {
        return detail.to_owned();
    }
    let deeds = format!(
        "The statement took several transactions; these are committed and stay: {}.",
        deeds.join("; ")
    );
    match detail {
        "" => deeds,
        detail => format!("{detail}\n{deeds}"),
    }
}

/// The server's error in the proxy's words, for whoever hears of it later.
pub(super) fn of_server(body: &[u8]) -> ClientError {
    let fields = error_fields(body);
    let message = String::from_utf8_lossy(fields.message);
    match fields.code == sqlstate::SERIALIZATION_FAILURE.as_bytes() {
        true => ClientError::error(sqlstate::SERIALIZATION_FAILURE, message),
        false => ClientError::error(
            sqlstate::IN_FAILED_SQL_TRANSACTION,
            format!("current transaction is aborted: {message}"),
        ),
    }
}

/// The ErrorResponse of a failure, with what has been done before.
pub(super) fn put_failure(out: &mut Vec<u8>, failure: &Failure, deeds: &[String]) {
    match failure {
        Failure::Own(error) => {
            let mut error = error.clone();
            let detail = with_deeds(error.detail.as_deref().unwrap_or_default(), deeds);
            error.detail = (!detail.is_empty()).then_some(detail);
            error.put(out);
        }
        Failure::Server(body) => {
            let told = told(body, deeds);
            let told = hints::with_hint(&told).unwrap_or(told);
            frontend::put(out, b'E', &[&told]);
        }
    }
}

/// The server's error without positions in a text that is not the client's.
fn told(body: &[u8], deeds: &[String]) -> Vec<u8> {
    let mut fields = Vec::with_capacity(body.len());
    let mut detail = String::new();
    let mut rest = body;
    while let Some((&kind, value)) = rest.split_first() {
        let Some(end) = memchr::memchr(0, value) else {
            break;
        };
        match kind {
            0 => break,
            b'P' | b'p' | b'q' => {}
            b'D' => detail = String::from_utf8_lossy(&value[..end]).into_owned(),
            _ => fields.extend_from_slice(&rest[..end + 2]),
        }
        rest = &value[end + 1..];
    }
    let detail = with_deeds(&detail, deeds);
    if !detail.is_empty() {
        fields.push(b'D');
        fields.extend(detail.bytes().filter(|byte| *byte != 0));
        fields.push(0);
    }
    fields.push(0);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_about_an_index_or_a_constraint() {
        let cases = [
            ("CREATE UNIQUE INDEX ASYNC k ON s.t (a)", "k"),
            ("CREATE INDEX ASYNC IF NOT EXISTS \"A b\" ON t (a)", "A b"),
            (
                "ALTER TABLE ASYNC s.t VALIDATE CONSTRAINT t_a_check",
                "t_a_check",
            ),
        ];
        for (sql, name) in cases {
            assert_eq!(object(sql), name, "{sql}");
        }
    }

    #[test]
    fn an_error_tells_what_has_been_done() {
        let body = b"SERROR\0VERROR\0C42P01\0Mno t\0P17\0Dwhy\0\0";
        let told = told(body, &["CREATE TABLE a".to_owned()]);
        let fields = error_fields(&told);
        assert_eq!(fields.message, b"no t");
        let detail = String::from_utf8_lossy(fields.detail);
        assert!(detail.starts_with("why\n") && detail.contains("CREATE TABLE a"));
        assert!(memchr::memmem::find(&told, b"P17").is_none());
        assert!(told.ends_with(b"\0\0"));
    }
}
