//! COPY FROM STDIN of a tenant. PostgreSQL has none under row-level security, so the other side copies
//! into a temporary table whose tenant column has the default of the table's, and inserts from there.

use std::path::PathBuf;
use std::rc::Rc;

use dsql_proxy::policy::tenancy::copy::{Broken, Extension};

use crate::answer::{Answer, tainted};
use crate::client::{Client, Login};
use crate::ground::{self, Ground, POLICY};
use crate::message;
use crate::proxy::{self, Proxy};

/// What a client sends.
#[derive(Debug, Clone)]
struct Copy {
    table: &'static str,
    /// What stands between the table's name and FROM, and behind STDIN.
    columns: &'static str,
    options: &'static str,
    data: Vec<u8>,
    /// Bytes of a CopyData message.
    piece: usize,
}

impl Copy {
    fn text(&self, table: &str) -> String {
        format!("COPY {table} {} FROM STDIN {}", self.columns, self.options)
    }

    fn frames(&self, data: &[u8]) -> Vec<u8> {
        let pieces = data.chunks(self.piece).map(message::copy_data);
        pieces.collect::<Vec<_>>().concat()
    }
}

fn copy(
    table: &'static str,
    columns: &'static str,
    options: &'static str,
    data: &str,
    piece: usize,
) -> Copy {
    Copy {
        table,
        columns,
        options,
        data: data.as_bytes().to_vec(),
        piece,
    }
}

/// Sends what asks for a COPY; the data when the server wants them.
fn run(client: &mut Client, asks: &[u8], data: &[u8]) -> Answer {
    client.send(asks);
    let mut frames = Vec::new();
    loop {
        let frame = client.frame().expect("an answer");
        match frame.tag {
            b'G' => client.send(data),
            b'Z' => return Answer::of(&frames),
            _ => frames.push(frame),
        }
    }
}

fn done(data: Vec<u8>) -> Vec<u8> {
    [data, message::copy_done()].concat()
}

/// Rows of the table with identifiers of 100 and more, whosever they are.
fn contents(client: &mut Client, table: &str, back: &str) -> Vec<String> {
    client.run("reset role");
    let rows = client.run(&format!(
        "select t::text from app.{table} t where id >= 100 order by 1"
    ));
    client.run(back);
    Answer::of(&rows).rows
}

/// The same under row-level security.
fn oracle(guarded: &mut Client, copy: &Copy) -> (Option<String>, Vec<String>) {
    guarded.run("begin");
    guarded.run(&format!(
        "create temp table staging (like app.{} including defaults) on commit drop",
        copy.table
    ));
    let data = done(copy.frames(&copy.data));
    let mut answer = run(guarded, &message::query(copy.text("staging")), &data);
    if answer.sqlstate.is_none() {
        let all = format!("insert into app.{} select * from staging", copy.table);
        answer = Answer::of(&guarded.query(&all));
    }
    let rows = match answer.sqlstate {
        None => contents(guarded, copy.table, "set role tenant_2"),
        Some(_) => Vec::new(),
    };
    guarded.query("rollback");
    (answer.sqlstate, rows)
}

/// Of two things that are wrong either may be said: the other side looks at all of the data before it asks
/// whose the rows are, and counts the fields of a row before it reads them.
fn agree(ours: Option<&str>, theirs: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (ours, theirs) else {
        return ours == theirs;
    };
    one == other
        || [one, other].contains(&"42501")
        || matches!(one, "22P02" | "22003") && other == "22P04"
}

fn policy_file() -> PathBuf {
    let name = format!("dsql-proxy-policy-copy-{}.yaml", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, POLICY).expect("a file");
    file
}

fn start() -> Proxy {
    let user = |tenant| {
        let name = format!("tenant_{tenant}");
        let password = proxy::verifier(&name);
        format!("name: {name}, password: \"{password}\", tenant: \"{tenant}\"")
    };
    let plan = proxy::plan().tenancy("bare", &policy_file());
    (1..=3)
        .fold(plan, |plan, tenant| plan.user(&user(tenant)))
        .start()
}

