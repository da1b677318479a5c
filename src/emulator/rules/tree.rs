//! Checks of what may stand anywhere in a statement: locking clauses, TABLESAMPLE, MERGE, types
//! refused in expressions, settings named by `set_config`, catalogs that clients see differently.

use pg_query::NodeEnum;
use serde_json::{Map, Value};

use super::data::Feature;
use super::edit;
use super::judge::{Check, Judge};
use super::words::{self, unsupported};
use crate::sql::scan::{Token, Tokens};
use crate::wire::reply::ClientError;

/// The schema that holds the emulator's own objects.
pub(in crate::emulator) const INTERNAL: &str = "pg_dsql";

const LOCK_KEY_SHARE: i64 = 2;
const LOCK_UPDATE: i64 = 5;

/// What the words of a text give reason to do.
#[derive(Debug, Clone, Copy, Default)]
struct Words {
    /// Look into the tree.
    look: bool,
    /// A column that every table has and no view: `tableoid`, `xmin`, `ctid`.
    system_column: bool,
    /// GROUP BY: by a catalog's key it frees the other columns, by a view's it does not.
    group: bool,
}

impl Judge<'_> {
    /// Looks into the whole tree, but only if a word of the text gives reason to.
    pub(super) fn tree(&mut self, node: &NodeEnum) -> Check {
        let words = self.words()?;
        // Names and texts can be written in ways that the words do not show.
        let veiled = may_be_veiled(&self.statement.text);
        if !words.look && !veiled {
            return Ok(());
        }
        let tree = serde_json::to_value(node)
            .map_err(|_| ClientError::error("54001", "stack depth limit exceeded"))?;
        if veiled && names_internal(&tree) {
            return Err(internal());
        }
        self.look(&tree, words)
    }

    fn words(&self) -> Result<Words, ClientError> {
        let text = &self.statement.text;
        if mentions_internal(text) {
            return Err(internal());
        }
        let mut found = Words::default();
        for token in Tokens::new(text.as_bytes()) {
            match token {
                Token::Word(word) => self.note(word, &mut found),
                Token::Quoted(word) => self.note(word.trim_quotes(), &mut found),
                _ => {}
            }
        }
        Ok(found)
    }

    fn note(&self, word: &[u8], found: &mut Words) {
        const LOOK: [&[u8]; 5] = [b"share", b"key", b"tablesample", b"merge", b"set_config"];
        const SYSTEM_COLUMNS: [&[u8]; 3] = [b"tableoid", b"xmin", b"ctid"];
        // The shortest and the longest word looked for.
        if !(3..=12).contains(&word.len()) {
            return;
        }
        let among = |words: &[&[u8]]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
        let data = &self.rules.data;
        let mut names = data
            .shadowed_catalogs
            .iter()
            .chain(&data.shadowed_information)
            .chain(&data.refused_in_expressions);
        found.look |= among(&LOOK) || names.any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
        found.system_column |= among(&SYSTEM_COLUMNS);
        found.group |= word.eq_ignore_ascii_case(b"group");
    }

    fn look(&mut self, value: &Value, words: Words) -> Check {
        match value {
            Value::Array(values) => values.iter().try_for_each(|value| self.look(value, words)),
            Value::Object(fields) => {
                for (name, inner) in fields {
                    if let Value::Object(inner) = inner {
                        self.look_at(name, inner, words)?;
                    }
                    self.look(inner, words)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn look_at(&mut self, name: &str, fields: &Map<String, Value>, words: Words) -> Check {
        match name {
            "LockingClause" => self.locking(fields),
            "RangeTableSample" => Err(unsupported("TABLESAMPLE clause not supported")),
            "MergeStmt" => Err(unsupported("unsupported statement type: MERGE")),
            "TypeName" | "type_name" => self.type_in_expression(&strings(fields, "names")),
            "FuncCall" | "funccall" => self.function_call(fields),
            "ColumnRef" => {
                self.column_reference(fields, words);
                Ok(())
            }
            _ if fields.contains_key("relname") => {
                self.range(fields, words);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn locking(&self, fields: &Map<String, Value>) -> Check {
        match fields.get("strength").and_then(Value::as_i64) {
            Some(LOCK_UPDATE) => Ok(()),
            Some(LOCK_KEY_SHARE) => self.require(Feature::KeyShareLock),
            _ if self.require(Feature::KeyShareLock).is_err() => Err(unsupported(
                "locking clauses other than FOR UPDATE are not supported",
            )),
            _ => Err(unsupported(
                "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported",
            )),
        }
    }

    fn type_in_expression(&self, names: &[&str]) -> Check {
        let refused = &self.rules.data.refused_in_expressions;
        match builtin(names) {
            Some(name) if refused.iter().any(|refused| refused == name) => {
                Err(unsupported(format!("datatype {name} not supported")))
            }
            _ => Ok(()),
        }
    }

    fn function_call(&mut self, fields: &Map<String, Value>) -> Check {
        let names = strings(fields, "funcname");
        self.type_in_expression(&names)?;
        if builtin(&names) != Some("set_config") {
            return Ok(());
        }
        let Some(args) = fields.get("args").and_then(Value::as_array) else {
            return Ok(());
        };
        // A name that is no constant is checked when the function runs.
        match args.first().and_then(constant) {
            Some("role") => self.require(Feature::SetLocalRole),
            Some(setting) if !self.rules.setting(setting) => Err(words::setting_refused(setting)),
            _ => Ok(()),
        }
    }

    /// Sends a look at a catalog to the view that shows what DSQL shows.
    fn range(&mut self, fields: &Map<String, Value>, words: Words) {
        let field = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let (schema, name) = (field("schemaname"), field("relname"));
        if self.is_shadowed(schema, name, words) {
            self.shadow(fields, &format!("{INTERNAL}.{name}"));
        }
    }

    /// `pg_catalog.pg_index.indkey`: the schema follows that of FROM.
    fn column_reference(&mut self, fields: &Map<String, Value>, words: Words) {
        let names = strings(fields, "fields");
        if let [
            schema @ ("pg_catalog" | "information_schema"),
            catalog,
            rest @ ..,
        ] = names.as_slice()
            && self.is_shadowed(schema, catalog, words)
        {
            let rest: String = rest
                .iter()
                .map(|name| format!(".{}", words::identifier(name)))
                .collect();
            self.shadow(fields, &format!("{INTERNAL}.{catalog}{rest}"));
        }
    }

    fn is_shadowed(&self, schema: &str, name: &str, words: Words) -> bool {
        let data = &self.rules.data;
        let among = |names: &[String]| names.iter().any(|known| known == name);
        if words.system_column || words.group && among(&data.hiding_catalogs) {
            return false;
        }
        match schema {
            "" | "pg_catalog" => among(&data.shadowed_catalogs),
            "information_schema" => among(&data.shadowed_information),
            _ => false,
        }
    }

    fn shadow(&mut self, fields: &Map<String, Value>, with: &str) {
        let location = fields.get("location").and_then(Value::as_i64);
        let place = location
            .and_then(|location| self.place(i32::try_from(location).ok()?))
            .and_then(|at| edit::name_at(&self.statement.text, at));
        if let Some(place) = place {
            self.edit(place, with);
        }
    }
}

/// The schema of the emulator's own objects is not there.
fn internal() -> ClientError {
    let message = format!("schema \"{INTERNAL}\" does not exist");
    ClientError::error(words::INVALID_SCHEMA, message)
}

/// Whether a text has the name of the emulator's own schema in it, in any case.
pub(in crate::emulator) fn mentions_internal(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'p', b'P', bytes).any(|at| {
        let word = bytes.get(at..at + INTERNAL.len());
        word.is_some_and(|word| word.eq_ignore_ascii_case(INTERNAL.as_bytes()))
    })
}

/// Whether names or constants may mean something else than stands there: `U&"…"`, `E'\x…'`, a
/// string continued in the next line.
fn may_be_veiled(text: &str) -> bool {
    Tokens::new(text.as_bytes()).any(|token| match token {
        Token::Text(text) => {
            matches!(text, [b'e' | b'E' | b'u' | b'U', ..])
                || memchr::memchr2(b'\n', b'\r', text).is_some()
        }
        Token::Quoted(name) => matches!(name, [b'u' | b'U', ..]),
        _ => false,
    })
}

/// Whether any name or constant of the tree mentions the emulator's own schema.
fn names_internal(tree: &Value) -> bool {
    match tree {
        Value::String(text) => mentions_internal(text),
        Value::Array(values) => values.iter().any(names_internal),
        Value::Object(fields) => fields.values().any(names_internal),
        _ => false,
    }
}

trait TrimQuotes {
    fn trim_quotes(&self) -> &Self;
}

impl TrimQuotes for [u8] {
    fn trim_quotes(&self) -> &Self {
        match self {
            [b'"', inner @ .., b'"'] => inner,
            other => other,
        }
    }
}

/// The last part of a name that means something of PostgreSQL's own.
fn builtin<'a>(names: &[&'a str]) -> Option<&'a str> {
    match names {
        [name] | ["pg_catalog", name] => Some(name),
        _ => None,
    }
}

/// The texts of a list of String nodes.
fn strings<'a>(fields: &'a Map<String, Value>, name: &str) -> Vec<&'a str> {
    let list = fields.get(name).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item.pointer("/node/String/sval").and_then(Value::as_str))
        .collect()
}

/// A string constant, with or without a cast.
fn constant(node: &Value) -> Option<&str> {
    let node = node.get("node")?;
    match node.get("TypeCast") {
        Some(cast) => constant(cast.get("arg")?),
        None => node
            .pointer("/AConst/val/Sval/sval")
            .and_then(Value::as_str),
    }
}
