//! DO blocks that make something unless it is there: `IF [NOT] EXISTS (query) THEN statements END IF`.

use pg_query::protobuf::DoStmt;

use super::build;
use crate::policy::{Action, Decision, Rewrite, Rules, SessionFacts, Step, StepKind};
use crate::sql::{Kind, Statement};

/// The decision about such a block; any other is left to the rules.
pub(super) fn idiom(statement: &DoStmt, facts: &SessionFacts, rules: &Rules) -> Option<Decision> {
    let body = build::options(&statement.args)
        .find(|option| option.defname == "as")
        .and_then(build::word)?;
    let (condition, statements) = Statement::read_conditional(&body)?;
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