fn login(proxy: &Proxy, tenant: u32) -> Client {
    let user = format!("tenant_{tenant}");
    let login = Login::new(&user, "bare").password(&user);
    proxy.login(&login).expect("a login")
}

const CASES: [(&str, &str, &str, &str); 44] = [
    (
        "\"Orders\"",
        "(id, v)",
        "",
        "100\ta\n101\t\\N\n102\tx\\ty\\\\\n",
    ),
    ("\"Orders\"", "(v, id)", "", "a\t100\nb\t101"),
    ("\"Orders\"", "(id, v)", "", ""),
    ("\"Orders\"", "(id, v)", "", "100\ta\n\\.\n101\tb\n"),
    ("\"Orders\"", "(id, v)", "", "100\ta\\.\n101\tb\n"),
    ("\"Orders\"", "(id, v)", "", "100\ta\n\\.x\n"),
    ("\"Orders\"", "(id, v)", "", "100\ta\n\\."),
    ("\"Orders\"", "(id, v)", "", "100\ta\r\n101\tb\r\n"),
    ("\"Orders\"", "(id, v)", "", "100\ta\r101\tb\r"),
    ("\"Orders\"", "(id, v)", "", "100\ta\r101\tb\n"),
    ("\"Orders\"", "(id, v)", "", "100\ta\t3\r101\tb"),
    ("\"Orders\"", "(id, v)", "", "100\ta\\\n101\tb\n"),
    ("\"Orders\"", "(id, v)", "", "100\ta\\"),
    ("\"Orders\"", "(id, v)", "", "100\ta\t3\n"),
    ("\"Orders\"", "(id, v)", "", "100\n"),
    ("\"Orders\"", "(id, v)", "", "\n"),
    ("\"Orders\"", "(id, v)", "", "x\ta\n"),
    ("\"Orders\"", "(id, v)", "", "100\ta\n100\tb\n"),
    ("\"Orders\"", "(id, v)", "", "1\ta\n"),
    ("\"Orders\"", "(id)", "", "100\n101\n"),
    ("\"Orders\"", "(id, nothing)", "", "100\t1\n"),
    ("\"Orders\"", "(id, id)", "", "100\t1\n"),
    ("\"Orders\"", "(id, v)", "(HEADER)", "id\tv\n100\ta\n"),
    ("\"Orders\"", "(id, v)", "(HEADER match)", "id\tv\n100\ta\n"),
    ("\"Orders\"", "(id, v)", "(HEADER match)", "id\tw\n100\ta\n"),
    (
        "\"Orders\"",
        "(id, v)",
        "(DELIMITER '-', NULL '2')",
        "100-2\n101-a\\-b\n",
    ),
    (
        "\"Orders\"",
        "(tenant_id, id, v)",
        "",
        "2\t100\ta\n002\t101\tb\n",
    ),
    (
        "\"Orders\"",
        "(tenant_id, id, v)",
        "",
        "2\t100\ta\n3\t101\tb\n",
    ),
    ("\"Orders\"", "(tenant_id, id, v)", "", "\\N\t100\ta\n"),
    ("\"Orders\"", "(tenant_id, id, v)", "", "x\t100\ta\n"),
    (
        "\"Orders\"",
        "(tenant_id, id, v)",
        "",
        "99999999999\t100\ta\n",
    ),
    ("\"Orders\"", "(id, tenant_id)", "", "100\t2\n101\t \\x32\n"),
    (
        "\"Orders\"",
        "(id, v)",
        "CSV",
        "100,\"a,\n\"\"b\"\"\"\n101,\n102,\"\"\n",
    ),
    (
        "\"Orders\"",
        "(id, v)",
        "CSV",
        "100,\"a\n\\.\n\"\n\\.\n101,x",
    ),
    ("\"Orders\"", "(id, v)", "CSV", "100,\"a\n"),
    ("\"Orders\"", "(id, v)", "CSV HEADER", "\"i\nd\",v\n100,a\n"),
    (
        "\"Orders\"",
        "(id, v)",
        "(FORMAT csv, QUOTE '''', ESCAPE '\\', DELIMITER ';', NULL 'none')",
        "100;'a\\';'\n101;none\n102;'none'\n",
    ),
    (
        "\"Orders\"",
        "(id, v)",
        "(FORMAT csv, FORCE_NULL (v), FORCE_NOT_NULL (id))",
        "100,\"\"\n",
    ),
    (
        "\"Orders\"",
        "(tenant_id, v, id)",
        "CSV",
        "2,\"a,\n3,\",100\n\"2\",b,101\n",
    ),
    ("\"Orders\"", "(v, tenant_id, id)", "CSV", "\",2,\",3,100\n"),
    ("docs_t", "(id, body)", "", "100\tx\n"),
    (
        "docs_t",
        "(tenant_id, id, body)",
        "CSV",
        "acme2,100,x\nacme3,101,x\n",
    ),
    ("docs_u", "(id, body)", "CSV", "100,x\n"),
    (
        "docs_u",
        "(tenant_id, id, body)",
        "",
        "{00000000000000000000000000000002}\t100\tx\n",
    ),
];

