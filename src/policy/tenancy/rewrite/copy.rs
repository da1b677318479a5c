//! COPY: to the client as a query of its own rows, from the client with the tenant in every row.

use std::collections::HashSet;

use pg_query::protobuf::{CopyStmt, DefElem, RangeVar, SelectStmt};
use pg_query::{Node, NodeEnum};

use super::loudness::text;
use super::{Done, Meaning, Place, Rewriter, refuse, visible};
use crate::policy::tenancy::copy::{self, CopyRows, Format, Spelling};
use crate::policy::tenancy::tenant::Value;
use crate::policy::tenancy::{Refusal, Rule, build};

/// Options of COPY TO.
const TO: [&str; 7] = [
    "format",
    "delimiter",
    "null",
    "header",
    "quote",
    "escape",
    "force_quote",
];

/// Bytes of what stands for NULL in a COPY FROM, at most.
const NULL_BYTES: usize = 256;

/// Options of COPY FROM.
const FROM: [&str; 9] = [
    "format",
    "delimiter",
    "null",
    "header",
    "quote",
    "escape",
    "force_null",
    "force_not_null",
    "encoding",
];

impl Rewriter<'_> {
    pub(super) fn copy(&mut self, copy: &mut CopyStmt) -> Done {
        if copy.is_from {
            return self.copy_from(copy);
        }
        let CopyStmt {
            relation,
            query,
            attlist,
            is_from: _,
            is_program,
            filename,
            options,
            where_clause,
        } = copy;
        if *is_program || !filename.is_empty() {
            return refuse(Rule::CopyTarget, filename.as_str());
        }
        if where_clause.is_some() {
            return refuse(Rule::Construct, "COPY WHERE");
        }
        for option in self::options(options)? {
            if !TO.contains(&option.defname.as_str()) {
                return refuse(Rule::CopyOption, &option.defname);
            }
        }
        spell_header(options)?;
        match (
            relation.take(),
            query.as_mut().and_then(|query| query.node.as_mut()),
        ) {
            (None, Some(query @ NodeEnum::SelectStmt(_))) if attlist.is_empty() => {
                self.query(query, Place::Result)
            }
            (Some(table), None) => {
                let mut select = self.copied(table, std::mem::take(attlist))?;
                self.select(&mut select, Place::Result)?;
                let select = NodeEnum::SelectStmt(Box::new(select));
                *query = Some(Box::new(build::node(select)));
                Ok(())
            }
            _ => refuse(Rule::Construct, "COPY"),
        }
    }

    /// The query that says the same as a table's name in COPY TO.
    fn copied(&self, table: RangeVar, columns: Vec<Node>) -> Result<SelectStmt, Refusal> {
        let (Meaning::Table(name, column, relation), None) = (self.declared(&table)?, &table.alias)
        else {
            // Of shared tables and views a query can be copied.
            return refuse(Rule::Relation, &table.relname);
        };
        let columns: Vec<String> = if columns.is_empty() {
            visible(relation, column)
                .into_iter()
                .map(str::to_owned)
                .collect()
        } else {
            columns.iter().filter_map(text).map(str::to_owned).collect()
        };
        if let Some(unknown) = columns.iter().find(|name| relation.column(name).is_none()) {
            return refuse(Rule::Column, unknown);
        }
        let mut named = HashSet::new();
        if let Some(twice) = columns.iter().find(|name| !named.insert(name.as_str())) {
            return refuse(Rule::Construct, twice);
        }
        let targets = columns
            .iter()
            .map(|column| build::target("", build::column(&name.name, column)))
            .collect();
        Ok(SelectStmt {
            target_list: targets,
            from_clause: vec![build::node(NodeEnum::RangeVar(table))],
            ..build::select()
        })
    }

    /// COPY FROM STDIN: all columns are named, the tenant's among them. The rows themselves get it while
    /// they pass.
    fn copy_from(&mut self, copy: &mut CopyStmt) -> Done {
        let CopyStmt {
            relation,
            query,
            attlist,
            is_from: _,
            is_program,
            filename,
            options,
            where_clause,
        } = copy;
        if *is_program || !filename.is_empty() {
            return refuse(Rule::CopyTarget, filename.as_str());
        }
        if where_clause.is_some() || query.is_some() {
            return refuse(Rule::CopyFrom, "WHERE");
        }
        let target = self.target(relation)?;
        self.may_insert(&target)?;
        // Whose rows are all columns of the table would have to know the tenant's place among them.
        let unnamed = attlist.is_empty() && !target.column.hidden;
        if attlist.is_empty() {
            let columns = visible(target.relation, target.column);
            *attlist = columns.into_iter().map(build::string).collect();
        }
        let mut place = None;
        for (index, column) in attlist.iter().enumerate() {
            let Some(name) = text(column) else {
                return refuse(Rule::Construct, "COPY");
            };
            if name == target.column.name && target.column.hidden {
                return refuse(Rule::HiddenColumn, name);
            }
            if name == target.column.name && place.replace(index).is_some() {
                return refuse(Rule::InsertShape, name);
            }
        }
        let place = match place {
            Some(index) => copy::Place::Given(index),
            None => {
                attlist.push(build::string(target.column.name));
                copy::Place::Added
            }
        };
        let spelling = spelling(options, target.column.name)?;
        spell_header(options)?;
        let Value::Literal(tenant) = self.value else {
            return refuse(Rule::OfTenant, "COPY");
        };
        let rows = CopyRows::new(spelling, place, target.column, tenant);
        match rows {
            Some(rows) => self.copy_rows = Some(rows),
            None => return refuse(Rule::NoValue, target.column.name),
        }
        match unnamed {
            true => refuse(Rule::CopyFrom, "no column list"),
            false => Ok(()),
        }
    }
}

