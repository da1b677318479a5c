//! Objects that files would make, were their statements not refused: what comes later and needs
//! them cannot run either.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pg_query::protobuf::{AlterTableType, ConstrType, Constraint, ObjectType, RangeVar};
use pg_query::{Node, NodeEnum};

use crate::policy::{Action, Decision, Placement};
use crate::sql::tree::{Descent, Ref, walk};
use crate::wire::reply::ClientError;

/// The name under which refusals of this kind are reported.
const RULE: &str = "missing";

/// Types that no key can hold (DSQL guide, "Supported data types").
const UNKEYABLE: [&str; 5] = ["bytea", "interval", "json", "jsonb", "timetz"];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Object {
    /// Table, view, sequence or index, with its schema.
    Relation(String, String),
    Function(String),
    Type(String),
}

/// What earlier refusals leave missing, with the place of the statement that would have made it.
#[derive(Debug, Default)]
pub(super) struct Missing {
    objects: HashMap<Object, String>,
    /// Keys of tables that were refused: no foreign key can refer to them.
    keys: HashMap<Object, Vec<(Vec<String>, String)>>,
    /// Columns of tables that no key can hold, with their types.
    unkeyable: HashMap<Object, HashMap<String, String>>,
    /// Composite types, of which no column is stored.
    composite: HashSet<String>,
}

impl Missing {
    /// The decision about a statement after all that has been noted: `decision`, unless it needs what
    /// is missing.
    pub(super) fn weigh(&self, node: &NodeEnum, decision: Decision) -> Decision {
        if matches!(decision.action, Action::Answer(_) | Action::Reject(_)) {
            return decision;
        }
        match self.refusal(node) {
            None => decision,
            Some(error) => Decision {
                action: Action::Reject(error),
                placement: Placement::Within,
                notices: Vec::new(),
                rules: vec![Arc::from(RULE)],
            },
        }
    }

