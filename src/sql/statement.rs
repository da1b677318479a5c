//! Statements as PostgreSQL's own grammar reads them (libpg_query), with the few forms that only
//! DSQL knows: `CREATE INDEX ASYNC`, `ALTER TABLE ASYNC … VALIDATE CONSTRAINT`, `AWS IAM GRANT`.

use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, RawStmt, SelectStmt, TransactionStmtKind};
use thiserror::Error;

use super::dialect::{self, Extension};
use super::scan::{Token, Tokens};
use super::tree::nesting::{self, Unread};

/// Longest text that is parsed, in bytes. DSQL takes no message above 10 MiB.
pub const MAX_TEXT: usize = 10 * 1024 * 1024;

/// Why a text is no list of statements.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ParseError {
    /// The text is not valid UTF-8 or holds a zero byte (SQLSTATE 22021).
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    Encoding,
    /// Longer than [`MAX_TEXT`] (54000).
    #[error("statement text of {0} bytes is too long")]
    TooLong(usize),
    /// Nested deeper than the parser goes (54001).
    #[error("stack depth limit exceeded")]
    TooDeep,
    /// PostgreSQL's parser does not take it (42601); its own words.
    #[error("{0}")]
    Syntax(String),
}

/// One statement of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Where it stands in the whole text, in bytes, from its first word, without its semicolon.
    pub span: Range<usize>,
    /// Its text as PostgreSQL's grammar takes it: DSQL's own words are blanked out, so offsets
    /// are those of the client's text less `span.start`. Empty for [`Tree::Iam`].
    pub text: String,
    /// What it says.
    pub tree: Tree,
    /// `ASYNC` stood in a `CREATE INDEX` or `ALTER TABLE`.
    pub asynchronous: bool,
}

/// A statement's syntax tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// PostgreSQL's.
    Node(Box<NodeEnum>),
    /// `AWS IAM GRANT role TO 'arn'` or `AWS IAM REVOKE role FROM 'arn'`.
    Iam {
        /// GRANT, not REVOKE.
        grant: bool,
        /// The role, folded as an identifier.
        role: String,
        /// The IAM principal.
        arn: String,
    },
}

/// What a statement is to transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads at most, as far as its text tells: a function may write.
    Read,
    /// `SELECT … FOR UPDATE` and its kin.
    Lock,
    /// INSERT, UPDATE, DELETE, MERGE, also inside WITH; COPY FROM; EXPLAIN ANALYZE of these.
    Write,
    /// Changes the catalog; GRANT and REVOKE too.
    Ddl,
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin.
    Transaction(TransactionStmtKind),
    /// SET, RESET, SHOW, DISCARD, PREPARE, DECLARE, LISTEN: the session and no data.
    Session,
    /// Anything else: CALL, DO, VACUUM, LOCK, TRUNCATE …
    Other,
}

/// Reads all statements of `text`. Empty statements are left out, so there may be none.
///
/// # Errors
/// Why it cannot be read; the whole text is refused then, as PostgreSQL does.
pub fn parse(text: &str) -> Result<Vec<Statement>, ParseError> {
    if text.len() > MAX_TEXT {
        return Err(ParseError::TooLong(text.len()));
    }
    if text.contains('\0') {
        return Err(ParseError::Encoding);
    }
    if has_two_limits(text) {
        return Err(ParseError::Syntax(
            "multiple limit options not allowed".to_owned(),
        ));
    }
    let masked = dialect::mask(text);
    let parsed = nesting::read(&masked.text).map_err(refusal)?;
    let mut statements: Vec<Statement> = parsed
        .stmts
        .into_iter()
        .filter_map(|raw| statement(&masked.text, raw))
        .collect();
    for (span, extension) in masked.extensions {
        extend(&mut statements, span, extension);
    }
    statements.sort_by_key(|statement| statement.span.start);
    Ok(statements)
}

