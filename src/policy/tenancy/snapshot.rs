//! The catalog of a database: the queries that ask for it, and a [`Catalog`] made of their rows.
//!
//! Whoever may ask the server runs [`QUERIES`] in one session, in order, and gives [`read`] what came.
//! Source of the columns: PostgreSQL manual, "System Catalogs".

use thiserror::Error;

use super::catalog::{
    Catalog, Column, ForeignKey, Key, ReferentialAction, Relation, RelationKind, RelationName,
};

/// Rows of one query, values in text format.
pub type Rows = Vec<Vec<Option<String>>>;

/// Statements to run, in order. The first pins the search path, so that the texts of views have every
/// name with its schema; the second says how the server reads literals.
pub const QUERIES: [&str; 8] = [
    "SET search_path = pg_catalog",
    "SHOW standard_conforming_strings",
    "SELECT n.nspname, c.relname, c.relkind, CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) ELSE '' END
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')",
    "SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     ORDER BY a.attnum",
    "SELECT n.nspname, c.relname, i.relname, x.indisprimary,
            (SELECT string_agg(coalesce(a.attname, ''), chr(1) ORDER BY k.place)
             FROM unnest(x.indkey[0:x.indnkeyatts - 1]) WITH ORDINALITY k(number, place)
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number AND k.number > 0)
     FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE x.indisunique AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "SELECT n.nspname, c.relname, x.conname, rn.nspname, r.relname, x.confdeltype IN ('n', 'd'), x.confupdtype IN ('n', 'd'),
            (SELECT string_agg(a.attname || chr(2) || b.attname, chr(1))
             FROM unnest(x.conkey, x.confkey) k(own, other)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.own
             JOIN pg_attribute b ON b.attrelid = r.oid AND b.attnum = k.other),
            (SELECT coalesce(string_agg(a.attname, chr(1)), '') FROM unnest(x.confdelsetcols) k(own)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.own)
     FROM pg_constraint x JOIN pg_class c ON c.oid = x.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_class r ON r.oid = x.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace WHERE x.contype = 'f'",
    "SELECT DISTINCT n.nspname, v.relname, tn.nspname, t.relname
     FROM pg_rewrite w JOIN pg_class v ON v.oid = w.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
     JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
     JOIN pg_class t ON t.oid = d.refobjid AND t.oid <> v.oid JOIN pg_namespace tn ON tn.oid = t.relnamespace
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "SELECT n.nspname, c.relname, 'rule ' || w.rulename
     FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT (w.ev_type = '1' AND c.relkind IN ('v', 'm')) AND n.nspname !~ '^pg_'
     UNION ALL
     SELECT n.nspname, c.relname, 'policy ' || p.polname
     FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     UNION ALL
     SELECT n.nspname, c.relname, 'trigger ' || t.tgname
     FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal",
];

/// Answers that no catalog can be made of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unread {
    /// A query has other columns, or NULL where there is none.
    #[error("the catalog's answer to query {0} is not understood")]
    Shape(usize),
    /// Backslashes in literals mean something to the server that they do not to the policy.
    #[error("standard_conforming_strings is off")]
    Literals,
}

/// Makes a catalog of the rows that [`QUERIES`] gave, in their order.
///
/// # Errors
/// What came is not what was asked for, or the server reads literals otherwise.
pub fn read(answers: &[Rows]) -> Result<Catalog, Unread> {
    let [
        _,
        literals,
        relations,
        columns,
        keys,
        references,
        reads,
        attachments,
    ] = answers
    else {
        return Err(Unread::Shape(answers.len()));
    };
    let literals: Vec<[&str; 1]> = rows(literals, 1)?;
    if literals != [["on"]] {
        return Err(Unread::Literals);
    }
    let mut catalog = Catalog::default();
    for [schema, name, kind, definition] in rows(relations, 2)? {
        catalog.relations.insert(
            RelationName::new(schema, name),
            Relation::new(relation_kind(kind, definition), Vec::new()),
        );
    }
    for [schema, name, column, type_name, not_null] in rows(columns, 3)? {
        if let Some(relation) = find(&mut catalog, schema, name) {
            relation.columns.push(Column {
                name: column.to_owned(),
                type_name: type_name.to_owned(),
                not_null: not_null == "t",
            });
        }
    }
    for [schema, name, index, primary, columns] in rows(keys, 4)? {
        if let Some(relation) = find(&mut catalog, schema, name) {
            let columns = columns.split('\u{1}');
            relation.keys.push(Key {
                name: index.to_owned(),
                columns: columns
                    .map(|name| (!name.is_empty()).then(|| name.to_owned()))
                    .collect(),
                primary: primary == "t",
            });
        }
    }
    for row in rows::<9>(references, 5)? {
        let (schema, name) = (row[0], row[1]);
        if let Some(relation) = find(&mut catalog, schema, name) {
            relation
                .foreign_keys
                .push(foreign_key(row).ok_or(Unread::Shape(5))?);
        }
    }
    for [schema, name, table_schema, table] in rows(reads, 6)? {
        if let Some(Relation {
            kind: RelationKind::View { reads, .. },
            ..
        }) = find(&mut catalog, schema, name)
        {
            reads.push(RelationName::new(table_schema, table));
        }
    }
    for [schema, name, attachment] in rows(attachments, 7)? {
        if let Some(relation) = find(&mut catalog, schema, name) {
            relation.attachments.push(attachment.to_owned());
        }
    }
    Ok(catalog)
}

