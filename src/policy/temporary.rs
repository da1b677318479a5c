//! Temporary tables, which Aurora DSQL does not have: ordinary ones in a schema of the proxy, under
//! names that only their session knows. To the session the catalogs show them as temporary ones
//! (`shown`).

mod shown;

use pg_query::protobuf::{ConstrType, ObjectType, OnCommitAction, RangeVar};
use pg_query::{Node, NodeEnum, protobuf};

use super::dialect;
use super::dialect::catalog::may_ask;
use crate::sql::tree::{Descent, Mut, Ref, any, walk_mut};
use crate::sql::{Statement, Tree};

/// Where they are.
pub const SCHEMA: &str = "dsqlproxy_temp";

/// Longest identifier, in bytes.
const IDENTIFIER: usize = 63;

/// Stands between a table's real name and what the client calls its index or key.
const OWN: &str = "$";

/// A temporary table to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Its name for the client.
    pub name: String,
    /// The statement that makes the table behind it.
    pub text: String,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// What becomes of it when its transaction is committed.
    pub at_commit: AtCommit,
    /// The query that fills it.
    pub filling: Option<Filling>,
    /// It is a view.
    pub view: bool,
    /// It takes the place of one of the same name.
    pub replaces: bool,
    /// Names of its foreign keys.
    pub foreign_keys: Vec<String>,
}

/// A query that makes and fills a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    /// Its text.
    pub query: String,
    /// Names for the first columns.
    pub columns: Vec<String>,
    /// Not WITH NO DATA.
    pub with_data: bool,
}

/// ON COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCommit {
    /// Nothing.
    Stay,
    /// The table goes.
    Drop,
    /// Its rows go.
    Empty,
}

impl AtCommit {
    fn of(action: OnCommitAction) -> Self {
        match action {
            OnCommitAction::OncommitDrop => Self::Drop,
            OnCommitAction::OncommitDeleteRows => Self::Empty,
            _ => Self::Stay,
        }
    }
}

pub(super) fn is_temporary(relation: &RangeVar) -> bool {
    relation.relpersistence == "t" || relation.schemaname.starts_with("pg_temp")
}

/// What CREATE TEMP TABLE, CREATE TEMP TABLE AS and SELECT INTO TEMP make, if the table is to be
/// called `real`.
#[must_use]
pub fn creation(statement: &Statement, real: &str) -> Option<Creation> {
    let mut tree = statement.node()?.clone();
    let plain = OnCommitAction::OncommitNoop as i32;
    let mut foreign_keys = Vec::new();
    let view = matches!(tree, NodeEnum::ViewStmt(_));
    let mut replaces = false;
    let (relation, if_not_exists, at_commit, filling) = match &mut tree {
        NodeEnum::CreateStmt(create) => {
            let at_commit = AtCommit::of(create.oncommit());
            create.oncommit = plain;
            let name = create.relation.as_ref()?.relname.clone();
            for constraint in constraints(&mut create.table_elts) {
                rename_key(constraint, real);
                refer_to_itself(constraint, &name, real);
                if constraint.contype() == ConstrType::ConstrForeign {
                    foreign_keys.push(constraint.conname.clone());
                }
            }
            let missing = create.if_not_exists;
            (create.relation.as_mut()?, missing, at_commit, None)
        }
        NodeEnum::CreateTableAsStmt(create) => {
            let missing = create.if_not_exists;
            let query = create.query.as_ref()?.node.as_ref()?;
            let query = dialect::text(query, false).ok()?;
            let into = create.into.as_mut()?;
            let filling = filling_of(into, query);
            let at_commit = AtCommit::of(into.on_commit());
            into.on_commit = plain;
            (into.rel.as_mut()?, missing, at_commit, Some(filling))
        }
        NodeEnum::SelectStmt(select) => {
            let mut query = select.clone();
            query.into_clause = None;
            let query = dialect::text(&NodeEnum::SelectStmt(query), false).ok()?;
            let into = select.into_clause.as_mut()?;
            let filling = filling_of(into, query);
            let at_commit = AtCommit::of(into.on_commit());
            into.on_commit = plain;
            (into.rel.as_mut()?, false, at_commit, Some(filling))
        }
        NodeEnum::ViewStmt(create) => {
            replaces = std::mem::take(&mut create.replace);
            (create.view.as_mut()?, false, AtCommit::Stay, None)
        }
        _ => return None,
    };
    if !is_temporary(relation) {
        return None;
    }
    let name = relation.relname.clone();
    SCHEMA.clone_into(&mut relation.schemaname);
    real.clone_into(&mut relation.relname);
    relation.relpersistence = "p".to_owned();
    Some(Creation {
        name,
        text: dialect::text(&tree, false).ok()?,
        if_not_exists,
        at_commit,
        filling,
        view,
        replaces,
        foreign_keys,
    })
}

