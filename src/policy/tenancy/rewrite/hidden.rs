//! Tables whose tenant column is hidden, as targets of writes. In reads it is enough that their wraps do
//! not have the column; a target is the table itself, so whatever names the column, or all columns, is
//! looked for.

use pg_query::protobuf::{
    ColumnRef, IndexElem, OnConflictClause, ReturningClause, SortByDir, SortByNulls,
};
use pg_query::{Node, NodeEnum};

use super::loudness::text;
use super::write::Target;
use super::{Done, refuse, visible};
use crate::policy::tenancy::{Rule, build};
use crate::sql::tree::{self, Descent, Ref};

/// Refuses nodes that name the hidden column of a target, or its whole row.
pub(super) fn named_in<'n>(
    target: &Target<'_>,
    lists: impl IntoIterator<Item = &'n [Node]>,
) -> Done {
    for node in lists.into_iter().flatten() {
        named(target, node)?;
    }
    Ok(())
}

/// The same for a condition.
pub(super) fn named_in_condition(target: &Target<'_>, condition: &Option<Box<Node>>) -> Done {
    match condition {
        Some(condition) => named(target, condition),
        None => Ok(()),
    }
}

fn named(target: &Target<'_>, node: &Node) -> Done {
    let Some(node) = node.node.as_ref().filter(|_| target.column.hidden) else {
        return Ok(());
    };
    let mut found = Ok(());
    tree::walk(Ref::of(node), &mut |node| {
        if let Ref::ColumnRef(column) = node
            && found.is_ok()
        {
            found = reference(target, column);
        }
        Descent::Into
    });
    found
}

fn reference(target: &Target<'_>, column: &ColumnRef) -> Done {
    let hidden = target.column.name;
    let of_row = |name: &str| name == target.alias || name == "excluded";
    let is_column = |name: &str| target.relation.column(name).is_some();
    let names: Vec<Option<&str>> = column.fields.iter().map(text).collect();
    match names.as_slice() {
        [Some(name)] if *name == hidden => refuse(Rule::HiddenColumn, hidden),
        [Some(name)] if of_row(name) && !is_column(name) => refuse(Rule::Construct, "whole row"),
        [.., Some(row), Some(name)] if of_row(row) && *name == hidden => {
            refuse(Rule::HiddenColumn, hidden)
        }
        [.., Some(row), None] if of_row(row) => refuse(Rule::Construct, "whole row"),
        _ => Ok(()),
    }
}

/// Writes `*` of RETURNING as the columns that are seen, and refuses what else would show the hidden one.
pub(super) fn show(
    returning: &mut Option<ReturningClause>,
    target: &Target<'_>,
    from: &[Node],
) -> Done {
    let Some(returning) = returning.as_mut().filter(|_| target.column.hidden) else {
        return Ok(());
    };
    let mut shown = Vec::new();
    for node in std::mem::take(&mut returning.exprs) {
        match starred(&node).as_deref() {
            Some([]) => {
                shown.extend(columns(target));
                for item in from {
                    others(item, &mut shown)?;
                }
            }
            Some([.., row]) if row == &target.alias => shown.extend(columns(target)),
            _ => {
                named(target, &node)?;
                shown.push(node);
            }
        }
    }
    returning.exprs = shown;
    Ok(())
}

fn columns(target: &Target<'_>) -> Vec<Node> {
    let names = visible(target.relation, target.column).into_iter();
    names
        .map(|name| build::target("", build::column(&target.alias, name)))
        .collect()
}

/// The names before a `*` that is a whole result.
fn starred(node: &Node) -> Option<Vec<String>> {
    let Some(NodeEnum::ResTarget(target)) = &node.node else {
        return None;
    };
    let Some(NodeEnum::ColumnRef(ColumnRef { fields, .. })) = &target.val.as_ref()?.node else {
        return None;
    };
    let (last, row) = fields.split_last()?;
    matches!(&last.node, Some(NodeEnum::AStar(_)))
        .then(|| row.iter().filter_map(text).map(str::to_owned).collect())
}