fn find<'a>(catalog: &'a mut Catalog, schema: &str, name: &str) -> Option<&'a mut Relation> {
    catalog.relations.get_mut(&RelationName::new(schema, name))
}

/// Rows of N values, none of them NULL.
fn rows<const N: usize>(rows: &Rows, query: usize) -> Result<Vec<[&str; N]>, Unread> {
    rows.iter()
        .map(|row| {
            let values: Option<Vec<&str>> = row.iter().map(Option::as_deref).collect();
            values?.try_into().ok()
        })
        .collect::<Option<_>>()
        .ok_or(Unread::Shape(query))
}

fn relation_kind(kind: &str, definition: &str) -> RelationKind {
    match kind {
        "r" | "p" => RelationKind::Table,
        "v" => RelationKind::View {
            definition: definition.trim_end_matches(';').to_owned(),
            reads: Vec::new(),
        },
        _ => RelationKind::Other,
    }
}

fn foreign_key(row: [&str; 9]) -> Option<ForeignKey> {
    let [_, _, name, schema, table, deleted, updated, columns, set] = row;
    let action = |sets: &str| match sets {
        "t" => ReferentialAction::Set,
        _ => ReferentialAction::Keep,
    };
    let pairs = columns.split('\u{1}').map(|pair| {
        let (own, other) = pair.split_once('\u{2}')?;
        Some((own.to_owned(), other.to_owned()))
    });
    Some(ForeignKey {
        name: name.to_owned(),
        columns: pairs.collect::<Option<_>>()?,
        references: RelationName::new(schema, table),
        actions: [action(deleted), action(updated)],
        set_on_delete: set
            .split('\u{1}')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &[&[&str]]) -> Rows {
        let row = |row: &&[&str]| row.iter().map(|text| Some((*text).to_owned())).collect();
        rows.iter().map(row).collect()
    }

    fn answers() -> Vec<Rows> {
        vec![
            answer(&[]),
            answer(&[&["on"]]),
            answer(&[&["app", "t", "r", ""], &["app", "v", "v", " SELECT 1;"]]),
            answer(&[
                &["app", "t", "a", "integer", "t"],
                &["x", "y", "z", "text", "f"],
            ]),
            answer(&[&["app", "t", "t_pkey", "t", "a\u{1}"]]),
            answer(&[&["app", "t", "f", "app", "u", "t", "f", "a\u{2}b", "c\u{1}d"]]),
            answer(&[&["app", "v", "app", "t"]]),
            answer(&[&["app", "t", "trigger x"]]),
        ]
    }

    #[test]
    fn rows_become_a_catalog() {
        let catalog = read(&answers()).unwrap();
        let t = catalog.relation(&RelationName::new("app", "t")).unwrap();
        assert_eq!(t.columns[0].type_name, "integer");
        assert_eq!(t.keys[0].columns, [Some("a".to_owned()), None]);
        assert!(t.keys[0].primary && t.attachments == ["trigger x"]);
        assert_eq!(t.foreign_keys[0].actions[0], ReferentialAction::Set);
        assert_eq!(t.foreign_keys[0].columns, [("a".into(), "b".into())]);
        assert_eq!(t.foreign_keys[0].set_on_delete, ["c", "d"]);
        let v = catalog.relation(&RelationName::new("app", "v")).unwrap();
        let RelationKind::View { definition, reads } = &v.kind else {
            panic!("{v:?}");
        };
        assert_eq!((definition.as_str(), reads.len()), (" SELECT 1", 1));
    }

    #[test]
    fn what_is_not_understood_is_no_catalog() {
        for query in 1..8 {
            let mut changed = answers();
            changed[query] = answer(&[&["only", "two"]]);
            assert!(read(&changed).is_err(), "{query}");
            changed[query] = vec![vec![None; 5]];
            assert!(read(&changed).is_err(), "{query}");
        }
        let mut off = answers();
        off[1] = answer(&[&["off"]]);
        assert_eq!(read(&off), Err(Unread::Literals));
        assert_eq!(read(&answers()[1..]), Err(Unread::Shape(7)));
    }
}