fn options(options: &[Node]) -> Result<Vec<&DefElem>, Refusal> {
    let each = options.iter().map(|option| match &option.node {
        Some(NodeEnum::DefElem(option)) => Ok(&**option),
        _ => refuse(Rule::CopyOption, ""),
    });
    each.collect()
}

/// How the rows of a COPY FROM are written.
fn spelling(list: &[Node], tenant_column: &str) -> Result<Spelling, Refusal> {
    let list = options(list)?;
    for (index, option) in list.iter().enumerate() {
        let name = option.defname.as_str();
        let again = list.iter().take(index).any(|other| other.defname == name);
        if again || !FROM.contains(&name) {
            return refuse(Rule::CopyOption, name);
        }
    }
    let find = |name: &str| list.iter().find(|option| option.defname == name).copied();
    let string = |name: &str| -> Result<Option<&str>, Refusal> {
        let Some(option) = find(name) else {
            return Ok(None);
        };
        match option.arg.as_ref().and_then(|arg| text(arg)) {
            Some(value) => Ok(Some(value)),
            None => refuse(Rule::CopyOption, name),
        }
    };
    // A character that could be taken for a part of something else is none that anybody needs.
    let byte = |name: &str, default: u8, csv: bool| match string(name)?.map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) if *byte == b'\t' || matches!(byte, b' '..=b'~') => {
            let odd = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'\\');
            match odd && !csv {
                true => refuse(Rule::CopyOption, name),
                false => Ok(*byte),
            }
        }
        Some(_) => refuse(Rule::CopyOption, name),
    };
    if let Some(encoding) = string("encoding")?
        && !matches!(
            encoding.to_ascii_lowercase().as_str(),
            "utf8" | "utf-8" | "unicode"
        )
    {
        return refuse(Rule::CopyOption, "encoding");
    }
    for name in ["force_null", "force_not_null"] {
        let Some(option) = find(name) else { continue };
        let names = match option.arg.as_ref().and_then(|arg| arg.node.as_ref()) {
            Some(NodeEnum::List(list)) => &list.items,
            _ => return refuse(Rule::CopyOption, name),
        };
        if !names
            .iter()
            .all(|name| text(name).is_some_and(|name| name != tenant_column))
        {
            return refuse(Rule::CopyOption, name);
        }
    }
    let csv = match string("format")? {
        None | Some("text") => false,
        Some("csv") => true,
        Some("binary") => return refuse(Rule::CopyBinary, ""),
        Some(_) => return refuse(Rule::CopyOption, "format"),
    };
    let delimiter = byte("delimiter", if csv { b',' } else { b'\t' }, csv)?;
    let quote = byte("quote", b'"', csv)?;
    let escape = byte("escape", quote, csv)?;
    let marks = |byte| matches!(byte, b'\\' | b'.');
    if csv && (marks(quote) || marks(delimiter) || quote == delimiter || escape == b'.') {
        return refuse(Rule::CopyOption, "quote");
    }
    let null = string("null")?.unwrap_or(if csv { "" } else { "\\N" });
    // It is kept for as long as the statement may be run, and must not look like a quoted value.
    if null.len() > NULL_BYTES || csv && null.as_bytes().contains(&quote) {
        return refuse(Rule::CopyOption, "null");
    }
    let format = match csv {
        true => Format::Csv { quote, escape },
        false => Format::Text,
    };
    let header = match find("header") {
        None => false,
        Some(option) => header_word(option)? != "false",
    };
    Ok(Spelling {
        format,
        delimiter,
        null: null.as_bytes().to_vec(),
        header,
    })
}

/// The header option in a word, as `defGetCopyHeaderChoice` of PostgreSQL's copy.c reads it.
fn header_word(option: &DefElem) -> Result<&'static str, Refusal> {
    let word = match option.arg.as_ref().map(|arg| &arg.node) {
        None => return Ok("true"),
        Some(Some(NodeEnum::Integer(number))) => number.ival.to_string(),
        Some(Some(NodeEnum::Boolean(value))) => value.boolval.to_string(),
        Some(Some(NodeEnum::String(word))) => word.sval.to_ascii_lowercase(),
        Some(_) => return refuse(Rule::CopyOption, "header"),
    };
    match word.as_str() {
        "true" | "on" | "1" => Ok("true"),
        "match" => Ok("match"),
        "false" | "off" | "0" => Ok("false"),
        _ => refuse(Rule::CopyOption, "header"),
    }
}

/// Writes the header option in the one way that reads back as itself.
fn spell_header(options: &mut [Node]) -> Done {
    for option in options {
        if let Some(NodeEnum::DefElem(option)) = &mut option.node
            && option.defname == "header"
        {
            option.arg = Some(Box::new(build::string(header_word(option)?)));
        }
    }
    Ok(())
}