fn filling_of(into: &protobuf::IntoClause, query: String) -> Filling {
    let columns = into.col_names.iter().filter_map(|name| match &name.node {
        Some(NodeEnum::String(name)) => Some(name.sval.clone()),
        _ => None,
    });
    Filling {
        query,
        columns: columns.collect(),
        with_data: !into.skip_data,
    }
}

/// The name of an index or a key of the table behind a temporary one: indexes of one schema have names of
/// their own.
fn own_name(real: &str, name: &str) -> String {
    let mut own = own_prefix(real) + name;
    let mut end = own.len().min(IDENTIFIER);
    while !own.is_char_boundary(end) {
        end -= 1;
    }
    own.truncate(end);
    own
}

/// All constraints of a table and its columns.
fn constraints(elements: &mut [Node]) -> Vec<&mut protobuf::Constraint> {
    let mut all = Vec::new();
    for element in elements {
        match &mut element.node {
            Some(NodeEnum::Constraint(constraint)) => all.push(&mut **constraint),
            Some(NodeEnum::ColumnDef(column)) => {
                for constraint in &mut column.constraints {
                    if let Some(NodeEnum::Constraint(constraint)) = &mut constraint.node {
                        all.push(&mut **constraint);
                    }
                }
            }
            _ => {}
        }
    }
    all
}

fn rename_key(constraint: &mut protobuf::Constraint, real: &str) {
    let key = matches!(
        constraint.contype(),
        ConstrType::ConstrPrimary | ConstrType::ConstrUnique
    );
    if key && !constraint.conname.is_empty() {
        constraint.conname = own_name(real, &constraint.conname);
    }
}

/// A table that refers to itself does so by its real name.
fn refer_to_itself(constraint: &mut protobuf::Constraint, name: &str, real: &str) {
    if let Some(referred) = &mut constraint.pktable
        && referred.relname == name
        && matches!(&*referred.schemaname, "" | "pg_temp")
    {
        SCHEMA.clone_into(&mut referred.schemaname);
        real.clone_into(&mut referred.relname);
    }
}

/// What stands ahead of the client's names for indexes and keys of the table `real`.
#[must_use]
pub fn own_prefix(real: &str) -> String {
    format!("{real}{OWN}")
}

/// The text with temporary tables by their real names, and catalogs that show them as the session's;
/// `None` when it names none of either, or cannot be read. `tables`: name and real name of each.
#[must_use]
pub fn translate(text: &str, tables: &[(&str, &str)], foreign_keys: &[&str]) -> Option<String> {
    let find = |name: &str| {
        let found = tables.iter().find(|(known, _)| *known == name);
        found.map(|(_, real)| (*real).to_owned())
    };
    let catalogs = may_ask(text);
    let statements = Statement::read(text).ok()?;
    let mut changed = false;
    let mut out: Vec<String> = Vec::new();
    for statement in &statements {
        let own = text.get(statement.span.clone())?;
        let translated = match &statement.tree {
            Tree::Node(node) => {
                let tables = if catalogs { tables } else { &[] };
                translated(node, statement.asynchronous, &find, tables, foreign_keys)
            }
            Tree::Iam { .. } => None,
        };
        changed |= translated.is_some();
        out.push(translated.unwrap_or_else(|| own.to_owned()));
    }
    changed.then(|| out.join("; "))
}

