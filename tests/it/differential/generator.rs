//! Random conversations a correct client may hold.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::conversation::{End, Step};
use crate::client::Login;
use crate::message::{
    self, bind, close, copy_data, copy_done, copy_fail, describe, execute, flush, parse, query,
    sync,
};
use crate::postgres::ROLE;

/// The tables of one slot.
pub const SCHEMA: &str = "
    drop schema if exists {s} cascade;
    create schema {s};
    create table {s}.t (id int primary key, v text, n int, d numeric(12,2));
    insert into {s}.t select i, 'v' || i, i * 10, i / 3.0 from generate_series(1, 10) i;
    create table {s}.u (id int primary key, v text not null check (v <> 'bad'));
    create table {s}.c (id int primary key, r int references {s}.t deferrable initially deferred);
    create function {s}.boom(x int, at int) returns int language plpgsql as
        $$ begin if x = at then raise exception 'boom at %', x using hint = 'smaller', errcode = 'P0042'; end if; return x; end $$;
    create function {s}.note(x int) returns int language plpgsql as
        $$ begin raise notice 'note %', x using detail = 'a detail'; return x; end $$;
";

const INT4: u32 = 23;
const TEXT: u32 = 25;
const UNKNOWN: u32 = 0;

/// A statement with parameters: text and the type each parameter has.
type Prepared = (&'static str, &'static [u32]);

const SELECTS: &[&str] = &[
    "select 1",
    "select 1 as a, 'x' as b, null::int as c",
    "select * from {s}.t order by id",
    "select id, v from {s}.t where id = 3",
    "select count(*), sum(n), max(v) from {s}.t",
    "select i, repeat('r', i % 40) from generate_series(1, 60) i",
    "select repeat('x', 6000) from generate_series(1, 6)",
    "select repeat('y', 40000)",
    "select",
    "values (1, 'a'), (2, 'b')",
    "table {s}.u order by id",
    "select {s}.note(id) from {s}.t where id < 4 order by id",
    "do $$ begin raise warning 'careful'; end $$",
    "drop table if exists {s}.absent",
    "explain (costs off) select 1",
    "select array_agg(id order by id), now() = now() from {s}.t",
];

const EMPTIES: &[&str] = &[
    "",
    ";",
    "  ",
    "-- nothing",
    "/* a /* nested */ comment */",
    ";;",
    "\n",
];

const ERRORS: &[&str] = &[
    "select 1/0",
    "select nope",
    "selekt 1",
    "select * from {s}.absent",
    "select {s}.boom(i, 4) from generate_series(1, 9) i",
    "insert into {s}.t values (1, 'again')",
    "insert into {s}.u values (1, 'bad')",
    "select 'a'::int",
    "select 1 from",
    "select 'unterminated",
    "select \"",
    "execute absent",
    "fetch 1 from absent",
    "close absent",
    "deallocate absent",
    "set work_mem = 'much'",
    "set absent_setting = 1",
    "show absent_setting",
    "rollback to absent",
    "release absent",
    "select pg_catalog.no_such_function(1)",
    "insert into {s}.c values (1, 999)",
    "lock table {s}.t",
    "set role absent",
];

const WRITES: &[&str] = &[
    "insert into {s}.t (id, v) values ({n}, 'new') on conflict (id) do update set v = 'again' returning id, v",
    "update {s}.t set n = coalesce(n, 0) + 1 where id = {n}",
    "update {s}.t set v = 'w{n}' where id = {n} returning *",
    "delete from {s}.t where id = {n} and id > 10",
    "insert into {s}.u select i, 'u' || i from generate_series({n}, {n} + 3) i on conflict do nothing",
    "delete from {s}.u",
    "insert into {s}.c values ({n}, 1) on conflict do nothing",
];

const TRANSACTION: &[&str] = &[
    "begin",
    "BEGIN",
    "begin;",
    "start transaction",
    "begin work",
    "commit",
    "COMMIT",
    "end",
    "rollback",
    "abort",
    "commit and chain",
    "rollback and chain",
    "begin isolation level serializable",
    "begin transaction isolation level repeatable read, read only",
    "begin read only",
    "begin deferrable",
    "start transaction read write",
    "/* lead */ begin -- tail",
    "set transaction isolation level repeatable read",
    "set transaction read only",
    "begin isolation level nonsense",
    "begin read only, read write",
];

