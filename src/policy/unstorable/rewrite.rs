//! Statements about tables with such columns.

use std::sync::Arc;

use pg_query::protobuf::{
    Alias, ColumnRef, Constraint, CopyStmt, CreateStmt, DeleteStmt, IndexStmt, InsertStmt,
    RangeSubselect, RangeVar, ResTarget, ReturningClause, SelectStmt, SetOperation, UpdateStmt,
    WithClause,
};
use pg_query::{Node, NodeEnum};

use super::tables::{Column, Table, Tables, new_table};
use crate::policy::dialect::{self, build, catalog::OWN_ALIAS};
use crate::sql::tree::{Descent, Mut, Ref, any, walk, walk_mut};
use crate::sql::{Statement, Tree};
use crate::wire::reply::ClientError;

/// Columns that every table has and no sub-select.
const SYSTEM: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// What becomes of a text.
#[derive(Debug, Default)]
pub struct Translated {
    /// What goes on; `None`: the same.
    pub text: Option<String>,
    /// What is known of tables behind it; `None`: the same.
    pub tables: Option<Tables>,
}

/// A client's text with such columns as what they stand for. `path`: the schemas of its search path.
///
/// # Errors
/// The text that would take its place says something else: XX000.
pub fn translate(text: &str, tables: &Tables, path: &[String]) -> Result<Translated, ClientError> {
    let Ok(statements) = Statement::read(text) else {
        return Ok(Translated::default());
    };
    let mut behind: Option<Tables> = None;
    let mut changed = false;
    let mut out: Vec<String> = Vec::new();
    for statement in &statements {
        let own = text.get(statement.span.clone()).unwrap_or_default();
        let mut said = None;
        if let Tree::Node(node) = &statement.tree {
            let tables = behind.as_ref().unwrap_or(tables);
            let mut tree = (**node).clone();
            let mut rewrite = Rewrite::new(tables, path, &tree);
            rewrite.whole(&mut tree);
            if let Some(refusal) = rewrite.refusal {
                return Err(refusal);
            }
            if rewrite.changed {
                let text = dialect::text(&tree, statement.asynchronous);
                said = Some(text.map_err(|error| dialect::unprintable(&error))?);
            }
            behind = tables.after(node, path).or(behind);
        }
        changed |= said.is_some();
        out.push(said.unwrap_or_else(|| own.to_owned()));
    }
    Ok(Translated {
        text: changed.then(|| out.join("; ")),
        tables: behind,
    })
}

struct Rewrite<'t> {
    tables: &'t Tables,
    path: &'t [String],
    /// WITH queries in scope.
    ctes: Vec<String>,
    /// System columns that the statement names.
    system: Vec<String>,
    /// Schemas and names of relations that became sub-selects.
    wrapped: Vec<(String, String)>,
    changed: bool,
    refusal: Option<ClientError>,
}

/// The table that a statement changes.
struct Target {
    table: Arc<Table>,
    /// What its columns are qualified with.
    names: Vec<String>,
}

impl<'t> Rewrite<'t> {
    fn new(tables: &'t Tables, path: &'t [String], tree: &NodeEnum) -> Self {
        let (mut system, mut stars) = (Vec::new(), false);
        walk(Ref::of(tree), &mut |node| {
            if let Ref::ColumnRef(column) = node {
                match column.fields.last().and_then(|field| field.node.as_ref()) {
                    Some(NodeEnum::AStar(_)) => stars = true,
                    Some(NodeEnum::String(name))
                        if SYSTEM.contains(&name.sval.as_str()) && !system.contains(&name.sval) =>
                    {
                        system.push(name.sval.clone());
                    }
                    _ => {}
                }
            }
            Descent::Into
        });
        if stars {
            system.clear();
        }
        Self {
            tables,
            path,
            ctes: Vec::new(),
            system,
            wrapped: Vec::new(),
            changed: false,
            refusal: None,
        }
    }

