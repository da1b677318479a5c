//! ALTER TABLE, one action at a time: what DSQL does in steps, or not at all.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, Constraint, RangeVar,
    RoleSpecType,
};

use super::{Case, Changed, Draft, Job, build, column, name};
use crate::policy::{Step, StepKind, TableName};
use crate::sql::tree::{Descent, Ref, walk};
use crate::wire::reply::ClientError;

/// The only action of an ALTER TABLE.
pub(super) fn command(tree: &NodeEnum) -> Option<(&AlterTableStmt, &AlterTableCmd)> {
    let NodeEnum::AlterTableStmt(alter) = tree else {
        return None;
    };
    match alter.cmds.as_slice() {
        [only] => match &only.node {
            Some(NodeEnum::AlterTableCmd(command)) => Some((alter, command)),
            _ => None,
        },
        _ => None,
    }
}

/// PostgreSQL's name of the action, such as `AT_SetNotNull`.
pub(super) fn command_name(tree: &NodeEnum) -> Option<&'static str> {
    command(tree).map(|(_, command)| command.subtype().as_str_name())
}

/// OWNER TO a role by its name, outside a transaction: dumps name roles that the cluster does not
/// have. Where it has not, or the session may not give the object away, the owner stays.
pub(super) fn owner(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let role = match &draft.tree {
        NodeEnum::AlterOwnerStmt(alter) => alter.newowner.as_ref(),
        tree => command(tree)
            .filter(|(_, command)| command.subtype() == AlterTableType::AtChangeOwner)
            .and_then(|(_, command)| command.newowner.as_ref()),
    };
    let named = role.filter(|role| role.roletype() == RoleSpecType::RolespecCstring);
    let Some(role) = named.filter(|_| !case.facts.transaction.open) else {
        return Ok(Vec::new());
    };
    let found = vec![role.rolename.clone()];
    let sql = super::text(&draft.tree, false).map_err(|error| super::unprintable(&error))?;
    draft.tag = name::tag(&draft.tree);
    draft.instead = Some(vec![Step {
        tolerate: vec!["42501", "42704"],
        ..Step::statement(sql)
    }]);
    Ok(found)
}

/// The action in words, for messages.
pub(super) fn words(command: &str) -> String {
    let known = match command {
        "AT_SetOptions" | "AT_SetRelOptions" | "AT_ReplaceRelOptions" => "SET of storage options",
        "AT_ResetOptions" | "AT_ResetRelOptions" => "RESET of storage options",
        "AT_SetUnLogged" => "SET UNLOGGED",
        "AT_SetTableSpace" => "SET TABLESPACE",
        "AT_DropCluster" => "SET WITHOUT CLUSTER",
        "AT_DropOids" => "SET WITHOUT OIDS",
        "AT_EnableTrig" | "AT_EnableAlwaysTrig" | "AT_EnableReplicaTrig" => "ENABLE TRIGGER",
        "AT_DisableTrig" => "DISABLE TRIGGER",
        "AT_AddInherit" => "INHERIT",
        "AT_DropInherit" => "NO INHERIT",
        "AT_ColumnDefault" => "ALTER COLUMN SET DEFAULT",
        "AT_GenericOptions" | "AT_AlterColumnGenericOptions" => "OPTIONS",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let mut words = String::new();
    for letter in command.trim_start_matches("AT_").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_uppercase());
    }
    words
}

fn table_of(alter: &AlterTableStmt) -> RangeVar {
    alter.relation.clone().unwrap_or_default()
}

fn constraint_of(command: &AlterTableCmd) -> Option<&Constraint> {
    match command.def.as_ref()?.node.as_ref()? {
        NodeEnum::Constraint(constraint) => Some(constraint),
        _ => None,
    }
}

/// The constraint of this kind that an ALTER TABLE adds.
pub(super) fn added(tree: &NodeEnum, kind: ConstrType) -> Option<(RangeVar, &Constraint)> {
    let (alter, command) = command(tree)?;
    let constraint = (command.subtype() == AlterTableType::AtAddConstraint)
        .then(|| constraint_of(command))
        .flatten()?;
    (constraint.contype() == kind).then(|| (table_of(alter), constraint))
}

