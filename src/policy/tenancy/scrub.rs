//! What of the server's errors and notices may reach a tenant: they can hold values of rows that
//! are not its own, and the rewritten text.

use super::INSUFFICIENT_PRIVILEGE;
use super::RESERVED;
use super::rules::Errors;

/// Fields of an ErrorResponse or NoticeResponse: their types and texts, in order.
pub type Fields = Vec<(u8, String)>;

/// What is known of the statement that the error is about.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What the policy says of errors.
    pub errors: Errors,
    /// Names of tenant columns: NULL in one of them is what a foreign value was made to.
    pub tenant_columns: &'a [&'a str],
    /// The statement has fences or guards: any error of it may be about a value.
    pub loud: bool,
}

/// SQLSTATE classes whose messages speak of the statement and the session, not of rows.
const SPEAKS_OF_STATEMENT: [&str; 10] =
    ["03", "08", "0A", "25", "26", "34", "3B", "40", "42", "57"];

/// Severities besides ERROR.
const SEVERITIES: [&str; 7] = [
    "FATAL", "PANIC", "WARNING", "NOTICE", "INFO", "LOG", "DEBUG",
];

/// What a tenant reads of an error. Kept: severity, SQLSTATE, and a sentence; detail, hint, context,
/// position, names of objects, the internal query and the place in the server's source are dropped.
#[must_use]
pub fn scrub(fields: &[(u8, String)], context: Context<'_>) -> Fields {
    let field = |kind: u8| {
        let found = fields.iter().find(|(of, _)| *of == kind);
        found.map(|(_, text)| text.as_str())
    };
    let code = field(b'C').filter(|code| is_code(code)).unwrap_or("XX000");
    let foreign = code == "23502"
        && field(b'c').is_some_and(|column| context.tenant_columns.contains(&column));
    let code = if foreign {
        INSUFFICIENT_PRIVILEGE
    } else {
        code
    };
    let message = match field(b'M') {
        Some(message) if !foreign && may_speak(code, message, context) => message,
        _ if foreign => "new row violates row-level security policy",
        _ => canned(code),
    };
    let severity = field(b'V')
        .or_else(|| field(b'S'))
        .filter(|severity| SEVERITIES.contains(severity))
        .unwrap_or("ERROR");
    vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', code.to_owned()),
        (b'M', message.to_owned()),
    ]
}

fn is_code(code: &str) -> bool {
    code.len() == 5
        && code
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

fn may_speak(code: &str, message: &str, context: Context<'_>) -> bool {
    let class = &code[..2];
    let of_statement = SPEAKS_OF_STATEMENT.contains(&class);
    let of_values = matches!(class, "22" | "23") || context.loud;
    let allowed = match context.errors {
        Errors::Canned => of_statement && !context.loud,
        // A loud statement was fenced: its values are the tenant's own, the message may be kept
        // only where the operator has said so.
        Errors::Message => of_statement || !of_values,
    };
    // Such a name stands in the rewritten text alone.
    allowed && !message.contains(RESERVED)
}

/// One sentence for each SQLSTATE, with nothing of the case in it.
#[must_use]
pub fn canned(code: &str) -> &'static str {
    match code {
        "21000" => "more than one row returned by a subquery used as an expression",
        "22001" => "value too long for its type",
        "22003" => "numeric value out of range",
        "22007" => "invalid datetime format",
        "22008" => "date/time field value out of range",
        "22012" => "division by zero",
        "22021" => "invalid byte sequence for the encoding",
        "22023" => "invalid parameter value",
        "2201B" => "invalid regular expression",
        "2201W" => "LIMIT must not be negative",
        "2201X" => "OFFSET must not be negative",
        "22025" => "invalid escape sequence",
        "22P02" => "invalid input syntax for type",
        "22P03" => "invalid binary data",
        "22P05" => "untranslatable character",
        "23502" => "null value violates a not-null constraint",
        "23503" => "violation of a foreign key constraint",
        "23505" => "duplicate key value violates a unique constraint",
        "23514" => "new row violates a check constraint",
        "40001" => "could not serialize access, retry the transaction",
        "42501" => "permission denied",
        "53100" | "53200" | "53300" => "insufficient resources",
        "54000" | "54001" | "54011" | "54023" => "a limit of the server is exceeded",
        "57014" => "canceling statement",
        _ => match code.get(..2) {
            Some("22") => "data exception",
            Some("23") => "integrity constraint violation",
            Some("42") => "error in the statement",
            Some("40") => "transaction rollback",
            _ => "the statement failed",
        },
    }
}

/// Whether a notice or warning with this SQLSTATE may reach a tenant: those about its transaction.
#[must_use]
pub fn passes_notice(code: &str) -> bool {
    matches!(code, "25001" | "25P01" | "25P02")
}

