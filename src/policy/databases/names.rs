//! `public` in a client's statement becomes the schema of the created database.

use pg_query::protobuf::{FuncCall, ObjectType, RangeVar, VariableSetStmt, a_const};
use pg_query::{Node, NodeEnum, protobuf};

use super::{Naming, literal, quoted};
use crate::policy::dialect::build;
use crate::sql::tree::{Descent, Mut, walk_mut};
use crate::sql::{Statement, Tree};

const PUBLIC: &str = "public";

/// Functions that take names of objects as text.
const BY_NAME: [&str; 21] = [
    "currval",
    "has_any_column_privilege",
    "has_column_privilege",
    "has_function_privilege",
    "has_sequence_privilege",
    "has_table_privilege",
    "has_type_privilege",
    "nextval",
    "pg_get_indexdef",
    "pg_get_serial_sequence",
    "pg_get_viewdef",
    "pg_indexes_size",
    "pg_relation_filenode",
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
    "setval",
    "to_regclass",
    "to_regproc",
    "to_regprocedure",
    "to_regtype",
];

/// Types whose constants are names of objects.
const NAME_TYPES: [&str; 4] = ["regclass", "regproc", "regprocedure", "regtype"];

/// Functions that take the name of a schema as text.
const BY_SCHEMA: [&str; 2] = ["has_schema_privilege", "to_regnamespace"];

/// Puts the schema in the place of `public`. True when there was any.
pub(super) fn put_schema(tree: &mut NodeEnum, naming: &Naming, schema: &str) -> bool {
    let mut put = Put {
        naming,
        schema,
        changed: false,
    };
    match tree {
        NodeEnum::VariableShowStmt(show) if show.name == "search_path" => {
            if let Some(shown) = shown_path(schema) {
                *tree = shown;
                return true;
            }
        }
        NodeEnum::AlterObjectSchemaStmt(alter) => put.name(&mut alter.newschema),
        NodeEnum::GrantStmt(grant)
            if grant.targtype() == protobuf::GrantTargetType::AclTargetAllInSchema =>
        {
            put.each(&mut grant.objects);
        }
        NodeEnum::AlterDefaultPrivilegesStmt(alter) => {
            for option in &mut alter.options {
                if let Some(NodeEnum::DefElem(option)) = &mut option.node
                    && option.defname == "schemas"
                    && let Some(NodeEnum::List(list)) =
                        option.arg.as_mut().and_then(|arg| arg.node.as_mut())
                {
                    put.each(&mut list.items);
                }
            }
        }
        _ => {}
    }
    walk_mut(Mut::of(tree), &mut |node| {
        put.node(node);
        Descent::Into
    });
    put.changed
}

/// Takes the session's database out of names that begin with it: the cluster calls it otherwise. True when
/// there was any.
pub(super) fn leave_database(tree: &mut NodeEnum, naming: &Naming) -> bool {
    let mut changed = false;
    walk_mut(Mut::of(tree), &mut |node| {
        changed |= match node {
            Mut::RangeVar(relation) if relation.catalogname == naming.database => {
                relation.catalogname.clear();
                true
            }
            Mut::DropStmt(drop) if is_relation(drop.remove_type()) => {
                let objects = drop.objects.iter_mut();
                objects.fold(false, |changed, object| {
                    changed | leave_in_name(object, 3, naming)
                })
            }
            Mut::CommentStmt(comment) => {
                let parts = match comment.objtype() {
                    ObjectType::ObjectColumn => 4,
                    kind if is_relation(kind) => 3,
                    _ => usize::MAX,
                };
                let object = comment.object.as_deref_mut();
                object.is_some_and(|object| leave_in_name(object, parts, naming))
            }
            Mut::ColumnRef(column) => leave_first(&mut column.fields, 4, naming),
            Mut::FuncCall(call) => leave_first(&mut call.funcname, 3, naming),
            Mut::TypeName(name) => leave_first(&mut name.names, 3, naming),
            Mut::TypeCast(cast) => {
                let kind = cast.type_name.as_ref().map(|name| build::last(&name.names));
                kind == Some("regclass") && leave_in_text(cast.arg.as_deref_mut(), naming)
            }
            _ => false,
        };
        Descent::Into
    });
    changed
}

/// What is named as `database.schema.name`.
fn is_relation(kind: ObjectType) -> bool {
    matches!(
        kind,
        ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectIndex
            | ObjectType::ObjectSequence
            | ObjectType::ObjectForeignTable
    )
}

fn leave_in_name(object: &mut Node, parts: usize, naming: &Naming) -> bool {
    match &mut object.node {
        Some(NodeEnum::List(list)) => leave_first(&mut list.items, parts, naming),
        _ => false,
    }
}

