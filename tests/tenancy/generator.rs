//! Random statements over the fixture, from a seed.
//!
//! Most of them are valid; a part is loud. Names of WITH items are often those of tables, constants
//! often those of rows that exist.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Int,
    Text,
    Json,
    Time,
}

use Type::{Int, Json, Text, Time};

type Columns = &'static [(&'static str, Type)];

const TABLES: [(&str, Columns); 9] = [
    (
        "orders",
        &[
            ("tenant_id", Int),
            ("id", Int),
            ("customer_id", Int),
            ("amount", Int),
            ("note", Text),
            ("status", Text),
            ("doc", Json),
            ("created_at", Time),
        ],
    ),
    (
        "customers",
        &[
            ("tenant_id", Int),
            ("id", Int),
            ("name", Text),
            ("email", Text),
            ("ref_by", Int),
        ],
    ),
    (
        "items",
        &[
            ("tenant_id", Int),
            ("order_id", Int),
            ("line", Int),
            ("sku", Text),
            ("qty", Int),
        ],
    ),
    (
        "accounts",
        &[
            ("tenant_id", Int),
            ("id", Int),
            ("login", Text),
            ("balance", Int),
        ],
    ),
    ("docs_u", &[("id", Int), ("body", Text)]),
    (
        "docs_t",
        &[("tenant_id", Text), ("id", Int), ("body", Text)],
    ),
    (
        "\"Orders\"",
        &[("tenant_id", Int), ("id", Int), ("v", Text)],
    ),
    (
        "tree",
        &[
            ("tenant_id", Int),
            ("id", Int),
            ("parent", Int),
            ("label", Text),
        ],
    ),
    ("countries", &[("code", Text), ("name", Text)]),
];

/// What can be named in an expression.
#[derive(Debug, Clone)]
struct Source {
    alias: String,
    columns: Vec<(String, Type)>,
}

/// A WITH item in scope.
#[derive(Debug, Clone)]
struct Cte {
    name: String,
    columns: Vec<(String, Type)>,
}