    fn whole(&mut self, tree: &mut NodeEnum) {
        match tree {
            NodeEnum::CreateStmt(create) => self.create(create),
            NodeEnum::IndexStmt(index) => self.index(index),
            NodeEnum::AlterTableStmt(alter) => {
                if let Some(target) = alter.relation.as_ref().and_then(|name| self.target(name)) {
                    self.alter(&mut alter.cmds, &target);
                }
            }
            NodeEnum::CopyStmt(copy) if copy.relation.is_some() => self.copy(copy),
            _ => self.visit(Mut::of(tree)),
        }
        self.unqualify(tree);
    }

    /// Everything below a node.
    fn visit(&mut self, node: Mut<'_>) {
        walk_mut(node, &mut |node| self.node(node));
    }

    fn node(&mut self, node: &mut Mut<'_>) -> Descent {
        let with = match node {
            Mut::SelectStmt(select) => select.with_clause.take(),
            Mut::InsertStmt(insert) => insert.with_clause.take(),
            Mut::UpdateStmt(update) => update.with_clause.take(),
            Mut::DeleteStmt(delete) => delete.with_clause.take(),
            _ => return Descent::Into,
        };
        let depth = self.ctes.len();
        let with = with.map(|with| self.with(with));
        match node {
            Mut::SelectStmt(select) => {
                self.select(select);
                self.inside(Mut::SelectStmt(select));
                select.with_clause = with;
            }
            Mut::InsertStmt(insert) => {
                self.insert(insert);
                self.inside(Mut::InsertStmt(insert));
                insert.with_clause = with;
            }
            Mut::UpdateStmt(update) => {
                self.update(update);
                self.inside(Mut::UpdateStmt(update));
                update.with_clause = with;
            }
            Mut::DeleteStmt(delete) => {
                self.delete(delete);
                self.inside(Mut::DeleteStmt(delete));
                delete.with_clause = with;
            }
            _ => {}
        }
        self.ctes.truncate(depth);
        Descent::Over
    }

    /// Everything below a node but the node itself.
    fn inside(&mut self, node: Mut<'_>) {
        node.children(&mut |child| self.visit(child));
    }

    /// The queries of a WITH, whose names are in scope from here on.
    fn with(&mut self, mut with: WithClause) -> WithClause {
        let recursive = with.recursive;
        let names: Vec<String> = with
            .ctes
            .iter()
            .filter_map(|node| match &node.node {
                Some(NodeEnum::CommonTableExpr(cte)) => Some(cte.ctename.clone()),
                _ => None,
            })
            .collect();
        if recursive {
            self.ctes.extend(names.iter().cloned());
        }
        for (cte, name) in with.ctes.iter_mut().zip(names) {
            if let Some(node) = &mut cte.node {
                self.visit(Mut::of(node));
            }
            if !recursive {
                self.ctes.push(name);
            }
        }
        with
    }

    /// The table that a name means, if it has such columns.
    fn find(&self, name: &RangeVar) -> Option<Arc<Table>> {
        let own = name.alias.as_ref().map_or("", |alias| &alias.aliasname);
        let cte = name.schemaname.is_empty() && self.ctes.contains(&name.relname);
        if cte || own.starts_with(OWN_ALIAS) {
            return None;
        }
        self.tables.find(name, self.path).map(Arc::clone)
    }

    fn target(&self, name: &RangeVar) -> Option<Target> {
        // A change is of a table, whatever WITH says.
        let table = Arc::clone(self.tables.find(name, self.path)?);
        let alias = name.alias.as_ref().map(|alias| alias.aliasname.clone());
        Some(Target {
            table,
            names: vec![alias.unwrap_or_else(|| name.relname.clone())],
        })
    }

    // ---- reading ---------------------------------------------------------------------------