/// The columns of an item of FROM.
fn others(item: &Node, shown: &mut Vec<Node>) -> Done {
    let name = match &item.node {
        Some(NodeEnum::RangeVar(table)) => match &table.alias {
            Some(alias) => alias.aliasname.as_str(),
            None => table.relname.as_str(),
        },
        Some(NodeEnum::RangeSubselect(query)) => match &query.alias {
            Some(alias) => alias.aliasname.as_str(),
            None => return refuse(Rule::Construct, "RETURNING *"),
        },
        Some(NodeEnum::JoinExpr(join))
            if join.alias.is_none() && !join.is_natural && join.using_clause.is_empty() =>
        {
            for side in [&join.larg, &join.rarg].into_iter().flatten() {
                others(side, shown)?;
            }
            return Ok(());
        }
        // The order of merged columns is the join's own.
        _ => return refuse(Rule::Construct, "RETURNING *"),
    };
    let star = build::node(NodeEnum::AStar(pg_query::protobuf::AStar {}));
    let all = build::node(NodeEnum::ColumnRef(ColumnRef {
        fields: vec![build::string(name), star],
        location: 0,
    }));
    shown.push(build::target("", all));
    Ok(())
}

/// ON CONFLICT of a target whose keys have the hidden column in them.
pub(super) fn conflict(clause: &mut OnConflictClause, target: &Target<'_>) -> Done {
    if !target.column.hidden {
        return Ok(());
    }
    named_in(target, [clause.target_list.as_slice()])?;
    named_in_condition(target, &clause.where_clause)?;
    let Some(infer) = &mut clause.infer else {
        return Ok(());
    };
    named_in_condition(target, &infer.where_clause)?;
    let mut names = Vec::new();
    for element in &infer.index_elems {
        let Some(NodeEnum::IndexElem(element)) = &element.node else {
            return refuse(Rule::Construct, "ON CONFLICT");
        };
        if element.name == target.column.name {
            return refuse(Rule::HiddenColumn, &element.name);
        }
        named_in_condition(target, &element.expr)?;
        names.push(element.name.as_str());
    }
    let global = target.relation.keys_without(target.column.name).any(|key| {
        let inferred = |column: &Option<String>| {
            let column = column.as_deref();
            column.is_some_and(|column| names.contains(&column))
        };
        key.columns.len() == names.len() && key.columns.iter().all(inferred)
    });
    if !infer.index_elems.is_empty() && !global {
        let element = IndexElem {
            name: target.column.name.to_owned(),
            ordering: SortByDir::SortbyDefault.into(),
            nulls_ordering: SortByNulls::SortbyNullsDefault.into(),
            ..IndexElem::default()
        };
        let element = build::node(NodeEnum::IndexElem(Box::new(element)));
        infer.index_elems.insert(0, element);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::policy::tenancy::catalog::{Column, Key, Relation, RelationKind};
    use crate::policy::tenancy::{Catalog, Policy, RelationName, Rule, isolate};
    use crate::sql::Statement;

    const POLICY: &str = "
version: 1
search_path: [app]
tenant: {type: integer}
tables: {default: {hidden: true}, app.open: {hidden: false}}
views: {app.v: {mode: inline}}
";

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for name in ["orders", "items", "open"] {
            let columns = ["tenant_id", "id", "note"].map(|name| Column {
                name: name.to_owned(),
                type_name: "integer".to_owned(),
                not_null: true,
            });
            let mut relation = Relation::new(RelationKind::Table, columns.into());
            relation.keys.push(Key {
                name: "pk".to_owned(),
                columns: vec![Some("tenant_id".to_owned()), Some("id".to_owned())],
                primary: true,
            });
            let name = RelationName::new("app", name);
            catalog.relations.insert(name, relation);
        }
        let view = RelationKind::View {
            definition: "SELECT orders.tenant_id, orders.id FROM app.orders".to_owned(),
            reads: Vec::new(),
        };
        let view = Relation::new(view, Vec::new());
        catalog
            .relations
            .insert(RelationName::new("app", "v"), view);
        catalog
    }

    fn ask(text: &str) -> Result<String, Rule> {
        let policy = Policy::parse(POLICY).unwrap().in_database(&catalog());
        let tenant = policy.tenant_named("2").unwrap();
        let statement = Statement::read(text).unwrap().remove(0);
        let isolated = isolate(&statement, &policy, &catalog(), &tenant);
        isolated
            .map(|isolated| isolated.text.replace("'2'::int", "¤"))
            .map_err(|refusal| refusal.rule)
    }

    const WRAP: &str = "(SELECT __t1.id, __t1.note FROM app.orders __t1 WHERE __t1.tenant_id OPERATOR(pg_catalog.=) ¤)";

    #[test]
    fn statements_do_not_see_the_column() {
        let cases = [
            ("SELECT * FROM orders", "SELECT * FROM W orders"),
            ("SELECT o FROM orders o", "SELECT o FROM W o"),
            // The server says that there is none.
            (
                "SELECT tenant_id FROM orders",
                "SELECT tenant_id FROM W orders",
            ),
            (
                "SELECT o.id, note FROM orders o GROUP BY o.id",
                "SELECT o.id, note FROM W o GROUP BY o.id, o.note",
            ),
            (
                "SELECT id FROM orders GROUP BY ROLLUP (id)",
                "SELECT id FROM W orders GROUP BY ROLLUP (id)",
            ),
            (
                "COPY orders TO STDOUT",
                "COPY (SELECT orders.id, orders.note FROM W orders) TO STDOUT",
            ),
            (
                "COPY orders FROM STDIN",
                "COPY app.orders(id, note, tenant_id) FROM STDIN",
            ),
            (
                "INSERT INTO orders VALUES (1, 2) RETURNING *",
                "INSERT INTO app.orders (id, note, tenant_id) VALUES (1, 2, ¤) RETURNING orders.id, orders.note",
            ),
            (
                "INSERT INTO orders AS o (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = excluded.note RETURNING o.*, 1",
                "INSERT INTO app.orders AS o (id, tenant_id) VALUES (1, ¤) ON CONFLICT (tenant_id, id) DO UPDATE SET note = excluded.note WHERE o.tenant_id OPERATOR(pg_catalog.=) ¤ RETURNING o.id, o.note, 1",
            ),
            (
                "INSERT INTO orders (id) VALUES (1) ON CONFLICT DO NOTHING",
                "INSERT INTO app.orders (id, tenant_id) VALUES (1, ¤) ON CONFLICT DO NOTHING",
            ),
            (
                "DELETE FROM orders USING open o RETURNING *",
                "DELETE FROM app.orders USING (SELECT __t1.* FROM app.open __t1 WHERE __t1.tenant_id OPERATOR(pg_catalog.=) ¤) o WHERE orders.tenant_id OPERATOR(pg_catalog.=) ¤ RETURNING orders.id, orders.note, o.*",
            ),
            (
                "UPDATE orders SET note = 1 RETURNING id, note AS tenant_id",
                "UPDATE app.orders SET note = 1 WHERE orders.tenant_id OPERATOR(pg_catalog.=) ¤ RETURNING id, note AS tenant_id",
            ),
            (
                "SELECT * FROM v",
                "SELECT * FROM (SELECT orders.tenant_id, orders.id FROM (SELECT __t1.* FROM app.orders __t1 WHERE __t1.tenant_id OPERATOR(pg_catalog.=) ¤) orders) v",
            ),
        ];
        for (text, expected) in cases {
            let expected = expected
                .replace('W', WRAP)
                .replace(&format!("{WRAP}HERE"), "WHERE");
            assert_eq!(ask(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_names_the_column_of_a_target_is_refused() {
        use Rule::{Construct, HiddenColumn};
        let cases = [
            ("UPDATE orders SET tenant_id = 2", HiddenColumn),
            ("UPDATE orders SET note = tenant_id", HiddenColumn),
            (
                "UPDATE orders SET note = 1 WHERE tenant_id = 2",
                HiddenColumn,
            ),
            (
                "UPDATE orders SET note = (SELECT tenant_id FROM items)",
                HiddenColumn,
            ),
            (
                "UPDATE orders o SET note = 1 RETURNING o.tenant_id",
                HiddenColumn,
            ),
            (
                "DELETE FROM orders WHERE app.orders.tenant_id = 2",
                HiddenColumn,
            ),
            (
                "INSERT INTO orders (tenant_id, id) VALUES (2, 1)",
                HiddenColumn,
            ),
            (
                "INSERT INTO orders VALUES (1, 2) RETURNING tenant_id",
                HiddenColumn,
            ),
            (
                "INSERT INTO orders (id) VALUES (1) ON CONFLICT (tenant_id, id) DO NOTHING",
                HiddenColumn,
            ),
            (
                "INSERT INTO orders (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = excluded.tenant_id",
                HiddenColumn,
            ),
            ("COPY orders (tenant_id) FROM STDIN", HiddenColumn),
            ("UPDATE orders SET note = 1 RETURNING orders", Construct),
            (
                "DELETE FROM orders RETURNING row_to_json(orders.*)",
                Construct,
            ),
            ("DELETE FROM orders WHERE orders IS NOT NULL", Construct),
            (
                "DELETE FROM orders USING items i JOIN open o USING (id) RETURNING *",
                Construct,
            ),
            ("INSERT INTO orders VALUES (1, 2, 3)", Rule::InsertWidth),
        ];
        for (text, rule) in cases {
            assert_eq!(ask(text), Err(rule), "{text}");
        }
    }
}