/// Adds a constraint without looking at the rows, then has DSQL look at them as a job. `chosen`: the
/// client has not named it.
fn validated(
    table: &RangeVar,
    name: &str,
    chosen: bool,
    definition: &str,
    failure: &'static str,
) -> Result<Vec<Step>, ClientError> {
    let relation = build::relation(table);
    let quoted = build::quoted(name);
    let add = format!("ALTER TABLE {relation} ADD CONSTRAINT {quoted} {definition} NOT VALID");
    let validate = format!("ALTER TABLE ASYNC {relation} VALIDATE CONSTRAINT {quoted}");
    let drop = format!("ALTER TABLE {relation} DROP CONSTRAINT {quoted}");
    Ok(vec![
        Step {
            chosen: chosen.then(|| name.to_owned()),
            ..Step::statement(build::normal(&add)?)
        },
        Step {
            undo: Some(build::normal(&drop)?),
            failure: Some(failure),
            ..Step::job(build::normal(&validate)?)
        },
    ])
}

fn not_null_steps(table: &RangeVar, column: &str) -> Result<Vec<Step>, ClientError> {
    let name = name::chosen(&table.relname, Some(column), "not_null");
    let definition = format!("CHECK ({} IS NOT NULL)", build::quoted(column));
    let mut steps = validated(table, &name, false, &definition, "23502")?;
    if let Some(add) = steps.first_mut() {
        // It is NOT NULL already.
        add.tolerate.push("42710");
    }
    Ok(steps)
}

fn unique_steps(
    table: &RangeVar,
    name: &str,
    constraint: &Constraint,
    columns: &[String],
) -> Result<Vec<Step>, ClientError> {
    let list = |columns: &[String]| {
        let quoted: Vec<String> = columns.iter().map(|column| build::quoted(column)).collect();
        quoted.join(", ")
    };
    let relation = build::relation(table);
    let quoted = build::quoted(name);
    let included: Vec<String> = owned(build::strings(&constraint.including));
    let include = if included.is_empty() {
        String::new()
    } else {
        format!(" INCLUDE ({})", list(&included))
    };
    let nulls = if constraint.nulls_not_distinct {
        " NULLS NOT DISTINCT"
    } else {
        ""
    };
    let create = format!(
        "CREATE UNIQUE INDEX ASYNC {quoted} ON {relation} ({}){include}{nulls}",
        list(columns)
    );
    let schema = if table.schemaname.is_empty() {
        String::new()
    } else {
        format!("{}.", build::quoted(&table.schemaname))
    };
    let add = format!("ALTER TABLE {relation} ADD CONSTRAINT {quoted} UNIQUE USING INDEX {quoted}");
    Ok(vec![
        Step {
            chosen: constraint.conname.is_empty().then(|| name.to_owned()),
            undo: Some(build::normal(&format!("DROP INDEX {schema}{quoted}"))?),
            failure: Some("23505"),
            ..Step::job(build::normal(&create)?)
        },
        Step::statement(build::normal(&add)?),
    ])
}

/// The steps of ALTER TABLE IF EXISTS, in front of which stands the question whether it does; steps that
/// ask themselves are left alone.
pub(super) fn if_exists(alter: &AlterTableStmt, steps: &mut Vec<Step>) {
    let asks = |step: &Step| step.rebuild.is_some() || step.otherwise.is_some();
    let plain = matches!(steps.as_slice(), [step] if step.kind == StepKind::Statement);
    if alter.missing_ok && !plain && !steps.iter().any(asks) {
        let table = table_of(alter);
        let name = TableName(build::relation(&table));
        steps.insert(0, Step::if_exists(&name, &table.relname));
    }
}

fn owned(strings: Vec<&str>) -> Vec<String> {
    strings.into_iter().map(str::to_owned).collect()
}

/// The text of a constraint behind its name, without NOT VALID.
fn definition(constraint: &Constraint) -> Result<String, ClientError> {
    let mut plain = constraint.clone();
    plain.conname = "c".to_owned();
    plain.skip_validation = false;
    plain.initially_valid = true;
    let mut tree = match crate::sql::Statement::read("ALTER TABLE t ADD CONSTRAINT c CHECK (true)")
        .ok()
        .and_then(|mut read| read.pop())
        .map(|statement| statement.tree)
    {
        Some(crate::sql::Tree::Node(node)) => *node,
        _ => return Err(super::unprintable(&crate::sql::tree::PrintError::Different)),
    };
    if let NodeEnum::AlterTableStmt(alter) = &mut tree
        && let Some(NodeEnum::AlterTableCmd(command)) =
            alter.cmds.first_mut().and_then(|node| node.node.as_mut())
    {
        command.def = Some(Box::new(build::node(NodeEnum::Constraint(Box::new(plain)))));
    }
    let text = super::text(&tree, false).map_err(|error| super::unprintable(&error))?;
    text.strip_prefix("ALTER TABLE t ADD CONSTRAINT c ")
        .map(str::to_owned)
        .ok_or_else(|| super::unprintable(&crate::sql::tree::PrintError::Different))
}