/// `(… WITH TIES) OFFSET 1`: the grammar of PostgreSQL 18 forgets WITH TIES; before, it was an error. Where that grammar
/// is built with its own checks, as in debug builds, any second limit stops the process (`insertSelectOptions` in gram.y).
fn has_two_limits(text: &str) -> bool {
    let limits = |token: Token<'_>| {
        ["offset", "limit", "fetch"]
            .iter()
            .any(|word| token.is(word))
    };
    let first = |token: Token<'_>| token.is("ties") || cfg!(debug_assertions) && limits(token);
    let bytes = text.as_bytes();
    let ties = |word: &[u8]| word.eq_ignore_ascii_case(b"ties");
    if !cfg!(debug_assertions) && !bytes.windows(4).any(ties) {
        return false;
    }
    // Of each parenthesis that is open: whether a statement of its own may stand in it.
    let mut open = Vec::new();
    let mut before = None;
    let mut locks = false;
    // How deep the last limit is, and whether what stands there is over.
    let mut limited = None;
    let mut closed = false;
    for token in Tokens::new(bytes) {
        match token {
            Token::Symbol(b'(') => {
                open.push(before.is_none_or(begins_statement));
                closed = false;
            }
            Token::Symbol(b')') => {
                let direct = limited == Some(open.len());
                closed = (direct || closed) && open.last() == Some(&true);
                limited = limited.filter(|_| closed || !direct);
                open.pop();
            }
            token if closed && limits(token) => return true,
            // FOR UPDATE OF t may stand in between.
            token if closed && (locks || token.is("for")) => {
                locks = matches!(
                    token,
                    Token::Word(_) | Token::Quoted(_) | Token::Symbol(b',')
                );
                closed = locks;
            }
            _ if closed => (limited, closed) = (None, false),
            token if first(token) => limited = Some(open.len()),
            _ => {}
        }
        before = Some(token);
    }
    false
}

/// Whether what stands in parentheses behind the token may be a statement by itself and no sub-select.
fn begins_statement(before: Token<'_>) -> bool {
    let inside = [
        "in",
        "any",
        "some",
        "all",
        "exists",
        "array",
        "union",
        "except",
        "intersect",
        "distinct",
        "from",
        "join",
        "lateral",
        "select",
        "where",
        "on",
        "and",
        "or",
        "not",
        "when",
        "then",
        "else",
        "by",
    ];
    match before {
        Token::Word(_) => !inside.iter().any(|word| before.is(word)),
        Token::Quoted(_) | Token::Semicolon | Token::Symbol(b'(' | b')') => true,
        _ => false,
    }
}

/// The text with DSQL's own words blanked out: what PostgreSQL is to word the error of when
/// [`parse`] cannot read it. As long as `text`.
#[must_use]
pub fn without_dsql_words(text: &str) -> String {
    dialect::mask(text).text
}

fn refusal(error: Unread) -> ParseError {
    match error {
        Unread::TooDeep => ParseError::TooDeep,
        Unread::Grammar(pg_query::Error::Conversion(_)) => ParseError::Encoding,
        Unread::Grammar(other) => ParseError::Syntax(other.to_string()),
    }
}

fn statement(text: &str, raw: RawStmt) -> Option<Statement> {
    let mut tree = raw.stmt?.node?;
    if let NodeEnum::CopyStmt(copy) = &mut tree {
        write_as_today(copy);
    }
    let start = usize::try_from(raw.stmt_location).ok()?;
    // Length 0 says "to the end of the text".
    let end = match usize::try_from(raw.stmt_len) {
        Ok(length) if length > 0 => start + length,
        _ => text.len(),
    };
    Some(Statement {
        text: text.get(start..end)?.to_owned(),
        span: start..end,
        tree: Tree::Node(Box::new(tree)),
        asynchronous: false,
    })
}