/// Takes the database out of a name that has so many parts, of which the first can be nothing else.
fn leave_first(names: &mut Vec<Node>, parts: usize, naming: &Naming) -> bool {
    let is_database = names.len() == parts
        && matches!(&names[0].node, Some(NodeEnum::String(first)) if first.sval == naming.database);
    if is_database {
        names.remove(0);
    }
    is_database
}

/// The same in a text that names a relation: a constant, or one that the statement puts together.
fn leave_in_text(node: Option<&mut Node>, naming: &Naming) -> bool {
    let Some(node) = node else { return false };
    if let Some(text) = string_of(Some(node)) {
        let database = [
            format!("\"{}\".", naming.database),
            format!("{}.", naming.database),
        ];
        let rest = database
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix.as_str()));
        // `schema.table` has one dot, and a schema may be called like the database.
        return match rest.filter(|rest| rest.contains('.')).map(str::to_owned) {
            Some(rest) => {
                *text = rest;
                true
            }
            None => false,
        };
    }
    // An OID is not a text, and is no name.
    let made = match &node.node {
        Some(NodeEnum::AExpr(expression)) => build::last(&expression.name) == "||",
        Some(NodeEnum::FuncCall(call)) => {
            matches!(
                build::last(&call.funcname),
                "format" | "concat" | "concat_ws"
            )
        }
        _ => false,
    };
    if !made {
        return false;
    }
    let plain = escaped(&naming.database);
    let mut template = format!(
        "SELECT pg_catalog.regexp_replace(NULL::text, {}, '')",
        literal(&format!("^\"?{plain}\"?\\.(?=.+\\.)"))
    );
    if let Some(schema) = &naming.schema {
        template = format!(
            "SELECT pg_catalog.regexp_replace({}, '^\"?public\"?[.]', {})",
            template.trim_start_matches("SELECT "),
            literal(&format!("\"{schema}\".").replace('\\', "\\\\"))
        );
    }
    let Some(call) = parse(&template).and_then(only_target) else {
        return false;
    };
    let text = std::mem::replace(node, call);
    put_text(node, text);
    true
}

/// A name as a regular expression.
fn escaped(name: &str) -> String {
    let each = name.chars().flat_map(|c| {
        let plain = c.is_alphanumeric() || c == '_';
        (!plain).then_some('\\').into_iter().chain([c])
    });
    each.collect()
}

fn only_target(statement: NodeEnum) -> Option<Node> {
    let NodeEnum::SelectStmt(mut select) = statement else {
        return None;
    };
    match select.target_list.pop()?.node? {
        NodeEnum::ResTarget(target) => target.val.map(|value| *value),
        _ => None,
    }
}

/// Puts a text into the innermost first argument, where NULL stands.
fn put_text(call: &mut Node, text: Node) {
    match &mut call.node {
        Some(NodeEnum::FuncCall(inner)) => {
            if let Some(first) = inner.args.first_mut() {
                put_text(first, text);
            }
        }
        Some(NodeEnum::TypeCast(cast)) => cast.arg = Some(Box::new(text)),
        _ => {}
    }
}

struct Put<'n> {
    naming: &'n Naming,
    schema: &'n str,
    changed: bool,
}