const SAVEPOINTS: &[&str] = &[
    "savepoint a",
    "savepoint b",
    "rollback to a",
    "rollback to savepoint b",
    "release a",
    "release savepoint b",
];

const SETTINGS: &[&str] = &[
    "set work_mem = '3MB'",
    "set work_mem to '5MB'",
    "set local work_mem = '7MB'",
    "set session work_mem = default",
    "reset work_mem",
    "set application_name = 'one'",
    "set application_name = 'it''s \"two\"; select 1'",
    "set local application_name = 'three'",
    "reset application_name",
    "set datestyle = 'German, DMY'",
    "set datestyle to iso, ymd",
    "set local datestyle = 'SQL'",
    "set timezone = 'Europe/Vienna'",
    "set time zone 'America/New_York'",
    "set time zone -5",
    "set time zone default",
    "set local time zone 'Asia/Tokyo'",
    "set intervalstyle = 'iso_8601'",
    "set search_path = {s}, pg_catalog",
    "set search_path = \"odd \"\"name\", {s}",
    "set search_path = ''",
    "set search_path to {s}",
    "reset search_path",
    "set extra_float_digits = 0",
    "set bytea_output = 'escape'",
    "set standard_conforming_strings = on",
    "set client_encoding = 'LATIN1'",
    "set client_encoding to 'UTF8'",
    "set names 'UTF8'",
    "set my.own = 'value'",
    "set my.own = ''",
    "set \"my\".\"own\" = 'quoted'",
    "set statement_timeout = '300s'",
    "set lock_timeout = 20000",
    "set enable_seqscan = off",
    "set default_transaction_isolation = 'repeatable read'",
    "set default_transaction_read_only = off",
    "set session characteristics as transaction isolation level serializable",
    "set session characteristics as transaction read write",
    "select set_config('work_mem', '9MB', false)",
    "select set_config('work_mem', '11MB', true)",
    "select set_config('application_name', 'four', false), set_config('my.own', 'five', false)",
    "set role other",
    "set local role other",
    "set role none",
    "reset role",
    "set session authorization default",
    "reset session authorization",
    "reset all",
    "discard plans",
    "discard sequences",
    "set xmloption = 'document'",
    "set seed = 0.5",
];

const SHOWS: &[&str] = &[
    "show work_mem",
    "show application_name",
    "show datestyle",
    "show timezone",
    "show search_path",
    "show extra_float_digits",
    "show client_encoding",
    "show default_transaction_isolation",
    "show transaction_isolation",
    "show transaction_read_only",
    "show statement_timeout",
    "show enable_seqscan",
    "show intervalstyle",
    "select current_setting('work_mem'), nullif(current_setting('my.own', true), ''), current_user, session_user",
    "select current_schemas(false)",
    "select interval '1 day 2 hours', timestamptz '2024-02-03 04:05:06+00', 0.1::float8, '\\x00ff'::bytea",
    "select count(*) from t",
];

const BLOCKS: &[&str] = &[
    "begin; select 1; commit",
    "begin; select 1/0; commit",
    "begin; create table {s}.x (a int); insert into {s}.x values (1); select * from {s}.x; rollback",
    "begin; declare k cursor for select i from generate_series(1, 9) i; fetch 3 from k; move 2 in k; fetch all from k; close k; rollback",
    "select 1; select 2; select 3",
    "select 1;; select 2;",
    "select 1; select 1/0; select 3",
    "select 1/0; select 2",
    "select 1; select 2; selekt 3",
    "update {s}.t set v = 'lost' where id = 1; select 1/0",
    "select 1; begin; select 2",
    "commit; select 1",
    "begin; savepoint a; select 1/0",
    "begin; savepoint a; update {s}.t set n = 1 where id = 1; rollback to a; commit",
    "begin; set local work_mem = '13MB'; show work_mem; rollback; show work_mem",
    "begin; set work_mem = '15MB'; rollback; show work_mem",
    "begin; set work_mem = '17MB'; commit; show work_mem",
    "begin; set work_mem = '19MB'; savepoint a; set work_mem = '21MB'; rollback to a; commit; show work_mem",
    "set work_mem = '23MB'; select 1/0",
    "set work_mem = '25MB'; show work_mem",
    "begin; prepare own as select $1::int + 1; execute own(4); deallocate own; rollback",
    "begin; insert into {s}.c values (77, 999); commit",
    "begin; insert into {s}.c values (77, 999); set constraints all immediate; commit",
    "insert into {s}.c values (78, 999); select 1",
    "begin; lock table {s}.t in share mode; rollback",
    "begin; begin; commit; commit",
    "copy (select id, v from {s}.t order by id) to stdout; select 5",
    "begin; truncate {s}.u; select count(*) from {s}.u; rollback",
    "select 1; vacuum {s}.t",
    "select pg_advisory_xact_lock(hashtext('{s}'))",
];

