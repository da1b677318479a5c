//! Statements that hold others: each is decided by itself.

use std::sync::Arc;

use pg_query::protobuf::{
    AlterTableStmt, AlterTableType, CreateSchemaStmt, ExplainStmt, ObjectType,
};
use pg_query::{Node, NodeEnum};

use super::{build, judge_node, text, unprintable};
use crate::policy::{Action, Answer, Decision, Rewrite, Rules, SessionFacts, Step, StepKind};
use crate::sql::tree;
use crate::wire::reply::ClientError;

/// The decision about a statement that holds others; `None` for all that do not, and for those
/// whose parts all go on as they are.
pub(super) fn judge(
    node: &NodeEnum,
    _text: &str,
    facts: &SessionFacts,
    rules: &Rules,
) -> Option<Decision> {
    match node {
        NodeEnum::AlterTableStmt(alter)
            if alter.cmds.len() > 1 && alter.objtype() != ObjectType::ObjectType =>
        {
            actions(alter, facts, rules)
        }
        NodeEnum::CreateSchemaStmt(create) if !create.schema_elts.is_empty() => {
            elements(create, facts, rules)
        }
        NodeEnum::ExplainStmt(explain) => explained(explain, facts, rules),
        NodeEnum::DoStmt(block) => super::function::idiom(block, facts, rules)
            .or_else(|| super::conditional::idiom(block, facts, rules)),
        _ => None,
    }
}

/// Puts decisions about parts together; adjacent parts are not joined.
struct Parts {
    decision: Decision,
    steps: Vec<Step>,
}

impl Parts {
    fn new() -> Self {
        Self {
            decision: Decision::of(Action::Forward),
            steps: Vec::new(),
        }
    }

    /// Takes a part's decision; an error is the whole's.
    fn add(
        &mut self,
        part: Decision,
        sql: impl FnOnce() -> Result<String, ClientError>,
    ) -> Result<(), Box<Decision>> {
        let rules = part.rules.clone();
        let fail = |error| {
            let mut decision = Decision::of(Action::Reject(error));
            decision.rules.clone_from(&rules);
            Box::new(decision)
        };
        match part.action {
            Action::Forward => self.steps.push(Step::statement(sql().map_err(fail)?)),
            Action::Rewrite(rewrite) => self.extend(rewrite.steps),
            Action::Answer(Answer::Tag(_)) => {}
            Action::Reject(error) => return Err(fail(error)),
            Action::Answer(_) | Action::Emulate(_) => {
                let error = ClientError::error(
                    "0A000",
                    "this part of the statement cannot be combined with others",
                );
                return Err(fail(error.hint("Send it as a statement of its own.")));
            }
        }
        for notice in part.notices {
            if !self.decision.notices.contains(&notice) {
                self.decision.notices.push(notice);
            }
        }
        for rule in part.rules {
            if !self.decision.rules.contains(&rule) {
                self.decision.rules.push(rule);
            }
        }
        Ok(())
    }

    /// What a table is made anew for is done at once.
    fn extend(&mut self, steps: Vec<Step>) {
        for step in steps {
            let last = self.steps.last_mut();
            let last =
                last.and_then(|last| Some((last.rebuild.as_mut()?, &mut last.sql, &mut last.kind)));
            if let (Some((last, sql, kind)), Some(rebuild)) = (last, &step.rebuild)
                && last.join(rebuild)
            {
                *kind = StepKind::Rebuild;
                sql.push_str("; ");
                sql.push_str(&step.sql);
                continue;
            }
            self.steps.push(step);
        }
    }

    fn finish(mut self, tag: &str) -> Decision {
        self.decision.action = if self.steps.is_empty() {
            Action::Answer(Answer::Tag(tag.to_owned()))
        } else {
            Action::Rewrite(Rewrite {
                steps: self.steps,
                tag: Some(tag.to_owned()),
            })
        };
        self.decision
    }
}

fn actions(alter: &AlterTableStmt, facts: &SessionFacts, rules: &Rules) -> Option<Decision> {
    let mut parts = Parts::new();
    let mut plain = true;
    // Actions that go on as they are stay together.
    let mut together: Vec<Node> = Vec::new();
    for command in &in_order(alter) {
        let single = single(alter, vec![command.clone()]);
        let part = judge_node(&single, false, "", facts, rules);
        if part.action == Action::Forward {
            together.push(command.clone());
            continue;
        }
        plain = false;
        if let Err(refused) = flush(alter, &mut together, &mut parts) {
            return Some(*refused);
        }
        if let Err(refused) = parts.add(part, || print(&single)) {
            return Some(*refused);
        }
    }
    if plain {
        return None;
    }
    if let Err(refused) = flush(alter, &mut together, &mut parts) {
        return Some(*refused);
    }
    // Asked once, ahead of all.
    parts.steps.retain(|step| step.otherwise.is_none());
    super::alter::if_exists(alter, &mut parts.steps);
    Some(parts.finish("ALTER TABLE"))
}

