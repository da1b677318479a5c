//! Columns of CREATE TABLE and ADD COLUMN, and the types of domains.

use pg_query::protobuf::{ColumnDef, ConstrType, Constraint, TypeName};
use pg_query::{Node, NodeEnum};

use super::{Case, Changed, Draft, build, name};
use crate::policy::Step;

/// Calls `each` with every column that the statement makes.
pub(in crate::policy) fn each<'a>(tree: &'a mut NodeEnum, each: &mut dyn FnMut(&'a mut ColumnDef)) {
    match tree {
        NodeEnum::CreateStmt(create) => {
            for element in &mut create.table_elts {
                if let Some(NodeEnum::ColumnDef(column)) = &mut element.node {
                    each(column);
                }
            }
        }
        NodeEnum::AlterTableStmt(alter) => {
            for command in &mut alter.cmds {
                if let Some(NodeEnum::AlterTableCmd(command)) = &mut command.node
                    && let Some(definition) = &mut command.def
                    && let Some(NodeEnum::ColumnDef(column)) = &mut definition.node
                {
                    each(column);
                }
            }
        }
        _ => {}
    }
}

/// The columns that the statement makes.
pub(super) fn all(tree: &NodeEnum) -> Vec<&ColumnDef> {
    match tree {
        NodeEnum::CreateStmt(create) => create.table_elts.iter().filter_map(definition).collect(),
        NodeEnum::AlterTableStmt(alter) => alter
            .cmds
            .iter()
            .filter_map(|command| match &command.node {
                Some(NodeEnum::AlterTableCmd(command)) => {
                    command.def.as_deref().and_then(definition)
                }
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn definition(node: &Node) -> Option<&ColumnDef> {
    match &node.node {
        Some(NodeEnum::ColumnDef(column)) => Some(column),
        _ => None,
    }
}

/// The constraints of a list.
pub(super) fn constraints(nodes: &[Node]) -> impl Iterator<Item = &Constraint> {
    nodes.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::Constraint(constraint)) => Some(&**constraint),
        _ => None,
    })
}

/// The same, to change them.
pub(super) fn constraints_mut(nodes: &mut [Node]) -> impl Iterator<Item = &mut Constraint> {
    nodes.iter_mut().filter_map(|node| match &mut node.node {
        Some(NodeEnum::Constraint(constraint)) => Some(&mut **constraint),
        _ => None,
    })
}

/// A constraint of this kind that says nothing else.
pub(super) fn constraint(kind: ConstrType) -> Constraint {
    Constraint {
        contype: kind as i32,
        ..Constraint::default()
    }
}

fn each_type(tree: &mut NodeEnum, change: &mut dyn FnMut(&mut TypeName, &str)) {
    if let NodeEnum::CreateDomainStmt(domain) = tree {
        let name = build::last(&domain.domainname).to_owned();
        if let Some(base) = &mut domain.type_name {
            change(base, &name);
        }
        return;
    }
    each(tree, &mut |column| {
        let name = column.colname.clone();
        if let Some(kind) = &mut column.type_name {
            change(kind, &name);
        }
    });
}

/// The types of columns and domains that are among `wanted`, as PostgreSQL displays them.
pub(super) fn types(tree: &NodeEnum, wanted: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |kind: &TypeName| {
        if is_among(kind, wanted) {
            found.push(name::display(kind));
        }
    };
    match tree {
        NodeEnum::CreateDomainStmt(domain) => domain.type_name.iter().for_each(&mut look),
        _ => all(tree)
            .into_iter()
            .filter_map(|column| column.type_name.as_ref())
            .for_each(&mut look),
    }
    found
}

fn is_among(kind: &TypeName, wanted: &[String]) -> bool {
    let array = !kind.array_bounds.is_empty();
    wanted.iter().any(|wanted| {
        if array {
            wanted == "[]"
        } else {
            name::is_builtin(kind) && wanted == name::catalog(kind)
        }
    })
}

/// Gives the columns and domains whose types are among `wanted` another type.
pub(super) fn retype(draft: &mut Draft, wanted: &[String], to: &str) -> Vec<String> {
    let mut found = Vec::new();
    each_type(&mut draft.tree, &mut |kind, name| {
        if is_among(kind, wanted) {
            *kind = build::plain_type(to);
            found.push(name.to_owned());
        }
    });
    found
}

fn serial_of(kind: &TypeName) -> bool {
    matches!(build::strings(&kind.names).as_slice(), [name]
        if matches!(*name, "serial" | "serial2" | "serial4" | "serial8" | "bigserial" | "smallserial"))
}

/// serial, bigserial, smallserial: an identity column in a new table; a sequence and a default in
/// one that exists, since identity takes a column that is NOT NULL from the start.
pub(super) fn serial(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let cache = case.rules.parameters.sequence_cache;
    let table = match &draft.tree {
        NodeEnum::AlterTableStmt(alter) => alter.relation.clone(),
        _ => None,
    };
    let of = match &draft.tree {
        NodeEnum::CreateStmt(create) => create.relation.as_ref(),
        _ => table.as_ref(),
    };
    let of = of.map_or(String::new(), |table| table.relname.clone());
    let mut found = Vec::new();
    let mut sequences = Vec::new();
    each(&mut draft.tree, &mut |column| {
        if !column.type_name.as_ref().is_some_and(serial_of) {
            return;
        }
        found.push(format!("\"{}\" of table \"{of}\"", column.colname));
        column.type_name = Some(build::catalog_type("int8"));
        match &table {
            None => column.constraints.push(identity(cache)),
            Some(table) => {
                let name = name::chosen(&table.relname, Some(&column.colname), "seq");
                let mut sequence = table.clone();
                sequence.relname = name;
                column
                    .constraints
                    .push(next_value(&build::relation(&sequence)));
                let kind = constraint(ConstrType::ConstrNotnull);
                column
                    .constraints
                    .push(build::node(NodeEnum::Constraint(Box::new(kind))));
                sequences.push((build::relation(&sequence), column.colname.clone()));
            }
        }
    });
    if let Some(table) = table {
        for (sequence, column) in sequences {
            let create = format!("CREATE SEQUENCE {sequence} CACHE {cache}");
            draft.before.push(Step::statement(build::normal(&create)?));
            let owner = format!(
                "ALTER SEQUENCE {sequence} OWNED BY {}.{}",
                build::relation(&table),
                build::quoted(&column)
            );
            draft.after.push(Step::statement(build::normal(&owner)?));
        }
    }
    Ok(found)
}

fn identity(cache: i32) -> Node {
    build::node(NodeEnum::Constraint(Box::new(Constraint {
        generated_when: "d".to_owned(),
        options: vec![build::option("cache", cache)],
        ..constraint(ConstrType::ConstrIdentity)
    })))
}

fn next_value(sequence: &str) -> Node {
    let text = format!("SELECT nextval({}::regclass)", build::literal(sequence));
    let expression = crate::sql::Statement::read(&text)
        .ok()
        .and_then(|mut read| match read.pop()?.tree {
            crate::sql::Tree::Node(node) => Some(*node),
            crate::sql::Tree::Iam { .. } => None,
        })
        .and_then(|node| match node {
            NodeEnum::SelectStmt(select) => select.target_list.into_iter().next()?.node,
            _ => None,
        })
        .and_then(|target| match target {
            NodeEnum::ResTarget(target) => target.val,
            _ => None,
        });
    build::node(NodeEnum::Constraint(Box::new(Constraint {
        raw_expr: expression,
        ..constraint(ConstrType::ConstrDefault)
    })))
}

fn is_identity(column: &ColumnDef) -> bool {
    constraints(&column.constraints)
        .any(|constraint| constraint.contype() == ConstrType::ConstrIdentity)
}

/// Identity columns of any kind.
pub(super) fn identity_column(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    all(tree)
        .into_iter()
        .filter(|column| is_identity(column))
        .map(|column| column.colname.clone())
        .collect()
}

/// Identity columns are bigint on DSQL.
pub(super) fn identity_type(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let mut found = Vec::new();
    each(&mut draft.tree, &mut |column| {
        let identity = is_identity(column);
        if let Some(kind) = &mut column.type_name
            && identity
            && matches!(name::catalog(kind), "int2" | "int4")
        {
            *kind = build::catalog_type("int8");
            found.push(column.colname.clone());
        }
    });
    Ok(found)
}

/// Identity columns say how many values a session takes at a time.
pub(super) fn identity_cache(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let cache = case.rules.parameters.sequence_cache;
    let mut found = Vec::new();
    each(&mut draft.tree, &mut |column| {
        let name = column.colname.clone();
        for constraint in constraints_mut(&mut column.constraints) {
            if constraint.contype() == ConstrType::ConstrIdentity
                && super::sequence::set_cache(&mut constraint.options, cache)
            {
                found.push(name.clone());
            }
        }
    });
    Ok(found)
}

/// numeric without digits is numeric(18,6) on DSQL, not unlimited as in PostgreSQL.
pub(super) fn bare_numeric(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let parameters = &case.rules.parameters;
    let mut found = Vec::new();
    each_type(&mut draft.tree, &mut |kind, column| {
        let bare = kind.typmods.is_empty() && kind.array_bounds.is_empty();
        if bare && name::is_builtin(kind) && name::catalog(kind) == "numeric" {
            kind.typmods = vec![
                build::integer(parameters.numeric_precision),
                build::integer(parameters.numeric_scale),
            ];
            found.push(format!(
                "{column} is numeric({},{})",
                parameters.numeric_precision, parameters.numeric_scale
            ));
        }
    });
    Ok(found)
}

/// Collations that are the only one of DSQL by another name.
pub(super) fn plain_collation(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(without_collation(draft, |collation| {
        matches!(collation, "C" | "POSIX" | "default" | "ucs_basic")
    }))
}

/// Any other collation.
pub(super) fn collation(draft: &mut Draft, _: &Case<'_>) -> Changed {
    Ok(without_collation(draft, |_| true))
}

fn without_collation(draft: &mut Draft, plain: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |clause: &mut Option<Box<pg_query::protobuf::CollateClause>>| {
        if let Some(collation) = clause {
            let name = build::last(&collation.collname).to_owned();
            if plain(&name) {
                *clause = None;
                found.push(name);
            }
        }
    };
    if let NodeEnum::CreateDomainStmt(domain) = &mut draft.tree {
        look(&mut domain.coll_clause);
    } else {
        each(&mut draft.tree, &mut |column| look(&mut column.coll_clause));
    }
    found
}

/// COMPRESSION of a column.
pub(super) fn compression(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let mut found = Vec::new();
    each(&mut draft.tree, &mut |column| {
        if !column.compression.is_empty() {
            column.compression.clear();
            found.push(column.colname.clone());
        }
    });
    Ok(found)
}

/// varchar(n) and char(n) longer than DSQL declares.
pub(super) fn long_character(draft: &mut Draft, _: &Case<'_>) -> Changed {
    const VARCHAR: i32 = 65_535;
    const CHAR: i32 = 4_096;
    let mut found = Vec::new();
    each_type(&mut draft.tree, &mut |kind, column| {
        let Some(length) = kind.typmods.first().and_then(length) else {
            return;
        };
        let longest = match name::catalog(kind) {
            "varchar" => VARCHAR,
            "bpchar" => CHAR,
            _ => return,
        };
        if length > longest {
            *kind = build::plain_type("text");
            found.push(column.to_owned());
        }
    });
    Ok(found)
}

fn length(node: &Node) -> Option<i32> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            pg_query::protobuf::a_const::Val::Ival(value) => Some(value.ival),
            _ => None,
        },
        _ => None,
    }
}

/// GENERATED … VIRTUAL, which is newer than DSQL's PostgreSQL.
pub(super) fn virtual_column(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    all(tree)
        .into_iter()
        .filter(|column| {
            constraints(&column.constraints).any(|constraint| {
                constraint.contype() == ConstrType::ConstrGenerated
                    && constraint.generated_kind == "v"
            })
        })
        .map(|column| column.colname.clone())
        .collect()
}