impl Put<'_> {
    fn name(&mut self, name: &mut String) {
        if name == PUBLIC {
            self.schema.clone_into(name);
            self.changed = true;
        }
    }

    fn each(&mut self, names: &mut [Node]) {
        for name in names {
            if let Some(NodeEnum::String(name)) = &mut name.node {
                self.name(&mut name.sval);
            }
        }
    }

    /// A qualified name: the schema is the first of two, or behind the database.
    fn qualified(&mut self, parts: &mut Vec<Node>, least: usize) {
        if parts.len() > least
            && matches!(&parts[0].node, Some(NodeEnum::String(first)) if first.sval == self.naming.database)
            && matches!(&parts[1].node, Some(NodeEnum::String(second)) if second.sval == PUBLIC)
        {
            parts.remove(0);
            self.changed = true;
        }
        if parts.len() >= least
            && let Some(first) = parts.first_mut()
        {
            self.each(std::slice::from_mut(first));
        }
    }

    fn relation(&mut self, relation: &mut RangeVar) {
        if !relation.catalogname.is_empty() && relation.catalogname == self.naming.database {
            relation.catalogname.clear();
            self.changed = true;
        }
        self.name(&mut relation.schemaname);
    }

    fn node(&mut self, node: &mut Mut<'_>) {
        match node {
            Mut::RangeVar(relation) => self.relation(relation),
            // `schema.table.column`; with two parts the first is a table.
            Mut::ColumnRef(column) => self.qualified(&mut column.fields, 3),
            Mut::TypeName(name) => self.qualified(&mut name.names, 2),
            Mut::List(list) => self.qualified(&mut list.items, 2),
            Mut::ObjectWithArgs(object) => self.qualified(&mut object.objname, 2),
            Mut::CollateClause(clause) => self.qualified(&mut clause.collname, 2),
            Mut::AExpr(expression) => self.qualified(&mut expression.name, 2),
            Mut::IndexElem(element) => self.qualified(&mut element.opclass, 2),
            Mut::CreateFunctionStmt(create) => self.qualified(&mut create.funcname, 2),
            Mut::CreateDomainStmt(create) => self.qualified(&mut create.domainname, 2),
            Mut::AlterDomainStmt(alter) => self.qualified(&mut alter.type_name, 2),
            Mut::CreateEnumStmt(create) => self.qualified(&mut create.type_name, 2),
            Mut::AlterEnumStmt(alter) => self.qualified(&mut alter.type_name, 2),
            Mut::AlterTypeStmt(alter) => self.qualified(&mut alter.type_name, 2),
            Mut::CreateStatsStmt(create) => self.qualified(&mut create.defnames, 2),
            Mut::AlterStatsStmt(alter) => self.qualified(&mut alter.defnames, 2),
            Mut::TypeCast(cast) => {
                let name = cast.type_name.as_ref().map(|name| build::last(&name.names));
                match name {
                    Some(name) if NAME_TYPES.contains(&name) => self.text(cast.arg.as_deref_mut()),
                    Some("regnamespace") => self.schema_text(cast.arg.as_deref_mut()),
                    _ => {}
                }
            }
            Mut::FuncCall(call) => self.call(call),
            Mut::VariableSetStmt(set) => self.set(set),
            _ => {}
        }
    }

    fn call(&mut self, call: &mut FuncCall) {
        self.qualified(&mut call.funcname, 2);
        let name = build::last(&call.funcname).to_owned();
        if BY_NAME.contains(&name.as_str()) {
            for argument in &mut call.args {
                self.text(Some(argument));
            }
        } else if BY_SCHEMA.contains(&name.as_str()) {
            for argument in &mut call.args {
                self.schema_text(Some(argument));
            }
        } else if name == "set_config"
            && let [setting, value, _] = call.args.as_mut_slice()
            && string_of(Some(setting)).is_some_and(|setting| *setting == "search_path")
            && let Some(value) = string_of(Some(value))
        {
            let path = super::path(value, self.schema);
            self.changed |= path != *value;
            *value = path;
        }
    }

    fn set(&mut self, set: &mut VariableSetStmt) {
        if set.name != "search_path" {
            return;
        }
        for value in &mut set.args {
            if let Some(value) = string_of(Some(value)) {
                self.name(value);
            }
        }
    }

    /// A constant that names an object: `public.t`.
    fn text(&mut self, node: Option<&mut Node>) {
        let Some(text) = string_of(node) else { return };
        let rest = ["public.", "\"public\"."]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix));
        if let Some(rest) = rest {
            *text = format!("{}.{rest}", quoted(self.schema));
            self.changed = true;
        }
    }

    /// A constant that names a schema.
    fn schema_text(&mut self, node: Option<&mut Node>) {
        if let Some(text) = string_of(node)
            && matches!(text.as_str(), PUBLIC | "\"public\"")
        {
            *text = quoted(self.schema);
            self.changed = true;
        }
    }
}

/// The text of a constant, also behind a cast.
fn string_of(node: Option<&mut Node>) -> Option<&mut String> {
    match node?.node.as_mut()? {
        NodeEnum::AConst(constant) => match &mut constant.val {
            Some(a_const::Val::Sval(text)) => Some(&mut text.sval),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => string_of(cast.arg.as_deref_mut()),
        _ => None,
    }
}

/// SHOW search_path, as the client wrote it.
fn shown_path(schema: &str) -> Option<NodeEnum> {
    let sql = format!(
        "SELECT {} AS search_path",
        told_path("pg_catalog.current_setting('search_path')", schema)
    );
    parse(&sql)
}

/// An expression for a search path with the schema as `public`.
pub(super) fn told_path(expression: &str, schema: &str) -> String {
    format!(
        "replace(replace({expression}, {}, 'public'), {}, 'public')",
        literal(&format!("\"{schema}\"")),
        literal(schema)
    )
}

/// The only statement of a text of ours.
pub(super) fn parse(text: &str) -> Option<NodeEnum> {
    let mut read = Statement::read(text).ok()?;
    match (read.pop()?.tree, read.is_empty()) {
        (Tree::Node(node), true) => Some(*node),
        _ => None,
    }
}
