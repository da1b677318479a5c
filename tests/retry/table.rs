//! A transaction of ten statements that is aborted once, at each of its statements and at its COMMIT,
//! in every protocol: what the client sees is what it sees when nothing is aborted.

use serde_json::json;

use crate::client::{Client, render};
use crate::dsql::{Cluster, set_up};
use crate::message::{Frame, bind_text, describe, execute, parse, query, sync};
use crate::proxy::plan;

/// A hold that was crossed is verified like everything else that was delivered.
const CROSSED_HOLDS_ARE_VERIFIED: bool = false;

const STEPS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// A Query each, answer by answer.
    Simple,
    /// A Sync each, answer by answer.
    Extended,
    /// All ahead of one Sync.
    Pipelined,
    /// All in one Query.
    OneString,
    /// A Query each, all sent before the first answer is read.
    Burst,
    /// Only the sixth statement, in a Query and without a transaction block.
    AloneSimple,
    /// The same, in extended messages.
    AloneExtended,
}

impl Protocol {
    const ALL: [Self; 7] = [
        Self::Simple,
        Self::Extended,
        Self::Pipelined,
        Self::OneString,
        Self::Burst,
        Self::AloneSimple,
        Self::AloneExtended,
    ];

    /// Whether it can do this: portals are read in parts by the extended protocol, and in
    /// transactions; savepoints are gone back to by who waits for answers.
    fn knows(self, variety: Variety) -> bool {
        match variety {
            Variety::HalfRead => matches!(self, Self::Extended | Self::Pipelined),
            Variety::Savepoint => matches!(self, Self::Simple | Self::Extended),
            _ => true,
        }
    }