const CURSORS: &[&str] = &[
    "declare k cursor for select * from {s}.t order by id",
    "declare k scroll cursor for select i from generate_series(1, 20) i",
    "fetch k",
    "fetch 2 from k",
    "fetch backward 1 from k",
    "move 3 in k",
    "fetch all from k",
    "close k",
    "close all",
];

const STATEMENTS_OF_SQL: &[&str] = &[
    "prepare one as select 1",
    "prepare one (int) as select * from {s}.t where id = $1 order by id",
    "execute one",
    "execute one(3)",
    "deallocate one",
    "deallocate a",
    "deallocate prepare one",
    "deallocate all",
];

const OF_A_SESSION: &[&str] = &[
    "create temp table if not exists own (a int)",
    "insert into own values (1) returning a",
    "select count(*) from own",
    "declare h cursor with hold for select i from generate_series(1, 20) i",
    "fetch 3 from h",
    "close h",
    "discard temp",
    "discard all",
];

const PREPARED: &[Prepared] = &[
    ("select $1::int + 1 as next", &[INT4]),
    ("select $1::text as a, $2::int as b", &[TEXT, INT4]),
    ("select * from {s}.t where id = $1", &[INT4]),
    ("select * from {s}.t where id >= $1 order by id", &[INT4]),
    ("select id, v from {s}.t where v = $1 order by id", &[TEXT]),
    (
        "insert into {s}.t (id, v) values ($1, $2) on conflict (id) do update set v = excluded.v returning id",
        &[INT4, TEXT],
    ),
    ("update {s}.t set v = $1 where id = $2", &[TEXT, INT4]),
    ("select i from generate_series(1, $1::int) i", &[INT4]),
    (
        "select i, repeat('p', 500) from generate_series(1, 40) i where i > $1",
        &[INT4],
    ),
    ("select 100 / $1::int", &[INT4]),
    (
        "select {s}.boom(i, $1::int) from generate_series(1, 9) i",
        &[INT4],
    ),
    ("select {s}.note($1::int)", &[INT4]),
    ("select $1", &[TEXT]),
    ("select 1", &[]),
    ("select 1", &[]),
    ("", &[]),
    ("-- comment", &[]),
    ("begin", &[]),
    ("begin isolation level repeatable read", &[]),
    ("commit", &[]),
    ("rollback", &[]),
    ("savepoint a", &[]),
    ("rollback to a", &[]),
    ("release a", &[]),
    ("show work_mem", &[]),
    ("set work_mem = '27MB'", &[]),
    ("set local work_mem = '29MB'", &[]),
    ("set application_name = 'extended'", &[]),
    (
        "select set_config('work_mem', coalesce($1, '7MB'), false)",
        &[TEXT],
    ),
    ("reset all", &[]),
    ("selekt 1", &[]),
    ("select $1::nope", &[]),
    ("select * from {s}.absent", &[]),
    ("select 1; select 2", &[]),
    ("select 1/0", &[]),
    ("insert into {s}.c values ($1, 999)", &[INT4]),
    ("delete from {s}.t where id = 33 returning id", &[]),
    ("select count(*) from t", &[]),
    ("explain (costs off) select 1", &[]),
    ("create table {s}.t (id int)", &[]),
    ("copy (select id from {s}.t order by id) to stdout", &[]),
    ("declare k cursor for select 1", &[]),
    ("deallocate a", &[]),
    ("vacuum {s}.t", &[]),
];

const STATEMENTS: &[&str] = &["", "", "a", "b", "c", "a longer name with \"quotes\""];
const PORTALS: &[&str] = &["", "", "", "p", "q"];
/// For Execute and Describe without a Bind before them: PostgreSQL 15 crashes when, in a failed
/// transaction, they meet the unnamed portal that a failed simple query left behind.
const NAMED_PORTALS: &[&str] = &["p", "q", "absent"];