pub struct Generator {
    random: StdRng,
    aliases: u32,
    ctes: Vec<Cte>,
    depth: u32,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            aliases: 0,
            ctes: Vec::new(),
            depth: 0,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn pick<'t>(&mut self, words: &[&'t str]) -> &'t str {
        words.choose(&mut self.random).unwrap()
    }

    /// The next statement; true when it writes.
    pub fn statement(&mut self) -> (String, bool) {
        self.aliases = 0;
        self.ctes.clear();
        self.depth = 0;
        match self.random.random_range(0..100) {
            0..70 => {
                let with = self.with(false);
                let width = self.random.random_range(1..4);
                let (query, _) = self.query(&[], width);
                (format!("{}{query}", with.0), with.1)
            }
            70..80 => (self.update(), true),
            80..88 => (self.delete(), true),
            _ => (self.insert(), true),
        }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        match self.random.random_range(0..10) {
            // An alias named like a table.
            0 => format!("customers{}", self.aliases),
            _ => format!("a{}", self.aliases),
        }
    }

    /// A WITH clause, and whether it writes.
    fn with(&mut self, only_reads: bool) -> (String, bool) {
        if !self.chance(25) {
            return (String::new(), false);
        }
        let mut items = Vec::new();
        let mut writes = false;
        for _ in 0..self.random.random_range(1..3) {
            let name = self
                .pick(&["orders", "customers", "items", "x", "tree", "countries"])
                .to_owned();
            if items
                .iter()
                .any(|item: &String| item.starts_with(&format!("{name} ")))
            {
                continue;
            }
            let (text, columns) = if !only_reads && self.chance(12) {
                writes = true;
                (
                    format!(
                        "{} RETURNING id",
                        self.pick(&[
                            "UPDATE accounts SET balance = balance + 1 WHERE id < 9",
                            "DELETE FROM tree WHERE id > 6",
                            "INSERT INTO \"Orders\" (id, v) VALUES (77, 'z')",
                        ])
                    ),
                    vec![("id".to_owned(), Int)],
                )
            } else {
                let width = self.random.random_range(1..4);
                self.query(&[], width)
            };
            let materialized = self.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            items.push(format!("{name} AS {materialized}({text})"));
            self.ctes.push(Cte { name, columns });
        }
        (format!("WITH {} ", items.join(", ")), writes)
    }

    /// A query with named columns. `outer`: what it may refer to.
    fn query(&mut self, outer: &[Source], width: usize) -> (String, Vec<(String, Type)>) {
        self.depth += 1;
        let (text, columns) = self.arm(outer, width, None);
        let query = if self.depth < 3 && self.chance(12) {
            let types: Vec<Type> = columns.iter().map(|(_, kind)| *kind).collect();
            if types.contains(&Json) {
                (text, columns)
            } else {
                let operator =
                    self.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
                let (other, _) = self.arm(outer, width, Some(&types));
                (format!("({text}) {operator} ({other})"), columns)
            }
        } else {
            (text, columns)
        };
        self.depth -= 1;
        query
    }

    fn arm(
        &mut self,
        outer: &[Source],
        width: usize,
        types: Option<&[Type]>,
    ) -> (String, Vec<(String, Type)>) {
        let (from, mut scope) = self.from(outer);
        scope.extend(outer.iter().cloned());
        let wanted: Vec<Type> = match types {
            Some(types) => types.to_vec(),
            None => (0..width)
                .map(|_| if self.chance(60) { Int } else { Text })
                .collect(),
        };
        if self.chance(15) && types.is_none() {
            return self.grouped(&from, &scope);
        }
        let mut columns = Vec::new();
        let mut targets = Vec::new();
        for (index, kind) in wanted.iter().enumerate() {
            let name = format!("c{index}");
            targets.push(format!("{} AS {name}", self.expression(&scope, *kind, 2)));
            columns.push((name, *kind));
        }
        let distinct = if self.chance(10) { "DISTINCT " } else { "" };
        let condition = self.condition(&scope);
        let mut text = format!(
            "SELECT {distinct}{} FROM {from}{condition}",
            targets.join(", ")
        );
        if self.chance(15) {
            let all: Vec<String> = (1..=columns.len()).map(|n| n.to_string()).collect();
            text += &format!(
                " ORDER BY {} LIMIT {}",
                all.join(", "),
                self.random.random_range(1..20)
            );
        } else if self.depth == 1 && self.chance(6) && distinct.is_empty() && types.is_none() {
            // Rows of sub-selects over shared tables cannot be locked; those are refused.
            text += self.pick(&[
                " FOR UPDATE",
                " FOR SHARE",
                " FOR NO KEY UPDATE SKIP LOCKED",
            ]);
        }
        (text, columns)
    }

    fn grouped(&mut self, from: &str, scope: &[Source]) -> (String, Vec<(String, Type)>) {
        let key = self.column(&scope[..1], Int);
        let value = self.expression(scope, Int, 1);
        let text = self.expression(scope, Text, 1);
        let aggregate = match self.random.random_range(0..5) {
            0 => "count(*)".to_owned(),
            1 => format!("sum({value})::int"),
            2 => format!("max({value})"),
            3 => format!("length(string_agg({text}, ',' ORDER BY {text}))"),
            _ => format!("count(*) FILTER (WHERE {})", self.boolean(scope, 1)),
        };
        let having = if self.chance(40) {
            format!(
                " HAVING {key} IS NULL OR {key} > {}",
                self.random.random_range(-1..9)
            )
        } else {
            String::new()
        };
        let loud = if self.chance(8) {
            format!(
                " AND 100 / ({key} - {}) <> 7",
                self.random.random_range(1..40)
            )
        } else {
            String::new()
        };
        let loud = if having.is_empty() {
            String::new()
        } else {
            loud
        };
        let condition = self.condition(scope);
        (
            format!(
                "SELECT {key} AS c0, {aggregate} AS c1 FROM {from}{condition} GROUP BY {key}{having}{loud}"
            ),
            vec![("c0".to_owned(), Int), ("c1".to_owned(), Int)],
        )
    }

    fn from(&mut self, outer: &[Source]) -> (String, Vec<Source>) {
        let (mut text, first) = self.relation(outer);
        let mut scope = vec![first];
        let joins = match self.random.random_range(0..10) {
            0..5 => 0,
            5..8 => 1,
            _ => 2,
        };
        for _ in 0..joins {
            let (right, source) = self.relation(outer);
            let kind = self.pick(&[
                "JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
                "CROSS JOIN",
                ",",
            ]);
            scope.push(source);
            match kind {
                "," => text = format!("{text} CROSS JOIN {right}"),
                "CROSS JOIN" => text = format!("{text} CROSS JOIN {right}"),
                "FULL JOIN" => {
                    let left = self.column(&scope[..1], Int);
                    let right_column = self.column(&scope[scope.len() - 1..], Int);
                    text = format!("{text} FULL JOIN {right} ON {left} = {right_column}");
                }
                kind => {
                    let both = scope.clone();
                    let on = if self.chance(70) {
                        let left = self.column(&scope[..1], Int);
                        let right_column = self.column(&scope[scope.len() - 1..], Int);
                        let more = if self.chance(30) {
                            format!(" AND {}", self.boolean(&both, 1))
                        } else {
                            String::new()
                        };
                        format!("{left} = {right_column}{more}")
                    } else {
                        self.boolean(&both, 1)
                    };
                    text = format!("{text} {kind} {right} ON {on}");
                }
            }
        }
        (text, scope)
    }

    fn relation(&mut self, outer: &[Source]) -> (String, Source) {
        let alias = self.alias();
        if self.depth < 3 && self.chance(15) {
            let width = self.random.random_range(1..4);
            let (query, columns) = self.query(&[], width);
            return (format!("({query}) AS {alias}"), Source { alias, columns });
        }
        let _ = outer;
        if !self.ctes.is_empty() && self.chance(35) {
            let cte = self.ctes.choose(&mut self.random).unwrap().clone();
            return (
                format!("{} AS {alias}", cte.name),
                Source {
                    alias,
                    columns: cte.columns,
                },
            );
        }
        let (table, columns) = *TABLES.choose(&mut self.random).unwrap();
        let columns: Vec<(String, Type)> = columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect();
        let hidden = self.ctes.iter().any(|cte| cte.name == table);
        let schema = if hidden || self.chance(20) {
            "app."
        } else {
            ""
        };
        if self.chance(6) {
            // Columns by other names.
            let renamed: Vec<(String, Type)> = columns
                .iter()
                .enumerate()
                .map(|(at, (_, kind))| (format!("r{at}"), *kind))
                .collect();
            let names: Vec<&str> = renamed.iter().map(|(name, _)| name.as_str()).collect();
            return (
                format!("{schema}{table} AS {alias}({})", names.join(", ")),
                Source {
                    alias,
                    columns: renamed,
                },
            );
        }
        (
            format!("{schema}{table} AS {alias}"),
            Source { alias, columns },
        )
    }

    fn column(&mut self, scope: &[Source], kind: Type) -> String {
        let fitting: Vec<String> = scope
            .iter()
            .flat_map(|source| {
                let own = source.columns.iter().filter(|(_, of)| *of == kind);
                own.map(|(name, _)| format!("{}.{name}", source.alias))
            })
            .collect();
        match fitting.choose(&mut self.random) {
            Some(column) => column.clone(),
            None => self.constant(kind),
        }
    }

    fn constant(&mut self, kind: Type) -> String {
        match kind {
            Int => self.random.random_range(0..14).to_string(),
            Text => {
                let row = self.random.random_range(1..13);
                let tenant = self.random.random_range(1..4);
                match self.random.random_range(0..7) {
                    0 => format!("'note-{tenant}-{row}'"),
                    1 => format!("'c{tenant}_{row}'"),
                    2 => "'new'".to_owned(),
                    3 => "'paid'".to_owned(),
                    4 => format!("'u{row}@t{tenant}'"),
                    5 => format!("'sku{}'", row % 5),
                    _ => "'x'".to_owned(),
                }
            }
            Json => "'{\"t\": 2}'::jsonb".to_owned(),
            Time => "'2024-01-01'::timestamptz".to_owned(),
        }
    }

    fn expression(&mut self, scope: &[Source], kind: Type, depth: u32) -> String {
        if depth == 0 || self.chance(55) {
            return if self.chance(80) {
                self.column(scope, kind)
            } else {
                self.constant(kind)
            };
        }
        let deeper = depth - 1;
        match (kind, self.random.random_range(0..7)) {
            (Int, 0) => format!("length({})", self.expression(scope, Text, deeper)),
            (Int, 1) => format!(
                "coalesce({}, {})",
                self.expression(scope, Int, deeper),
                self.constant(Int)
            ),
            (Int, 2) => format!(
                "({} + {})",
                self.expression(scope, Int, deeper),
                self.constant(Int)
            ),
            (Int, 3) => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.boolean(scope, deeper),
                self.expression(scope, Int, deeper),
                self.constant(Int)
            ),
            (Int, 4) if self.depth < 3 => self.scalar(scope, "count(*)::int"),
            (Int, 5) => format!(
                "nullif({}, {})",
                self.expression(scope, Int, deeper),
                self.constant(Int)
            ),
            (Text, 0) => format!("upper({})", self.expression(scope, Text, deeper)),
            (Text, 1) => format!(
                "coalesce({}, {})",
                self.expression(scope, Text, deeper),
                self.constant(Text)
            ),
            (Text, 2) => format!(
                "({} || {})",
                self.expression(scope, Text, deeper),
                self.constant(Text)
            ),
            (Text, 3) => format!("{}::text", self.expression(scope, Int, deeper)),
            (Text, 4) if self.depth < 3 => self.scalar(scope, "max(note)"),
            (Text, 5) => format!("left({}, 5)", self.expression(scope, Text, deeper)),
            _ => self.column(scope, kind),
        }
    }

    fn scalar(&mut self, scope: &[Source], aggregate: &str) -> String {
        let alias = self.alias();
        let outer = self.column(scope, Int);
        self.depth += 1;
        let text = format!(
            "(SELECT {aggregate} FROM app.orders AS {alias} WHERE {alias}.{} = {outer})",
            self.pick(&["id", "customer_id", "tenant_id"])
        );
        self.depth -= 1;
        text
    }

    fn condition(&mut self, scope: &[Source]) -> String {
        if self.chance(65) {
            format!(" WHERE {}", self.boolean(scope, 2))
        } else {
            String::new()
        }
    }

    fn boolean(&mut self, scope: &[Source], depth: u32) -> String {
        if depth > 0 && self.chance(35) {
            let (left, right) = (
                self.boolean(scope, depth - 1),
                self.boolean(scope, depth - 1),
            );
            return match self.random.random_range(0..4) {
                0 | 1 => format!("({left} AND {right})"),
                2 => format!("({left} OR {right})"),
                _ => format!("NOT ({left})"),
            };
        }
        if self.chance(7) {
            return self.loud(scope);
        }
        let integer = self.column(scope, Int);
        let text = self.column(scope, Text);
        match self.random.random_range(0..12) {
            0 => format!("{integer} = {}", self.expression(scope, Int, 1)),
            1 => format!("{integer} < {}", self.expression(scope, Int, 1)),
            2 => format!("{integer} IS NOT NULL"),
            3 => format!("{text} = {}", self.expression(scope, Text, 1)),
            4 => format!("{text} LIKE '%{}%'", self.pick(&["1", "2", "3", "-", "e"])),
            5 => format!(
                "{integer} IN ({}, {}, {})",
                self.constant(Int),
                self.constant(Int),
                self.constant(Int)
            ),
            6 => format!(
                "{integer} BETWEEN {} AND {}",
                self.constant(Int),
                self.constant(Int)
            ),
            7 => format!(
                "{integer} IS DISTINCT FROM {}",
                self.expression(scope, Int, 1)
            ),
            8 if self.depth < 3 => {
                let width = 1;
                let quantifier = self.pick(&["IN", "NOT IN", "= ANY", "<> ALL"]);
                self.depth += 1;
                let (from, inner) = self.from(&[]);
                let target = self.column(&inner, Int);
                let condition = self.condition(&inner);
                self.depth -= 1;
                let _ = width;
                format!("{integer} {quantifier} (SELECT {target} FROM {from}{condition})")
            }
            9 if self.depth < 3 => {
                let not = self.pick(&["", "NOT "]);
                self.depth += 1;
                let (from, mut inner) = self.from(&[]);
                inner.extend(scope.iter().cloned());
                let condition = self.boolean(&inner, 1);
                self.depth -= 1;
                format!("{not}EXISTS (SELECT 1 FROM {from} WHERE {condition})")
            }
            10 => format!("{integer} >= {}", self.constant(Int)),
            _ => format!("{integer} <> {}", self.constant(Int)),
        }
    }

    /// A condition that may fail, and shows whose row it fails on.
    fn loud(&mut self, scope: &[Source]) -> String {
        let integer = self.column(scope, Int);
        let text = self.column(scope, Text);
        match self.random.random_range(0..6) {
            0 => format!(
                "100 / ({integer} - {}) > 0",
                self.random.random_range(1..40)
            ),
            1 => format!("{integer} + 2147483300 > 0"),
            2 => format!("'x' ~ {text}"),
            3 => format!("'abc' LIKE {text}"),
            4 => format!(
                "substring({text} from {}) = 'o'",
                self.random.random_range(1..3)
            ),
            _ => format!("({text} || 'x')::text <> ''"),
        }
    }

    fn target(&mut self) -> (&'static str, Source) {
        let (table, columns) = TABLES[..8].choose(&mut self.random).copied().unwrap();
        let alias = self.alias();
        let columns = columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect();
        (table, Source { alias, columns })
    }

    fn returning(&mut self, source: &Source) -> String {
        match self.random.random_range(0..3) {
            0 => String::new(),
            1 => format!(" RETURNING {}.*", source.alias),
            _ => format!(
                " RETURNING {}",
                self.expression(std::slice::from_ref(source), Int, 1)
            ),
        }
    }

    fn update(&mut self) -> String {
        let with = self.with(true).0;
        let (table, target) = self.target();
        let mut scope = vec![target.clone()];
        let mut from = String::new();
        if self.chance(35) {
            let (text, sources) = self.from(&[]);
            // One row of the target may meet several of these; take what does not depend on which.
            from = format!(
                " FROM (SELECT DISTINCT {} AS k FROM {text}) AS f",
                self.column(&sources, Int)
            );
            scope.push(Source {
                alias: "f".to_owned(),
                columns: vec![("k".to_owned(), Int)],
            });
        }
        let own = std::slice::from_ref(&target);
        let settable: Vec<(String, Type)> = target
            .columns
            .iter()
            .filter(|(name, kind)| {
                !["tenant_id", "id", "order_id", "line"].contains(&name.as_str())
                    && matches!(kind, Int | Text)
            })
            .cloned()
            .collect();
        let (column, kind) = settable.choose(&mut self.random).unwrap().clone();
        let tenant = if self.chance(6) {
            format!(
                ", tenant_id = {}",
                self.pick(&["2", "1", "tenant_id", "NULL"])
            )
        } else {
            String::new()
        };
        let value = if column == "login" || column == "email" {
            format!("{}.{column}", target.alias)
        } else {
            self.expression(own, kind, 1)
        };
        let join = if from.is_empty() {
            String::new()
        } else {
            format!(" AND f.k = {}", self.column(own, Int))
        };
        let condition = self.boolean(&scope, 1);
        let returning = self.returning(&target);
        format!(
            "{with}UPDATE {table} AS {} SET {column} = {value}{tenant}{from} WHERE ({condition}){join}{returning}",
            target.alias
        )
    }

    fn delete(&mut self) -> String {
        let with = self.with(true).0;
        let (table, target) = self.target();
        let mut scope = vec![target.clone()];
        let mut using = String::new();
        if self.chance(30) {
            let (text, sources) = self.from(&[]);
            using = format!(" USING {text}");
            scope.extend(sources);
        }
        let condition = self.boolean(&scope, 2);
        let returning = if using.is_empty() {
            self.returning(&target)
        } else {
            String::new()
        };
        format!(
            "{with}DELETE FROM {table} AS {}{using} WHERE {condition}{returning}",
            target.alias
        )
    }

    fn insert(&mut self) -> String {
        let with = self.with(true).0;
        let id = self.random.random_range(1..60);
        let (table, columns, values) = match self.random.random_range(0..4) {
            0 => ("orders", "id, amount, note", format!("{}, 5, 'n'", id)),
            1 => ("items", "order_id, line, sku", format!("{}, 8, 's'", id)),
            2 => ("tree", "id, parent, label", format!("{}, 1, 'l'", id)),
            _ => ("\"Orders\"", "id, v", format!("{}, 'v'", id)),
        };
        let tenant = match self.random.random_range(0..10) {
            0 => Some("2"),
            1 => Some("1"),
            2 => Some("DEFAULT"),
            3 => Some("1 + 1"),
            4 => Some("NULL"),
            _ => None,
        };
        let from_values = self.chance(45);
        // Which of several rows meets the conflict first is nobody's promise.
        let all: Vec<String> = (1..=columns.split(", ").count())
            .map(|n| n.to_string())
            .collect();
        let order = format!(" ORDER BY {}", all.join(", "));
        let source = if from_values {
            match tenant {
                Some(tenant) => format!("(tenant_id, {columns}) VALUES ({tenant}, {values})"),
                None => format!("({columns}) VALUES ({values})"),
            }
        } else {
            let (from, scope) = self.from(&[]);
            let key = self.column(&scope, Int);
            let rest: Vec<String> = columns
                .split(", ")
                .skip(1)
                .map(|column| match column {
                    "amount" | "line" | "parent" => self.expression(&scope, Int, 1),
                    _ => self.expression(&scope, Text, 1),
                })
                .collect();
            let condition = self.condition(&scope);
            let select = format!("coalesce({key}, 0) + 100, {}", rest.join(", "));
            match tenant.filter(|tenant| *tenant != "DEFAULT") {
                Some(tenant) => format!(
                    "(tenant_id, {columns}) SELECT {tenant}, {select} FROM {from}{condition}{order}, {}",
                    all.len() + 1
                ),
                None => {
                    format!("({columns}) SELECT DISTINCT {select} FROM {from}{condition}{order}")
                }
            }
        };
        let conflict = match (table, self.random.random_range(0..4)) {
            (_, 0) => " ON CONFLICT DO NOTHING",
            ("orders", 1) => {
                " ON CONFLICT (tenant_id, id) DO UPDATE SET amount = excluded.id WHERE orders.amount > 3"
            }
            ("tree", 1) => {
                " ON CONFLICT ON CONSTRAINT tree_pkey DO UPDATE SET label = 'up', parent = tree.id"
            }
            _ => "",
        };
        let returning = self.pick(&["", " RETURNING *", " RETURNING tenant_id"]);
        format!("{with}INSERT INTO {table} {source}{conflict}{returning}")
    }

    /// Another statement made of this one: it may say something else, or nothing valid.
    pub fn mutate(&mut self, text: &str) -> String {
        let swap = |text: &str, one: &str, other: &str| {
            text.replace(one, "\u{1}")
                .replace(other, one)
                .replace('\u{1}', other)
        };
        match self.random.random_range(0..9) {
            0 => swap(text, "customers", "orders"),
            1 => swap(text, "a1.", "a2."),
            2 => text.replace("app.", ""),
            3 => text.replacen(" AND ", " OR ", 1),
            4 => text.replacen("WHERE ", "WHERE NOT ", 1),
            5 => text.replacen(" 2", " 1", 1),
            6 => text
                .replacen(' ', " /* ' -- \" */ ", 1)
                .replacen("SELECT", "sElEcT", 1),
            7 => swap(text, "items", "tree"),
            _ => text
                .replacen("LEFT JOIN", "RIGHT JOIN", 1)
                .replacen("IN (", "NOT IN (", 1),
        }
    }
}