    fn select(&mut self, select: &mut SelectStmt) {
        let mut found = Vec::new();
        for item in &mut select.from_clause {
            self.relation(item, &mut found);
        }
        if select.group_clause.is_empty() {
            return;
        }
        // The key of a table determines its columns, that of a sub-select does not.
        for (alias, table) in found {
            if grouped_by_key(&select.group_clause, &alias, &table) {
                let others = table
                    .columns
                    .iter()
                    .filter(|column| column.groups && !table.key.contains(&column.name));
                let others = others.map(|column| column_of(&alias, &column.name));
                select.group_clause.extend(others);
            }
        }
    }

    fn relation(&mut self, item: &mut Node, found: &mut Vec<(String, Arc<Table>)>) {
        match &mut item.node {
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
                    self.relation(side, found);
                }
            }
            Some(NodeEnum::RangeVar(name)) => {
                let Some(table) = self.find(name) else { return };
                let alias = name.alias.clone().unwrap_or_else(|| Alias {
                    aliasname: name.relname.clone(),
                    colnames: Vec::new(),
                });
                if name.alias.is_none() {
                    self.wrapped
                        .push((table.schema.clone(), name.relname.clone()));
                }
                if alias.colnames.is_empty() {
                    found.push((alias.aliasname.clone(), Arc::clone(&table)));
                }
                *item = self.sub_select(name, &table, alias);
                self.changed = true;
            }
            _ => {}
        }
    }

    fn sub_select(&self, name: &RangeVar, table: &Table, alias: Alias) -> Node {
        let mut query = self.query_of(name, table);
        let own = own_alias();
        let system = self.system.iter();
        query
            .target_list
            .extend(system.map(|name| target(column_of(&own, name), "")));
        build::node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
            lateral: false,
            subquery: Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(query))))),
            alias: Some(alias),
        })))
    }

    /// All columns of a table, as what they stand for.
    fn query_of(&self, name: &RangeVar, table: &Table) -> SelectStmt {
        let mut from = name.clone();
        from.alias = Some(Alias {
            aliasname: own_alias(),
            colnames: Vec::new(),
        });
        SelectStmt {
            target_list: table.columns.iter().map(seen_column).collect(),
            from_clause: vec![build::node(NodeEnum::RangeVar(from))],
            limit_option: pg_query::protobuf::LimitOption::Default as i32,
            op: SetOperation::SetopNone as i32,
            ..SelectStmt::default()
        }
    }

    /// `schema.table.column`: a sub-select has no schema.
    fn unqualify(&mut self, tree: &mut NodeEnum) {
        let wrapped = std::mem::take(&mut self.wrapped);
        if wrapped.is_empty() {
            return;
        }
        walk_mut(Mut::of(tree), &mut |node| {
            if let Mut::ColumnRef(column) = node
                && column.fields.len() == 3
                && let [schema, table, ..] = build::strings(&column.fields).as_slice()
                && wrapped
                    .iter()
                    .any(|(of, name)| of == schema && name == table)
            {
                column.fields.remove(0);
            }
            Descent::Into
        });
    }

    /// COPY TO gives values as their types write them.
    fn copy(&mut self, copy: &mut CopyStmt) {
        let Some(target) = copy.relation.as_ref().and_then(|name| self.target(name)) else {
            return;
        };
        let Some(name) = copy.relation.clone().filter(|_| !copy.is_from) else {
            return;
        };
        let mut query = self.query_of(&name, &target.table);
        let wanted = build::strings(&copy.attlist);
        if !wanted.is_empty() {
            let known = |wanted: &&str| target.table.column(wanted).is_some();
            if !wanted.iter().all(known) {
                return;
            }
            let columns = wanted
                .into_iter()
                .filter_map(|name| target.table.column(name))
                .map(seen_column);
            query.target_list = columns.collect();
        }
        copy.query = Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(query)))));
        copy.relation = None;
        copy.attlist.clear();
        self.changed = true;
    }

    // ---- changing --------------------------------------------------------------------------

    fn insert(&mut self, insert: &mut InsertStmt) {
        let Some(mut target) = insert.relation.as_ref().and_then(|name| self.target(name)) else {
            return;
        };
        let names: Vec<Option<String>> = match insert.cols.as_slice() {
            [] => {
                let columns = target.table.columns.iter();
                columns.map(|column| Some(column.name.clone())).collect()
            }
            columns => columns.iter().map(whole_column).collect(),
        };
        if let Some(NodeEnum::SelectStmt(select)) = insert
            .select_stmt
            .as_mut()
            .and_then(|node| node.node.as_mut())
        {
            self.rows(select, &names, &target);
        }
        target.names.push("excluded".to_owned());
        if let Some(conflict) = &mut insert.on_conflict_clause {
            self.assignments(&mut conflict.target_list, &target);
            self.condition(&mut conflict.where_clause, &target);
        }
        target.names.pop();
        self.returning(&mut insert.returning_clause, &target, &[]);
    }

    /// The rows of an INSERT.
    fn rows(&mut self, select: &mut SelectStmt, names: &[Option<String>], target: &Target) {
        let stands = |at: usize| {
            let name = names.get(at)?.as_ref()?;
            target.table.stand_in(name)
        };
        for row in &mut select.values_lists {
            let Some(NodeEnum::List(row)) = &mut row.node else {
                continue;
            };
            for (at, value) in row.items.iter_mut().enumerate() {
                if let Some(stands) = stands(at)
                    && !is_default(value)
                {
                    *value = stands.written(std::mem::take(value));
                    self.changed = true;
                }
            }
        }
        // What has a type already becomes text by itself.
        for (at, value) in select.target_list.iter_mut().enumerate() {
            let Some(NodeEnum::ResTarget(given)) = &mut value.node else {
                continue;
            };
            if is_star(given) {
                return;
            }
            if let (Some(stands), Some(value)) = (stands(at), &mut given.val)
                && matches!(
                    value.node,
                    Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::AArrayExpr(_))
                )
            {
                **value = stands.written(std::mem::take(&mut **value));
                self.changed = true;
            }
        }
    }

    /// FROM of an UPDATE, USING of a DELETE: gives its names.
    fn others(&mut self, items: &mut [Node]) -> Vec<String> {
        let names = aliases(items);
        let mut found = Vec::new();
        for item in items {
            self.relation(item, &mut found);
        }
        names
    }

    fn update(&mut self, update: &mut UpdateStmt) {
        let others = self.others(&mut update.from_clause);
        let Some(target) = update.relation.as_ref().and_then(|name| self.target(name)) else {
            return;
        };
        self.assignments(&mut update.target_list, &target);
        self.condition(&mut update.where_clause, &target);
        self.returning(&mut update.returning_clause, &target, &others);
    }

    fn delete(&mut self, delete: &mut DeleteStmt) {
        let others = self.others(&mut delete.using_clause);
        let Some(target) = delete.relation.as_ref().and_then(|name| self.target(name)) else {
            return;
        };
        self.condition(&mut delete.where_clause, &target);
        self.returning(&mut delete.returning_clause, &target, &others);
    }

    /// SET.
    fn assignments(&mut self, list: &mut [Node], target: &Target) {
        for node in list {
            let stands = whole_column(node).and_then(|name| target.table.stand_in(&name).cloned());
            let Some(NodeEnum::ResTarget(given)) = &mut node.node else {
                continue;
            };
            if !given.indirection.is_empty() && target.table.stand_in(&given.name).is_some() {
                self.refusal = Some(part_of(&given.name));
            }
            let Some(value) = &mut given.val else {
                continue;
            };
            self.expression(value, target);
            let several = matches!(value.node, Some(NodeEnum::MultiAssignRef(_)));
            if let Some(stands) = stands.filter(|_| !several && !is_default(value)) {
                **value = stands.written(std::mem::take(&mut **value));
                self.changed = true;
            }
        }
    }

    fn condition(&mut self, condition: &mut Option<Box<Node>>, target: &Target) {
        if let Some(condition) = condition {
            self.expression(condition, target);
        }
    }

    fn returning(
        &mut self,
        returning: &mut Option<ReturningClause>,
        target: &Target,
        others: &[String],
    ) {
        let Some(returning) = returning else { return };
        let name = &target.names[0];
        let mut exprs = Vec::with_capacity(returning.exprs.len());
        for mut node in std::mem::take(&mut returning.exprs) {
            let all_of = match &node.node {
                Some(NodeEnum::ResTarget(given)) => star_of(given),
                _ => None,
            };
            match all_of.as_deref() {
                Some(of) if of.is_empty() || of == name => {
                    for column in &target.table.columns {
                        let value = column_of(name, &column.name);
                        exprs.push(match &column.stands_for {
                            None => self::target(value, ""),
                            Some(stands) => self::target(stands.seen(value), &column.name),
                        });
                    }
                    if of.is_empty() {
                        exprs.extend(others.iter().map(|other| star(other)));
                    }
                    self.changed = true;
                }
                Some(_) => exprs.push(node),
                None => {
                    if let Some(NodeEnum::ResTarget(given)) = &mut node.node
                        && let Some(value) = &mut given.val
                    {
                        self.expression(value, target);
                    }
                    exprs.push(node);
                }
            }
        }
        returning.exprs = exprs;
    }

    /// The target's columns in an expression of its statement.
    fn expression(&mut self, node: &mut Node, target: &Target) {
        self.references(node, target, &target.names, true);
    }

    fn references(&mut self, node: &mut Node, target: &Target, names: &[String], plain: bool) {
        match &mut node.node {
            Some(NodeEnum::ColumnRef(column)) => {
                let fields = build::strings(&column.fields);
                let name = match fields.as_slice() {
                    [name] if plain && column.fields.len() == 1 => *name,
                    [table, name] if names.iter().any(|known| known == table) => *name,
                    [schema, table, name]
                        if *schema == target.table.schema
                            && names.iter().any(|known| known == table) =>
                    {
                        *name
                    }
                    _ => return,
                };
                let Some(stands) = target.table.stand_in(name) else {
                    return;
                };
                *node = stands.seen(std::mem::take(node));
                self.changed = true;
            }
            Some(NodeEnum::SubLink(link)) => {
                if let Some(test) = &mut link.testexpr {
                    self.references(test, target, names, plain);
                }
                if let Some(query) = &mut link.subselect {
                    // What the query itself calls so is not the target.
                    let inner = names_in(query);
                    let names: Vec<String> = names
                        .iter()
                        .filter(|name| !inner.contains(name))
                        .cloned()
                        .collect();
                    if let Some(query) = &mut query.node {
                        let mut visit = |node: &mut Mut<'_>| match node {
                            Mut::Slot(slot)
                                if matches!(slot.node, Some(NodeEnum::ColumnRef(_))) =>
                            {
                                self.references(slot, target, &names, false);
                                Descent::Over
                            }
                            _ => Descent::Into,
                        };
                        walk_mut(Mut::of(query), &mut visit);
                    }
                }
            }
            Some(inner) => {
                Mut::of(inner).children(&mut |child| {
                    walk_mut(child, &mut |node| match node {
                        Mut::Slot(slot) => {
                            self.references(slot, target, names, plain);
                            Descent::Over
                        }
                        _ => Descent::Into,
                    });
                });
            }
            None => {}
        }
    }

    // ---- tables ----------------------------------------------------------------------------

    /// CHECK and GENERATED of a new table.
    fn create(&mut self, create: &mut CreateStmt) {
        let Some(table) = new_table(create, self.path).filter(Table::stands_in) else {
            return;
        };
        let target = Target {
            names: vec![table.name.clone()],
            table: Arc::new(table),
        };
        for element in create.table_elts.iter_mut().chain(&mut create.constraints) {
            match &mut element.node {
                Some(NodeEnum::ColumnDef(column)) => {
                    for node in &mut column.constraints {
                        if let Some(NodeEnum::Constraint(constraint)) = &mut node.node {
                            self.constraint(constraint, &target);
                        }
                    }
                }
                Some(NodeEnum::Constraint(constraint)) => self.constraint(constraint, &target),
                _ => {}
            }
        }
    }

    /// An expression of a constraint; DEFAULT has no columns.
    fn constraint(&mut self, constraint: &mut Constraint, target: &Target) {
        self.condition(&mut constraint.raw_expr, target);
    }

    fn alter(&mut self, commands: &mut [Node], target: &Target) {
        use pg_query::protobuf::AlterTableType as Type;
        for node in commands {
            let Some(NodeEnum::AlterTableCmd(command)) = &mut node.node else {
                continue;
            };
            let kind = command.subtype();
            let stands = target.table.stand_in(&command.name);
            match command.def.as_deref_mut() {
                Some(value) if kind == Type::AtColumnDefault => {
                    if let Some(stands) = stands {
                        *value = stands.written(std::mem::take(value));
                        self.changed = true;
                    }
                }
                Some(Node {
                    node: Some(NodeEnum::Constraint(constraint)),
                }) => self.constraint(constraint, target),
                Some(Node {
                    node: Some(NodeEnum::ColumnDef(column)),
                }) if kind == Type::AtAlterColumnType => {
                    self.condition(&mut column.raw_default, target);
                }
                _ => {}
            }
        }
    }

    fn index(&mut self, index: &mut IndexStmt) {
        let Some(target) = index.relation.as_ref().and_then(|name| self.target(name)) else {
            return;
        };
        for node in &mut index.index_params {
            if let Some(NodeEnum::IndexElem(key)) = &mut node.node {
                self.condition(&mut key.expr, &target);
            }
        }
        self.condition(&mut index.where_clause, &target);
    }
}