/// Makes conversations of one seed.
pub struct Generator {
    random: StdRng,
    schema: String,
    /// What the client believes each of [`STATEMENTS`] to be.
    known: Vec<Option<Prepared>>,
    /// No text has a savepoint among other statements.
    savepoints_alone: bool,
    steps: Vec<Step>,
}

impl Generator {
    /// A generator for the tables of `schema`.
    pub fn new(seed: u64, schema: &str) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            schema: schema.into(),
            known: vec![None; STATEMENTS.len()],
            savepoints_alone: false,
            steps: Vec::new(),
        }
    }

    /// No text has a savepoint among other statements.
    pub fn savepoints_alone(mut self, alone: bool) -> Self {
        self.savepoints_alone = alone;
        self
    }

    /// One conversation: how it logs in and what it does, in parts each of which may be left out.
    pub fn conversation(mut self) -> (Login, Vec<Vec<Step>>) {
        let login = self.login();
        let mut parts = Vec::new();
        for _ in 0..self.random.random_range(1..12) {
            self.unit();
            parts.push(std::mem::take(&mut self.steps));
        }
        let end = match self.random.random_range(0..10) {
            0..6 => End::Orderly,
            6..8 => End::TerminateNow,
            _ => End::Vanish,
        };
        parts.push(vec![Step::End(end)]);
        (login, parts)
    }

    fn login(&mut self) -> Login {
        let mut login = Login::new(ROLE, "");
        let offered = [
            ("application_name", "differential"),
            ("client_encoding", "UTF8"),
            ("client_encoding", "'utf-8'"),
            ("TimeZone", "Europe/Paris"),
            ("DateStyle", "SQL, DMY"),
            ("extra_float_digits", "2"),
            ("search_path", "pg_catalog"),
            ("work_mem", "6MB"),
            ("options", "-c statement_timeout=290s -c work_mem=8MB"),
            (
                "options",
                "-c application_name=by\\ options --enable_seqscan=off",
            ),
        ];
        while self.chance(4) {
            let (name, value) = *self.pick(&offered);
            if login.parameters.iter().all(|(known, _)| known != name) {
                login = login.with(name, value);
            }
        }
        login
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.random_ratio(1, one_in)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        of.choose(&mut self.random).expect("never empty")
    }

    fn fill(&mut self, sql: &str) -> String {
        let number = self.random.random_range(1..40).to_string();
        self.allowed(sql.replace("{s}", &self.schema).replace("{n}", &number))
    }

    fn allowed(&self, sql: String) -> String {
        let about = ["savepoint", "release", "rollback to"];
        let several = sql.contains(';') && about.iter().any(|word| sql.contains(word));
        // Refused behind a savepoint, which the server knows nothing of.
        let of_all = sql.starts_with("set transaction")
            || sql.starts_with("begin isolation level repeatable");
        match self.savepoints_alone && (several || of_all) {
            true => "select 1".into(),
            false => sql,
        }
    }

    fn piece(&mut self) -> usize {
        match self.random.random_range(0..12) {
            0 => 1,
            1 => self.random.random_range(2..40),
            _ => 0,
        }
    }

    fn send(&mut self, messages: Vec<Vec<u8>>) {
        // A byte at a time is for short ones.
        let length: usize = messages.iter().map(Vec::len).sum();
        let piece = if length > 600 { 0 } else { self.piece() };
        self.steps.push(Step::Send(messages, piece));
    }

    fn maybe_read(&mut self) {
        match self.random.random_range(0..10) {
            0..5 => self.steps.push(Step::ReadAll),
            5..7 => {
                let count = self.random.random_range(1..12);
                self.steps.push(Step::Read(count));
            }
            _ => {}
        }
    }

    /// Nothing half said, nothing owed.
    fn settle(&mut self) {
        self.steps.push(Step::Send(vec![sync()], 0));
        self.steps.push(Step::ReadAll);
    }

    fn unit(&mut self) {
        match self.random.random_range(0..100) {
            0..34 => self.simple(),
            34..78 => self.extended(),
            78..84 => self.simple_storm(),
            84..90 => self.copy_in(),
            90..93 => self.copy_out(),
            93..95 => self.function_call(),
            95..97 => self.sync_storm(),
            97..98 => self.cancel(),
            _ => self.transaction_of_portals(),
        }
    }

    fn sql(&mut self) -> String {
        let table = match self.random.random_range(0..100) {
            0..22 => SELECTS,
            22..26 => EMPTIES,
            26..36 => ERRORS,
            36..46 => WRITES,
            46..62 => TRANSACTION,
            62..68 => SAVEPOINTS,
            68..78 => SETTINGS,
            78..84 => SHOWS,
            84..93 => BLOCKS,
            93..97 => CURSORS,
            97..99 => STATEMENTS_OF_SQL,
            _ => OF_A_SESSION,
        };
        let sql = *self.pick(table);
        self.fill(sql)
    }

    fn simple(&mut self) {
        let mut sql = self.sql();
        if self.chance(8) {
            let second = self.sql();
            sql = self.allowed(format!("{sql}; {second}"));
        }
        self.send(vec![query(sql)]);
        self.maybe_read();
    }

    /// Several queries without reading between them.
    fn simple_storm(&mut self) {
        let count = self.random.random_range(2..8);
        let messages = (0..count).map(|_| query(self.sql())).collect();
        self.send(messages);
        self.maybe_read();
    }

    fn extended(&mut self) {
        let mut messages = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            self.extended_group(&mut messages);
            match self.random.random_range(0..20) {
                0..12 => messages.push(sync()),
                12..16 => {
                    messages.push(flush());
                    self.send(std::mem::take(&mut messages));
                    self.maybe_read();
                }
                16..18 => messages.push(query(self.sql())),
                _ => {}
            }
        }
        if !messages.is_empty() {
            self.send(messages);
        }
        self.maybe_read();
    }

    fn extended_group(&mut self, messages: &mut Vec<Vec<u8>>) {
        if self.chance(6) {
            // In no order that makes sense.
            for _ in 0..self.random.random_range(1..5) {
                let message = self.any_extended();
                messages.push(message);
            }
            return;
        }
        let at = self.random.random_range(0..STATEMENTS.len());
        let portal = *self.pick(PORTALS);
        if self.known[at].is_none() || STATEMENTS[at].is_empty() || self.chance(8) {
            if !STATEMENTS[at].is_empty() && self.known[at].is_some() && self.chance(2) {
                messages.push(close(b'S', STATEMENTS[at]));
            }
            messages.push(self.parse(at));
        }
        if self.chance(3) {
            messages.push(describe(b'S', STATEMENTS[at]));
        }
        if self.chance(10) {
            return;
        }
        messages.push(self.bind(at, portal));
        if self.chance(2) {
            messages.push(describe(b'P', portal));
        }
        let rows = if self.chance(4) {
            self.random.random_range(1..6)
        } else {
            0
        };
        messages.push(execute(portal, rows));
        if rows > 0 {
            while self.chance(2) {
                messages.push(execute(portal, self.random.random_range(0..4)));
            }
        }
        if self.chance(6) {
            messages.push(close(b'P', portal));
        }
        if self.chance(10) {
            messages.push(close(b'S', STATEMENTS[at]));
            self.known[at] = None;
        }
    }

    fn any_extended(&mut self) -> Vec<u8> {
        let at = self.random.random_range(0..STATEMENTS.len());
        let portal = *self.pick(PORTALS);
        match self.random.random_range(0..8) {
            0 => self.parse(at),
            1 => self.bind(at, portal),
            2 => describe(b'S', STATEMENTS[at]),
            3 => {
                let portal = *self.pick(NAMED_PORTALS);
                describe(b'P', portal)
            }
            4 => {
                let portal = *self.pick(NAMED_PORTALS);
                execute(portal, self.random.random_range(0..3))
            }
            5 => {
                self.known[at] = None;
                close(b'S', STATEMENTS[at])
            }
            6 => close(b'P', portal),
            _ => flush(),
        }
    }

    fn parse(&mut self, at: usize) -> Vec<u8> {
        let prepared = *self.pick(PREPARED);
        self.known[at] = Some(prepared);
        let sql = self.fill(prepared.0);
        let types: Vec<u32> = match self.random.random_range(0..6) {
            0 => prepared.1.iter().map(|_| UNKNOWN).collect(),
            1 => vec![TEXT],
            2 => prepared.1.to_vec(),
            _ => Vec::new(),
        };
        parse(STATEMENTS[at], sql, &types)
    }

    fn bind(&mut self, at: usize, portal: &str) -> Vec<u8> {
        let types = self.known[at].map_or(&[][..], |(_, types)| types);
        let mut parameters: Vec<_> = types.iter().map(|oid| self.value(*oid)).collect();
        if self.chance(20) {
            parameters.push((0, Some(b"too many".to_vec())));
        }
        let results: &[u16] = match self.random.random_range(0..12) {
            0..3 => &[1],
            3 => &[0, 1],
            4 => &[0],
            _ => &[],
        };
        bind(portal, STATEMENTS[at], &parameters, results)
    }

    fn value(&mut self, oid: u32) -> (u16, Option<Vec<u8>>) {
        let number = self.random.random_range(0..12i32);
        match (self.random.random_range(0..16), oid) {
            (0, _) => (0, None),
            (1, INT4) => (0, Some(b"abc".to_vec())),
            (2, INT4) => (1, Some(vec![1, 2, 3])),
            (3..7, INT4) => (1, Some(number.to_be_bytes().to_vec())),
            (3, _) => (1, Some(b"binary text".to_vec())),
            (4, _) => (0, Some(vec![b'z'; 9000])),
            (5, _) => (0, Some(vec![0xff, 0xfe])),
            _ => (0, Some(number.to_string().into_bytes())),
        }
    }

    /// Portals read in parts, in a transaction, with something between.
    fn transaction_of_portals(&mut self) {
        let mut messages = vec![
            parse("", "begin", &[]),
            bind("", "", &[], &[]),
            execute("", 0),
            parse("", "select i from generate_series(1, 12) i", &[]),
            bind("p", "", &[], &[]),
            execute("p", 3),
            flush(),
        ];
        if self.chance(2) {
            self.send(std::mem::take(&mut messages));
            self.maybe_read();
        }
        if self.chance(2) {
            messages.push(sync());
        }
        messages.extend([
            parse("", "select 'between'", &[]),
            bind("", "", &[], &[]),
            execute("", 0),
            execute("p", 4),
            sync(),
        ]);
        self.send(std::mem::take(&mut messages));
        self.maybe_read();
        let last = if self.chance(2) { "commit" } else { "rollback" };
        self.send(vec![execute("p", 0), close(b'P', "p"), sync(), query(last)]);
        self.maybe_read();
    }

    fn copy_lines(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        for _ in 0..self.random.random_range(0..8) {
            let id = self.random.random_range(1..60);
            let line = match self.random.random_range(0..14) {
                0 => format!("{id}\tbad\n"),
                1 => format!("{id}\n"),
                2 => "x\ty\n".to_owned(),
                3 => format!("{id}\t\\N\n"),
                4 => format!("{id}\t{}\n", "w".repeat(3000)),
                5 => "\\.\n".to_owned(),
                _ => format!("{id}\tc{id}\n"),
            };
            data.extend(line.into_bytes());
        }
        data
    }

    fn copy_binary(&mut self) -> Vec<u8> {
        let mut data = b"PGCOPY\n\xff\r\n\0".to_vec();
        data.extend([0; 8]);
        for _ in 0..self.random.random_range(0..4) {
            let id: i32 = self.random.random_range(1..60);
            data.extend(2i16.to_be_bytes());
            data.extend(4i32.to_be_bytes());
            data.extend(id.to_be_bytes());
            data.extend(2i32.to_be_bytes());
            data.extend(b"bi");
        }
        data.extend((-1i16).to_be_bytes());
        if self.chance(5) {
            data.truncate(data.len() - 1);
        }
        data
    }

    fn copy_in(&mut self) {
        self.settle();
        let (command, data) = if self.chance(4) {
            ("copy {s}.u from stdin (format binary)", self.copy_binary())
        } else {
            let options = [
                "",
                " (freeze off)",
                " (format csv, delimiter E'\\t')",
                " (header match)",
            ];
            let command = match *self.pick(&options) {
                "" => "copy {s}.u from stdin",
                " (freeze off)" => "copy {s}.u (id, v) from stdin",
                " (format csv, delimiter E'\\t')" => {
                    "copy {s}.u from stdin (format csv, delimiter E'\\t')"
                }
                _ => "copy {s}.absent from stdin",
            };
            (command, self.copy_lines())
        };
        let mut sql = self.fill(command);
        if self.chance(5) {
            sql = format!("select 1; {sql}; select 2");
        } else if self.chance(8) {
            sql = format!("begin; {sql}; rollback");
        }
        let mut pieces = self.copy_pieces(&data);
        if self.chance(6) {
            pieces.push(copy_fail("the client gave up"));
        } else {
            pieces.push(copy_done());
        }
        if self.chance(2) || sql.contains(';') {
            self.copy_in_simple(sql, pieces);
        } else {
            self.copy_in_extended(sql, pieces);
        }
        self.maybe_read_all();
    }

    fn maybe_read_all(&mut self) {
        self.steps.push(Step::ReadAll);
    }

    fn copy_pieces(&mut self, data: &[u8]) -> Vec<Vec<u8>> {
        let size = match self.random.random_range(0..4) {
            0 => 1 + data.len() / 40,
            1 => 7 + data.len() / 40,
            _ => data.len().max(1),
        };
        let mut pieces: Vec<Vec<u8>> = data.chunks(size).map(copy_data).collect();
        if self.chance(6) {
            pieces.push(copy_data(b""));
        }
        pieces
    }

    fn copy_in_simple(&mut self, sql: String, mut pieces: Vec<Vec<u8>>) {
        if self.chance(3) {
            // Without waiting for the answer.
            let mut messages = vec![query(sql)];
            messages.extend(pieces);
            self.send(messages);
            return;
        }
        self.send(vec![query(sql)]);
        self.steps.push(Step::ReadAll);
        if self.chance(6) {
            pieces.insert(0, sync());
        }
        let piece = self.piece();
        self.steps.push(Step::Copy(pieces, piece));
    }

    fn copy_in_extended(&mut self, sql: String, mut pieces: Vec<Vec<u8>>) {
        let mut messages = vec![parse("", sql, &[]), bind("", "", &[], &[])];
        if self.chance(3) {
            messages.push(describe(b'P', ""));
        }
        messages.push(execute("", 0));
        if self.chance(3) {
            messages.extend(pieces);
            messages.push(sync());
            self.send(messages);
            return;
        }
        let with_sync = self.chance(2);
        messages.push(if with_sync { sync() } else { flush() });
        self.send(messages);
        self.steps.push(Step::ReadAll);
        pieces.push(sync());
        self.steps.push(Step::Copy(pieces, 0));
        if !with_sync {
            // When the COPY never began, a Sync is still due.
            self.steps.push(Step::Send(vec![sync()], 0));
        }
    }

    fn copy_out(&mut self) {
        let options = [
            "copy (select * from {s}.t order by id) to stdout",
            "copy (select * from {s}.t order by id) to stdout (format csv, header)",
            "copy (select id, v from {s}.t order by id) to stdout (format binary)",
            "copy (select 1 where false) to stdout",
            "copy (select {s}.boom(i, 5) from generate_series(1, 9) i) to stdout",
            "copy (select repeat('o', 900) from generate_series(1, 50)) to stdout",
            "copy {s}.absent to stdout",
        ];
        let sql = *self.pick(&options);
        let sql = self.fill(sql);
        if self.chance(2) {
            self.send(vec![query(sql)]);
        } else {
            self.send(vec![
                parse("", sql, &[]),
                bind("", "", &[], &[]),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ]);
        }
        self.maybe_read();
    }

    fn function_call(&mut self) {
        let number = |value: i32| (1, Some(value.to_be_bytes().to_vec()));
        let text = |value: &str| (0, Some(value.as_bytes().to_vec()));
        let call = match self.random.random_range(0..6) {
            0 => message::function_call(177, &[number(40), number(2)], 1),
            1 => message::function_call(177, &[text("40"), text("2")], 0),
            2 => message::function_call(154, &[number(1), number(0)], 1),
            3 => message::function_call(177, &[number(40), (0, None)], 0),
            4 => message::function_call(999_999, &[], 0),
            _ => message::function_call(177, &[number(40)], 1),
        };
        self.send(vec![call]);
        self.maybe_read();
    }

    fn sync_storm(&mut self) {
        let count = self.random.random_range(2..12);
        self.send(vec![sync(); count]);
        self.maybe_read();
    }

    fn cancel(&mut self) {
        self.settle();
        let sql = "do $$ begin raise notice 'asleep'; perform pg_sleep(300); end $$";
        if self.chance(2) {
            self.send(vec![query(sql)]);
        } else {
            self.send(vec![
                parse("", sql, &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                sync(),
            ]);
        }
        self.steps.push(Step::CancelAtNotice);
        self.steps.push(Step::ReadAll);
    }
}