/// How a COPY is asked for, as simple Query or extended, and what ends the data.
fn asks(extended: bool, text: &str) -> (Vec<u8>, Vec<u8>) {
    match extended {
        false => (message::query(text), Vec::new()),
        true => (
            [
                message::parse("c", text, &[]),
                message::bind_text("", "c", &[]),
                message::execute("", 0),
                message::flush(),
            ]
            .concat(),
            [message::sync(), message::close(b'S', "c")].concat(),
        ),
    }
}

fn judge(
    ground: &mut Ground,
    tenant: &mut Client,
    copy: &Copy,
    extended: bool,
) -> Result<(), String> {
    let theirs = oracle(&mut ground.guarded, copy);
    let (asked, end) = asks(extended, &copy.text(copy.table));
    let data = [done(copy.frames(&copy.data)), end.clone()].concat();
    // Where no data are asked for, the batch has to be ended all the same.
    let asked = match extended
        && theirs
            .0
            .as_deref()
            .is_some_and(|state| state.starts_with("427"))
    {
        true => [asked, end].concat(),
        false => asked,
    };
    let ours = run(tenant, &asked, &data);
    if extended {
        tenant.send(&message::sync());
        tenant.until_ready();
    }
    let rows = contents(&mut ground.bare, copy.table, "set role owner");
    ground
        .bare
        .run(&format!("delete from app.{} where id >= 100", copy.table));
    let taint = ours.error.iter().find_map(|(_, text)| tainted(text));
    let kinds: Vec<u8> = ours.error.iter().map(|(kind, _)| *kind).collect();
    if taint.is_some() || kinds.iter().any(|kind| b"DPpqWstcdnFLR".contains(kind)) {
        return Err(format!("says too much: {:?}", ours.error));
    }
    let same = agree(ours.sqlstate.as_deref(), theirs.0.as_deref()) && rows == theirs.1;
    match same {
        true => Ok(()),
        false => Err(format!("ours {ours:?} {rows:?}, theirs {theirs:?}")),
    }
}