/// Real names of the tables and views that a text of real names drops.
#[must_use]
pub fn dropped(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for statement in Statement::read(text).unwrap_or_default() {
        let Some(NodeEnum::DropStmt(drop)) = statement.node() else {
            continue;
        };
        for object in &drop.objects {
            if let Some(NodeEnum::List(list)) = &object.node
                && let [SCHEMA, name] = dialect::build::strings(&list.items).as_slice()
            {
                names.push((*name).to_owned());
            }
        }
    }
    names
}

fn translated(
    node: &NodeEnum,
    asynchronous: bool,
    find: &dyn Fn(&str) -> Option<String>,
    tables: &[(&str, &str)],
    foreign_keys: &[&str],
) -> Option<String> {
    let mut tree = node.clone();
    let mut renames = Renames {
        find,
        foreign_keys,
        hidden: Vec::new(),
        changed: false,
    };
    any(node, &mut |node| {
        if let Ref::CommonTableExpr(query) = node {
            renames.hidden.push(query.ctename.clone());
        }
        false
    });
    renames.whole(&mut tree);
    renames.everywhere(&mut tree);
    let mut changed = renames.changed;
    if !tables.is_empty() {
        changed |= shown::show(&mut tree, tables);
    }
    if !changed {
        return None;
    }
    dialect::text(&tree, asynchronous).ok()
}

struct Renames<'f> {
    find: &'f dyn Fn(&str) -> Option<String>,
    /// Names of the tables' foreign keys.
    foreign_keys: &'f [&'f str],
    /// Names of WITH queries.
    hidden: Vec<String>,
    changed: bool,
}