/// HEADER and FREEZE as PostgreSQL 8.4 wrote them are the options of today that have no value; the printer
/// would give them one that reads otherwise.
fn write_as_today(copy: &mut CopyStmt) {
    let is_true = |node: &pg_query::Node| matches!(&node.node, Some(NodeEnum::Boolean(value)) if value.boolval);
    for option in &mut copy.options {
        if let Some(NodeEnum::DefElem(option)) = &mut option.node
            && matches!(option.defname.as_str(), "header" | "freeze")
            && option.arg.as_deref().is_some_and(is_true)
        {
            option.arg = None;
        }
    }
}

fn extend(statements: &mut Vec<Statement>, span: Range<usize>, extension: Extension) {
    match extension {
        Extension::Async => {
            let owner = statements
                .iter_mut()
                .find(|statement| statement.span.contains(&span.start));
            if let Some(statement) = owner {
                statement.asynchronous = true;
            }
        }
        Extension::Iam { grant, role, arn } => statements.push(Statement {
            span,
            text: String::new(),
            tree: Tree::Iam { grant, role, arn },
            asynchronous: false,
        }),
    }
}

impl Statement {
    /// Reads all statements of `text`, as [`parse`] does.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(text: &str) -> Result<Vec<Self>, ParseError> {
        parse(text)
    }

    /// PostgreSQL's tree, unless the statement is DSQL's own.
    #[must_use]
    pub fn node(&self) -> Option<&NodeEnum> {
        match &self.tree {
            Tree::Node(node) => Some(node),
            Tree::Iam { .. } => None,
        }
    }

    /// What it is to transactions.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.node().map_or(Kind::Ddl, kind)
    }
}

fn kind(node: &NodeEnum) -> Kind {
    match node {
        NodeEnum::SelectStmt(select) => select_kind(select),
        NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => Kind::Write,
        NodeEnum::CopyStmt(copy) if copy.is_from => Kind::Write,
        NodeEnum::CopyStmt(copy) => copy
            .query
            .as_ref()
            .and_then(|query| query.node.as_ref())
            .map_or(Kind::Read, kind),
        NodeEnum::ExplainStmt(explain) => explain
            .query
            .as_ref()
            .and_then(|query| query.node.as_ref())
            .filter(|_| analyzes(&explain.options))
            .map_or(Kind::Read, kind),
        NodeEnum::TransactionStmt(transaction) => Kind::Transaction(transaction.kind()),
        NodeEnum::VariableSetStmt(_)
        | NodeEnum::VariableShowStmt(_)
        | NodeEnum::DiscardStmt(_)
        | NodeEnum::PrepareStmt(_)
        | NodeEnum::ExecuteStmt(_)
        | NodeEnum::DeallocateStmt(_)
        | NodeEnum::DeclareCursorStmt(_)
        | NodeEnum::FetchStmt(_)
        | NodeEnum::ClosePortalStmt(_)
        | NodeEnum::ListenStmt(_)
        | NodeEnum::NotifyStmt(_)
        | NodeEnum::UnlistenStmt(_)
        | NodeEnum::ConstraintsSetStmt(_)
        | NodeEnum::LoadStmt(_) => Kind::Session,
        NodeEnum::CallStmt(_)
        | NodeEnum::DoStmt(_)
        | NodeEnum::LockStmt(_)
        | NodeEnum::TruncateStmt(_)
        | NodeEnum::VacuumStmt(_)
        | NodeEnum::CheckPointStmt(_)
        | NodeEnum::ClusterStmt(_)
        | NodeEnum::ReindexStmt(_)
        | NodeEnum::ReturnStmt(_)
        | NodeEnum::PlassignStmt(_) => Kind::Other,
        _ => Kind::Ddl,
    }
}

/// EXPLAIN runs its statement only with ANALYZE.
fn analyzes(options: &[pg_query::Node]) -> bool {
    options.iter().any(|option| {
        matches!(&option.node, Some(NodeEnum::DefElem(option)) if option.defname == "analyze")
    })
}