/// As PostgreSQL takes them when columns get other types: first what goes away.
fn in_order(alter: &AlterTableStmt) -> Vec<Node> {
    let command = |node: &Node| match &node.node {
        Some(NodeEnum::AlterTableCmd(command)) => Some((command.subtype(), command.def.is_none())),
        _ => None,
    };
    let goes = |node: &&Node| {
        matches!(
            command(node),
            Some(
                (AlterTableType::AtColumnDefault, true)
                    | (
                        AlterTableType::AtDropNotNull | AlterTableType::AtDropConstraint,
                        _
                    )
                    | (
                        AlterTableType::AtDropColumn | AlterTableType::AtDropExpression,
                        _
                    )
            )
        )
    };
    let retypes =
        |node: &Node| matches!(command(node), Some((AlterTableType::AtAlterColumnType, _)));
    if !alter.cmds.iter().any(retypes) {
        return alter.cmds.clone();
    }
    let (first, rest): (Vec<&Node>, Vec<&Node>) = alter.cmds.iter().partition(goes);
    first.into_iter().chain(rest).cloned().collect()
}

fn flush(
    alter: &AlterTableStmt,
    together: &mut Vec<Node>,
    parts: &mut Parts,
) -> Result<(), Box<Decision>> {
    if together.is_empty() {
        return Ok(());
    }
    let joined = single(alter, std::mem::take(together));
    parts.add(Decision::of(Action::Forward), || print(&joined))
}

fn single(alter: &AlterTableStmt, cmds: Vec<Node>) -> NodeEnum {
    NodeEnum::AlterTableStmt(AlterTableStmt {
        cmds,
        ..alter.clone()
    })
}

fn print(node: &NodeEnum) -> Result<String, ClientError> {
    text(node, false).map_err(|error| unprintable(&error))
}

/// CREATE SCHEMA with elements of which some do not go on as they are: the schema first, then each.
fn elements(create: &CreateSchemaStmt, facts: &SessionFacts, rules: &Rules) -> Option<Decision> {
    let schema = if create.schemaname.is_empty() {
        create.authrole.as_ref()?.rolename.clone()
    } else {
        create.schemaname.clone()
    };
    let early = !rules.accepts("CreateSchemaElements", facts.as_of);
    let mut parts = Parts::new();
    let mut plain = !early;
    let alone = NodeEnum::CreateSchemaStmt(CreateSchemaStmt {
        schema_elts: Vec::new(),
        ..create.clone()
    });
    let first = Decision::of(Action::Forward);
    if let Err(refused) = parts.add(first, || print(&alone)) {
        return Some(*refused);
    }
    for element in &create.schema_elts {
        let mut element = element.node.clone()?;
        plain &= judge_node(&element, false, "", facts, rules).action == Action::Forward;
        qualify(&mut element, &schema);
        let part = judge_node(&element, false, "", facts, rules);
        if let Err(refused) = parts.add(part, || print(&element)) {
            return Some(*refused);
        }
    }
    (!plain).then(|| parts.finish("CREATE SCHEMA"))
}

fn qualify(element: &mut NodeEnum, schema: &str) {
    let relation = match element {
        NodeEnum::CreateStmt(create) => &mut create.relation,
        NodeEnum::ViewStmt(view) => &mut view.view,
        NodeEnum::IndexStmt(index) => &mut index.relation,
        NodeEnum::CreateSeqStmt(create) => &mut create.sequence,
        _ => return,
    };
    if let Some(relation) = relation
        && relation.schemaname.is_empty()
    {
        schema.clone_into(&mut relation.schemaname);
    }
}

/// EXPLAIN of a statement that does not go on as it is.
fn explained(explain: &ExplainStmt, facts: &SessionFacts, rules: &Rules) -> Option<Decision> {
    let inner = explain.query.as_ref()?.node.as_ref()?;
    if matches!(
        inner,
        NodeEnum::ExecuteStmt(_) | NodeEnum::DeclareCursorStmt(_)
    ) {
        return None;
    }
    let mut part = judge_node(inner, false, "", facts, rules);
    match &part.action {
        Action::Forward => None,
        Action::Reject(_) => Some(part),
        Action::Rewrite(Rewrite { steps, .. }) if matches!(steps.as_slice(), [step] if step.kind == StepKind::Statement && step.rebuild.is_none()) =>
        {
            let rewritten = steps.first().map(|step| step.sql.clone())?;
            part.action = match substitute(explain, &rewritten) {
                Ok(sql) => Action::Rewrite(Rewrite {
                    steps: vec![Step::statement(sql)],
                    tag: None,
                }),
                Err(error) => Action::Reject(error),
            };
            Some(part)
        }
        Action::Answer(Answer::Setting) => None,
        _ => {
            let mut decision = Decision::of(Action::Reject(no_plan()));
            decision.rules = vec![Arc::from("explain_of_steps")];
            Some(decision)
        }
    }
}

fn no_plan() -> ClientError {
    ClientError::error(
        "0A000",
        "what the proxy makes of this statement has no plan",
    )
    .hint("Explain the query in it.")
}

fn substitute(explain: &ExplainStmt, inner: &str) -> Result<String, ClientError> {
    let read = crate::sql::Statement::read(inner)
        .map_err(|error| unprintable(&crate::sql::tree::PrintError::Read(error.to_string())))?;
    let query = read
        .into_iter()
        .next()
        .and_then(|statement| match statement.tree {
            crate::sql::Tree::Node(node) => Some(Box::new(build::node(*node))),
            crate::sql::Tree::Iam { .. } => None,
        })
        .filter(|query| query.node.as_ref().is_some_and(tree::is_explainable))
        .ok_or_else(no_plan)?;
    print(&NodeEnum::ExplainStmt(Box::new(ExplainStmt {
        query: Some(query),
        ..explain.clone()
    })))
}