fn own_alias() -> String {
    format!("{OWN_ALIAS}t")
}

/// A column of the table in a sub-select.
fn seen_column(column: &Column) -> Node {
    let value = column_of(&own_alias(), &column.name);
    match &column.stands_for {
        None => target(value, ""),
        Some(stands) => target(stands.seen(value), &column.name),
    }
}

fn column_of(table: &str, name: &str) -> Node {
    build::node(NodeEnum::ColumnRef(ColumnRef {
        fields: vec![build::string(table), build::string(name)],
        location: 0,
    }))
}

fn star(table: &str) -> Node {
    let fields = vec![
        build::string(table),
        build::node(NodeEnum::AStar(pg_query::protobuf::AStar {})),
    ];
    let value = build::node(NodeEnum::ColumnRef(ColumnRef {
        fields,
        location: 0,
    }));
    target(value, "")
}

fn target(value: Node, name: &str) -> Node {
    build::node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: name.to_owned(),
        indirection: Vec::new(),
        val: Some(Box::new(value)),
        location: 0,
    })))
}

/// The column that a target means, unless only a part of it.
fn whole_column(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ResTarget(given)) if given.indirection.is_empty() => {
            Some(given.name.clone())
        }
        _ => None,
    }
}

/// The server would say that text has no elements.
fn part_of(column: &str) -> ClientError {
    ClientError::error(
        crate::wire::sqlstate::FEATURE_NOT_SUPPORTED,
        format!("an element of column \"{column}\" cannot be changed by itself on Aurora DSQL"),
    )
    .hint("SET the whole column, which is kept as text.")
}

