//! Statements about tables with such columns.

use std::sync::Arc;

use pg_query::protobuf::{
    Alias, ColumnRef, Constraint, CopyStmt, CreateStmt, DeleteStmt, IndexStmt, InferClause,
    InsertStmt, MultiAssignRef, ObjectType, RangeFunction, RangeSubselect, RangeVar, ResTarget,
    ReturningClause, SelectStmt, SetOperation, UpdateStmt, WithClause,
};
use pg_query::{Node, NodeEnum};

use super::tables::{Column, Table, Tables, new_table};
use super::{Search, StandIn};
use crate::policy::dialect::{self, build, catalog::OWN_ALIAS, column as columns};
use crate::sql::tree::{Descent, Mut, Ref, walk, walk_mut};
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

/// A client's text with such columns as what they stand for. `search`: where it looks for names.
///
/// # Errors
/// The text that would take its place says something else: XX000. What a name means is not known, or would not
/// be said by what takes its place: 0A000.
pub fn translate(text: &str, tables: &Tables, search: &Search) -> Result<Translated, ClientError> {
    let Ok(statements) = Statement::read(text) else {
        return Ok(Translated::default());
    };
    let mut behind: Option<Tables> = None;
    let mut changed = false;
    let mut out: Vec<String> = Vec::new();
    let mut here = search.clone();
    for statement in &statements {
        let own = text.get(statement.span.clone()).unwrap_or_default();
        let mut said = None;
        if let Tree::Node(node) = &statement.tree {
            let tables = behind.as_ref().unwrap_or(tables);
            let mut tree = (**node).clone();
            let mut rewrite = Rewrite::new(tables, &here, &tree);
            rewrite.name_domains(&mut tree);
            let named = tree.clone();
            rewrite.whole(&mut tree);
            if let Some(refusal) = rewrite.refusal {
                return Err(refusal);
            }
            if rewrite.changed {
                let text = dialect::text(&tree, statement.asynchronous);
                said = Some(text.map_err(|error| dialect::unprintable(&error))?);
            }
            behind = tables.after(&named, here.or_home()).or(behind);
            here = here.behind(node, search).unwrap_or(here);
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
    search: &'t Search,
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
    fn new(tables: &'t Tables, search: &'t Search, tree: &NodeEnum) -> Self {
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
            search,
            ctes: Vec::new(),
            system,
            wrapped: Vec::new(),
            changed: false,
            refusal: None,
        }
    }

    /// Gives columns of composite types the domains that stand for these.
    fn name_domains(&mut self, tree: &mut NodeEnum) {
        let path = self.search.path.as_deref();
        let (tables, mut refusal, mut changed) = (self.tables, None, false);
        columns::each(tree, &mut |column| {
            let Some(kind) = &mut column.type_name else {
                return;
            };
            if kind.setof || kind.pct_type || !kind.typmods.is_empty() {
                return;
            }
            let names = build::strings(&kind.names);
            let schema = match tables.composite(&names, path) {
                Ok(Some(schema)) => schema,
                Ok(None) => return,
                Err(_) => {
                    refusal = Some(no_path(build::last(&kind.names)));
                    return;
                }
            };
            let name = build::last(&kind.names);
            let array = !kind.array_bounds.is_empty();
            let stands = super::record::spelling(schema, name, array);
            match stands.as_deref().and_then(StandIn::named) {
                Some(stands) => {
                    *kind = stands.domain();
                    changed = true;
                }
                None => refusal = Some(long_name(name)),
            }
        });
        self.changed |= changed;
        self.refusal = refusal.or(self.refusal.take());
    }

    fn whole(&mut self, tree: &mut NodeEnum) {
        match tree {
            NodeEnum::CreateStmt(create) => self.create(create),
            NodeEnum::IndexStmt(index) => self.index(index),
            // Of a type's view there is nothing to say.
            NodeEnum::AlterTableStmt(alter) if alter.objtype() == ObjectType::ObjectType => {}
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
    fn find(&mut self, name: &RangeVar) -> Option<Arc<Table>> {
        let own = name.alias.as_ref().map_or("", |alias| &alias.aliasname);
        let cte = name.schemaname.is_empty() && self.ctes.contains(&name.relname);
        if cte || own.starts_with(OWN_ALIAS) {
            return None;
        }
        self.looked_up(name)
    }

    fn looked_up(&mut self, name: &RangeVar) -> Option<Arc<Table>> {
        let found = match &self.search.path {
            Some(path) => Ok(self.tables.find(name, path)),
            None => self.tables.find_anywhere(name),
        };
        match found {
            Ok(found) => found.map(Arc::clone),
            Err(_) => {
                self.refusal = Some(no_path(&name.relname));
                None
            }
        }
    }

    /// Refuses what is a composite type and no relation, as far as that is known.
    fn refuse_type(&mut self, name: &RangeVar) {
        let cte = name.schemaname.is_empty() && self.ctes.contains(&name.relname);
        // In a schema further back in the path it may be hidden by a table.
        let schema = match (name.schemaname.as_str(), self.search.path.as_deref()) {
            ("", Some([first, ..])) => first,
            ("", _) => return,
            (schema, _) => schema,
        };
        let names = [schema, &name.relname];
        if !cte && matches!(self.tables.composite(&names, None), Ok(Some(_))) {
            self.refusal = Some(not_a_relation(name));
        }
    }

    fn target(&mut self, name: &RangeVar) -> Option<Target> {
        // A change is of a table, whatever WITH says.
        let Some(table) = self.looked_up(name) else {
            self.refuse_type(name);
            return None;
        };
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
                let Some(table) = self.find(name) else {
                    self.refuse_type(name);
                    return;
                };
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
            if let Some(infer) = &mut conflict.infer {
                self.inferred(infer, &target);
            }
            self.assignments(&mut conflict.target_list, &target);
            self.condition(&mut conflict.where_clause, &target);
        }
        target.names.pop();
        self.returning(&mut insert.returning_clause, &target, Some(&[]));
    }

    /// What an index of ON CONFLICT is over, as `Self::index` has made it.
    fn inferred(&mut self, infer: &mut InferClause, target: &Target) {
        for node in &mut infer.index_elems {
            if let Some(NodeEnum::IndexElem(key)) = &mut node.node {
                self.condition(&mut key.expr, target);
            }
        }
        self.condition(&mut infer.where_clause, target);
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
                && (stands.is_record()
                    || matches!(
                        value.node,
                        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::AArrayExpr(_))
                    ))
            {
                **value = stands.written(std::mem::take(&mut **value));
                self.changed = true;
            }
        }
    }

    /// FROM of an UPDATE, USING of a DELETE: gives what `*` stands for there.
    fn others(&mut self, items: &mut [Node]) -> Option<Vec<String>> {
        let stars = stars(items);
        let mut found = Vec::new();
        for item in items {
            self.relation(item, &mut found);
        }
        stars
    }

    fn update(&mut self, update: &mut UpdateStmt) {
        let others = self.others(&mut update.from_clause);
        let Some(target) = update.relation.as_ref().and_then(|name| self.target(name)) else {
            return;
        };
        self.assignments(&mut update.target_list, &target);
        self.condition(&mut update.where_clause, &target);
        self.returning(&mut update.returning_clause, &target, others.as_deref());
    }

    fn delete(&mut self, delete: &mut DeleteStmt) {
        let others = self.others(&mut delete.using_clause);
        let Some(target) = delete.relation.as_ref().and_then(|name| self.target(name)) else {
            return;
        };
        self.condition(&mut delete.where_clause, &target);
        self.returning(&mut delete.returning_clause, &target, others.as_deref());
    }

    /// SET.
    fn assignments(&mut self, list: &mut [Node], target: &Target) {
        let names: Vec<Option<String>> = list.iter().map(whole_column).collect();
        for (at, node) in list.iter_mut().enumerate() {
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
            if let Some(NodeEnum::MultiAssignRef(part)) = &mut value.node {
                self.several(part, names.get(at.saturating_sub(first_of(part))..), target);
                continue;
            }
            if let Some(stands) = stands.filter(|_| !is_default(value)) {
                **value = stands.written(std::mem::take(&mut **value));
                self.changed = true;
            }
        }
    }

    /// `(a, b) = (1, 2)`: each of the columns has all of the values. `names`: these columns, and those behind.
    fn several(
        &mut self,
        part: &mut MultiAssignRef,
        names: Option<&[Option<String>]>,
        target: &Target,
    ) {
        let source = part.source.as_mut().and_then(|source| source.node.as_mut());
        let Some(NodeEnum::RowExpr(row)) = source else {
            return;
        };
        for (value, name) in row.args.iter_mut().zip(names.unwrap_or_default()) {
            let stands = name.as_ref().and_then(|name| target.table.stand_in(name));
            if let Some(stands) = stands.filter(|_| !is_default(value)) {
                *value = stands.written(std::mem::take(value));
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
        others: Option<&[String]>,
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
                    match others {
                        Some(others) if of.is_empty() => {
                            exprs.extend(others.iter().map(|other| star(other)));
                        }
                        None if of.is_empty() => self.refusal = Some(no_star()),
                        _ => {}
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
        if target.table.is_seen(node) {
            return;
        }
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
                if let Some(query) = link
                    .subselect
                    .as_mut()
                    .and_then(|query| query.node.as_mut())
                {
                    self.below(Mut::of(query), target, names, &mut Vec::new());
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

    /// The target's columns in a sub-select. `levels`: what the queries around read from.
    fn below(
        &mut self,
        node: Mut<'_>,
        target: &Target,
        names: &[String],
        levels: &mut Vec<Vec<Source>>,
    ) {
        walk_mut(node, &mut |node| match node {
            Mut::SelectStmt(select) => {
                // What the query itself calls so is not the target.
                let own = aliases(&select.from_clause);
                let names: Vec<String> = names
                    .iter()
                    .filter(|name| !own.contains(name))
                    .cloned()
                    .collect();
                let queries = select.with_clause.iter().flat_map(|with| &with.ctes);
                let queries: Vec<String> = queries.filter_map(name_of_query).collect();
                levels.push(self.sources(&select.from_clause, &queries));
                Mut::SelectStmt(select)
                    .children(&mut |child| self.below(child, target, &names, levels));
                levels.pop();
                Descent::Over
            }
            Mut::Slot(slot) if matches!(slot.node, Some(NodeEnum::ColumnRef(_))) => {
                let plain = self.is_of_target(slot, target, levels);
                self.references(slot, target, names, plain);
                Descent::Over
            }
            _ => Descent::Into,
        });
    }

    /// Whether a name without a table is a column of the target that is kept as text, and of nothing nearer.
    fn is_of_target(&mut self, node: &Node, target: &Target, levels: &[Vec<Source>]) -> bool {
        let Some(NodeEnum::ColumnRef(column)) = &node.node else {
            return false;
        };
        let fields = build::strings(&column.fields);
        let [name] = fields.as_slice() else {
            return false;
        };
        if column.fields.len() != 1 || target.table.stand_in(name).is_none() {
            return false;
        }
        let sources = || levels.iter().flatten();
        if sources().any(|source| source.has(name) == Some(true)) {
            return false;
        }
        let known = sources().all(|source| source.has(name).is_some());
        if !known {
            self.refusal = Some(unqualified(name));
        }
        known
    }

    /// What is known of the columns of a FROM.
    fn sources(&self, items: &[Node], queries: &[String]) -> Vec<Source> {
        let mut found = Vec::new();
        for item in items {
            match &item.node {
                Some(NodeEnum::RangeVar(name)) => found.push(self.source(name, queries)),
                Some(NodeEnum::RangeSubselect(query)) => {
                    let alias = query.alias.as_ref().map(|alias| alias.colnames.as_slice());
                    let select = query.subquery.as_ref().and_then(|node| node.node.as_ref());
                    found.push(match (alias.unwrap_or_default(), select) {
                        ([], Some(NodeEnum::SelectStmt(select))) => output_of(select),
                        ([], _) => Source::Unknown,
                        (renamed, _) => Source::Columns(owned(renamed)),
                    });
                }
                Some(NodeEnum::RangeFunction(call)) => found.push(columns_of_call(call)),
                Some(NodeEnum::JoinExpr(join)) => {
                    for side in [&join.larg, &join.rarg].into_iter().flatten() {
                        found.extend(self.sources(std::slice::from_ref(side), queries));
                    }
                }
                _ => found.push(Source::Unknown),
            }
        }
        found
    }

    fn source(&self, name: &RangeVar, queries: &[String]) -> Source {
        let plain = name.schemaname.is_empty();
        if plain && (self.ctes.contains(&name.relname) || queries.contains(&name.relname)) {
            return Source::Unknown;
        }
        let renamed = name.alias.as_ref().map(|alias| alias.colnames.as_slice());
        if renamed.is_some_and(|renamed| !renamed.is_empty()) {
            return Source::Unknown;
        }
        let Some(path) = &self.search.path else {
            return Source::Unknown;
        };
        // All tables with a column that is called like one that is kept as text are known.
        let columns = self.tables.known(name, path);
        let columns = columns.map(|table| table.columns.iter().map(|column| column.name.clone()));
        Source::Columns(columns.into_iter().flatten().collect())
    }

    // ---- tables ----------------------------------------------------------------------------

    /// CHECK and GENERATED of a new table.
    fn create(&mut self, create: &mut CreateStmt) {
        let Some(table) = new_table(create, self.search.or_home()).filter(Table::stands_in) else {
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
                        *value = stands.by_default(std::mem::take(value));
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

/// What a sub-select reads from.
enum Source {
    /// These columns alone, of those that matter.
    Columns(Vec<String>),
    Unknown,
}

impl Source {
    /// Whether it has a column; `None`: nobody knows.
    fn has(&self, column: &str) -> Option<bool> {
        match self {
            Self::Columns(names) => Some(names.iter().any(|name| name == column)),
            Self::Unknown => None,
        }
    }
}

fn owned(names: &[Node]) -> Vec<String> {
    let names = build::strings(names).into_iter();
    names.map(str::to_owned).collect()
}

fn name_of_query(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::CommonTableExpr(query)) => Some(query.ctename.clone()),
        _ => None,
    }
}

/// Columns of a sub-select, if all of them have a name.
fn output_of(select: &SelectStmt) -> Source {
    let mut first = select;
    while let Some(left) = &first.larg {
        first = left;
    }
    let names = first.target_list.iter().map(|node| match &node.node {
        Some(NodeEnum::ResTarget(given)) if !given.name.is_empty() => Some(given.name.clone()),
        Some(NodeEnum::ResTarget(given)) => match given.val.as_ref()?.node.as_ref()? {
            NodeEnum::ColumnRef(column) if !is_star(given) => {
                Some(build::last(&column.fields).to_owned())
            }
            _ => None,
        },
        _ => None,
    });
    let names: Option<Vec<String>> = names.collect();
    match names.filter(|names| !names.is_empty()) {
        Some(names) => Source::Columns(names),
        None => Source::Unknown,
    }
}

/// Columns of a function: one with its name, as a rule.
fn columns_of_call(call: &RangeFunction) -> Source {
    let [
        Node {
            node: Some(NodeEnum::List(function)),
        },
    ] = call.functions.as_slice()
    else {
        return Source::Unknown;
    };
    let name = match function.items.first().and_then(|item| item.node.as_ref()) {
        Some(NodeEnum::FuncCall(call)) => build::last(&call.funcname),
        _ => return Source::Unknown,
    };
    if !["unnest", "generate_series", "generate_subscripts"].contains(&name)
        || call.ordinality
        || !call.coldeflist.is_empty()
    {
        return Source::Unknown;
    }
    Source::Columns(match &call.alias {
        Some(alias) if !alias.colnames.is_empty() => owned(&alias.colnames),
        Some(alias) => vec![alias.aliasname.clone()],
        None => vec![name.to_owned()],
    })
}

/// How many of the columns of `(a, b) = …` come before this one.
fn first_of(part: &MultiAssignRef) -> usize {
    usize::try_from(part.colno).map_or(0, |number| number.saturating_sub(1))
}

fn not_available(message: String) -> ClientError {
    ClientError::error(crate::wire::sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// It would mean a text, or be taken for one.
fn unqualified(column: &str) -> ClientError {
    not_available(format!(
        "column \"{column}\" is kept as text on Aurora DSQL, and a sub-select does not say whose it is"
    ))
    .hint("Write the table's name or alias before it.")
}

fn no_path(table: &str) -> ClientError {
    not_available(format!(
        "several tables are called \"{table}\", and the search path is not known"
    ))
    .hint("Write the schema before it, or SET search_path to a list of names.")
}

/// A domain of this name would not be told from others.
fn long_name(kind: &str) -> ClientError {
    not_available(format!(
        "columns of type \"{kind}\" cannot be kept, since its name and schema are too long"
    ))
    .hint("Give the type a shorter name.")
}

/// It has no rows, and nobody shall think so.
fn not_a_relation(name: &RangeVar) -> ClientError {
    let message = format!("cannot open relation \"{}\"", name.relname);
    ClientError::error("42809", message)
        .detail("This operation is not supported for composite types.")
}

fn no_star() -> ClientError {
    not_available(
        "RETURNING * beside such a FROM is not available for a table with columns that are kept as text".to_owned(),
    )
    .hint("Name the columns.")
}

/// The server would say that text has no elements.
fn part_of(column: &str) -> ClientError {
    not_available(format!(
        "an element of column \"{column}\" cannot be changed by itself on Aurora DSQL"
    ))
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

/// What `*` stands for in a FROM, by its relations; `None`: columns of these are merged, or have no name.
fn stars(items: &[Node]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for item in items {
        match &item.node {
            Some(NodeEnum::JoinExpr(join)) => {
                if join.is_natural || !join.using_clause.is_empty() || join.alias.is_some() {
                    return None;
                }
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    found.extend(stars(std::slice::from_ref(side))?);
                }
            }
            _ => match aliases(std::slice::from_ref(item)) {
                names if names.is_empty() => return None,
                mut names => found.append(&mut names),
            },
        }
    }
    Some(found)
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
                let alias = call.alias.as_ref().map(|alias| alias.aliasname.clone());
                found.extend(alias.or_else(|| name_of_call(call)));
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

/// The name that the rows of a function without an alias have.
fn name_of_call(call: &RangeFunction) -> Option<String> {
    let [only] = call.functions.as_slice() else {
        return None;
    };
    let Some(NodeEnum::List(function)) = &only.node else {
        return None;
    };
    match function.items.first()?.node.as_ref()? {
        NodeEnum::FuncCall(call) => Some(build::last(&call.funcname).to_owned()),
        _ => None,
    }
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
    use std::rc::Rc;

    use super::*;

    fn tables() -> Tables {
        let row = |values: [&str; 6]| values.iter().map(|v| Some((*v).to_owned())).collect();
        Tables::read(&[
            row(["public", "t", "id", "int4", "n", "y"]),
            row(["public", "t", "ip", "inet", "y", "n"]),
            row(["public", "t", "tags", "character varying(9)[]", "y", "n"]),
            row(["public", "v", "ip", "text", "n", "n"]),
            row(["s", "v", "ip", "inet", "y", "n"]),
        ])
    }

    fn said(text: &str) -> String {
        let home: Rc<[String]> = ["public".to_owned()].into();
        let search = Search {
            path: Some(Rc::clone(&home)),
            home,
        };
        match translate(text, &tables(), &search) {
            Ok(translated) => translated.text.unwrap_or_else(|| "=".to_owned()),
            Err(refusal) => refusal.message.to_string(),
        }
    }

    #[test]
    fn composite_columns_are_translated_once() {
        let row = |values: [&str; 6]| values.iter().map(|v| Some((*v).to_owned())).collect();
        let tables = Tables::read(&[
            row(["public", "p", "", "", "t", "n"]),
            row(["public", "c", "id", "int4", "n", "y"]),
            row(["public", "c", "v", "public.p", "y", "n"]),
            row(["public", "c", "w", "public.p[]", "y", "n"]),
        ]);
        let home: Rc<[String]> = ["public".to_owned()].into();
        let search = Search {
            path: Some(Rc::clone(&home)),
            home,
        };
        for text in [
            "SELECT v, (v).a FROM c",
            "INSERT INTO c VALUES (1, (2, 'b'), $1) RETURNING *",
            "UPDATE c SET v = ROW((v).a, $1), w = w || v WHERE (w[1]).a = 2 RETURNING v",
            "CREATE TABLE d (v p, w public.p[] DEFAULT '{}')",
        ] {
            let once = translate(text, &tables, &search).unwrap().text.unwrap();
            assert_ne!(once, text);
            let twice = translate(&once, &tables, &search).unwrap().text;
            assert_eq!(twice.unwrap_or_else(|| once.clone()), once);
        }
        for text in ["SELECT * FROM p", "INSERT INTO p VALUES (1)"] {
            let refusal = translate(text, &tables, &search).unwrap_err();
            assert_eq!(refusal.message, "cannot open relation \"p\"");
        }
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
                "UPDATE t SET (id, ip) = (2, $1) WHERE id = 1 RETURNING ip",
                "UPDATE t SET (id, ip) = (2, $1::inet) WHERE id = 1 RETURNING ip::inet".to_owned(),
            ),
            // A name that nothing nearer has is the target's.
            (
                "DELETE FROM t WHERE id IN (SELECT u.id FROM u WHERE ip = '::1')",
                "DELETE FROM t WHERE id IN (SELECT u.id FROM u WHERE ip::inet = '::1')".to_owned(),
            ),
            (
                "DELETE FROM t WHERE EXISTS (SELECT 1 FROM unnest(tags) x WHERE x LIKE 'a%')",
                "DELETE FROM t WHERE EXISTS (SELECT 1 FROM unnest(tags::varchar(9)[]) x WHERE x LIKE 'a%')".to_owned(),
            ),
            (
                "DELETE FROM t WHERE id IN (SELECT id FROM v WHERE ip = '::1')",
                "=".to_owned(),
            ),
            (
                "DELETE FROM t WHERE id IN (SELECT id FROM t WHERE ip = '::1')",
                format!("DELETE FROM t WHERE id IN (SELECT id FROM {T} t WHERE ip = '::1')"),
            ),
            (
                "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.ip = t.ip AND u.id IN (SELECT id FROM t))",
                format!("DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.ip = t.ip::inet AND u.id IN (SELECT id FROM {T} t))"),
            ),
            (
                "WITH w AS (SELECT 1) DELETE FROM t WHERE id IN (SELECT id FROM w WHERE ip = '::1')",
                "column \"ip\" is kept as text on Aurora DSQL, and a sub-select does not say whose it is".to_owned(),
            ),
            (
                "UPDATE t SET id = 1 FROM unnest('{1}'::int[]) RETURNING *",
                "UPDATE t SET id = 1 FROM unnest('{1}'::int[]) RETURNING t.id, t.ip::inet AS ip, t.tags::varchar(9)[] AS tags, unnest.*".to_owned(),
            ),
            (
                "UPDATE t SET id = 1 FROM u JOIN w USING (id) RETURNING *",
                "RETURNING * beside such a FROM is not available for a table with columns that are kept as text".to_owned(),
            ),
            // Where names are looked for may change within a text.
            (
                "SET search_path = s; SELECT * FROM t; RESET search_path; SELECT * FROM t",
                format!("SET search_path = s; SELECT * FROM t; RESET search_path; SELECT * FROM {T} t"),
            ),
            (
                "SELECT set_config('search_path', 's, \"public\"', true); SELECT * FROM t",
                format!("SELECT set_config('search_path', 's, \"public\"', true); SELECT * FROM {T} t"),
            ),
            (
                "SELECT set_config('search_path', $1, true); SELECT * FROM t",
                format!("SELECT set_config('search_path', $1, true); SELECT * FROM {T} t"),
            ),
            (
                "SELECT set_config('search_path', $1, true); SELECT * FROM v",
                "several tables are called \"v\", and the search path is not known".to_owned(),
            ),
            (
                "INSERT INTO t (id) VALUES (1) ON CONFLICT ((tags[1])) WHERE ip IS NULL DO NOTHING",
                "INSERT INTO t (id) VALUES (1) ON CONFLICT (((tags::varchar(9)[])[1])) WHERE ip::inet IS NULL DO NOTHING".to_owned(),
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