/// The one column that an expression names, if it is one.
fn only_column(constraint: &Constraint) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    if let Some(expression) = constraint
        .raw_expr
        .as_ref()
        .and_then(|node| node.node.as_ref())
    {
        walk(Ref::of(expression), &mut |node| {
            if let Ref::ColumnRef(column) = node {
                names.push(build::last(&column.fields).to_owned());
            }
            Descent::Into
        });
    }
    names.sort();
    names.dedup();
    match names.as_slice() {
        [only] if !only.is_empty() => Some(only.clone()),
        _ => None,
    }
}

fn check_name(table: &RangeVar, constraint: &Constraint) -> String {
    if constraint.conname.is_empty() {
        name::chosen(&table.relname, only_column(constraint).as_deref(), "check")
    } else {
        constraint.conname.clone()
    }
}

fn key_name(table: &RangeVar, constraint: &Constraint, columns: &[String], label: &str) -> String {
    if constraint.conname.is_empty() {
        name::chosen(&table.relname, Some(&columns.join("_")), label)
    } else {
        constraint.conname.clone()
    }
}

fn set(draft: &mut Draft, steps: Vec<Step>) {
    draft.instead = Some(steps);
    draft.tag = Some("ALTER TABLE".to_owned());
}

/// SET NOT NULL: a validated CHECK.
pub(super) fn set_not_null(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some((alter, command)) = command(&draft.tree) else {
        return Ok(Vec::new());
    };
    let column = match (command.subtype(), constraint_of(command)) {
        (AlterTableType::AtSetNotNull, _) => command.name.clone(),
        (AlterTableType::AtAddConstraint, Some(constraint))
            if constraint.contype() == ConstrType::ConstrNotnull =>
        {
            build::last(&constraint.keys).to_owned()
        }
        _ => return Ok(Vec::new()),
    };
    let steps = not_null_steps(&table_of(alter), &column)?;
    set(draft, steps);
    Ok(vec![column])
}

/// DROP NOT NULL, also of one that is a CHECK.
pub(super) fn drop_not_null(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some((alter, command)) = command(&draft.tree) else {
        return Ok(Vec::new());
    };
    if command.subtype() != AlterTableType::AtDropNotNull {
        return Ok(Vec::new());
    }
    let column = command.name.clone();
    let name = name::chosen(&table_of(alter).relname, Some(&column), "not_null");
    let other = format!(
        "ALTER TABLE t DROP CONSTRAINT IF EXISTS {}",
        build::quoted(&name)
    );
    let read = crate::sql::Statement::read(&other).ok();
    let tree = read.and_then(|mut read| read.pop()).map(|read| read.tree);
    if let (NodeEnum::AlterTableStmt(alter), Some(crate::sql::Tree::Node(other))) =
        (&mut draft.tree, tree)
        && let NodeEnum::AlterTableStmt(other) = *other
    {
        alter.cmds.extend(other.cmds);
    }
    Ok(vec![column])
}

/// ADD CHECK without NOT VALID.
pub(super) fn add_check(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some((table, constraint)) = added(&draft.tree, ConstrType::ConstrCheck) else {
        return Ok(Vec::new());
    };
    if constraint.skip_validation {
        return Ok(Vec::new());
    }
    let name = check_name(&table, constraint);
    let chosen = constraint.conname.is_empty();
    let steps = validated(&table, &name, chosen, &definition(constraint)?, "23514")?;
    set(draft, steps);
    Ok(vec![name])
}

/// ADD FOREIGN KEY without NOT VALID.
pub(super) fn add_foreign_key(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some((table, constraint)) = added(&draft.tree, ConstrType::ConstrForeign) else {
        return Ok(Vec::new());
    };
    if constraint.skip_validation {
        return Ok(Vec::new());
    }
    let columns = owned(build::strings(&constraint.fk_attrs));
    let name = key_name(&table, constraint, &columns, "fkey");
    let chosen = constraint.conname.is_empty();
    let steps = validated(&table, &name, chosen, &definition(constraint)?, "23503")?;
    set(draft, steps);
    Ok(vec![name])
}

/// ADD CHECK of any kind.
pub(super) fn adds_check(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    added(tree, ConstrType::ConstrCheck)
        .map(|(table, constraint)| check_name(&table, constraint))
        .into_iter()
        .collect()
}

