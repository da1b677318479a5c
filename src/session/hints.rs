//! Refusals of Aurora DSQL itself, which come without a HINT: what to do about them.

use crate::wire::backend::error_fields;

/// In a message that says no more than that.
const UNSUPPORTED: &str = "supported";

/// SQLSTATE, how the message begins, and the HINT; the first that fits.
///
/// Source: refusals recorded of a cluster; DSQL guide, "Quotas" and "Unsupported features".
const HINTS: [(&str, &str, &str); 10] = [
    (
        "54000",
        "transaction row limit",
        "A transaction of Aurora DSQL changes at most 3,000 rows. Change fewer at a time, or SET \
         dsqlproxy.large_dml = batch to have COPY, UPDATE, DELETE, TRUNCATE and INSERT ... SELECT done in \
         several transactions.",
    ),
    (
        "54000",
        "transaction size limit",
        "A transaction of Aurora DSQL writes at most 10 MiB. Change fewer rows at a time, or SET \
         dsqlproxy.large_dml = batch.",
    ),
    (
        "54000",
        "transaction age limit",
        "A transaction of Aurora DSQL lasts at most five minutes. Commit more often.",
    ),
    (
        "0A000",
        "unsupported ALTER TABLE DROP CONSTRAINT",
        "The primary key of a table stays on Aurora DSQL. Make a new table with the key as it shall be, copy \
         the rows in batches, and rename it.",
    ),
    (
        "0A000",
        "unsupported ALTER TABLE",
        "Make a new table with the columns as they shall be, copy the rows in batches, and rename it.",
    ),
    (
        "0A000",
        "cannot drop primary key column",
        "Drop the primary key first, by ALTER TABLE ... DROP CONSTRAINT: the proxy makes the table anew for \
         that.",
    ),
    (
        "0A000",
        "multiple ddl statements",
        "Commit before this statement, or SET dsqlproxy.ddl_in_transaction = split.",
    ),
    (
        "0A000",
        "ddl and dml",
        "Commit before this statement, or SET dsqlproxy.ddl_in_transaction = split.",
    ),
    (
        "42809",
        "cannot create index on relation",
        "A view has no index, and a materialized view is a view on Aurora DSQL: make the index on the table \
         that it reads.",
    ),
    (
        "0A000",
        UNSUPPORTED,
        "Aurora DSQL does not have this; docs/dialect.md of the proxy lists what takes its place.",
    ),
];

/// The body of an ErrorResponse with a HINT, if it lacks one and there is something to say.
pub(super) fn with_hint(body: &[u8]) -> Option<Vec<u8>> {
    let fields = error_fields(body);
    if !fields.hint.is_empty() || !body.ends_with(b"\0\0") {
        return None;
    }
    let message = fields.message.to_ascii_lowercase();
    let (_, _, hint) = HINTS.iter().find(|(code, start, _)| {
        let start = start.to_ascii_lowercase();
        let fits = message.starts_with(start.as_bytes())
            || start == UNSUPPORTED && memchr::memmem::find(&message, start.as_bytes()).is_some();
        code.as_bytes() == fields.code && fits
    })?;
    let mut hinted = body[..body.len() - 1].to_vec();
    hinted.push(b'H');
    hinted.extend_from_slice(hint.as_bytes());
    hinted.extend_from_slice(b"\0\0");
    Some(hinted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_without_a_hint_get_one() {
        let cases = [
            (
                "54000",
                "transaction row limit exceeded",
                "dsqlproxy.large_dml",
            ),
            (
                "0A000",
                "unsupported ALTER TABLE DROP CONSTRAINT statement",
                "primary key",
            ),
            (
                "42809",
                "cannot create index on relation \"v\"",
                "materialized view",
            ),
            ("0A000", "function f not supported", "docs/dialect.md"),
            ("0A000", "cached plan must not change result type", ""),
            ("42P01", "relation \"t\" does not exist", ""),
        ];
        for (code, message, expected) in cases {
            let body = format!("SERROR\0VERROR\0C{code}\0M{message}\0\0");
            let hinted = with_hint(body.as_bytes());
            let hint = hinted
                .as_deref()
                .map(|body| error_fields(body).hint.to_vec());
            let hint = String::from_utf8(hint.unwrap_or_default()).unwrap();
            assert!(hint.contains(expected), "{message}: {hint}");
            assert_eq!(hint.is_empty(), expected.is_empty(), "{message}");
        }
        let told = b"SERROR\0VERROR\0C0A000\0Mno\0Hyes\0\0";
        assert_eq!(with_hint(told), None);
        assert_eq!(with_hint(b"SERROR\0C0A000\0Mcut of"), None);
    }
}