fn is_default(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::SetToDefault(_)))
}

fn is_star(given: &ResTarget) -> bool {
    star_of(given).is_some()
}

/// What stands before `*`.
fn star_of(given: &ResTarget) -> Option<String> {
    let value = given.val.as_ref()?.node.as_ref()?;
    let NodeEnum::ColumnRef(column) = value else {
        return None;
    };
    match column.fields.last()?.node.as_ref()? {
        NodeEnum::AStar(_) => Some(build::last(&column.fields).to_owned()),
        _ => None,
    }
}

/// Names of the relations of a FROM.
fn aliases(items: &[Node]) -> Vec<String> {
    let mut found = Vec::new();
    for item in items {
        match &item.node {
            Some(NodeEnum::RangeVar(name)) => {
                let alias = name.alias.as_ref().map(|alias| &alias.aliasname);
                found.push(alias.unwrap_or(&name.relname).clone());
            }
            Some(NodeEnum::RangeSubselect(query)) => {
                found.extend(query.alias.as_ref().map(|alias| alias.aliasname.clone()));
            }
            Some(NodeEnum::RangeFunction(call)) => {
                found.extend(call.alias.as_ref().map(|alias| alias.aliasname.clone()));
            }
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    found.extend(aliases(std::slice::from_ref(side)));
                }
            }
            _ => {}
        }
    }
    found
}