/// ADD UNIQUE of any kind.
pub(super) fn adds_unique(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    added(tree, ConstrType::ConstrUnique)
        .map(|(_, constraint)| constraint.conname.clone())
        .into_iter()
        .collect()
}

/// ADD FOREIGN KEY of any kind.
pub(super) fn adds_foreign_key(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    added(tree, ConstrType::ConstrForeign)
        .map(|(_, constraint)| build::strings(&constraint.fk_attrs).join(", "))
        .into_iter()
        .collect()
}

/// ADD UNIQUE over columns: an index first.
pub(super) fn add_unique(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some((table, constraint)) = added(&draft.tree, ConstrType::ConstrUnique) else {
        return Ok(Vec::new());
    };
    if !constraint.indexname.is_empty() {
        return Ok(Vec::new());
    }
    let columns = owned(build::strings(&constraint.keys));
    let name = key_name(&table, constraint, &columns, "key");
    let steps = unique_steps(&table, &name, constraint, &columns)?;
    set(draft, steps);
    Ok(vec![name])
}

/// ADD CONSTRAINT of a kind that has no way: EXCLUDE.
pub(super) fn add_constraint_other(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    added(tree, ConstrType::ConstrExclusion)
        .map(|(table, _)| table.relname)
        .into_iter()
        .collect()
}

/// VALIDATE CONSTRAINT: as a job.
pub(super) fn validate_constraint(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let Some((_, command)) = command(&draft.tree) else {
        return Ok(Vec::new());
    };
    if command.subtype() != AlterTableType::AtValidateConstraint || draft.asynchronous {
        return Ok(Vec::new());
    }
    let found = vec![command.name.clone()];
    draft.asynchronous = true;
    draft.tag = Some("ALTER TABLE".to_owned());
    if case.facts.switches.index_wait {
        draft.job = Some(Job {
            index_of: None,
            undo: None,
            failure: Some("23514"),
        });
    }
    Ok(found)
}

/// ADD GENERATED … AS IDENTITY of a column that is there: its CACHE.
pub(super) fn add_identity(draft: &mut Draft, case: &Case<'_>) -> Changed {
    let cache = case.rules.parameters.sequence_cache;
    let NodeEnum::AlterTableStmt(alter) = &mut draft.tree else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for node in &mut alter.cmds {
        let Some(NodeEnum::AlterTableCmd(command)) = &mut node.node else {
            continue;
        };
        if command.subtype() != AlterTableType::AtAddIdentity {
            continue;
        }
        if let Some(NodeEnum::Constraint(constraint)) =
            command.def.as_mut().and_then(|node| node.node.as_mut())
            && super::sequence::set_cache(&mut constraint.options, cache)
        {
            found.push(command.name.clone());
        }
    }
    Ok(found)
}

pub(super) fn added_column(tree: &NodeEnum) -> Option<(RangeVar, bool, &ColumnDef)> {
    let (alter, command) = command(tree)?;
    if command.subtype() != AlterTableType::AtAddColumn {
        return None;
    }
    match command.def.as_ref()?.node.as_ref()? {
        NodeEnum::ColumnDef(column) => Some((table_of(alter), command.missing_ok, column)),
        _ => None,
    }
}

/// ADD COLUMN with GENERATED, IDENTITY or PRIMARY KEY, which nothing can give a column later.
pub(super) fn add_generated_column(tree: &NodeEnum, _: &Case<'_>) -> Vec<String> {
    let Some((_, _, added)) = added_column(tree) else {
        return Vec::new();
    };
    column::constraints(&added.constraints)
        .any(|constraint| {
            matches!(
                constraint.contype(),
                ConstrType::ConstrGenerated
                    | ConstrType::ConstrIdentity
                    | ConstrType::ConstrPrimary
            )
        })
        .then(|| added.colname.clone())
        .into_iter()
        .collect()
}

/// ADD COLUMN with a default or constraints: the column alone, then each of them.
pub(super) fn add_column(draft: &mut Draft, _: &Case<'_>) -> Changed {
    let Some((table, if_missing, definition)) = added_column(&draft.tree) else {
        return Ok(Vec::new());
    };
    if definition.constraints.is_empty() {
        return Ok(Vec::new());
    }
    let column = definition.clone();
    let mut steps = column_steps(&table, &column)?;
    if if_missing {
        for step in &mut steps {
            // The column may be there with all that belongs to it.
            step.tolerate = vec!["42710", "42P07"];
        }
    }
    let behind = std::mem::take(&mut draft.after);
    draft.after = steps;
    draft.after.extend(behind);
    draft.tag = Some("ALTER TABLE".to_owned());
    strip(&mut draft.tree);
    Ok(vec![column.colname])
}

