//! DO blocks that make something unless it is there: `IF [NOT] EXISTS (query) THEN statements END IF`.

use pg_query::protobuf::DoStmt;

use super::build;
use crate::policy::{Action, Decision, Rewrite, Rules, SessionFacts, Step, StepKind};
use crate::sql::scan::{Token, Tokens};
use crate::sql::{Kind, Statement};

/// The decision about such a block; any other is left to the rules.
pub(super) fn idiom(block: &DoStmt, facts: &SessionFacts, rules: &Rules) -> Option<Decision> {
    let body = build::options(&block.args)
        .find(|option| option.defname == "as")
        .and_then(build::word)?;
    let (condition, statements) = read(&body)?;
    let mut decision = Decision::of(Action::Forward);
    let mut steps = vec![Step {
        kind: StepKind::Condition,
        ..Step::statement(condition_text(&condition, facts, rules)?)
    }];
    for sql in statements {
        let parsed = Statement::read(&sql).ok()?;
        let [statement] = parsed.as_slice() else {
            return None;
        };
        if statement.kind() != Kind::Ddl {
            return None;
        }
        let part = super::judge(statement, facts, rules);
        match part.action {
            Action::Forward => steps.push(Step::statement(sql)),
            Action::Rewrite(rewrite) => steps.extend(rewrite.steps),
            Action::Answer(crate::policy::Answer::Tag(_)) => {}
            action @ Action::Reject(_) => {
                return Some(Decision {
                    action,
                    rules: part.rules,
                    ..Decision::of(Action::Forward)
                });
            }
            Action::Answer(_) | Action::Emulate(_) => return None,
        }
        decision.notices.extend(part.notices);
        decision.rules.extend(part.rules);
    }
    decision.action = Action::Rewrite(Rewrite {
        steps,
        tag: Some("DO".to_owned()),
    });
    decision.rules.push(std::sync::Arc::from("do_idiom"));
    Some(decision)
}

/// The query for the condition, as the rules leave it.
fn condition_text(condition: &str, facts: &SessionFacts, rules: &Rules) -> Option<String> {
    let sql = format!("SELECT {condition}");
    let parsed = Statement::read(&sql).ok()?;
    let [statement] = parsed.as_slice() else {
        return None;
    };
    match super::judge(statement, facts, rules).action {
        Action::Forward => Some(sql),
        Action::Rewrite(Rewrite { mut steps, .. }) if steps.len() == 1 => {
            steps.pop().map(|step| step.sql)
        }
        _ => None,
    }
}

/// The condition and the statements of a block that is nothing else.
fn read(body: &str) -> Option<(String, Vec<String>)> {
    let mut tokens = Tokens::new(body.as_bytes());
    if !tokens.next()?.is("begin") || !tokens.next()?.is("if") {
        return None;
    }
    let from = tokens.span().end;
    let mut depth = 0_i32;
    let to = loop {
        let token = tokens.next()?;
        match token {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') => depth -= 1,
            Token::Semicolon => return None,
            token if depth == 0 && token.is("then") => break tokens.span().start,
            _ => {}
        }
    };
    let condition = body.get(from..to)?.trim().to_owned();
    let lower = condition.to_ascii_lowercase();
    if !lower.starts_with("not exists") && !lower.starts_with("exists") {
        return None;
    }
    let mut statements = Vec::new();
    let mut start: Option<usize> = None;
    loop {
        let token = tokens.next()?;
        match (start, token) {
            (None, token) if token.is("end") => break,
            (None, Token::Semicolon) => {}
            (None, token) if token.is("create") || token.is("alter") || token.is("drop") => {
                start = Some(tokens.span().start);
            }
            // Anything else of the language, or another statement.
            (None, _) => return None,
            (Some(begun), Token::Semicolon) => {
                statements.push(body.get(begun..tokens.span().start)?.trim().to_owned());
                start = None;
            }
            (Some(_), _) => {}
        }
    }
    let mut rest = tokens.filter(|token| *token != Token::Semicolon);
    let ends = rest.next()?.is("if") && rest.next()?.is("end") && rest.next().is_none();
    (ends && !statements.is_empty()).then_some((condition, statements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idiom_is_told_from_other_blocks() {
        let (condition, statements) = read(
            "\nBEGIN\n  IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood') THEN\n    \
             CREATE TYPE mood AS ENUM ('a;', 'b');\n  CREATE TABLE t (m mood);\n  END IF;\nEND\n",
        )
        .unwrap();
        assert_eq!(
            condition,
            "NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood')"
        );
        assert_eq!(
            statements,
            [
                "CREATE TYPE mood AS ENUM ('a;', 'b')",
                "CREATE TABLE t (m mood)"
            ]
        );
        let other = [
            "",
            "BEGIN END",
            "BEGIN IF EXISTS (SELECT 1) THEN DROP TABLE t; ELSE CREATE TABLE t (); END IF; END",
            "BEGIN IF x THEN DROP TABLE t; END IF; END",
            "BEGIN IF EXISTS (SELECT 1) THEN RAISE NOTICE 'x'; END IF; END",
            "BEGIN IF EXISTS (SELECT 1) THEN DROP TABLE t; END IF; DROP TABLE u; END",
            "BEGIN IF EXISTS (SELECT 1) THEN END IF; END",
            "DECLARE x int; BEGIN IF EXISTS (SELECT 1) THEN DROP TABLE t; END IF; END",
        ];
        for body in other {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