/// Names of all relations in a query.
fn names_in(query: &Node) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(node) = &query.node {
        any(node, &mut |node| {
            match node {
                Ref::RangeVar(name) => {
                    let alias = name.alias.as_ref().map(|alias| &alias.aliasname);
                    found.push(alias.unwrap_or(&name.relname).clone());
                }
                Ref::Alias(alias) => found.push(alias.aliasname.clone()),
                _ => {}
            }
            false
        });
    }
    found
}

/// GROUP BY names the whole primary key.
fn grouped_by_key(groups: &[Node], alias: &str, table: &Table) -> bool {
    let names = |column: &str| {
        groups.iter().any(|group| match &group.node {
            Some(NodeEnum::ColumnRef(found)) => match build::strings(&found.fields).as_slice() {
                [name] => *name == column,
                [.., of, name] => *of == alias && *name == column,
                [] => false,
            },
            _ => false,
        })
    };
    !table.key.is_empty() && table.key.iter().all(|column| names(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        let row = |values: [&str; 6]| values.iter().map(|v| Some((*v).to_owned())).collect();
        Tables::read(&[
            row(["public", "t", "id", "int4", "n", "y"]),
            row(["public", "t", "ip", "inet", "y", "n"]),
            row(["public", "t", "tags", "character varying(9)[]", "y", "n"]),
        ])
    }

    fn said(text: &str) -> String {
        let path = vec!["public".to_owned()];
        let translated = translate(text, &tables(), &path).unwrap();
        translated.text.unwrap_or_else(|| "=".to_owned())
    }

    #[test]
    fn columns_are_what_they_stand_for() {
        const T: &str = "(SELECT dsqlproxy_t.id, dsqlproxy_t.ip::inet AS ip, dsqlproxy_t.tags::varchar(9)[] AS tags FROM t dsqlproxy_t)";
        let cases = [
            ("SELECT 1", "=".to_owned()),
            ("SELECT * FROM u", "=".to_owned()),
            ("SELECT * FROM t", format!("SELECT * FROM {T} t")),
            (
                "SELECT a.ip, b FROM u JOIN t a ON a.id = u.id WHERE a.ip << '10.0.0.0/8' FOR UPDATE OF a",
                format!("SELECT a.ip, b FROM u JOIN {T} a ON a.id = u.id WHERE a.ip << '10.0.0.0/8' FOR UPDATE OF a"),
            ),
            ("WITH t AS (SELECT 1) SELECT * FROM t", "=".to_owned()),
            (
                "WITH t AS (SELECT * FROM t) SELECT * FROM t",
                format!("WITH t AS (SELECT * FROM {T} t) SELECT * FROM t"),
            ),
            (
                "SELECT public.t.ip FROM public.t WHERE EXISTS (SELECT 1 FROM t x)",
                format!(
                    "SELECT t.ip FROM {} t WHERE EXISTS (SELECT 1 FROM {T} x)",
                    T.replace("FROM t", "FROM public.t")
                ),
            ),
            (
                "SELECT t.*, count(*) FROM t GROUP BY t.id",
                format!("SELECT t.*, count(*) FROM {T} t GROUP BY t.id, t.ip, t.tags"),
            ),
            (
                "INSERT INTO t VALUES (1, $1, DEFAULT), (2, '::1', ARRAY['a'])",
                "INSERT INTO t VALUES (1, $1::inet, DEFAULT), (2, '::1'::inet, ARRAY['a']::varchar[])".to_owned(),
            ),
            (
                "INSERT INTO t (tags, id) SELECT '{}', 1 RETURNING *",
                "INSERT INTO t (tags, id) SELECT '{}'::varchar[], 1 RETURNING t.id, t.ip::inet AS ip, t.tags::varchar(9)[] AS tags".to_owned(),
            ),
            (
                "INSERT INTO t (id, ip) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET ip = EXCLUDED.ip WHERE t.ip <> EXCLUDED.ip RETURNING ip",
                "INSERT INTO t (id, ip) VALUES (1, $1::inet) ON CONFLICT (id) DO UPDATE SET ip = excluded.ip::inet::inet WHERE t.ip::inet <> excluded.ip::inet RETURNING ip::inet".to_owned(),
            ),
            (
                "UPDATE t SET ip = $1, id = 2 WHERE ip << $2 AND id IN (SELECT id FROM u WHERE u.ip = t.ip)",
                "UPDATE t SET ip = $1::inet, id = 2 WHERE ip::inet << $2 AND id IN (SELECT id FROM u WHERE u.ip = t.ip::inet)".to_owned(),
            ),
            (
                "UPDATE t a SET tags = tags || $1 FROM t b WHERE a.id = b.id AND a.ip = b.ip RETURNING *",
                format!("UPDATE t a SET tags = (tags::varchar(9)[] || $1)::varchar[] FROM {T} b WHERE a.id = b.id AND a.ip::inet = b.ip RETURNING a.id, a.ip::inet AS ip, a.tags::varchar(9)[] AS tags, b.*"),
            ),
            (
                "DELETE FROM t WHERE 'x' = ANY (tags)",
                "DELETE FROM t WHERE 'x' = ANY(tags::varchar(9)[])".to_owned(),
            ),
            (
                "CREATE INDEX i ON t (ip, (tags[1])) WHERE ip IS NOT NULL",
                "CREATE INDEX i ON t (ip, ((tags::varchar(9)[])[1])) WHERE ip::inet IS NOT NULL".to_owned(),
            ),
            (
                "CREATE TABLE n (a int[] CHECK (array_length(a, 1) < 3), b int)",
                "CREATE TABLE n (a int[] CHECK (array_length(a::int[], 1) < 3), b int)".to_owned(),
            ),
            (
                "CREATE TABLE n (a int[]); INSERT INTO n VALUES ('{1}')",
                "CREATE TABLE n (a int[]); INSERT INTO n VALUES ('{1}'::int[])".to_owned(),
            ),
            (
                "ALTER TABLE t DROP COLUMN ip; UPDATE t SET ip = 1",
                "=".to_owned(),
            ),
            (
                "COPY t TO STDOUT",
                "COPY (SELECT dsqlproxy_t.id, dsqlproxy_t.ip::inet AS ip, dsqlproxy_t.tags::varchar(9)[] AS tags FROM t dsqlproxy_t) TO STDOUT".to_owned(),
            ),
            (
                "COPY t (ip, id) TO STDOUT (FORMAT csv)",
                "COPY (SELECT dsqlproxy_t.ip::inet AS ip, dsqlproxy_t.id FROM t dsqlproxy_t) TO STDOUT CSV".to_owned(),
            ),
            ("COPY t FROM STDIN", "=".to_owned()),
            (
                "CREATE VIEW v AS SELECT ip FROM t",
                format!("CREATE VIEW v AS SELECT ip FROM {T} t"),
            ),
        ];
        for (text, expected) in cases {
            let found = said(text);
            assert_eq!(found, expected, "{text}");
        }
    }
}
