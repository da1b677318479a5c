//! Random statements over the tables of a world, from a seed.
//!
//! Most of them are valid; a part is loud. Names of WITH items are often those of tables, constants
//! often those of rows that exist. What a statement answers does not depend on the order in which rows
//! are met: what is cut off is sorted by all that is shown, windows are of peers.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::layout::{Column, Kind, Layout, Part, Table};

use Kind::{Boolean, Date, Int, Json, Numeric, Text, Time, Uuid};

/// What can be named in an expression.
#[derive(Debug, Clone)]
struct Source {
    alias: String,
    columns: Vec<Known>,
}

/// A column in scope.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    kind: Kind,
    /// Values to compare it with.
    values: Vec<String>,
}

impl Known {
    fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            values: Vec::new(),
        }
    }

    fn of(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            kind: column.kind,
            values: column.values.clone(),
        }
    }
}

/// A query and the columns of its rows.
type Query = (String, Vec<Known>);

/// A statement.
pub struct Generated {
    pub text: String,
    /// It may write.
    pub writes: bool,
    /// What it is an example of.
    pub category: &'static str,
}

pub struct Generator<'a> {
    random: StdRng,
    layout: &'a Layout,
    aliases: u32,
    ctes: Vec<Source>,
    depth: u32,
    /// A condition that may fail was made.
    loud: bool,
}

const SELECTS: [(&str, u32); 9] = [
    ("select", 16),
    ("join", 14),
    ("aggregate", 12),
    ("window", 8),
    ("set operation", 8),
    ("with", 12),
    ("sub-select", 12),
    ("lateral, values, functions", 8),
    ("lock", 3),
];

const WRITES: [(&str, u32); 9] = [
    ("insert values", 6),
    ("insert select", 5),
    ("on conflict", 6),
    ("update", 6),
    ("update from", 5),
    ("delete", 4),
    ("delete using", 4),
    ("write in with", 5),
    ("copy to", 1),
];