impl Renames<'_> {
    fn real(&self, schema: &str, name: &str) -> Option<String> {
        let meant = match schema {
            "" => !self.hidden.iter().any(|hidden| hidden == name),
            schema => schema == "pg_temp",
        };
        meant.then(|| (self.find)(name)).flatten()
    }

    /// `aliased`: what stands elsewhere in the statement calls the table by its name.
    fn rename(&mut self, relation: &mut RangeVar, aliased: bool) {
        let Some(real) = self.real(&relation.schemaname, &relation.relname) else {
            return;
        };
        if aliased && relation.alias.is_none() {
            relation.alias = Some(protobuf::Alias {
                aliasname: relation.relname.clone(),
                colnames: Vec::new(),
            });
        }
        SCHEMA.clone_into(&mut relation.schemaname);
        relation.relname = real;
        relation.relpersistence = "p".to_owned();
        self.changed = true;
    }

    fn rename_each(&mut self, nodes: &mut [Node]) {
        for node in nodes {
            match &mut node.node {
                Some(NodeEnum::RangeVar(relation)) => self.rename(relation, false),
                Some(NodeEnum::VacuumRelation(vacuum)) => {
                    if let Some(relation) = &mut vacuum.relation {
                        self.rename(relation, false);
                    }
                }
                _ => {}
            }
        }
    }

    /// Where a statement is about tables as a whole, these have no aliases.
    fn whole(&mut self, tree: &mut NodeEnum) {
        match tree {
            NodeEnum::DropStmt(drop)
                if matches!(
                    drop.remove_type(),
                    ObjectType::ObjectTable | ObjectType::ObjectView
                ) =>
            {
                for object in &mut drop.objects {
                    self.rename_list(object);
                }
            }
            NodeEnum::CommentStmt(comment) if comment.objtype() == ObjectType::ObjectTable => {
                if let Some(object) = &mut comment.object {
                    self.rename_list(object);
                }
            }
            NodeEnum::IndexStmt(index) => {
                let before = self.changed;
                if let Some(relation) = &mut index.relation {
                    self.rename(relation, false);
                    if self.changed != before && !index.idxname.is_empty() {
                        index.idxname = own_name(&relation.relname, &index.idxname);
                    }
                }
            }
            NodeEnum::AlterTableStmt(alter) => {
                alter
                    .relation
                    .iter_mut()
                    .for_each(|relation| self.rename(relation, false));
            }
            NodeEnum::RenameStmt(rename) if rename.rename_type() == ObjectType::ObjectColumn => {
                if let Some(relation) = &mut rename.relation {
                    self.rename(relation, false);
                }
            }
            NodeEnum::CopyStmt(copy) => {
                copy.relation
                    .iter_mut()
                    .for_each(|relation| self.rename(relation, false));
            }
            NodeEnum::ConstraintsSetStmt(set) => self.find_keys(&mut set.constraints),
            NodeEnum::TruncateStmt(truncate) => self.rename_each(&mut truncate.relations),
            NodeEnum::LockStmt(lock) => self.rename_each(&mut lock.relations),
            NodeEnum::VacuumStmt(vacuum) => self.rename_each(&mut vacuum.rels),
            _ => {}
        }
    }

    /// SET CONSTRAINTS looks for names without a schema in the search path.
    fn find_keys(&mut self, constraints: &mut [Node]) {
        for constraint in constraints {
            if let Some(NodeEnum::RangeVar(key)) = &mut constraint.node
                && matches!(&*key.schemaname, "" | "pg_temp")
                && self.foreign_keys.contains(&&*key.relname)
            {
                SCHEMA.clone_into(&mut key.schemaname);
                self.changed = true;
            }
        }
    }

    fn rename_list(&mut self, object: &mut Node) {
        let Some(NodeEnum::List(list)) = &mut object.node else {
            return;
        };
        let parts: Vec<&str> = list
            .items
            .iter()
            .filter_map(|item| match &item.node {
                Some(NodeEnum::String(part)) => Some(part.sval.as_str()),
                _ => None,
            })
            .collect();
        let real = match parts.as_slice() {
            [name] => self.real("", name),
            ["pg_temp", name] => self.real("pg_temp", name),
            _ => None,
        };
        let string = |text: &str| Node {
            node: Some(NodeEnum::String(protobuf::String {
                sval: text.to_owned(),
            })),
        };
        if let Some(real) = real {
            list.items = vec![string(SCHEMA), string(&real)];
            self.changed = true;
        }
    }

    fn everywhere(&mut self, tree: &mut NodeEnum) {
        walk_mut(Mut::of(tree), &mut |node| match node {
            // These name aliases.
            Mut::LockingClause(_) => Descent::Over,
            Mut::IntoClause(_) | Mut::TableLikeClause(_) => Descent::Over,
            // What a foreign key refers to has no alias.
            Mut::Constraint(constraint) => {
                if let Some(relation) = &mut constraint.pktable {
                    self.rename(relation, false);
                }
                Descent::Into
            }
            Mut::RangeVar(relation) => {
                self.rename(relation, true);
                Descent::Over
            }
            _ => Descent::Into,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_made_under_other_names() {
        let cases = [
            (
                "CREATE TEMP TABLE x (id int CONSTRAINT k PRIMARY KEY, a text) ON COMMIT DROP",
                "CREATE TABLE dsqlproxy_temp.r (id int CONSTRAINT \"r$k\" PRIMARY KEY, a text)",
                (AtCommit::Drop, false, false),
            ),
            (
                "CREATE TEMP TABLE x (id int REFERENCES x (id), CONSTRAINT f FOREIGN KEY (id) REFERENCES t (a))",
                "CREATE TABLE dsqlproxy_temp.r (id int REFERENCES dsqlproxy_temp.r (id), \
                 CONSTRAINT f FOREIGN KEY (id) REFERENCES t (a))",
                (AtCommit::Stay, false, false),
            ),
            (
                "CREATE TABLE IF NOT EXISTS pg_temp.x (a int)",
                "CREATE TABLE IF NOT EXISTS dsqlproxy_temp.r (a int)",
                (AtCommit::Stay, true, false),
            ),
            (
                "CREATE TEMPORARY TABLE x ON COMMIT DELETE ROWS AS SELECT 1 AS a",
                "CREATE TABLE dsqlproxy_temp.r AS SELECT 1 AS a",
                (AtCommit::Empty, false, true),
            ),
            (
                "CREATE OR REPLACE TEMP VIEW x AS SELECT 1 AS a",
                "CREATE VIEW dsqlproxy_temp.r AS SELECT 1 AS a",
                (AtCommit::Stay, false, false),
            ),
            (
                "SELECT 1 AS a INTO TEMP x",
                "SELECT 1 AS a INTO dsqlproxy_temp.r",
                (AtCommit::Stay, false, true),
            ),
        ];
        for (text, expected, (at_commit, if_not_exists, filled)) in cases {
            let statement = Statement::read(text).unwrap().remove(0);
            let found = creation(&statement, "r").unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.text, expected);
            assert_eq!(
                (
                    found.name.as_str(),
                    found.at_commit,
                    found.if_not_exists,
                    found.filling.is_some()
                ),
                ("x", at_commit, if_not_exists, filled),
                "{text}"
            );
        }
        let plain = Statement::read("CREATE TABLE x (a int)").unwrap().remove(0);
        assert_eq!(creation(&plain, "r"), None);
    }

    #[test]
    fn what_is_dropped_is_found_anywhere_in_a_text() {
        let cases = [
            ("DROP TABLE dsqlproxy_temp.r", vec!["r"]),
            (
                "SELECT 1; DROP TABLE IF EXISTS dsqlproxy_temp.r, public.s; DROP VIEW dsqlproxy_temp.v",
                vec!["r", "v"],
            ),
            ("SELECT 'DROP TABLE dsqlproxy_temp.r'", vec![]),
            ("DROP SCHEMA s", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(dropped(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_those_of_the_session_first() {
        let cases = [
            (
                "SELECT x.a FROM x WHERE x.b > 1",
                Some("SELECT x.a FROM dsqlproxy_temp.r x WHERE x.b > 1"),
            ),
            (
                "SELECT * FROM x AS y, pg_temp.x, public.x AS z",
                Some("SELECT * FROM dsqlproxy_temp.r y, dsqlproxy_temp.r x, public.x z"),
            ),
            (
                "INSERT INTO x VALUES (1) RETURNING x.a",
                Some("INSERT INTO dsqlproxy_temp.r AS x VALUES (1) RETURNING x.a"),
            ),
            (
                "UPDATE x SET a = 1; SELECT 1",
                Some("UPDATE dsqlproxy_temp.r x SET a = 1; SELECT 1"),
            ),
            (
                "DELETE FROM x USING t WHERE t.a = x.a",
                Some("DELETE FROM dsqlproxy_temp.r x USING t WHERE t.a = x.a"),
            ),
            ("WITH x AS (SELECT 1) SELECT * FROM x", None),
            (
                "SELECT * FROM x FOR UPDATE OF x",
                Some("SELECT * FROM dsqlproxy_temp.r x FOR UPDATE OF x"),
            ),
            (
                "DROP TABLE IF EXISTS t, x",
                Some("DROP TABLE IF EXISTS t, dsqlproxy_temp.r"),
            ),
            ("TRUNCATE x", Some("TRUNCATE dsqlproxy_temp.r")),
            (
                "COPY x (a) FROM STDIN",
                Some("COPY dsqlproxy_temp.r(a) FROM STDIN"),
            ),
            (
                "COPY (SELECT a FROM x) TO STDOUT",
                Some("COPY (SELECT a FROM dsqlproxy_temp.r x) TO STDOUT"),
            ),
            (
                "CREATE INDEX i ON x (a)",
                Some("CREATE INDEX \"r$i\" ON dsqlproxy_temp.r (a)"),
            ),
            (
                "ALTER TABLE x ADD COLUMN b int",
                Some("ALTER TABLE dsqlproxy_temp.r ADD COLUMN b int"),
            ),
            (
                "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES x (id)",
                Some("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES dsqlproxy_temp.r (id)"),
            ),
            (
                "SET CONSTRAINTS f, g, public.f DEFERRED",
                Some("SET CONSTRAINTS dsqlproxy_temp.f, g, public.f DEFERRED"),
            ),
            ("SET CONSTRAINTS ALL DEFERRED", None),
            ("SELECT 1", None),
            ("selekt x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                translate(text, &[("x", "r")], &["f"]).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
