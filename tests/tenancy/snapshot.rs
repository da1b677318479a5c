//! The catalog as tests take it.

use dsql_proxy::policy::tenancy::catalog::{
    Catalog, Column, ForeignKey, Key, ReferentialAction, Relation, RelationKind, RelationName,
};

use crate::client::Client;

/// Reads the catalog of a database. The search path must be empty or `pg_catalog` for the text of
/// views to be qualified.
pub fn take(client: &mut Client) -> Catalog {
    client.run("set search_path = pg_catalog");
    let mut catalog = Catalog::default();
    let name = |row: &[String]| RelationName::new(&row[0], &row[1]);
    let relations = rows(
        client,
        "select n.nspname, c.relname, c.relkind, case when c.relkind = 'v' then pg_get_viewdef(c.oid) else '' end
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')",
    );
    for row in &relations {
        let kind = match row[2].as_str() {
            "r" | "p" => RelationKind::Table,
            "v" => RelationKind::View {
                definition: row[3].trim_end_matches(';').to_owned(),
                reads: Vec::new(),
            },
            _ => RelationKind::Other,
        };
        catalog
            .relations
            .insert(name(row), Relation::new(kind, Vec::new()));
    }
    let columns = rows(
        client,
        "select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
         from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
         where a.attnum > 0 and not a.attisdropped order by a.attnum",
    );
    for row in &columns {
        if let Some(relation) = catalog.relations.get_mut(&name(row)) {
            relation.columns.push(Column {
                name: row[2].clone(),
                type_name: row[3].clone(),
                not_null: row[4] == "t",
            });
        }
    }
    let keys = rows(
        client,
        "select n.nspname, c.relname, i.relname, x.indisprimary,
                (select string_agg(coalesce(a.attname, ''), chr(1) order by k.place)
                 from unnest(x.indkey[0:x.indnkeyatts - 1]) with ordinality k(number, place)
                 left join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number and k.number > 0)
         from pg_index x join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
         join pg_namespace n on n.oid = c.relnamespace where x.indisunique",
    );
    for row in &keys {
        if let Some(relation) = catalog.relations.get_mut(&name(row)) {
            let columns = row[4].split('\u{1}');
            relation.keys.push(Key {
                name: row[2].clone(),
                columns: columns
                    .map(|name| (!name.is_empty()).then(|| name.to_owned()))
                    .collect(),
                primary: row[3] == "t",
            });
        }
    }
    let references = rows(
        client,
        "select n.nspname, c.relname, x.conname, rn.nspname, r.relname, x.confdeltype in ('n', 'd'), x.confupdtype in ('n', 'd'),
                (select string_agg(a.attname || chr(2) || b.attname, chr(1))
                 from unnest(x.conkey, x.confkey) k(own, other)
                 join pg_attribute a on a.attrelid = c.oid and a.attnum = k.own
                 join pg_attribute b on b.attrelid = r.oid and b.attnum = k.other)
         from pg_constraint x join pg_class c on c.oid = x.conrelid join pg_namespace n on n.oid = c.relnamespace
         join pg_class r on r.oid = x.confrelid join pg_namespace rn on rn.oid = r.relnamespace where x.contype = 'f'",
    );
    for row in &references {
        if let Some(relation) = catalog.relations.get_mut(&name(row)) {
            let action = |set: &str| {
                if set == "t" {
                    ReferentialAction::Set
                } else {
                    ReferentialAction::Keep
                }
            };
            let pairs = row[7]
                .split('\u{1}')
                .map(|pair| pair.split_once('\u{2}').unwrap());
            relation.foreign_keys.push(ForeignKey {
                name: row[2].clone(),
                references: RelationName::new(&row[3], &row[4]),
                actions: [action(&row[5]), action(&row[6])],
                columns: pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect(),
            });
        }
    }
    let reads = rows(
        client,
        "select distinct n.nspname, v.relname, tn.nspname, t.relname
         from pg_rewrite w join pg_class v on v.oid = w.ev_class join pg_namespace n on n.oid = v.relnamespace
         join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass
         join pg_class t on t.oid = d.refobjid and t.oid <> v.oid join pg_namespace tn on tn.oid = t.relnamespace
         where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'",
    );
    for row in &reads {
        let relation = catalog.relations.get_mut(&name(row));
        if let Some(RelationKind::View { reads, .. }) = relation.map(|relation| &mut relation.kind)
        {
            reads.push(RelationName::new(&row[2], &row[3]));
        }
    }
    catalog
}

fn rows(client: &mut Client, sql: &str) -> Vec<Vec<String>> {
    let frames = client.run(sql);
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
    rows.map(|frame| frame.values().into_iter().map(text).collect())
        .collect()
}