impl<'a> Generator<'a> {
    pub fn new(seed: u64, layout: &'a Layout) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            layout,
            aliases: 0,
            ctes: Vec::new(),
            depth: 0,
            loud: false,
        }
    }

    /// The source of chance, for whoever changes what was made.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// The layout.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn number(&mut self, below: u32) -> u32 {
        self.random.random_range(0..below)
    }

    fn pick<'t>(&mut self, words: &[&'t str]) -> &'t str {
        words.choose(&mut self.random).unwrap()
    }

    /// The next statement.
    pub fn statement(&mut self) -> Generated {
        self.aliases = 0;
        self.ctes.clear();
        self.depth = 0;
        self.loud = false;
        let forms: Vec<(&str, u32)> = SELECTS.iter().chain(&WRITES).copied().collect();
        let form = forms
            .choose_weighted(&mut self.random, |form| form.1)
            .unwrap()
            .0;
        let text = match form {
            "select" => self.select(1),
            "join" => {
                let joins = 1 + self.number(2);
                self.select(1 + joins)
            }
            "aggregate" => self.grouped(&[]).0,
            "window" => self.windowed(),
            "set operation" => self.combined(&[]).0,
            "with" => self.with_query(),
            "sub-select" => self.nested(),
            "lateral, values, functions" => self.lateral(),
            "lock" => self.locking(),
            "insert values" => self.insert(true, false),
            "insert select" => self.insert(false, false),
            "on conflict" => {
                let values = self.chance(60);
                self.insert(values, true)
            }
            "update" => self.update(false),
            "update from" => self.update(true),
            "delete" => self.delete(false),
            "delete using" => self.delete(true),
            "write in with" => self.write_in_with(),
            _ => format!("COPY ({}) TO STDOUT", self.select(1)),
        };
        let writes = WRITES.iter().any(|(name, _)| *name == form);
        Generated {
            text,
            writes,
            category: match self.loud {
                true if writes => "loud write",
                true => "loud read",
                false => form,
            },
        }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        match self.number(12) {
            // An alias named like a table.
            0 => {
                let tables = self
                    .layout
                    .tables
                    .iter()
                    .filter_map(|table| table.short.clone());
                let names: Vec<String> = tables.collect();
                let name = names.choose(&mut self.random).unwrap().replace('"', "");
                format!("\"{name}{}\"", self.aliases)
            }
            _ => format!("a{}", self.aliases),
        }
    }

    // ---- queries

    /// A query of any form with named columns. `outer`: what it may refer to.
    fn query(&mut self, outer: &[Source], width: usize) -> Query {
        self.depth += 1;
        let query = match self.number(100) {
            0..8 if self.depth < 3 => self.combined(outer),
            8..22 => self.grouped(outer),
            _ => self.arm(outer, None, width, 1),
        };
        self.depth -= 1;
        query
    }

    fn select(&mut self, tables: u32) -> String {
        let width = 1 + self.number(3) as usize;
        self.arm(&[], None, width, tables).0
    }

    fn arm(
        &mut self,
        outer: &[Source],
        kinds: Option<&[Kind]>,
        width: usize,
        tables: u32,
    ) -> Query {
        let (from, own) = self.from(tables);
        let mut scope = own.clone();
        scope.extend(outer.iter().cloned());
        let free = kinds.is_none();
        let kinds: Vec<Kind> = match kinds {
            Some(kinds) => kinds.to_vec(),
            None => (0..width).map(|_| self.kind()).collect(),
        };
        let mut columns = Vec::new();
        let mut targets = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            let name = format!("c{index}");
            targets.push(format!("{} AS {name}", self.expression(&scope, *kind, 2)));
            columns.push(Known::new(&name, *kind));
        }
        // Rows as they are, at the outermost level.
        if free && self.depth == 0 && self.chance(12) {
            let alias = &own.choose(&mut self.random).unwrap().alias;
            targets = vec![match self.number(4) {
                0 => format!("{alias}.*"),
                1 => format!("row_to_json({alias})"),
                2 => format!("{alias}::text, count(*) OVER ()"),
                _ => format!("{alias} IS NULL, {alias}.*"),
            }];
            columns.clear();
        }
        let condition = self.condition(&scope);
        let all: Vec<String> = (1..=columns.len()).map(|n| n.to_string()).collect();
        let sortable = !kinds.contains(&Json) && !columns.is_empty();
        let distinct = match self.number(100) {
            0..8 if sortable => "DISTINCT ".to_owned(),
            8..12 if sortable => format!("DISTINCT ON ({}) ", expression(&targets[0])),
            _ => String::new(),
        };
        let mut text = format!(
            "SELECT {distinct}{} FROM {from}{condition}",
            targets.join(", ")
        );
        if sortable && (distinct.contains("ON") || self.chance(15)) {
            text += &format!(" ORDER BY {}", all.join(", "));
            if !distinct.contains("ON") {
                text += &match self.number(3) {
                    0 => format!(" LIMIT {}", 1 + self.number(20)),
                    1 => format!(" OFFSET {} LIMIT {}", self.number(4), 1 + self.number(9)),
                    _ => format!(" FETCH FIRST {} ROWS ONLY", 1 + self.number(9)),
                };
            }
        }
        (text, columns)
    }

    fn kind(&mut self) -> Kind {
        match self.number(100) {
            0..45 => Int,
            45..80 => Text,
            80..86 => Numeric,
            86..90 => Boolean,
            90..94 => Date,
            94..97 => Time,
            _ => Uuid,
        }
    }

    fn combined(&mut self, outer: &[Source]) -> Query {
        let kinds: Vec<Kind> = (0..1 + self.number(3)).map(|_| self.kind()).collect();
        let (left, columns) = self.arm(outer, Some(&kinds), 0, 1);
        let mut text = format!("({left})");
        for _ in 0..1 + self.number(2) {
            let operator = self.pick(&[
                "UNION",
                "UNION ALL",
                "INTERSECT",
                "EXCEPT",
                "EXCEPT ALL",
                "INTERSECT ALL",
            ]);
            let (right, _) = self.arm(outer, Some(&kinds), 0, 1);
            text = format!("{text} {operator} ({right})");
        }
        if self.depth == 0 && self.chance(40) {
            let all: Vec<String> = (1..=columns.len()).map(|n| n.to_string()).collect();
            text += &format!(" ORDER BY {} LIMIT {}", all.join(", "), 1 + self.number(20));
        }
        (text, columns)
    }

    fn grouped(&mut self, outer: &[Source]) -> Query {
        let tables = 1 + self.number(2);
        let (from, own) = self.from(tables);
        let mut scope = own.clone();
        scope.extend(outer.iter().cloned());
        let kinds = [Int, Text, Int];
        let keys: Vec<(String, Kind)> = (0..1 + self.number(2) as usize)
            .map(|at| (self.column(&own[..1], kinds[at]), kinds[at]))
            .collect();
        let (aggregate, kind) = self.aggregate(&scope);
        let condition = self.condition(&scope);
        let names: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
        let grouping = match self.number(10) {
            0 => format!("ROLLUP ({})", names.join(", ")),
            1 => format!("GROUPING SETS (({}), ())", names.join(", ")),
            2 => format!("CUBE ({})", names.join(", ")),
            _ => names.join(", "),
        };
        let having = match self.number(10) {
            0..3 => format!(" HAVING count(*) > {}", self.number(4)),
            3 => format!(" HAVING {} IS NOT NULL", names[0]),
            4 if self.chance(40) => {
                self.loud = true;
                let number = 1 + self.number(40);
                match keys[0].0.chars().all(|c| c.is_ascii_digit()) {
                    true => String::new(),
                    false => format!(" HAVING 100 / nullif({} - {number}, 0) <> 7", names[0]),
                }
            }
            _ => String::new(),
        };
        let mut targets: Vec<String> = Vec::new();
        let mut columns = Vec::new();
        for (at, (key, kind)) in keys.iter().enumerate() {
            // A constant as a key would be the number of a column.
            targets.push(format!("{key} AS c{at}"));
            columns.push(Known::new(&format!("c{at}"), *kind));
        }
        targets.push(format!("{aggregate} AS g"));
        columns.push(Known::new("g", kind));
        (
            format!(
                "SELECT {} FROM {from}{condition} GROUP BY {grouping}{having}",
                targets.join(", ")
            ),
            columns,
        )
    }

    fn aggregate(&mut self, scope: &[Source]) -> (String, Kind) {
        let (int, text) = (
            self.expression(scope, Int, 1),
            self.expression(scope, Text, 1),
        );
        match self.number(12) {
            0 => (format!("sum({int})::bigint"), Int),
            1 => (format!("max({int})"), Int),
            2 => (format!("min({text})"), Text),
            3 => (format!("string_agg({text}, ',' ORDER BY {text})"), Text),
            4 => (
                format!("count(*) FILTER (WHERE {})", self.boolean(scope, 1)),
                Int,
            ),
            5 => (format!("count(DISTINCT {text})"), Int),
            6 => (format!("array_agg({int} ORDER BY {int})::text"), Text),
            7 => (format!("bool_or({})", self.boolean(scope, 1)), Boolean),
            8 => (format!("avg({int})"), Numeric),
            9 => (
                format!("percentile_disc(0.5) WITHIN GROUP (ORDER BY {int})"),
                Int,
            ),
            10 => (format!("json_agg({text} ORDER BY {text})::text"), Text),
            _ => ("count(*)".to_owned(), Int),
        }
    }

    fn windowed(&mut self) -> String {
        let tables = 1 + self.number(2);
        let (from, scope) = self.from(tables);
        let (by, int) = (self.column(&scope, Int), self.expression(&scope, Int, 1));
        let part = match self.number(3) {
            0 => String::new(),
            1 => format!("PARTITION BY {} ", self.column(&scope, Text)),
            _ => format!("PARTITION BY {} ", self.column(&scope, Int)),
        };
        let call = match self.number(7) {
            0 => "rank()".to_owned(),
            1 => "dense_rank()".to_owned(),
            2 => format!("sum({int})"),
            3 => "count(*)".to_owned(),
            4 => format!("max({int})"),
            5 => format!("first_value({by})"),
            _ => "cume_dist()".to_owned(),
        };
        let frame = match self.number(6) {
            0 => " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            1 => " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE GROUP",
            2 => " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            _ => "",
        };
        let shown = self.expression(&scope, Text, 1);
        let condition = self.condition(&scope);
        match self.chance(50) {
            true => format!(
                "SELECT {shown}, {call} OVER ({part}ORDER BY {by}{frame}) FROM {from}{condition}"
            ),
            false => {
                let filter = 1 + self.number(5);
                format!(
                    "SELECT * FROM (SELECT {shown} AS s, {call} OVER w AS n FROM {from}{condition} WINDOW w AS ({part}ORDER BY {by})) q WHERE q.n <= {filter}"
                )
            }
        }
    }

    fn with_query(&mut self) -> String {
        if self.chance(20) {
            return self.recursive();
        }
        let with = self.with();
        let width = 1 + self.number(3) as usize;
        let tables = 1 + self.number(2);
        let query = match self.number(4) {
            0 => self.grouped(&[]).0,
            _ => self.arm(&[], None, width, tables).0,
        };
        format!("{with}{query}")
    }

    /// A WITH clause.
    fn with(&mut self) -> String {
        let mut items: Vec<String> = Vec::new();
        let shorts: Vec<String> = self
            .layout
            .tables
            .iter()
            .filter_map(|table| table.short.clone())
            .collect();
        for number in 0..1 + self.number(2) {
            let name = match self.chance(60) {
                true => shorts.choose(&mut self.random).unwrap().clone(),
                false => format!("w{number}"),
            };
            if items
                .iter()
                .any(|item| item.starts_with(&format!("{name} ")))
            {
                continue;
            }
            let width = 1 + self.number(3) as usize;
            let (text, mut columns) = self.query(&[], width);
            let materialized = self.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            let names = match self.chance(20) {
                true => {
                    for (at, column) in columns.iter_mut().enumerate() {
                        column.name = format!("k{at}");
                    }
                    let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                    format!("({})", names.join(", "))
                }
                false => String::new(),
            };
            items.push(format!("{name} {names} AS {materialized}({text})"));
            self.ctes.push(Source {
                alias: name,
                columns,
            });
        }
        format!("WITH {} ", items.join(", "))
    }

    fn recursive(&mut self) -> String {
        let tables = self.layout.all(Part::Tenants);
        let with_two: Vec<&&Table> = tables
            .iter()
            .filter(|table| table.columns.iter().filter(|c| c.kind == Int).count() > 1)
            .collect();
        let table = with_two.choose(&mut self.random).unwrap();
        let ints: Vec<&str> = table
            .columns
            .iter()
            .filter(|column| column.kind == Int)
            .map(|column| column.name.as_str())
            .collect();
        let (x, y) = (
            *ints.choose(&mut self.random).unwrap(),
            *ints.choose(&mut self.random).unwrap(),
        );
        let name = &table.name;
        let alias = self.pick(&["r", "s"]);
        let start = self.constant(Int);
        self.loud = true;
        format!(
            "WITH RECURSIVE {alias} (p, q, d) AS (SELECT {x}, {y}, 0 FROM {name} WHERE {x} <= {start} \
             UNION SELECT c.{x}, c.{y}, {alias}.d + 1 FROM {name} c JOIN {alias} ON c.{x} = {alias}.q WHERE {alias}.d < 3) \
             SELECT count(*), sum(p), max(d) FROM {alias}"
        )
    }

    fn nested(&mut self) -> String {
        let (from, scope) = self.from(1);
        let target = match self.number(3) {
            0 => self.scalar(&scope),
            1 => format!("ARRAY({})", self.list(&scope)),
            _ => self.expression(&scope, Int, 1),
        };
        let shown = self.column(&scope, Text);
        let condition = match self.number(4) {
            0 => format!("{} IN ({})", self.column(&scope, Int), self.list(&[])),
            1 => self.exists(&scope),
            2 => format!(
                "{} {} (SELECT {})",
                self.column(&scope, Int),
                self.pick(&["=", "<", ">="]),
                self.scalar(&scope)
            ),
            _ => {
                let (width, alias) = (1 + self.number(2) as usize, self.alias());
                let (query, columns) = self.query(&scope, width);
                let name = &columns[0].name;
                format!("EXISTS (SELECT 1 FROM ({query}) {alias} WHERE {alias}.{name} IS NOT NULL)")
            }
        };
        format!("SELECT {target} AS c0, {shown} AS c1 FROM {from} WHERE {condition}")
    }

    /// A query of one column, sorted.
    fn list(&mut self, outer: &[Source]) -> String {
        self.depth += 1;
        let (from, own) = self.from(1);
        let mut scope = own.clone();
        scope.extend(outer.iter().cloned());
        let (target, condition) = (self.column(&own, Int), self.condition(&scope));
        self.depth -= 1;
        format!("SELECT {target} FROM {from}{condition} ORDER BY 1")
    }

    fn exists(&mut self, outer: &[Source]) -> String {
        let not = self.pick(&["", "NOT "]);
        self.depth += 1;
        let (from, mut inner) = self.from(1);
        inner.extend(outer.iter().cloned());
        let condition = self.boolean(&inner, 1);
        self.depth -= 1;
        format!("{not}EXISTS (SELECT FROM {from} WHERE {condition})")
    }

    fn scalar(&mut self, scope: &[Source]) -> String {
        let tables = self.layout.all(Part::Tenants);
        let table = *tables.choose(&mut self.random).unwrap();
        let alias = self.alias();
        let outer = self.column(scope, Int);
        let ints = table.columns.iter().filter(|column| column.kind == Int);
        let ints: Vec<&str> = ints.map(|column| column.name.as_str()).collect();
        let inner = ints
            .choose(&mut self.random)
            .map_or("1".to_owned(), |name| format!("{alias}.{name}"));
        let name = &table.name;
        format!("(SELECT count(*)::int FROM {name} AS {alias} WHERE {inner} = {outer})")
    }

    fn lateral(&mut self) -> String {
        let (from, scope) = self.from(1);
        let alias = self.alias();
        let kind = self.pick(&["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"]);
        let on = if kind.starts_with("LEFT") {
            " ON true"
        } else {
            ""
        };
        let shown = self.expression(&scope, Int, 1);
        match self.number(5) {
            0 => {
                let width = 1 + self.number(2) as usize;
                let (query, columns) = self.query(&scope, width);
                let name = &columns[0].name;
                format!(
                    "SELECT {shown}, {alias}.{name} FROM {from} {kind} ({query}) AS {alias}{on}"
                )
            }
            1 => {
                self.loud = true;
                format!(
                    "SELECT {shown}, {alias}.n FROM {from} {kind} generate_series(1, 2) AS {alias}(n){on}{}",
                    self.condition(&scope)
                )
            }
            2 => {
                let (one, two) = (self.constant(Int), self.constant(Int));
                let (word, other) = (self.constant(Text), self.constant(Text));
                let column = self.column(&scope, Int);
                format!(
                    "SELECT {shown}, {alias}.s FROM {from} JOIN (VALUES ({one}, {word}), ({two}, {other})) AS {alias}(n, s) ON {alias}.n = {column}"
                )
            }
            3 => {
                self.loud = true;
                let (one, two) = (self.constant(Int), self.column(&scope, Int));
                format!(
                    "SELECT {shown}, {alias}.* FROM {from} {kind} unnest(ARRAY[{one}, {two}]) WITH ORDINALITY AS {alias}(v, o){on}"
                )
            }
            _ => {
                let list = self.list(&scope);
                format!(
                    "SELECT {shown}, {alias}.x FROM {from} {kind} ({list} LIMIT {}) AS {alias}(x){on}",
                    1 + self.number(3)
                )
            }
        }
    }

    fn locking(&mut self) -> String {
        let (table, source) = self.target();
        let shown = self.expression(std::slice::from_ref(&source), Int, 1);
        let condition = self.boolean(std::slice::from_ref(&source), 1);
        let lock = self.pick(&[
            "FOR UPDATE",
            "FOR SHARE",
            "FOR NO KEY UPDATE SKIP LOCKED",
            "FOR KEY SHARE",
        ]);
        let name = self.name(table);
        format!(
            "SELECT {shown} FROM {name} AS {} WHERE {condition} {lock}",
            source.alias
        )
    }

    // ---- FROM

    fn from(&mut self, tables: u32) -> (String, Vec<Source>) {
        let (mut text, first) = self.relation();
        let mut scope = vec![first];
        for _ in 1..tables {
            let (right, source) = self.relation();
            scope.push(source);
            let kind = self.pick(&[
                "JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
                "CROSS JOIN",
                "USING",
            ]);
            let (left, right_column) = (
                self.column(&scope[..1], Int),
                self.column(&scope[scope.len() - 1..], Int),
            );
            text = match kind {
                // Of three tables it would be too much.
                "CROSS JOIN" if tables == 2 => format!("{text} CROSS JOIN {right}"),
                "USING" => match self.shared_column(&scope) {
                    Some(name) if tables == 2 => {
                        let kind = self.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
                        format!("{text} {kind} {right} USING ({name})")
                    }
                    _ => format!("{text} JOIN {right} ON {left} = {right_column}"),
                },
                "FULL JOIN" => format!("{text} FULL JOIN {right} ON {left} = {right_column}"),
                kind => {
                    let kind = if kind == "CROSS JOIN" { "JOIN" } else { kind };
                    let both = scope.clone();
                    let more = match self.number(10) {
                        0..3 => format!(" AND {}", self.boolean(&both, 1)),
                        _ => String::new(),
                    };
                    format!("{text} {kind} {right} ON {left} = {right_column}{more}")
                }
            };
        }
        (text, scope)
    }

    /// A column that the first and the last have.
    fn shared_column(&mut self, scope: &[Source]) -> Option<String> {
        let (first, last) = (scope.first()?, scope.last()?);
        let both: Vec<&Known> = first
            .columns
            .iter()
            .filter(|column| {
                let mut same = last
                    .columns
                    .iter()
                    .filter(|other| other.name == column.name);
                same.next().is_some_and(|other| other.kind == column.kind) && column.kind != Json
            })
            .collect();
        both.choose(&mut self.random)
            .map(|column| column.name.clone())
    }

    fn relation(&mut self) -> (String, Source) {
        let alias = self.alias();
        if self.depth < 2 && self.chance(15) {
            let width = 1 + self.number(3) as usize;
            let (query, columns) = self.query(&[], width);
            return (format!("({query}) AS {alias}"), Source { alias, columns });
        }
        if !self.ctes.is_empty() && self.chance(45) {
            let cte = self.ctes.choose(&mut self.random).unwrap().clone();
            let columns = cte.columns;
            return (
                format!("{} AS {alias}", cte.alias),
                Source { alias, columns },
            );
        }
        let part = match self.number(100) {
            0..82 => Part::Tenants,
            82..90 => Part::Shared,
            _ => Part::View,
        };
        let tables = self.layout.all(part);
        let table = *tables.choose(&mut self.random).unwrap();
        let name = self.name(table);
        let mut columns: Vec<Known> = table.columns.iter().map(Known::of).collect();
        if self.chance(6) {
            // Columns by other names.
            for (at, column) in columns.iter_mut().enumerate() {
                column.name = format!("r{at}");
            }
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let text = format!("{name} AS {alias}({})", names.join(", "));
            return (text, Source { alias, columns });
        }
        let only = if part == Part::Tenants && self.chance(4) {
            "ONLY "
        } else {
            ""
        };
        (
            format!("{only}{name} AS {alias}"),
            Source { alias, columns },
        )
    }

    /// A table's name as it means that table here.
    fn name(&mut self, table: &Table) -> String {
        match &table.short {
            Some(short) if !self.ctes.iter().any(|cte| cte.alias == *short) && self.chance(80) => {
                short.clone()
            }
            _ => table.name.clone(),
        }
    }

    // ---- expressions

    fn known(&mut self, scope: &[Source], kind: Kind) -> Option<(String, Vec<String>)> {
        let fitting: Vec<(String, Vec<String>)> = scope
            .iter()
            .flat_map(|source| {
                let own = source.columns.iter().filter(|column| column.kind == kind);
                own.map(|column| {
                    let name = format!("{}.{}", source.alias, column.name);
                    (name, column.values.clone())
                })
            })
            .collect();
        fitting.choose(&mut self.random).cloned()
    }

    fn column(&mut self, scope: &[Source], kind: Kind) -> String {
        match self.known(scope, kind) {
            Some((column, _)) => column,
            None => format!("coalesce({}, NULL)", self.constant(kind)),
        }
    }

    fn constant(&mut self, kind: Kind) -> String {
        let values = self.layout.values.get(&kind);
        let known = values
            .and_then(|values| values.choose(&mut self.random))
            .cloned();
        match (kind, known) {
            (Int, _) if self.chance(60) => self.number(14).to_string(),
            (_, Some(value)) => value,
            (Int, None) => "1".to_owned(),
            (Text, None) => "'x'".to_owned(),
            (Numeric, None) => "1.5".to_owned(),
            (Boolean, None) => "true".to_owned(),
            (Date, None) => "DATE '2024-01-05'".to_owned(),
            (Time, None) => "TIMESTAMPTZ '2024-01-05 00:00Z'".to_owned(),
            (Uuid, None) => "'00000000-0000-4000-8000-000000000002'::uuid".to_owned(),
            (Json, None) => "'{}'::jsonb".to_owned(),
            (_, None) => "NULL".to_owned(),
        }
    }

    fn expression(&mut self, scope: &[Source], kind: Kind, depth: u32) -> String {
        if depth == 0 || self.chance(55) {
            return if self.chance(85) {
                self.column(scope, kind)
            } else {
                self.constant(kind)
            };
        }
        let deeper = depth - 1;
        match (kind, self.number(8)) {
            (Int, 0) => format!("length({})", self.expression(scope, Text, deeper)),
            (Int, 1) | (Numeric, 0) | (Date, 0) | (Time, 0) | (Uuid, 0) | (Boolean, 0) => format!(
                "coalesce({}, {})",
                self.expression(scope, kind, deeper),
                self.constant(kind)
            ),
            (Int, 2) => format!(
                "({} + {})",
                self.expression(scope, Int, deeper),
                self.number(20)
            ),
            (Int, 3) => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.boolean(scope, deeper),
                self.expression(scope, Int, deeper),
                self.number(20)
            ),
            (Int, 4) if self.depth < 2 => self.scalar(scope),
            (Int, 5) => format!(
                "nullif({}, {})",
                self.expression(scope, Int, deeper),
                self.constant(Int)
            ),
            (Int, 6) => format!("abs({})", self.expression(scope, Int, deeper)),
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
            (Text, 4) => format!("left({}, 6)", self.expression(scope, Text, deeper)),
            (Text, 5) => match self.known(scope, Json) {
                Some((column, _)) => {
                    format!("({column} ->> {})", self.pick(&["'t'", "'k'", "'i'"]))
                }
                None => self.column(scope, Text),
            },
            (Text, 6) => format!(
                "greatest({}, {})",
                self.expression(scope, Text, deeper),
                self.constant(Text)
            ),
            (Boolean, 1..5) => self.boolean(scope, deeper),
            _ => self.column(scope, kind),
        }
    }

    fn condition(&mut self, scope: &[Source]) -> String {
        if self.chance(65) {
            format!(" WHERE {}", self.boolean(scope, 2))
        } else {
            String::new()
        }
    }

    /// A column compared with something like what stands in it.
    fn comparison(&mut self, scope: &[Source]) -> String {
        let kind = self.kind();
        let Some((column, values)) = self.known(scope, kind) else {
            return format!("{} IS NOT NULL", self.column(scope, Int));
        };
        let operator = self.pick(&["=", "=", "<", ">=", "<>", "<="]);
        match values.choose(&mut self.random) {
            Some(value) if self.chance(70) => format!("{column} {operator} {value}"),
            _ => format!("{column} {operator} {}", self.expression(scope, kind, 1)),
        }
    }

    fn boolean(&mut self, scope: &[Source], depth: u32) -> String {
        if depth > 0 && self.chance(35) {
            let (left, right) = (
                self.boolean(scope, depth - 1),
                self.boolean(scope, depth - 1),
            );
            return match self.number(4) {
                0 | 1 => format!("({left} AND {right})"),
                2 => format!("({left} OR {right})"),
                _ => format!("NOT ({left})"),
            };
        }
        if self.chance(6) {
            return self.loud(scope);
        }
        let integer = self.column(scope, Int);
        let text = self.column(scope, Text);
        match self.number(14) {
            0..4 => self.comparison(scope),
            4 => format!("{integer} IS {}NULL", self.pick(&["", "NOT "])),
            5 => format!("{text} LIKE '%{}%'", self.pick(&["1", "2", "3", "-", "e"])),
            6 => {
                let list: Vec<String> = (0..3).map(|_| self.constant(Int)).collect();
                format!(
                    "{integer} {}IN ({})",
                    self.pick(&["", "NOT "]),
                    list.join(", ")
                )
            }
            7 => format!(
                "{integer} BETWEEN {} AND {}",
                self.constant(Int),
                self.constant(Int)
            ),
            8 => format!(
                "{integer} IS DISTINCT FROM {}",
                self.expression(scope, Int, 1)
            ),
            9 if self.depth < 2 => {
                let quantifier = self.pick(&["IN", "NOT IN", "= ANY", "<> ALL", "> ANY"]);
                format!("{integer} {quantifier} ({})", self.list(&[]))
            }
            10 if self.depth < 2 => self.exists(scope),
            11 => format!(
                "({integer}, {text}) = ({}, {})",
                self.constant(Int),
                self.constant(Text)
            ),
            12 => format!(
                "{integer} = ANY (ARRAY[{}, {}])",
                self.number(9),
                self.number(30)
            ),
            _ => match self.known(scope, Boolean) {
                Some((column, _)) => format!("{column} IS NOT TRUE"),
                None => format!("{integer} < {}", self.constant(Int)),
            },
        }
    }

    /// A condition that may fail, and shows whose row it fails on.
    fn loud(&mut self, scope: &[Source]) -> String {
        self.loud = true;
        let integer = self.column(scope, Int);
        let text = match self.chance(60) {
            true => self.code(scope),
            false => self.column(scope, Text),
        };
        match self.number(14) {
            0 => format!("100 / ({integer} - {}) > 0", 1 + self.number(40)),
            1 => format!("{integer} + 2147483300 > 0"),
            2 => format!("'x' ~ {text}"),
            3 => format!("'abc' LIKE {text}"),
            4 => format!("substring({text} from {}) = 'o'", 1 + self.number(2)),
            5 => format!("{text}::int > {}", self.number(20)),
            6 => format!("{text}::date > DATE '2024-01-12'"),
            7 => format!("to_date({text}, 'YYYY-MM-DD') IS NOT NULL"),
            8 => format!("regexp_replace({text}, {text}, 'y') <> ''"),
            9 => match self.known(scope, Numeric) {
                Some((column, _)) => format!("{column}::int < 50"),
                None => format!("sqrt({integer}) < 3"),
            },
            10 => match self.known(scope, Date) {
                Some((column, _)) => format!("{column} + {integer} > DATE '2024-02-01'"),
                None => format!("repeat({text}, {integer}) = ''"),
            },
            11 => match self.known(scope, Json) {
                Some((column, _)) => format!("({column} ->> 't')::int > 1"),
                None => format!("{text}::uuid IS NOT NULL"),
            },
            12 => format!("{text} LIKE '_{}\\'", self.pick(&["q", "1", "o"])),
            _ => format!("({text} || 'x')::text <> ''"),
        }
    }

    /// A column on whose values of others casts and patterns fail, if there is one.
    fn code(&mut self, scope: &[Source]) -> String {
        let found = scope.iter().find_map(|source| {
            let code = source.columns.iter().find(|column| column.name == "code")?;
            (code.kind == Text).then(|| format!("{}.code", source.alias))
        });
        found.unwrap_or_else(|| self.column(scope, Text))
    }

    // ---- writes

    fn target(&mut self) -> (&'a Table, Source) {
        let tables = self.layout.all(Part::Tenants);
        let table = *tables.choose(&mut self.random).unwrap();
        let source = Source {
            alias: self.alias(),
            columns: table.columns.iter().map(Known::of).collect(),
        };
        (table, source)
    }

    fn returning(&mut self, source: &Source) -> String {
        let scope = std::slice::from_ref(source);
        match self.number(4) {
            0 => String::new(),
            1 => format!(" RETURNING {}.*", source.alias),
            2 => format!(
                " RETURNING {}, {}",
                self.expression(scope, Int, 2),
                self.expression(scope, Text, 1)
            ),
            _ => format!(" RETURNING {} AS n", self.expression(scope, Int, 1)),
        }
    }

    fn settable(&mut self, table: &'a Table) -> Option<&'a Column> {
        let columns: Vec<&Column> = table
            .columns
            .iter()
            .filter(|column| {
                !table.is_key(&column.name)
                    && matches!(column.kind, Int | Text | Numeric | Date | Boolean)
                    && !column.not_null
            })
            .collect();
        columns.choose(&mut self.random).copied()
    }

    /// A value of a tenant column: most are ours.
    fn tenant(&mut self) -> String {
        let tenants = &self.layout.tenants;
        match self.number(10) {
            0..4 => tenants[0].clone(),
            4..6 => tenants.choose(&mut self.random).unwrap().clone(),
            6 => "NULL".to_owned(),
            7 => "DEFAULT".to_owned(),
            8 => format!("coalesce({}, NULL)", tenants[0]),
            _ => format!(
                "coalesce(NULL, {})",
                tenants.choose(&mut self.random).unwrap().clone()
            ),
        }
    }

    fn update(&mut self, joined: bool) -> String {
        let with = if self.chance(15) {
            self.with()
        } else {
            String::new()
        };
        let (table, target) = loop {
            let (table, target) = self.target();
            if self.settable(table).is_some() {
                break (table, target);
            }
        };
        let mut scope = vec![target.clone()];
        let own = std::slice::from_ref(&target);
        let mut from = String::new();
        let mut join = String::new();
        if joined {
            let (text, sources) = self.from(1);
            // One row of the target may meet several of these: one of each key.
            let key = self.column(&sources, Int);
            from = format!(" FROM (SELECT DISTINCT {key} AS k FROM {text}) AS f");
            join = format!(" AND f.k = {}", self.column(own, Int));
            scope.push(Source {
                alias: "f".to_owned(),
                columns: vec![Known::new("k", Int)],
            });
        }
        let column = self.settable(table).unwrap();
        let value = self.expression(&scope, column.kind, 1);
        let mut set = match self.number(8) {
            0 => {
                let other = table.columns.iter().find(|other| {
                    !table.is_key(&other.name) && other.name != column.name && other.kind == Int
                });
                match other {
                    Some(other) => {
                        let inner = self.scalar(own);
                        format!(
                            "({}, {}) = (SELECT {value}, {inner})",
                            column.name, other.name
                        )
                    }
                    None => format!("{} = {value}", column.name),
                }
            }
            1 => format!("{} = DEFAULT", column.name),
            _ => format!("{} = {value}", column.name),
        };
        if self.chance(8) {
            set += &format!(", {} = {}", table.tenant, self.tenant());
        }
        let condition = self.boolean(&scope, 1);
        let returning = self.returning(&target);
        let name = self.name(table);
        format!(
            "{with}UPDATE {name} AS {} SET {set}{from} WHERE ({condition}){join}{returning}",
            target.alias
        )
    }

    fn delete(&mut self, joined: bool) -> String {
        let with = if self.chance(15) {
            self.with()
        } else {
            String::new()
        };
        let (table, target) = self.target();
        let mut scope = vec![target.clone()];
        let mut using = String::new();
        if joined {
            let (text, sources) = self.from(1);
            using = format!(" USING {text}");
            scope.extend(sources);
        }
        let condition = self.boolean(&scope, 2);
        let returning = self.returning(&target);
        let name = self.name(table);
        format!(
            "{with}DELETE FROM {name} AS {}{using} WHERE {condition}{returning}",
            target.alias
        )
    }

    fn insert(&mut self, values: bool, conflict: bool) -> String {
        let with = if self.chance(12) {
            self.with()
        } else {
            String::new()
        };
        let (table, target) = self.target();
        let columns: Vec<&Column> = table
            .columns
            .iter()
            .filter(|column| column.name != table.tenant)
            .collect();
        let given: Vec<&Column> = columns
            .into_iter()
            .filter(|column| table.is_key(&column.name) || column.not_null || self.number(100) < 60)
            .collect();
        let mut names: Vec<String> = given.iter().map(|column| column.name.clone()).collect();
        let place = self
            .chance(40)
            .then(|| self.number(names.len() as u32 + 1) as usize);
        if let Some(place) = place {
            names.insert(place, table.tenant.clone());
        }
        let source = if values {
            let count = 1 + self.number(3);
            let rows: Vec<String> = (0..count)
                .map(|_| {
                    let mut row: Vec<String> = given
                        .iter()
                        .map(|column| self.fresh(table, column))
                        .collect();
                    if let Some(place) = place {
                        row.insert(place, self.tenant());
                    }
                    format!("({})", row.join(", "))
                })
                .collect();
            format!("VALUES {}", rows.join(", "))
        } else {
            self.rows(table, &given, place)
        };
        let list = match place.is_some() && self.chance(10) && names.len() == table.columns.len() {
            true => String::new(),
            false => format!(" ({})", names.join(", ")),
        };
        let conflict = if conflict || self.chance(20) {
            self.conflict(table)
        } else {
            String::new()
        };
        let short = table.name.rsplit_once('.').unwrap().1;
        let returning = match self.number(4) {
            0 => " RETURNING *".to_owned(),
            1 => format!(" RETURNING {short}.{}", table.tenant),
            2 => {
                let known = Source {
                    alias: short.to_owned(),
                    columns: target.columns,
                };
                format!(" RETURNING {}", self.expression(&[known], Text, 1))
            }
            _ => String::new(),
        };
        let name = self.name(table);
        format!("{with}INSERT INTO {name}{list} {source}{conflict}{returning}")
    }

    /// A value for a column of a new row: keys are new or not.
    fn fresh(&mut self, table: &Table, column: &Column) -> String {
        let known = column.values.choose(&mut self.random).cloned();
        match (column.kind, known) {
            (Int, _) if table.is_key(&column.name) => self.number(140).to_string(),
            (Int, _) if self.chance(50) => self.number(14).to_string(),
            (Text, _) if self.chance(40) => format!("'new{}'", self.number(30)),
            (_, Some(value)) if !column.type_name.ends_with("[]") || self.chance(50) => value,
            (_, _) if column.not_null => self.constant(column.kind),
            _ => self.pick(&["NULL", "DEFAULT"]).to_owned(),
        }
    }

    /// A query that gives rows for these columns, sorted.
    fn rows(&mut self, table: &Table, given: &[&Column], place: Option<usize>) -> String {
        let (from, scope) = self.from(1);
        let mut targets: Vec<String> = Vec::new();
        for column in given {
            let value = match column.kind {
                Int if table.is_key(&column.name) => {
                    format!(
                        "coalesce({}, 0) + {}",
                        self.column(&scope, Int),
                        100 + self.number(3)
                    )
                }
                kind if column.not_null => {
                    let value = self.expression(&scope, kind, 1);
                    format!("coalesce({value}, {})", self.constant(kind))
                }
                Kind::Other | Kind::Float | Json => format!("NULL::{}", column.type_name),
                kind => self.expression(&scope, kind, 1),
            };
            targets.push(value);
        }
        let sorted: Vec<String> = given
            .iter()
            .enumerate()
            .filter(|(_, column)| column.kind != Json)
            .map(|(at, _)| {
                (at + 1 + usize::from(place.is_some_and(|place| place <= at))).to_string()
            })
            .collect();
        if let Some(place) = place {
            let tenant = match self.tenant().as_str() {
                "DEFAULT" => "NULL".to_owned(),
                tenant => tenant.to_owned(),
            };
            let kind = table.column(&table.tenant).type_name.clone();
            let tenant = match self.chance(50) {
                true => format!("{tenant}::{kind}"),
                false => tenant,
            };
            targets.insert(place, tenant);
        }
        let distinct = if self.chance(40) { "DISTINCT " } else { "" };
        let condition = self.condition(&scope);
        format!(
            "SELECT {distinct}{} FROM {from}{condition} ORDER BY {} LIMIT {}",
            targets.join(", "),
            sorted.join(", "),
            1 + self.number(25)
        )
    }

    fn conflict(&mut self, table: &'a Table) -> String {
        let key = table.keys.choose(&mut self.random).unwrap().join(", ");
        let short = table.name.rsplit_once('.').unwrap().1.to_owned();
        let target = match self.number(3) {
            0 => format!(" ON CONFLICT ON CONSTRAINT {}", table.constraint),
            _ => format!(" ON CONFLICT ({key})"),
        };
        let Some(column) = self.settable(table) else {
            return format!("{target} DO NOTHING");
        };
        let known = Source {
            alias: short,
            columns: table.columns.iter().map(Known::of).collect(),
        };
        let proposed = Source {
            alias: "excluded".to_owned(),
            columns: known.columns.clone(),
        };
        match self.number(5) {
            0 => " ON CONFLICT DO NOTHING".to_owned(),
            1 => format!("{target} DO NOTHING"),
            _ => {
                let both = [known, proposed];
                let value = match self.chance(50) {
                    true => format!("excluded.{}", column.name),
                    false => self.expression(&both, column.kind, 1),
                };
                let mut set = format!("{} = {value}", column.name);
                if self.chance(8) {
                    let tenant = match self.number(3) {
                        0 => format!("excluded.{}", table.tenant),
                        _ => self.tenant(),
                    };
                    set += &format!(", {} = {tenant}", table.tenant);
                }
                let condition = match self.chance(40) {
                    true => format!(" WHERE {}", self.boolean(&both, 1)),
                    false => String::new(),
                };
                format!("{target} DO UPDATE SET {set}{condition}")
            }
        }
    }

    /// A write in a WITH item, whose rows are read once or twice.
    fn write_in_with(&mut self) -> String {
        let (table, target) = self.target();
        let shown = target.columns.iter().find(|column| column.kind == Int);
        let (name, alias) = (table.name.clone(), target.alias.clone());
        let shown = shown.map_or_else(
            || "1".to_owned(),
            |column| format!("{alias}.{}", column.name),
        );
        let condition = self.boolean(std::slice::from_ref(&target), 1);
        let write = match (self.number(3), self.settable(table)) {
            (0, Some(column)) => {
                let value = self.expression(std::slice::from_ref(&target), column.kind, 1);
                format!(
                    "UPDATE {name} AS {alias} SET {} = {value} WHERE {condition} RETURNING {shown} AS n",
                    column.name
                )
            }
            _ => format!("DELETE FROM {name} AS {alias} WHERE {condition} RETURNING {shown} AS n"),
        };
        let with = self.pick(&["w", "x"]);
        let (from, scope) = self.from(1);
        let column = self.column(&scope, Int);
        match self.number(4) {
            0 => format!("WITH {with} AS ({write}) SELECT count(*), sum(n) FROM {with}"),
            1 => format!(
                "WITH {with} AS ({write}) SELECT {column}, {with}.n FROM {from} LEFT JOIN {with} ON {with}.n = {column}"
            ),
            2 => format!(
                "WITH {with} AS ({write}) SELECT (SELECT count(*) FROM {with}), (SELECT max(n) FROM {with}), {column} FROM {from}"
            ),
            _ => {
                let others: Vec<&Table> = self
                    .layout
                    .all(Part::Tenants)
                    .into_iter()
                    .filter(|other| other.name != table.name)
                    .collect();
                let other = *others.choose(&mut self.random).unwrap();
                let ints = other.columns.iter().filter(|column| column.kind == Int);
                let ints: Vec<&str> = ints.map(|column| column.name.as_str()).collect();
                match ints.choose(&mut self.random) {
                    Some(key) => format!(
                        "WITH {with} AS ({write}) DELETE FROM {} AS o USING {with} WHERE o.{key} = {with}.n RETURNING o.{}",
                        other.name, other.tenant
                    ),
                    None => {
                        format!("WITH {with} AS ({write}) SELECT n FROM {with} ORDER BY n LIMIT 3")
                    }
                }
            }
        }
    }
}

/// A target without its name.
fn expression(target: &str) -> &str {
    target
        .rsplit_once(" AS ")
        .map_or(target, |(expression, _)| expression)
}