/// Whether a ParameterStatus with this name may reach a tenant.
#[must_use]
pub fn passes_parameter(name: &str) -> bool {
    matches!(
        name,
        "server_version"
            | "server_encoding"
            | "client_encoding"
            | "DateStyle"
            | "IntervalStyle"
            | "TimeZone"
            | "integer_datetimes"
            | "standard_conforming_strings"
            | "application_name"
            | "default_transaction_read_only"
            | "in_hot_standby"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANNED: Context<'_> = Context {
        errors: Errors::Canned,
        tenant_columns: &["tenant_id"],
        loud: false,
    };

    fn error(code: &str, message: &str, more: &[(u8, &str)]) -> Fields {
        let basic = [
            (b'S', "FEHLER"),
            (b'V', "ERROR"),
            (b'C', code),
            (b'M', message),
        ];
        let all = basic.iter().chain(more);
        all.map(|(kind, text)| (*kind, (*text).to_owned()))
            .collect()
    }

    fn read(fields: &Fields) -> (&str, &str) {
        let of = |kind| {
            let mut found = fields.iter().filter(|(of, _)| *of == kind);
            let text = found.next().unwrap().1.as_str();
            assert!(found.next().is_none());
            text
        };
        assert_eq!(fields.len(), 4);
        assert_eq!(of(b'S'), of(b'V'));
        (of(b'C'), of(b'M'))
    }

    #[test]
    fn values_and_names_of_others_are_gone() {
        let everything: Vec<(u8, &str)> = b"DHPpqWstcdnFLR"
            .iter()
            .map(|kind| (*kind, "note-1-1"))
            .collect();
        let cases = [
            (
                "22P02",
                "invalid input syntax for type integer: \"note-1-1\"",
            ),
            ("2201B", "invalid regular expression: note-1-1"),
            (
                "23505",
                "duplicate key value violates unique constraint \"note-1-1\"",
            ),
            ("23502", "null value in column \"note-1-1\""),
            ("3F000", "schema \"note-1-1\" does not exist"),
            ("P0001", "note-1-1"),
            ("XX000", "note-1-1"),
            ("01000", "note-1-1"),
            ("42703", "column __t1.note-1-1 does not exist"),
            ("bad", "note-1-1"),
            ("ä", "note-1-1"),
        ];
        for errors in [Errors::Canned, Errors::Message] {
            for (code, message) in cases {
                if errors == Errors::Message && !code.starts_with(['2', '4']) {
                    continue;
                }
                let context = Context { errors, ..CANNED };
                let scrubbed = scrub(&error(code, message, &everything), context);
                let (code, message) = read(&scrubbed);
                assert!(
                    !message.contains("note-1") && !message.contains("__t"),
                    "{code} {message}"
                );
            }
        }
        let loud = Context {
            loud: true,
            ..CANNED
        };
        let scrubbed = scrub(&error("42883", "note-1-1", &[]), loud);
        assert_eq!(read(&scrubbed), ("42883", "error in the statement"));
    }

    #[test]
    fn what_speaks_of_the_statement_is_kept() {
        let cases = [
            ("42703", "column \"x\" does not exist"),
            ("42601", "syntax error at or near \"x\""),
            ("40001", "change conflicts with another transaction (OC000)"),
            ("57014", "canceling statement due to statement timeout"),
            ("25P02", "current transaction is aborted"),
        ];
        for (code, message) in cases {
            let scrubbed = scrub(&error(code, message, &[(b'P', "8")]), CANNED);
            assert_eq!(read(&scrubbed), (code, message));
        }
        let spoken = Context {
            errors: Errors::Message,
            ..CANNED
        };
        let scrubbed = scrub(&error("P0001", "stop", &[]), spoken);
        assert_eq!(read(&scrubbed), ("P0001", "stop"));
        let scrubbed = scrub(&error("23505", "stop", &[]), spoken);
        assert_eq!(
            read(&scrubbed),
            ("23505", "duplicate key value violates a unique constraint")
        );
    }

    #[test]
    fn a_null_tenant_reads_as_the_policys_refusal() {
        let null = |column| {
            error(
                "23502",
                "null value",
                &[(b'c', column), (b'D', "Failing row (1)")],
            )
        };
        assert_eq!(
            read(&scrub(&null("tenant_id"), CANNED)),
            ("42501", "new row violates row-level security policy")
        );
        assert_eq!(
            read(&scrub(&null("name"), CANNED)),
            ("23502", "null value violates a not-null constraint")
        );
    }

    #[test]
    fn severity_is_kept_and_nothing_else_is_invented() {
        let fatal = vec![(b'V', "FATAL".to_owned()), (b'C', "57P01".to_owned())];
        let scrubbed = scrub(&fatal, CANNED);
        assert_eq!(scrubbed[0], (b'S', "FATAL".to_owned()));
        assert_eq!(read(&scrubbed), ("57P01", "the statement failed"));
        let scrubbed = scrub(&[], CANNED);
        assert_eq!(scrubbed[0], (b'S', "ERROR".to_owned()));
        assert_eq!(read(&scrubbed), ("XX000", "the statement failed"));
    }

    #[test]
    fn notices_and_parameters_pass_by_name() {
        assert!(passes_notice("25P01") && !passes_notice("00000") && !passes_notice("01000"));
        assert!(passes_parameter("TimeZone") && !passes_parameter("search_path"));
        assert!(!passes_parameter("session_authorization") && !passes_parameter("is_superuser"));
    }
}