    /// Takes note of what becomes of the statement at `place`. `done` is false when nothing is made
    /// although nothing is refused.
    pub(super) fn note(&mut self, node: &NodeEnum, done: bool, place: &str) {
        for object in made(node) {
            if done {
                self.objects.remove(&object);
                self.keys.remove(&object);
                self.unkeyable.remove(&object);
            } else {
                self.objects
                    .entry(object)
                    .or_insert_with(|| place.to_owned());
            }
        }
        match node {
            NodeEnum::CompositeTypeStmt(create) if done => {
                let name = create.typevar.as_ref().map(|name| name.relname.clone());
                self.composite.extend(name);
            }
            NodeEnum::CreateStmt(create) if done => {
                self.note_columns(create.relation.as_ref(), &create.table_elts);
            }
            NodeEnum::AlterTableStmt(alter) if done => {
                let added: Vec<Node> = alter.cmds.iter().filter_map(added_column).collect();
                self.note_columns(alter.relation.as_ref(), &added);
            }
            NodeEnum::DropStmt(drop) if done => {
                for object in dropped(drop.remove_type(), &drop.objects) {
                    self.objects.remove(&object);
                }
            }
            NodeEnum::AlterTableStmt(alter) if !done => {
                let Some(table) = alter.relation.as_ref().map(relation) else {
                    return;
                };
                for key in alter.cmds.iter().filter_map(added_key) {
                    let columns = names(&key.keys);
                    let keys = self.keys.entry(table.clone()).or_default();
                    keys.push((columns, place.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn note_columns(&mut self, table: Option<&RangeVar>, elements: &[Node]) {
        let Some(table) = table else {
            return;
        };
        for element in elements {
            if let Some(NodeEnum::ColumnDef(column)) = &element.node
                && let Some(kind) = column.type_name.as_ref().and_then(|kind| last(&kind.names))
                && UNKEYABLE.contains(&kind.as_str())
            {
                let columns = self.unkeyable.entry(relation(table)).or_default();
                columns.insert(column.colname.clone(), kind);
            }
        }
    }

    /// Why a column of a composite type cannot be.
    fn unstored(&self, node: &NodeEnum) -> Option<ClientError> {
        if self.composite.is_empty() {
            return None;
        }
        let columns: Vec<Node> = match node {
            NodeEnum::CreateStmt(create) => create.table_elts.clone(),
            NodeEnum::AlterTableStmt(alter) if alter.objtype() == ObjectType::ObjectTable => {
                alter.cmds.iter().filter_map(added_column).collect()
            }
            _ => return None,
        };
        let kinds = columns.iter().filter_map(|column| match &column.node {
            Some(NodeEnum::ColumnDef(column)) => last(&column.type_name.as_ref()?.names),
            _ => None,
        });
        let kind = kinds
            .into_iter()
            .find(|kind| self.composite.contains(kind))?;
        Some(
            ClientError::error(
                "0A000",
                format!("a column cannot be of composite type {kind} on Aurora DSQL"),
            )
            .hint(
                "Use columns, or jsonb; with unstorable_columns: text the proxy keeps it as text.",
            ),
        )
    }

    /// Why a key over columns of a table cannot be.
    fn unkeyable(&self, node: &NodeEnum) -> Option<ClientError> {
        let (table, columns): (_, Vec<String>) = match node {
            NodeEnum::IndexStmt(index) => {
                let name = |element: &Node| match &element.node {
                    Some(NodeEnum::IndexElem(element)) => Some(element.name.clone()),
                    _ => None,
                };
                let columns = index.index_params.iter().filter_map(name).collect();
                (index.relation.as_ref()?, columns)
            }
            NodeEnum::AlterTableStmt(alter) => {
                let keys = alter.cmds.iter().filter_map(added_key);
                let columns = keys.flat_map(|key| names(&key.keys)).collect();
                (alter.relation.as_ref()?, columns)
            }
            _ => return None,
        };
        let known = self.unkeyable.get(&relation(table))?;
        let kind = columns.iter().find_map(|column| known.get(column))?;
        Some(
            ClientError::error(
                "0A000",
                format!("datatype {kind} is not supported in a key"),
            )
            .hint("Make the key over another column, such as a hash of this one."),
        )
    }

    fn refusal(&self, node: &NodeEnum) -> Option<ClientError> {
        if let Some(error) = self.unkeyable(node).or_else(|| self.unstored(node)) {
            return Some(error);
        }
        if self.objects.is_empty() && self.keys.is_empty() {
            return None;
        }
        match node {
            NodeEnum::DropStmt(drop) if drop.missing_ok => return None,
            NodeEnum::DropStmt(drop) => {
                let objects = dropped(drop.remove_type(), &drop.objects);
                return objects.iter().find_map(|object| self.lack(object));
            }
            NodeEnum::CommentStmt(comment) => {
                let object = comment.object.as_deref().cloned().unwrap_or_default();
                let objects = dropped(comment.objtype(), &[object]);
                return objects.iter().find_map(|object| self.lack(object));
            }
            NodeEnum::AlterTableStmt(alter)
                if alter.missing_ok
                    && alter
                        .relation
                        .as_ref()
                        .is_some_and(|table| self.objects.contains_key(&relation(table))) =>
            {
                return None;
            }
            _ => {}
        }
        let made = made(node);
        let queries = query_names(node);
        let mut found = None;
        walk(Ref::of(node), &mut |node| {
            let object = match node {
                Ref::RangeVar(table)
                    if table.schemaname.is_empty() && queries.contains(&table.relname) =>
                {
                    None
                }
                Ref::RangeVar(table) => Some(relation(table)),
                Ref::FuncCall(call) => last(&call.funcname).map(Object::Function),
                Ref::ObjectWithArgs(object) => last(&object.objname).map(Object::Function),
                Ref::CreateTrigStmt(trigger) => last(&trigger.funcname).map(Object::Function),
                Ref::TypeName(name) => last(&name.names).map(Object::Type),
                Ref::Constraint(constraint) => {
                    found = found.take().or_else(|| self.lack_of_key(constraint));
                    None
                }
                _ => None,
            };
            if let Some(object) = object
                && found.is_none()
                && !made.contains(&object)
            {
                found = self.lack(&object);
            }
            match found {
                Some(_) => Descent::Over,
                None => Descent::Into,
            }
        });
        found
    }

    fn lack(&self, object: &Object) -> Option<ClientError> {
        let place = self.objects.get(object)?;
        let (code, words) = match object {
            Object::Relation(_, name) => ("42P01", format!("relation \"{name}\"")),
            Object::Function(name) => ("42883", format!("function {name}()")),
            Object::Type(name) => ("42704", format!("type \"{name}\"")),
        };
        Some(
            ClientError::error(
                code,
                format!("{words} does not exist, since it is not made at {place}"),
            )
            .hint("Change that statement first."),
        )
    }

    fn lack_of_key(&self, constraint: &Constraint) -> Option<ClientError> {
        if constraint.contype() != ConstrType::ConstrForeign {
            return None;
        }
        let table = constraint.pktable.as_ref()?;
        let columns = names(&constraint.pk_attrs);
        let keys = self.keys.get(&relation(table))?;
        let (_, place) = keys
            .iter()
            .find(|(key, _)| columns.is_empty() || *key == columns)?;
        Some(
            ClientError::error(
                "42830",
                format!(
                    "there is no key of table \"{}\" to refer to, since it is not made at {place}",
                    table.relname
                ),
            )
            .hint("Write the key in CREATE TABLE; dsql-proxy lint --fix does so for a dump."),
        )
    }
}

fn relation(table: &RangeVar) -> Object {
    let schema = match table.schemaname.as_str() {
        "" => "public",
        schema => schema,
    };
    Object::Relation(schema.to_owned(), table.relname.clone())
}

fn names(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::String(text)) => Some(text.sval.clone()),
            _ => None,
        })
        .collect()
}

fn last(nodes: &[Node]) -> Option<String> {
    names(nodes).pop()
}

fn qualified(nodes: &[Node]) -> Option<Object> {
    let mut names = names(nodes);
    let name = names.pop()?;
    let schema = names.pop().unwrap_or_else(|| "public".to_owned());
    Some(Object::Relation(schema, name))
}

/// The objects that a statement makes.
fn made(node: &NodeEnum) -> Vec<Object> {
    let of = |table: Option<&RangeVar>| table.map(relation).into_iter().collect();
    match node {
        NodeEnum::CreateStmt(create) => of(create.relation.as_ref()),
        NodeEnum::ViewStmt(view) => of(view.view.as_ref()),
        NodeEnum::CreateSeqStmt(create) => of(create.sequence.as_ref()),
        NodeEnum::CreateTableAsStmt(create) => {
            of(create.into.as_ref().and_then(|into| into.rel.as_ref()))
        }
        NodeEnum::SelectStmt(select) => of(select
            .into_clause
            .as_ref()
            .and_then(|into| into.rel.as_ref())),
        NodeEnum::IndexStmt(index) if !index.idxname.is_empty() => index
            .relation
            .as_ref()
            .map(|table| match relation(table) {
                Object::Relation(schema, _) => Object::Relation(schema, index.idxname.clone()),
                other => other,
            })
            .into_iter()
            .collect(),
        NodeEnum::CreateFunctionStmt(create) => last(&create.funcname)
            .map(Object::Function)
            .into_iter()
            .collect(),
        NodeEnum::CreateDomainStmt(create) => types(last(&create.domainname)),
        NodeEnum::CreateEnumStmt(create) => types(last(&create.type_name)),
        NodeEnum::CreateRangeStmt(create) => types(last(&create.type_name)),
        NodeEnum::CompositeTypeStmt(create) => {
            types(create.typevar.as_ref().map(|name| name.relname.clone()))
        }
        _ => Vec::new(),
    }
}

fn types(name: Option<String>) -> Vec<Object> {
    name.map(Object::Type).into_iter().collect()
}

/// The objects that DROP and COMMENT name.
fn dropped(kind: ObjectType, objects: &[Node]) -> Vec<Object> {
    let named = |object: &Node| match (kind, object.node.as_ref()?) {
        (
            ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectSequence
            | ObjectType::ObjectIndex,
            NodeEnum::List(list),
        ) => qualified(&list.items),
        (ObjectType::ObjectColumn, NodeEnum::List(list)) => {
            let (_, table) = list.items.split_last()?;
            qualified(table)
        }
        (_, NodeEnum::ObjectWithArgs(object)) => last(&object.objname).map(Object::Function),
        (_, NodeEnum::TypeName(name)) => last(&name.names).map(Object::Type),
        _ => None,
    };
    objects.iter().filter_map(named).collect()
}

/// Names of WITH queries, which hide tables.
fn query_names(node: &NodeEnum) -> Vec<String> {
    let mut found = Vec::new();
    walk(Ref::of(node), &mut |node| {
        if let Ref::CommonTableExpr(query) = node {
            found.push(query.ctename.clone());
        }
        Descent::Into
    });
    found
}

fn added_column(command: &Node) -> Option<Node> {
    match &command.node {
        Some(NodeEnum::AlterTableCmd(command))
            if command.subtype() == AlterTableType::AtAddColumn =>
        {
            command.def.as_deref().cloned()
        }
        _ => None,
    }
}

fn added_key(command: &Node) -> Option<&Constraint> {
    let Some(NodeEnum::AlterTableCmd(command)) = &command.node else {
        return None;
    };
    if command.subtype() != AlterTableType::AtAddConstraint {
        return None;
    }
    match &command.def.as_deref()?.node {
        Some(NodeEnum::Constraint(constraint))
            if matches!(
                constraint.contype(),
                ConstrType::ConstrPrimary | ConstrType::ConstrUnique
            ) =>
        {
            Some(constraint)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::lint::lint;
    use crate::cli::lint::tests::{facts, standard};

    /// Decisions about the statements of a text, with the SQLSTATE of refusals.
    fn decisions(text: &str) -> Vec<String> {
        lint("f", text, &facts(), &standard())
            .iter()
            .map(|finding| match &finding.report.sqlstate {
                None => finding.report.decision.to_owned(),
                Some(code) => code.clone(),
            })
            .collect()
    }

    #[test]
    fn what_needs_what_is_refused_is_refused() {
        let cases: &[(&str, &[&str])] = &[
            (
                "CREATE TABLE a (x int[]); CREATE INDEX i ON a (x); INSERT INTO a VALUES ('{}'); SELECT 1 FROM b",
                &["0A000", "42P01", "42P01", "forward"],
            ),
            (
                "CREATE TABLE a (x int[]); WITH a AS (SELECT 1) SELECT * FROM a; SELECT * FROM other.a",
                &["0A000", "forward", "forward"],
            ),
            (
                "CREATE TABLE a (x int[]); CREATE VIEW v AS SELECT 1 FROM a; SELECT * FROM v",
                &["0A000", "42P01", "42P01"],
            ),
            (
                "CREATE TABLE a (x int[]); DROP TABLE IF EXISTS a; CREATE TABLE a (x int); SELECT * FROM a",
                &["0A000", "forward", "forward", "forward"],
            ),
            (
                "CREATE TABLE a (x int[]); DROP TABLE a; COMMENT ON COLUMN a.x IS ''; ALTER TABLE IF EXISTS a ADD y int",
                &["0A000", "42P01", "42P01", "forward"],
            ),
            (
                "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS ''; SELECT f(); ALTER FUNCTION f() OWNER TO x",
                &["0A000", "42883", "42883"],
            ),
            (
                "CREATE TYPE p AS (x int); CREATE TABLE a (b p)",
                &["rewrite", "0A000"],
            ),
            (
                "CREATE TABLE a (x bytea, y int); CREATE INDEX i ON a (y); CREATE INDEX j ON a (x); ALTER TABLE a ADD UNIQUE (y, x)",
                &["forward", "rewrite", "0A000", "0A000"],
            ),
            (
                "CREATE TABLE a (x int); CREATE INDEX i ON a USING gin (x); DROP INDEX i",
                &["forward", "answer", "42P01"],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(&decisions(text), expected, "{text}");
        }
    }
}