fn select_kind(select: &SelectStmt) -> Kind {
    let SelectStmt {
        into_clause,
        with_clause,
        locking_clause,
        larg,
        rarg,
        ..
    } = select;
    if into_clause.is_some() {
        return Kind::Ddl;
    }
    let writes = with_clause.iter().flat_map(|with| &with.ctes).any(|cte| {
        matches!(&cte.node, Some(NodeEnum::CommonTableExpr(cte))
            if cte.ctequery.as_ref().and_then(|query| query.node.as_ref())
                .is_some_and(|query| kind(query) == Kind::Write))
    });
    if writes {
        return Kind::Write;
    }
    if !locking_clause.is_empty() {
        return Kind::Lock;
    }
    [larg, rarg]
        .into_iter()
        .flatten()
        .map(|arm| select_kind(arm))
        .find(|kind| *kind != Kind::Read)
        .unwrap_or(Kind::Read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tree;

    fn kinds(text: &str) -> Vec<Kind> {
        parse(text).unwrap().iter().map(Statement::kind).collect()
    }

    #[test]
    fn two_limits_are_an_error() {
        let tied = "SELECT a FROM t ORDER BY a FETCH FIRST 1 ROW WITH TIES";
        for (text, fits) in [
            (tied.to_owned(), true),
            (format!("{tied} OFFSET (1)"), true),
            (format!("SELECT * FROM ({tied}) x OFFSET 1"), true),
            (format!("({tied}) UNION SELECT 1 OFFSET 1"), true),
            (format!("SELECT 1 WHERE 1 IN (({tied})) LIMIT 1"), true),
            (format!("SELECT 1 UNION ({tied}) OFFSET 1"), true),
            (
                "(SELECT 1 LIMIT 1) OFFSET 1".to_owned(),
                !cfg!(debug_assertions),
            ),
            (format!("({tied}) FOR UPDATE OF t, u"), true),
            (format!("({tied}) OFFSET 1"), false),
            (format!("(({tied} OFFSET (1))) OFFSET 1"), false),
            (
                format!("WITH x AS (SELECT 1) ({tied}) FOR UPDATE OFFSET 1"),
                false,
            ),
        ] {
            assert_eq!(parse(&text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn copy_of_former_times_is_printed() {
        for text in [
            "COPY t FROM STDIN WITH DELIMITER 'X' CSV HEADER QUOTE AS 'Y' FORCE NOT NULL a",
            "COPY t FROM STDIN WITH FREEZE DELIMITER ';' NULL ''",
            "COPY t TO STDOUT CSV HEADER",
            "COPY t TO STDOUT (HEADER true, FORMAT csv)",
        ] {
            let statement = parse(text).unwrap().remove(0);
            let printed = tree::verify_print(statement.node().unwrap());
            assert!(printed.is_ok(), "{text}: {printed:?}");
        }
    }

    #[test]
    fn statements_are_told_apart() {
        assert_eq!(kinds(""), []);
        assert_eq!(kinds(";; -- nothing"), []);
        assert_eq!(
            kinds("SELECT 1; INSERT INTO t VALUES (1)"),
            [Kind::Read, Kind::Write]
        );
        assert_eq!(
            kinds("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x"),
            [Kind::Write]
        );
        assert_eq!(kinds("SELECT * FROM t FOR UPDATE"), [Kind::Lock]);
        assert_eq!(kinds("SELECT 1 INTO t"), [Kind::Ddl]);
        assert_eq!(kinds("EXPLAIN DELETE FROM t"), [Kind::Read]);
        assert_eq!(kinds("EXPLAIN ANALYZE DELETE FROM t"), [Kind::Write]);
        assert_eq!(
            kinds("BEGIN; COMMIT"),
            [
                Kind::Transaction(TransactionStmtKind::TransStmtBegin),
                Kind::Transaction(TransactionStmtKind::TransStmtCommit)
            ]
        );
        assert_eq!(
            kinds("AWS IAM GRANT app TO 'arn:aws:iam::1:role/x'"),
            [Kind::Ddl]
        );
        assert_eq!(kinds("SET x = 1"), [Kind::Session]);
    }

    #[test]
    fn dsql_words_are_understood() {
        let text =
            "SELECT 'ü'; CREATE UNIQUE INDEX ASYNC i ON t (a); AWS IAM REVOKE \"R\" FROM 'a''b'";
        let statements = parse(text).unwrap();
        assert_eq!(statements.len(), 3);
        assert!(statements[1].asynchronous && !statements[0].asynchronous);
        assert!(
            matches!(statements[1].node(), Some(NodeEnum::IndexStmt(index)) if index.idxname == "i")
        );
        assert_eq!(
            statements[2].tree,
            Tree::Iam {
                grant: false,
                role: "R".to_owned(),
                arn: "a'b".to_owned()
            }
        );
        let statements = parse("ALTER TABLE ASYNC s.t VALIDATE CONSTRAINT c").unwrap();
        assert!(statements[0].asynchronous);
        let statements = parse("ALTER TABLE async VALIDATE CONSTRAINT c").unwrap();
        assert!(!statements[0].asynchronous);
    }

    #[test]
    fn bad_texts_are_refused() {
        assert_eq!(parse("SELECT \0"), Err(ParseError::Encoding));
        assert!(matches!(parse("SELEC 1"), Err(ParseError::Syntax(_))));
        let deep = format!("SELECT {}1{}", "abs(".repeat(5000), ")".repeat(5000));
        assert_eq!(parse(&deep), Err(ParseError::TooDeep));
    }

    /// libpg_query measures the stack it has; the tree that comes back is at most 100 deep.
    #[test]
    fn hostile_nesting_ends_in_an_error() {
        let shapes: [fn(usize) -> String; 8] = [
            |n| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
            |n| format!("SELECT {}1", "NOT ".repeat(n)),
            |n| format!("SELECT 1{}", " || 1".repeat(n)),
            |n| format!("SELECT 1{}", " UNION SELECT 1".repeat(n)),
            |n| format!("{}SELECT 1{}", "SELECT * FROM (".repeat(n), ") x".repeat(n)),
            |n| format!("SELECT * FROM a{}", " JOIN b ON true".repeat(n)),
            |n| format!("SELECT {}1{}", "ARRAY[".repeat(n), "]".repeat(n)),
            |n| {
                format!(
                    "SELECT {}1{}",
                    "CASE WHEN true THEN ".repeat(n),
                    " END".repeat(n)
                )
            },
        ];
        for (number, shape) in shapes.iter().enumerate() {
            for size in [10, 100, 1_000, 10_000, 100_000] {
                let parsed = parse(&shape(size));
                assert!(
                    matches!(parsed, Ok(_) | Err(ParseError::TooDeep)),
                    "shape {number} of {size}: {parsed:?}"
                );
            }
            assert!(parse(&shape(10)).is_ok(), "shape {number}");
        }
    }

    #[test]
    fn spans_are_those_of_the_text() {
        let text = "SELECT 'a;b' ; /* ; */ CREATE INDEX ASYNC ON t (a);AWS IAM GRANT r TO 'x';\nSELECT $$;$$";
        let statements = parse(text).unwrap();
        let found: Vec<&str> = statements
            .iter()
            .map(|statement| text[statement.span.clone()].trim())
            .collect();
        assert_eq!(
            found,
            [
                "SELECT 'a;b'",
                "CREATE INDEX ASYNC ON t (a)",
                "AWS IAM GRANT r TO 'x'",
                "SELECT $$;$$"
            ]
        );
    }

    #[test]
    fn words_of_dsql_elsewhere_are_names() {
        for text in [
            "SELECT async FROM aws",
            "CREATE TABLE async (aws int)",
            "ALTER TABLE async ADD COLUMN iam int",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
        ] {
            let statements = parse(text).unwrap();
            assert_eq!(statements.len(), 1, "{text}");
            assert!(!statements[0].asynchronous, "{text}");
            assert_eq!(statements[0].text, text);
        }
    }
}