#[test]
fn a_copy_is_that_of_row_level_security_wherever_its_data_are_cut() {
    let mut ground = ground::open();
    let proxy = start();
    let mut tenant = login(&proxy, 2);
    let mut wrong = Vec::new();
    for (table, columns, options, data) in CASES {
        for (piece, extended) in [(1, false), (3, true), (1000, true), (1000, false)] {
            let copy = copy(table, columns, options, data, piece);
            if let Err(problem) = judge(&mut ground, &mut tenant, &copy, extended) {
                wrong.push(format!("{copy:?} {extended}\n  {problem}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_row_of_another_tenant_leaves_nothing_of_its_copy() {
    let mut ground = ground::open();
    let proxy = start();
    let mut tenant = login(&proxy, 2);
    tenant.run("begin");
    let data = [
        message::copy_data(b"2\t100\ta\n"),
        message::copy_data(b"3\t101\tb\n"),
        // The client has not heard of it yet.
        message::copy_data(b"2\t102\tc\n"),
        message::copy_done(),
    ]
    .concat();
    let answer = run(
        &mut tenant,
        &message::query("COPY \"Orders\" (tenant_id, id, v) FROM STDIN"),
        &data,
    );
    let insert = login(&proxy, 2).query("INSERT INTO \"Orders\" VALUES (3, 101, 'b')");
    assert_eq!(answer.error, Answer::of(&insert).error);
    assert_eq!(answer.sqlstate.as_deref(), Some("42501"));
    assert_eq!(tenant.sqlstate("SELECT 1"), "25P02");
    tenant.run("rollback");
    assert_eq!(
        contents(&mut ground.bare, "\"Orders\"", "set role owner"),
        [""; 0]
    );
    assert!(proxy.log.text().contains("rule=\"foreign_tenant\""));
    // What a client gives up is given up.
    let given_up = [
        message::copy_data(b"100\ta\n"),
        message::copy_fail("enough"),
    ]
    .concat();
    let text = message::query("COPY \"Orders\" (id, v) FROM STDIN");
    let answer = run(&mut tenant, &text, &given_up);
    assert_eq!(answer.sqlstate.as_deref(), Some("57014"));
    // So is what anything else comes in the middle of.
    let middle = [message::copy_data(b"100\ta\n"), message::query("COMMIT")].concat();
    let answer = run(&mut tenant, &text, &middle);
    assert!(
        answer.sqlstate.is_some() && answer.tags.is_empty(),
        "{answer:?}"
    );
    assert_eq!(tenant.scalar("SELECT 7"), "7");
    assert_eq!(
        contents(&mut ground.bare, "\"Orders\"", "set role owner"),
        [""; 0]
    );
}

#[test]
fn data_that_come_before_they_are_asked_for_wait() {
    let mut ground = ground::open();
    let proxy = start();
    let mut tenant = login(&proxy, 2);
    let data = [
        message::copy_data(b"100\ta\n10"),
        message::copy_data(b"1\tb"),
        message::copy_done(),
    ]
    .concat();
    let text = "COPY \"Orders\" (id, v) FROM STDIN";
    tenant.send(&[message::query(text), data.clone()].concat());
    let first = Answer::of(&tenant.until_ready());
    assert_eq!(first.tags, ["COPY 2"]);
    ground
        .bare
        .run("delete from app.\"Orders\" where id >= 100");
    let extended = [
        message::parse("", text, &[]),
        message::bind_text("", "", &[]),
        message::execute("", 0),
        data.clone(),
        message::sync(),
        // Without a COPY they go nowhere.
        data,
        message::query("SELECT v FROM \"Orders\" WHERE id = 101"),
    ];
    tenant.send(&extended.concat());
    assert_eq!(Answer::of(&tenant.until_ready()).tags, ["COPY 2"]);
    assert_eq!(Answer::of(&tenant.until_ready()).rows, ["'b'"]);
    let rows = contents(&mut ground.bare, "\"Orders\"", "set role owner");
    assert_eq!(rows, ["'(2,100,a)'", "'(2,101,b)'"]);
    ground
        .bare
        .run("delete from app.\"Orders\" where id >= 100");
    // The number of columns is the client's.
    tenant.send(&message::query(text));
    let asked = tenant.expect(b'G');
    assert_eq!(asked.body, [0, 0, 2, 0, 0, 0, 0]);
    tenant.send(&message::copy_fail(""));
    tenant.until_ready();
}

#[test]
fn two_texts_of_one_copy_are_two() {
    // With the tenant's column in the data and without it, what leaves is the same statement.
    let mut ground = ground::open();
    let proxy = start();
    let mut tenant = login(&proxy, 2);
    let texts = [
        "COPY \"Orders\" (id, v) FROM STDIN",
        "COPY \"Orders\" (id, v, tenant_id) FROM STDIN",
    ];
    for (name, text) in ["a", "b"].iter().zip(texts) {
        tenant.send(&[message::parse(name, text, &[]), message::sync()].concat());
        tenant.until_ready();
    }
    let mut execute = |name: &str, data: &[u8]| {
        let asks = [
            message::bind_text("", name, &[]),
            message::execute("", 0),
            message::flush(),
        ];
        let data = [done(message::copy_data(data)), message::sync()].concat();
        run(&mut tenant, &asks.concat(), &data).sqlstate
    };
    assert_eq!(execute("a", b"100\ta\n"), None);
    assert_eq!(execute("b", b"101\tb\t2\n"), None);
    assert_eq!(execute("b", b"102\tc\t3\n").as_deref(), Some("42501"));
    assert_eq!(execute("b", b"102\tc\n").as_deref(), Some("22P04"));
    assert_eq!(execute("a", b"103\td\t2\n").as_deref(), Some("22P04"));
    let rows = contents(&mut ground.bare, "\"Orders\"", "set role owner");
    assert_eq!(rows, ["'(2,100,a)'", "'(2,101,b)'"]);
    ground
        .bare
        .run("delete from app.\"Orders\" where id >= 100");
}

#[test]
fn copies_that_are_not_open_say_why() {
    let _ground = ground::open();
    let proxy = start();
    let mut tenant = login(&proxy, 2);
    let cases = [
        ("COPY countries FROM STDIN", "42501"),
        ("COPY audit_log FROM STDIN", "42501"),
        ("COPY v_orders FROM STDIN", "42501"),
        ("COPY orders FROM STDIN BINARY", "0A000"),
        ("COPY orders FROM STDIN WHERE id > 0", "0A000"),
        ("SELECT 1; COPY orders FROM STDIN", "0A000"),
        ("COPY orders FROM '/etc/passwd'", "42501"),
    ];
    for (text, state) in cases {
        assert_eq!(tenant.sqlstate(text), state, "{text}");
    }
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % 1_000_003).expect("small") % sides
    }

    fn pick<T: core::marker::Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }
}

fn random(dice: &mut Dice) -> Copy {
    const OPTIONS: [(&str, &str, &str); 7] = [
        ("", "\t", ""),
        ("(NULL '2')", "\t", ""),
        ("(DELIMITER '|', HEADER)", "|", ""),
        ("CSV", ",", "\""),
        ("CSV HEADER", ",", "\""),
        (
            "(FORMAT csv, QUOTE '!', ESCAPE '\\', DELIMITER ';')",
            ";",
            "!",
        ),
        (
            "(FORMAT csv, QUOTE ',', ESCAPE 'x', DELIMITER '2')",
            "2",
            ",",
        ),
    ];
    const WHOLE: &str = "(tenant_id, id, v)";
    const COLUMNS: [(&str, usize); 4] = [
        ("(id, v)", 9),
        ("(v, id)", 9),
        (WHOLE, 0),
        ("(v, tenant_id, id)", 1),
    ];
    const WORDS: [&str; 14] = [
        "a", "2", "3", "", "\\N", "\\.", "x\\", "\\\\", "\\\n", "\\\r", "\\t", "\"", "'", "é",
    ];
    const NOISE: [&str; 16] = [
        "\n", "\r", "\r\n", "\\", "\\.", "\"", "'", ",", "\t", "|", ".", "2", "3", "x", "\\.\n",
        "\\x",
    ];
    let (options, delimiter, quote) = dice.pick(&OPTIONS);
    let (columns, tenant) = dice.pick(&COLUMNS);
    let end = dice.pick(&["\n", "\n", "\r\n", "\r"]);
    let mut data = String::new();
    for row in 0..=dice.roll(4) {
        let fields = if tenant == 9 { 2 } else { 3 };
        for field in 0..fields {
            if field > 0 {
                data.push_str(delimiter);
            }
            let word = match field {
                field if field == tenant => dice.pick(&["2", "2", "2", "02", "3"]).to_owned(),
                field
                    if (columns == "(id, v)" && field == 0) || (columns == WHOLE && field == 1) =>
                {
                    (100 + row).to_string()
                }
                _ if (columns != WHOLE && columns != "(id, v)") && field + 1 == fields => {
                    (100 + row).to_string()
                }
                _ => dice.pick(&WORDS).to_owned(),
            };
            let quoted = !quote.is_empty() && dice.roll(2) == 0;
            data.push_str(if quoted { quote } else { "" });
            data.push_str(&word);
            if quoted && dice.roll(3) == 0 {
                data.push_str(dice.pick(&["\n", "\r\n", delimiter]));
            }
            data.push_str(if quoted { quote } else { "" });
        }
        if dice.roll(8) > 0 {
            data.push_str(end);
        }
    }
    for _ in 0..dice.roll(3) {
        let mut at = dice.roll(data.len() + 1);
        while !data.is_char_boundary(at) {
            at -= 1;
        }
        data.insert_str(at, dice.pick(&NOISE));
    }
    Copy {
        table: "\"Orders\"",
        columns,
        options,
        data: data.into_bytes(),
        piece: dice.pick(&[1, 2, 5, 1000]),
    }
}

/// The data as they leave, directly to the server.
fn extended(ground: &mut Ground, copy: &Copy) -> (Option<String>, Vec<String>) {
    let isolated: dsql_proxy::policy::tenancy::Isolated =
        match ground.isolate(&copy.text(copy.table)) {
            Ok(mut isolated) => isolated.remove(0),
            Err(refusal) => panic!("{copy:?}: {refusal}"),
        };
    let rows = isolated.copy.clone().expect("a COPY");
    let mut extension = Extension::new(Rc::new(rows));
    let mut out = Vec::new();
    let mut outcome: Result<(), Broken> = Ok(());
    for piece in copy.data.chunks(copy.piece) {
        outcome = outcome.and_then(|()| extension.put(piece, &mut out));
    }
    outcome = outcome.and_then(|()| extension.finish(&mut out));
    let data = match outcome {
        Ok(()) => done(copy.frames(&out)),
        Err(_) => [copy.frames(&out), message::copy_fail("")].concat(),
    };
    ground.bare.run("begin");
    let answer = run(&mut ground.bare, &message::query(&isolated.text), &data);
    let state = match (answer.sqlstate.as_deref(), outcome) {
        (Some("57014"), Err(broken)) => Some(broken.error().code.to_owned()),
        (state, _) => state.map(str::to_owned),
    };
    let rows = match state {
        None => contents(&mut ground.bare, copy.table, "set role owner"),
        Some(_) => Vec::new(),
    };
    ground.bare.query("rollback");
    (state, rows)
}

#[test]
fn random_data_are_copied_as_under_row_level_security() {
    let number = |name: &str, default: u64| {
        let value = std::env::var(name).ok();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    let (count, seed) = (
        number("ISOLATION_COPIES", 2_000),
        number("ISOLATION_SEED", 7),
    );
    let mut ground = ground::open();
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut wrong = Vec::new();
    let mut copied = 0;
    for _ in 0..count {
        let copy = random(&mut dice);
        let ours = extended(&mut ground, &copy);
        let theirs = oracle(&mut ground.guarded, &copy);
        assert!(
            ours.1.iter().all(|row| row.starts_with("'(2,")),
            "{copy:?} {:?} {ours:?}",
            String::from_utf8_lossy(&copy.data)
        );
        copied += usize::from(ours.0.is_none() && !ours.1.is_empty());
        if !agree(ours.0.as_deref(), theirs.0.as_deref()) || ours.1 != theirs.1 {
            let data = String::from_utf8_lossy(&copy.data).into_owned();
            wrong.push(format!(
                "{copy:?}\n  {data:?}\n  ours {ours:?}\n  theirs {theirs:?}"
            ));
        }
    }
    println!("seed {seed}: {copied} of {count} copied rows");
    assert!(
        wrong.is_empty(),
        "seed {seed}, {}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    assert!(
        copied * 6 > usize::try_from(count).expect("small"),
        "{copied} of {count}"
    );
}