    fn is_alone(self) -> bool {
        matches!(self, Self::AloneSimple | Self::AloneExtended)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variety {
    Plain,
    /// Portals that are read in parts, one of them not to its end.
    HalfRead,
    /// The sixth statement fails.
    Error,
    /// The sixth statement gives 600 KiB, more than is held.
    Large,
    /// The sixth statement fails, and the seventh goes back to a savepoint ahead of it.
    Savepoint,
}

impl Variety {
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::HalfRead,
        Self::Error,
        Self::Large,
        Self::Savepoint,
    ];
}

#[derive(Debug, Clone)]
enum Step {
    Run(String),
    /// Opens a portal and reads so many rows of it.
    Open(&'static str, String, u32),
    /// Reads on.
    More(&'static str, u32),
}

/// The statements between BEGIN and COMMIT; the n-th says so, for orders to find it.
fn steps(variety: Variety) -> Vec<Step> {
    let mut texts = [
        "select value from steps where id = 1",
        "update steps set value = value + 1 where id = 1",
        "select id, value from steps order by id",
        "insert into steps values (21, 0, 'new') returning id, note",
        "update steps set note = 'changed' where id = 4 returning id, value, note",
        "delete from steps where id = 9",
        "select count(*) from steps",
        "select value from steps where id = 2 for update",
        "update steps set value = 7 where id = 2",
        "select sum(value) from steps",
    ]
    .map(str::to_owned);
    match variety {
        Variety::Error => texts[5] = "select 1 / value from steps where id = 8".into(),
        Variety::Large => {
            texts[5] = "update steps set value = 1 where id = 7 \
                        returning repeat('x', 300000), repeat('y', 314400)"
                .into();
        }
        Variety::Savepoint => {
            texts[2] = "savepoint inner_one".into();
            texts[5] = "select 1 / value from steps where id = 8".into();
            texts[6] = "rollback to savepoint inner_one".into();
            texts[8] = "release savepoint inner_one".into();
        }
        _ => {}
    }
    let numbered = texts.iter().enumerate();
    let mut steps: Vec<Step> = numbered
        .map(|(at, text)| Step::Run(format!("{text} /* step {} */", at + 1)))
        .collect();
    if variety == Variety::HalfRead {
        let open = |portal, step| {
            let text = format!("select id, value from steps order by id /* step {step} */");
            Step::Open(portal, text, 3)
        };
        steps[2] = open("p", 3);
        steps[4] = Step::More("p", 4);
        steps[6] = Step::More("p", 0);
        steps[8] = open("q", 9);
    }
    steps
}

impl Step {
    fn text(&self) -> &str {
        match self {
            Self::Run(text) | Self::Open(_, text, _) => text,
            Self::More(..) => panic!("only of portals"),
        }
    }

    fn messages(&self) -> Vec<u8> {
        match self {
            Self::Run(text) => [
                parse("", text, &[]),
                bind_text("", "", &[]),
                describe(b'P', ""),
                execute("", 0),
            ]
            .concat(),
            Self::Open(portal, text, rows) => [
                parse("", text, &[]),
                bind_text(portal, "", &[]),
                describe(b'P', portal),
                execute(portal, *rows),
            ]
            .concat(),
            Self::More(portal, rows) => execute(portal, *rows),
        }
    }
}

fn requests(protocol: Protocol, variety: Variety) -> Vec<Vec<u8>> {
    let mut all = steps(variety);
    if protocol.is_alone() {
        all = vec![all.remove(5)];
    } else {
        all.insert(0, Step::Run("begin".into()));
        all.push(Step::Run("commit".into()));
    }
    match protocol {
        Protocol::Burst => vec![all.iter().flat_map(|step| query(step.text())).collect()],
        Protocol::OneString => {
            let texts: Vec<&str> = all.iter().map(Step::text).collect();
            vec![query(texts.join("; "))]
        }
        Protocol::Simple | Protocol::AloneSimple => {
            all.iter().map(|step| query(step.text())).collect()
        }
        Protocol::Extended | Protocol::AloneExtended => {
            let messages = all.iter().map(Step::messages);
            messages.map(|bytes| [bytes, sync()].concat()).collect()
        }
        Protocol::Pipelined => {
            let messages: Vec<Vec<u8>> = all.iter().map(Step::messages).collect();
            vec![[messages.concat(), sync()].concat()]
        }
    }
}

/// How many ReadyForQuery answer these messages.
fn ends(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [tag, a, b, c, d, ..] = *bytes {
        count += usize::from(matches!(tag, b'Q' | b'S'));
        bytes = &bytes[u32::from_be_bytes([a, b, c, d]) as usize + 1..];
    }
    count
}

/// All that comes back, and what is in the table then.
#[derive(PartialEq, Eq)]
struct Course {
    frames: Vec<Frame>,
    rows: Vec<Frame>,
}

struct Stage {
    cluster: Cluster,
    client: Client,
}

impl Stage {
    fn play(&mut self, requests: &[Vec<u8>], order: Option<serde_json::Value>) -> Course {
        set_up(&mut self.client, "delete from steps");
        set_up(
            &mut self.client,
            "insert into steps select n, 0, 'old' from generate_series(1, 12) n",
        );
        if let Some(order) = order {
            self.cluster.order(&order);
        }
        let mut frames = Vec::new();
        for request in requests {
            self.client.send(request);
            // Each Query and each Sync has an end of its own.
            for _ in 0..ends(request) {
                let answer = self.client.until_ready();
                frames.extend(answer.into_iter().filter(|frame| frame.tag != b'S'));
            }
        }
        // A failed transaction that was not committed.
        if frames.last().is_some_and(|ready| ready.body != b"I") {
            self.client.run("rollback");
        }
        let rows = self.client.run("select * from steps order by id");
        Course { frames, rows }
    }

    /// One character: `=` nothing noticed, `-` the same because the order never struck, `!` the
    /// conflict and nothing committed, `?` anything else.
    fn judge(&mut self, untroubled: &Course, troubled: &Course, before: &Course) -> char {
        let left = self.cluster.orders_left();
        self.cluster.forget_orders();
        let mut errors = troubled.frames.iter().filter(|frame| frame.tag == b'E');
        if troubled == untroubled {
            return if left == 0 { '=' } else { '-' };
        }
        let refused = errors.any(|error| error.sqlstate() == "40001");
        if refused && troubled.rows == before.rows && left == 0 {
            return '!';
        }
        let shown = |course: &Course| {
            let lines = render(&course.frames)
                .into_iter()
                .chain(render(&course.rows));
            let short = lines.map(|line| line.chars().take(120).collect::<String>());
            short.collect::<Vec<_>>().join("\n")
        };
        println!(
            "expected:\n{}\nseen:\n{}",
            shown(untroubled),
            shown(troubled)
        );
        '?'
    }
}

/// What is expected at statements 1 to 10 and at COMMIT; `~` is not noticed or a conflict, whichever
/// is faster.
fn expected(protocol: Protocol, variety: Variety) -> &'static str {
    let crosses = !CROSSED_HOLDS_ARE_VERIFIED && variety == Variety::Large;
    match (protocol, variety) {
        // The statement, and the commit that goes with it.
        (Protocol::AloneSimple | Protocol::AloneExtended, Variety::Error) => "-----=-----",
        (Protocol::AloneSimple | Protocol::AloneExtended, _) if crosses => "-----=----~",
        (Protocol::AloneSimple | Protocol::AloneExtended, _) => "-----=----=",
        // What follows was sent already, until only the COMMIT is left.
        (Protocol::Burst, Variety::Error) => "~~~~~~-----",
        (Protocol::Burst, Variety::Savepoint) => "~~-~~~-~-~=",
        (Protocol::Burst, _) => "~~~~~~~~~~=",
        // Reading on is no statement.
        (_, Variety::HalfRead) => "====-=-====",
        // Savepoints are kept by the proxy; going back to one runs what was ahead of it again.
        (_, Variety::Savepoint) => "==-===-=-==",
        // Behind the error nothing runs any more.
        (_, Variety::Error) => "======-----",
        (Protocol::Pipelined | Protocol::OneString, _) if crosses => "======~~~~~",
        _ => "===========",
    }
}

/// Whether what was seen is what was expected.
fn agrees(seen: &str, expected: &str) -> bool {
    seen.len() == expected.len()
        && seen.chars().zip(expected.chars()).all(|pair| match pair {
            // The emulator may find the statement in what is skipped.
            ('=', '-') | ('=' | '!', '~') => true,
            (seen, expected) => seen == expected,
        })
}

#[test]
fn aborts_at_every_place_are_not_noticed() {
    let cluster = Cluster::start();
    let proxy = plan()
        .size(10)
        .dsql(&cluster)
        .retry_with("attempts: 3, budget_percent: 100")
        .savepoints("emulate")
        .start();
    let mut client = proxy.connect();
    set_up(
        &mut client,
        "create table steps (id int primary key, value int, note text)",
    );
    let mut stage = Stage { cluster, client };
    let before = stage.play(&[], None);
    let mut wrong = 0;
    let mut runs = 0;
    println!(
        "{:10} {:9} {:6} {:12} seen",
        "protocol", "variety", "code", "expected"
    );
    for protocol in Protocol::ALL {
        for variety in Variety::ALL {
            if !protocol.knows(variety) {
                continue;
            }
            let requests = requests(protocol, variety);
            let untroubled = stage.play(&requests, None);
            let failed = untroubled.frames.iter().any(|frame| frame.tag == b'E');
            assert_eq!(
                failed,
                matches!(variety, Variety::Error | Variety::Savepoint),
                "{:?}",
                render(&untroubled.frames)
            );
            for code in ["OC000", "OC001"] {
                let mut seen = String::new();
                for place in 1..=STEPS + 1 {
                    let order = match place <= STEPS {
                        true => {
                            json!({"kind": "abort_statement", "code": code, "match": format!("step {place} ")})
                        }
                        false => json!({"kind": "abort_commit", "code": code}),
                    };
                    let troubled = stage.play(&requests, Some(order));
                    seen.push(stage.judge(&untroubled, &troubled, &before));
                    runs += 1;
                }
                let expected = expected(protocol, variety);
                let good = agrees(&seen, expected);
                wrong += usize::from(!good);
                println!(
                    "{:14} {:9} {code:6} {expected:12} {seen}{}",
                    format!("{protocol:?}"),
                    format!("{variety:?}"),
                    if good { "" } else { "   <-- differs" }
                );
            }
        }
    }
    println!(
        "{runs} runs; at statements 1 to 10 and COMMIT: = not noticed, - never struck, ! 40001"
    );
    assert_eq!(wrong, 0, "lines of the table above");
}