/// Leaves the column's name and type.
fn strip(tree: &mut NodeEnum) {
    column::each(tree, &mut |column| column.constraints.clear());
}

fn column_steps(table: &RangeVar, column: &ColumnDef) -> Result<Vec<Step>, ClientError> {
    let mut steps = Vec::new();
    let name = &column.colname;
    let mut required = false;
    let mut rest = Vec::new();
    let mut foreign: Option<Constraint> = None;
    for constraint in column::constraints(&column.constraints) {
        match constraint.contype() {
            ConstrType::ConstrDefault => steps.extend(default_steps(table, name, constraint)?),
            ConstrType::ConstrNotnull => required = true,
            ConstrType::ConstrUnique => {
                let columns = vec![name.clone()];
                let key = key_name(table, constraint, &columns, "key");
                rest.extend(unique_steps(table, &key, constraint, &columns)?);
            }
            ConstrType::ConstrCheck => {
                let check = if constraint.conname.is_empty() {
                    name::chosen(&table.relname, Some(name), "check")
                } else {
                    constraint.conname.clone()
                };
                rest.extend(validated(
                    table,
                    &check,
                    constraint.conname.is_empty(),
                    &self::definition(constraint)?,
                    "23514",
                )?);
            }
            ConstrType::ConstrForeign => {
                let mut constraint = constraint.clone();
                constraint.fk_attrs = vec![build::string(name)];
                foreign = Some(constraint);
            }
            ConstrType::ConstrAttrDeferrable => {
                if let Some(foreign) = &mut foreign {
                    foreign.deferrable = true;
                }
            }
            ConstrType::ConstrAttrDeferred => {
                if let Some(foreign) = &mut foreign {
                    foreign.deferrable = true;
                    foreign.initdeferred = true;
                }
            }
            // NULL, and attributes that say what holds anyway.
            _ => {}
        }
    }
    if required {
        steps.extend(not_null_steps(table, name)?);
    }
    steps.extend(rest);
    if let Some(foreign) = foreign {
        let key = key_name(table, &foreign, std::slice::from_ref(name), "fkey");
        let chosen = foreign.conname.is_empty();
        steps.extend(validated(
            table,
            &key,
            chosen,
            &definition(&foreign)?,
            "23503",
        )?);
    }
    Ok(steps)
}

fn default_steps(
    table: &RangeVar,
    column: &str,
    constraint: &Constraint,
) -> Result<Vec<Step>, ClientError> {
    let relation = build::relation(table);
    let quoted = build::quoted(column);
    let frame = format!("ALTER TABLE {relation} ALTER COLUMN {quoted} SET DEFAULT NULL");
    let mut tree = match crate::sql::Statement::read(&frame)
        .ok()
        .and_then(|mut read| read.pop())
        .map(|statement| statement.tree)
    {
        Some(crate::sql::Tree::Node(node)) => *node,
        _ => return Err(super::unprintable(&crate::sql::tree::PrintError::Different)),
    };
    if let NodeEnum::AlterTableStmt(alter) = &mut tree
        && let Some(NodeEnum::AlterTableCmd(command)) =
            alter.cmds.first_mut().and_then(|node| node.node.as_mut())
    {
        command.def.clone_from(&constraint.raw_expr);
    }
    let default = super::text(&tree, false).map_err(|error| super::unprintable(&error))?;
    let mut steps = vec![Step::statement(default)];
    if !is_null(constraint) {
        let fill = format!("UPDATE {relation} SET {quoted} = DEFAULT WHERE {quoted} IS NULL");
        let fill = build::normal(&fill)?;
        let relation = build::normal(&format!("TABLE {relation}"))?;
        let relation = relation
            .trim_start_matches("TABLE ")
            .trim_start_matches("SELECT * FROM ");
        let (head, condition) = fill
            .split_once(" WHERE ")
            .ok_or_else(|| super::unprintable(&crate::sql::tree::PrintError::Different))?;
        let batch = format!(
            "{head} WHERE ({{key}}) IN (SELECT {{key}} FROM {relation} WHERE {condition} LIMIT {{rows}})"
        );
        steps.push(Step::batch(batch, TableName(relation.to_owned())));
    }
    Ok(steps)
}

fn is_null(constraint: &Constraint) -> bool {
    matches!(
        constraint.raw_expr.as_ref().and_then(|node| node.node.as_ref()),
        Some(NodeEnum::AConst(constant)) if constant.isnull
    )
}
