use super::*;

const LIMITS: Limits = Limits {
    attempts: 3,
    hold_bytes: 1000,
    journal_bytes: 10_000,
};
const WRITE: Sent = Sent {
    ends: true,
    simple: true,
    writes: true,
    begins: false,
    controls: false,
    runs: true,
    skippable: false,
    own_begin: false,
    outlives: false,
    executes: true,
    quiet: false,
    opts_out: false,
    nobodys: false,
};
const READ: Sent = Sent {
    writes: false,
    ..WRITE
};
const BEGIN: Sent = Sent {
    begins: true,
    controls: true,
    runs: false,
    ..READ
};

/// An extended message.
const PARSE: Sent = Sent {
    ends: false,
    simple: false,
    skippable: true,
    ..WRITE
};
const SYNC: Sent = Sent {
    simple: false,
    ..READ
};
/// A message of a BEGIN of the proxy's own.
const OWN_BEGIN: Sent = Sent {
    ends: false,
    simple: false,
    own_begin: true,
    ..BEGIN
};

/// Text of a request, what it is, and its answer.
type Request = (&'static str, Sent, &'static str);

/// A session and its upstream, as far as bytes go.
struct Bench {
    replay: Replay,
    budget: Rc<Budget>,
    held: Vec<u8>,
    /// What the session got to see.
    seen: Vec<u8>,
    sent: Vec<Vec<u8>>,
    told: Vec<Outcome>,
    waits: usize,
    conflicts: Vec<Evidence>,
    efforts: Vec<u32>,
    /// Names of statements that are no longer there.
    forgotten: Vec<Vec<u8>>,
    /// How often the unnamed one was not, either.
    unnamed_lost: usize,
    /// What is said of the order of rows.
    order_says_nothing: bool,
    judged: Vec<String>,
    /// Names of statements that are there again.
    remembered: Vec<Vec<u8>>,
}

impl Bench {
    fn new() -> Self {
        let budget = Rc::new(Budget::new(100));
        Self {
            replay: Replay::new(LIMITS, Rc::clone(&budget)),
            budget,
            forgotten: Vec::new(),
            unnamed_lost: 0,
            order_says_nothing: false,
            judged: Vec::new(),
            remembered: Vec::new(),
            held: Vec::new(),
            seen: Vec::new(),
            sent: Vec::new(),
            told: Vec::new(),
            waits: 0,
            conflicts: Vec::new(),
            efforts: Vec::new(),
        }
    }

    fn send(&mut self, text: &str, sent: Sent) {
        let mut bytes = Vec::new();
        frontend::put_query(&mut bytes, text.as_bytes());
        self.replay.note(&bytes, sent);
    }

    fn parse(&mut self, name: &str, text: &str, sent: Sent) {
        let mut bytes = Vec::new();
        frontend::put_parse(&mut bytes, name.as_bytes(), text.as_bytes(), b"\0\0");
        self.replay.note(&bytes, sent);
    }

    fn sync(&mut self) {
        let mut bytes = Vec::new();
        frontend::put(&mut bytes, b'S', &[]);
        self.replay.note(&bytes, SYNC);
    }

    fn flush(&mut self) {
        self.replay.flush(b"H\0\0\0\x04");
    }

    /// Requests that are answered one by one; nobody looks at the answers.
    fn converse(&mut self, requests: &[Request]) {
        for (text, sent, answer) in requests {
            self.send(text, *sent);
            self.answer(&frames(answer));
        }
        self.seen.clear();
    }

    /// The upstream answers, byte by byte.
    fn answer(&mut self, frames: &[u8]) {
        for byte in frames {
            self.held.push(*byte);
            self.turn();
        }
    }

    fn turn(&mut self) {
        loop {
            match self.replay.look(&self.held) {
                Action::More => return,
                Action::Release(count) => self.seen.extend(self.held.drain(..count)),
                Action::Drop(count) => drop(self.held.drain(..count)),
                Action::Send(bytes) => self.sent.push(bytes),
                Action::Inject(bytes) => self.seen.extend(bytes),
                Action::Wait(_) => self.waits += 1,
                Action::Remember(names) => self.remembered.extend(names),
                Action::Tell(outcome) => self.told.push(outcome),
                Action::Conflict(evidence) => self.conflicts.push(evidence),
                Action::Measured(effort) => self.efforts.push(effort.repetitions),
                Action::Forget(names) => {
                    self.forgotten.extend(names);
                    self.unnamed_lost += 1;
                }
                Action::Judge(requests) => {
                    let texts = requests.iter().map(|sent| {
                        let text = String::from_utf8_lossy(&sent[HEADER..]);
                        text.trim_end_matches('\0').to_owned()
                    });
                    self.judged.extend(texts);
                    self.replay.judge(self.order_says_nothing);
                }
                Action::Lost => panic!("lost"),
            }
        }
    }

    fn seen(&mut self) -> String {
        shown(&std::mem::take(&mut self.seen))
    }

    /// Types of what was sent.
    fn sent_tags(&mut self) -> String {
        tags(&std::mem::take(&mut self.sent).concat())
    }

    fn sent(&mut self) -> String {
        let sent = std::mem::take(&mut self.sent).concat();
        let mut out = Vec::new();
        let mut rest = sent.as_slice();
        while let Ok(Some(header)) = frame::frontend_header(rest) {
            let body = String::from_utf8_lossy(&rest[HEADER..header.total]);
            out.push(body.trim_end_matches('\0').to_owned());
            rest = &rest[header.total..];
        }
        out.join("; ")
    }
}

fn shown(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while let Ok(Some(header)) = frame::backend_header(bytes) {
        let body = &bytes[HEADER..header.total];
        out.push(char::from(header.tag));
        match header.tag {
            b'E' => out.push_str(&String::from_utf8_lossy(error_fields(body).code)),
            b'D' | b'C' | b'Z' => {
                out.push_str(String::from_utf8_lossy(body).trim_end_matches('\0'))
            }
            _ => {}
        }
        out.push(' ');
        bytes = &bytes[header.total..];
    }
    out.trim_end().to_owned()
}

/// Frames in short: `D1` a row, `CX` a tag, `E40001`, `ZI`.
fn frames(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (tag, body) = word.split_at(1);
        let body = match tag {
            "E" => format!("SERROR\0VERROR\0C{body}\0Mno\0\0").into_bytes(),
            "C" => format!("{body}\0").into_bytes(),
            _ => body.as_bytes().to_vec(),
        };
        frontend::put(&mut out, tag.as_bytes()[0], &[&body]);
    }
    out
}

#[test]
fn an_autocommit_write_is_run_again_and_shown_once() {
    let mut bench = Bench::new();
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("D1 CUPDATE_1"));
    assert_eq!(bench.seen(), "", "kept until it is committed");
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen(), bench.sent()),
        (String::new(), "UPDATE".to_owned())
    );
    assert!(bench.replay.is_repeating() && bench.waits == 1);
    bench.answer(&frames("D2 CUPDATE_1 ZI"));
    assert_eq!(bench.seen(), "D2 CUPDATE_1 ZI");
    assert_eq!(bench.told, [Outcome::Repeated]);
    assert!(!bench.replay.is_repeating());
}

#[test]
fn reads_go_on_at_once_and_are_repeated_only_before_that() {
    let mut bench = Bench::new();
    bench.send("SELECT", READ);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "SELECT");
    bench.answer(&frames("D1"));
    assert_eq!(bench.seen(), "D1", "streams");
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.seen(), "E40001 ZI", "the client has seen a row");
    assert_eq!(bench.told, [Outcome::Ineligible]);
}

#[test]
fn other_errors_are_not_repeated() {
    let mut bench = Bench::new();
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E23505"));
    assert_eq!(bench.seen(), "E23505");
    bench.answer(&frames("ZI"));
    assert_eq!(
        (bench.seen(), bench.sent()),
        ("ZI".to_owned(), String::new())
    );
}

/// BEGIN, a read and a write that were answered, and a COMMIT that meets a conflict.
fn transaction() -> Bench {
    let mut bench = Bench::new();
    for (text, sent, answer) in [
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("SELECT", READ, "D1 CSELECT_1 ZT"),
        ("UPDATE", WRITE, "S CUPDATE_1 ZT"),
    ] {
        bench.send(text, sent);
        bench.answer(&frames(answer));
    }
    assert_eq!(bench.seen(), "CBEGIN ZT D1 CSELECT_1 ZT S CUPDATE_1 ZT");
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen(), bench.sent()),
        (String::new(), "BEGIN".to_owned())
    );
    bench.answer(&frames("CBEGIN ZT"));
    assert_eq!(bench.sent(), "SELECT; UPDATE");
    bench
}

#[test]
fn a_transaction_that_reads_the_same_commits() {
    let mut bench = transaction();
    bench.answer(&frames("D1 CSELECT_1 ZT"));
    assert_eq!(bench.sent(), "", "COMMIT is sent when all is verified");
    assert!(bench.replay.is_before_commit());
    bench.answer(&frames("N CUPDATE_1 ZT"));
    assert_eq!(bench.sent(), "COMMIT");
    assert!(!bench.replay.is_before_commit());
    bench.answer(&frames("CCOMMIT ZI"));
    assert_eq!(bench.seen(), "CCOMMIT ZI");
    assert_eq!(bench.told, [Outcome::Repeated]);
}

#[test]
fn a_transaction_that_reads_otherwise_fails_as_it_did() {
    let mut bench = transaction();
    bench.answer(&frames("D2 CSELECT_1 ZT CUPDATE_1 ZT"));
    assert_eq!(bench.sent(), "ROLLBACK");
    assert_eq!(bench.seen(), "");
    bench.answer(&frames("CROLLBACK ZI"));
    let seen = std::mem::take(&mut bench.seen);
    assert_eq!(shown(&seen), "E40001 ZI");
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(
        text.contains("statement 1 of it") && text.contains("Mno\0"),
        "{text}"
    );
    assert_eq!(bench.told, [Outcome::Diverged]);
    // The next transaction starts afresh.
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("CUPDATE_1 ZI"));
    assert_eq!(bench.seen(), "CUPDATE_1 ZI");
}

/// A transaction of two reads and a write, run again up to its COMMIT.
fn read_again(order_says_nothing: bool, answer: &str) -> Bench {
    let mut bench = Bench::new();
    bench.order_says_nothing = order_says_nothing;
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        (
            "SELECT a; SELECT b",
            READ,
            "T D1 D2 D2 CSELECT_3 T D3 CSELECT_1 ZT",
        ),
        ("SELECT c", READ, "T D4 D5 CSELECT_2 ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI CBEGIN ZT"));
    bench.sent();
    bench.answer(&frames(answer));
    bench.answer(&frames("CUPDATE_1 ZT"));
    bench
}

#[test]
fn rows_in_another_order_are_the_same_where_order_says_nothing() {
    let answer = "T D2 D1 D2 CSELECT_3 T D3 CSELECT_1 ZT T D4 D5 CSELECT_2 ZT";
    let mut bench = read_again(true, answer);
    assert_eq!(bench.judged, ["SELECT a; SELECT b"]);
    assert_eq!(bench.sent(), "COMMIT");
    bench.answer(&frames("CCOMMIT ZI"));
    assert_eq!(bench.seen(), "CCOMMIT ZI");
    assert_eq!(bench.told, [Outcome::Repeated]);

    let both = "T D2 D1 D2 CSELECT_3 T D3 CSELECT_1 ZT T D5 D4 CSELECT_2 ZT";
    assert_eq!(
        read_again(true, both).judged,
        ["SELECT a; SELECT b", "SELECT c"]
    );

    let mut bench = read_again(false, answer);
    assert_eq!(bench.sent(), "ROLLBACK");
    bench.answer(&frames("CROLLBACK ZI"));
    assert_eq!(bench.seen(), "E40001 ZI");
    assert_eq!(bench.told, [Outcome::Diverged]);
}

#[test]
fn other_rows_are_not_the_same_in_any_order() {
    for answer in [
        "T D1 D1 D2 CSELECT_3 T D3 CSELECT_1 ZT",
        "T D1 D2 CSELECT_3 T D3 CSELECT_1 ZT",
        "T D1 D2 D3 CSELECT_3 T D2 CSELECT_1 ZT",
        "T D1 D2 D2 CSELECT_3 D3 T CSELECT_1 ZT",
        "T D1 D2 CSELECT_3 T D2 D3 CSELECT_1 ZT",
    ] {
        let mut bench = read_again(true, &format!("{answer} T D5 D4 CSELECT_2 ZT"));
        assert_eq!(bench.sent(), "ROLLBACK", "{answer}");
        assert_eq!(bench.judged, [""; 0], "{answer}");
    }
}

#[test]
fn conflicts_within_repetitions_count_as_attempts() {
    let mut bench = transaction();
    bench.answer(&frames("D1 CSELECT_1 ZT CUPDATE_1 ZT"));
    assert_eq!(bench.sent(), "COMMIT");
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "BEGIN");
    bench.answer(&frames("CBEGIN ZT"));
    assert_eq!(bench.sent(), "SELECT; UPDATE");
    // In the middle: the rest of what was sent is answered too.
    bench.answer(&frames("E40001 ZE E25P02 ZE"));
    assert_eq!(bench.sent(), "ROLLBACK");
    bench.answer(&frames("CROLLBACK ZI"));
    assert_eq!(bench.sent(), "BEGIN");
    bench.answer(&frames("CBEGIN ZT"));
    assert_eq!(bench.sent(), "SELECT; UPDATE");
    bench.answer(&frames("D1 CSELECT_1 ZT CUPDATE_1 ZT"));
    assert_eq!(bench.sent(), "COMMIT");
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.seen(), "E40001 ZI");
    assert_eq!(
        (bench.told.clone(), bench.waits),
        (vec![Outcome::Exhausted], 3)
    );
}

#[test]
fn a_conflict_inside_leaves_a_failed_transaction() {
    let mut bench = Bench::new();
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("SELECT 1", READ, "D1 CSELECT_1 ZT"),
    ]);
    bench.send("SELECT 2", READ);
    bench.answer(&frames("E40001 ZE"));
    assert_eq!(bench.sent(), "ROLLBACK");
    bench.answer(&frames("CROLLBACK ZI"));
    assert_eq!(bench.sent(), "BEGIN");
    bench.answer(&frames("CBEGIN ZT"));
    assert_eq!(bench.sent(), "SELECT 1");
    bench.answer(&frames("D2 CSELECT_1 ZT"));
    assert_eq!(bench.sent(), String::from_utf8_lossy(FAILING));
    bench.answer(&frames("E42601 ZE"));
    assert_eq!(bench.seen(), "E40001 ZE");
    bench.send("ROLLBACK", READ);
    bench.answer(&frames("CROLLBACK ZI"));
    assert_eq!(bench.seen(), "CROLLBACK ZI");
}

#[test]
fn statements_that_outlive_the_abort_are_closed_first() {
    let mut bench = Bench::new();
    bench.parse("s1", "UPDATE", PARSE);
    bench.sync();
    bench.answer(&frames("1 2 CUPDATE_1 E40001 ZI"));
    assert_eq!(bench.sent_tags(), "CS");
    assert!(bench.replay.is_before_commit());
    bench.answer(&frames("3 ZI"));
    assert_eq!(bench.sent_tags(), "PS");
    assert!(!bench.replay.is_before_commit());
    bench.answer(&frames("1 2 CUPDATE_1 ZI"));
    assert_eq!(bench.seen(), "1 2 CUPDATE_1 ZI");
}

fn tags(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while let Ok(Some(header)) = frame::frontend_header(bytes) {
        out.push(char::from(header.tag));
        bytes = &bytes[header.total..];
    }
    out
}

#[test]
fn copy_data_is_sent_again() {
    let mut bench = Bench::new();
    bench.send("COPY", WRITE);
    bench.answer(&frames("G"));
    assert_eq!(bench.seen(), "G");
    let mut data = Vec::new();
    frontend::put(&mut data, b'd', &[b"1"]);
    frontend::put(&mut data, b'c', &[]);
    bench.replay.note_copy_end(&data);
    bench.answer(&frames("CCOPY_1 E40001 ZI"));
    assert_eq!(bench.sent_tags(), "Qdc");
    bench.answer(&frames("G CCOPY_1 ZI"));
    assert_eq!(bench.seen(), "CCOPY_1 ZI");
}

#[test]
fn what_is_too_long_is_not_repeated() {
    let mut bench = Bench::new();
    bench.send(&"x".repeat(20_000), WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.seen(), "E40001 ZI");
}

#[test]
fn requests_behind_the_failed_one_keep_it_from_being_repeated() {
    let mut bench = Bench::new();
    bench.send("UPDATE 1", WRITE);
    bench.send("UPDATE 2", WRITE);
    bench.answer(&frames("CUPDATE_1 E40001 ZI CUPDATE_1 ZI"));
    assert_eq!(bench.seen(), "CUPDATE_1 E40001 ZI CUPDATE_1 ZI");
}

#[test]
fn what_the_client_asks_for_early_goes_on_early() {
    let mut bench = Bench::new();
    bench.parse("", "UPDATE", PARSE);
    bench.flush();
    bench.answer(&frames("1"));
    assert_eq!(bench.seen(), "1");
}

#[test]
fn notices_ahead_of_a_result_are_shown_at_once_and_once() {
    let mut bench = Bench::new();
    bench.send("INSERT", WRITE);
    bench.answer(&frames("N"));
    assert_eq!(bench.seen(), "N");
    bench.answer(&frames("N CINSERT E40001 ZI"));
    assert_eq!(bench.seen(), "N");
    bench.answer(&frames("N N CINSERT ZI"));
    assert_eq!(bench.seen(), "CINSERT ZI");
}

#[test]
fn mixed_requests_without_a_sync_are_not_watched() {
    let mut bench = Bench::new();
    bench.parse("", "UPDATE", PARSE);
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("E40001 ZI", "")
    );
    assert!(!bench.replay.is_watching());
}

#[test]
fn what_a_request_has_committed_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.send("BEGIN; UPDATE 1; COMMIT; UPDATE 2", WRITE);
    bench.answer(&frames("CBEGIN CUPDATE_1 CCOMMIT E40001 ZI"));
    assert_eq!(bench.seen(), "CBEGIN CUPDATE_1 CCOMMIT E40001 ZI");
    assert_eq!(bench.told, [Outcome::Ineligible]);
    // A transaction that begins behind a COMMIT cannot be told from what was committed.
    let mut bench = Bench::new();
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE 1", WRITE, "CUPDATE_1 ZT"),
        (
            "COMMIT; BEGIN; UPDATE 2",
            WRITE,
            "CCOMMIT CBEGIN CUPDATE_1 ZT",
        ),
        ("UPDATE 3", WRITE, "CUPDATE_1 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen(), bench.sent()),
        ("E40001 ZI".to_owned(), String::new())
    );
}

#[test]
fn nothing_runs_behind_a_begin_that_fails_in_a_repetition() {
    let mut bench = Bench::new();
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "BEGIN");
    bench.answer(&frames("E57014 ZI"));
    assert_eq!(
        (bench.seen(), bench.sent()),
        ("E40001 ZI".to_owned(), String::new())
    );
    assert_eq!(bench.told, [Outcome::Diverged]);
}

#[test]
fn a_begin_of_the_proxys_own_that_fails_in_a_repetition_gets_its_sync() {
    let mut bench = Bench::new();
    bench.parse("", "BEGIN", OWN_BEGIN);
    bench.send("SELECT", READ);
    bench.answer(&frames("1 2 CBEGIN D1 CSELECT_1 ZT"));
    bench.send("COMMIT", WRITE);
    bench.seen();
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent_tags(), "PQ");
    bench.answer(&frames("1 2 E40001"));
    assert_eq!(bench.sent_tags(), "S");
    bench.answer(&frames("ZI"));
    assert_eq!(bench.sent_tags(), "PQ", "again");
    // In the first run the session sees to that.
    let mut bench = Bench::new();
    bench.parse("", "BEGIN", OWN_BEGIN);
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("1 2 E40001"));
    assert_eq!(bench.seen(), "1 2 E40001");
}

#[test]
fn an_error_that_the_client_waits_for_is_not_kept() {
    let mut bench = Bench::new();
    bench.parse("", "UPDATE", PARSE);
    bench.flush();
    bench.answer(&frames("1 2 E40001"));
    assert_eq!(bench.seen(), "1 2 E40001");
    // In the middle of copy data the client is to stop.
    let mut bench = Bench::new();
    bench.send("COPY", WRITE);
    bench.answer(&frames("G"));
    bench.replay.note_rest(b"d\0\0\0\x05x");
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.seen(), "G E40001 ZI");
}

#[test]
fn a_state_that_cannot_be_restored_ends_the_connection() {
    let mut bench = transaction();
    bench.answer(&frames("D2 CSELECT_1 ZT CUPDATE_1 ZT"));
    assert_eq!(bench.sent(), "ROLLBACK");
    let mut held = frames("E57014 ZE");
    let last = loop {
        match bench.replay.look(&held) {
            Action::Drop(count) => drop(held.drain(..count)),
            other => break other,
        }
    };
    assert_eq!(last, Action::Lost);
}

// ---- what must not be repeated, and what must ---------------------------------------------------

/// The client gets the 40001 and nothing is sent again.
fn expect_given_on(bench: &mut Bench, answer: &str, outcome: Outcome) {
    bench.seen.clear();
    bench.answer(&frames(answer));
    assert_eq!((bench.seen().as_str(), bench.sent().as_str()), (answer, ""));
    assert_eq!(bench.told, [outcome]);
}

#[test]
fn a_spent_budget_ends_repeating() {
    let mut bench = Bench::new();
    while bench.budget.take(Instant::now(), Rank::Quiet) {}
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E40001 ZI"));
    let text = String::from_utf8_lossy(&bench.seen).into_owned();
    assert!(text.contains("Too many transactions"), "{text}");
    assert_eq!(
        (bench.sent().as_str(), bench.told.as_slice()),
        ("", &[Outcome::Budget][..])
    );
}

#[test]
fn a_session_that_repeats_much_leaves_the_rest_to_others() {
    let mut noisy = Bench::new();
    noisy.converse(&[("UPDATE", WRITE, "E40001 ZI CUPDATE_1 ZI")]);
    let mut quiet = Bench::new();
    quiet.replay = Replay::new(LIMITS, Rc::clone(&noisy.budget));
    while noisy.budget.take(Instant::now(), Rank::First) {}
    // On another connection it is the same session.
    noisy.replay.reset();
    noisy.sent.clear();
    for (bench, expected) in [(&mut noisy, ""), (&mut quiet, "UPDATE")] {
        bench.send("UPDATE", WRITE);
        bench.answer(&frames("E40001 ZI"));
        assert_eq!(bench.sent(), expected);
    }
}

#[test]
fn commits_of_writing_transactions_earn_budget() {
    let cases: [(&[Request], usize); 7] = [
        (&[("UPDATE", WRITE, "CUPDATE_1 ZI")], 1),
        (&[("UPDATE", WRITE, "E23505 ZI")], 0),
        (&[("SELECT", READ, "D1 CSELECT_1 ZI")], 0),
        (
            &[
                ("BEGIN", BEGIN, "CBEGIN ZT"),
                ("SELECT", READ, "D1 CSELECT_1 ZT"),
                ("COMMIT", WRITE, "CCOMMIT ZI"),
            ],
            0,
        ),
        (
            &[
                ("BEGIN", BEGIN, "CBEGIN ZT"),
                ("UPDATE", WRITE, "CUPDATE_1 ZT"),
                ("COMMIT", WRITE, "CCOMMIT ZI"),
                ("SELECT", READ, "D1 CSELECT_1 ZI"),
                ("BEGIN", BEGIN, "CBEGIN ZT"),
                ("COMMIT", WRITE, "CCOMMIT ZI"),
            ],
            1,
        ),
        (
            &[
                ("BEGIN", BEGIN, "CBEGIN ZT"),
                ("UPDATE", WRITE, "CUPDATE_1 ZT"),
                ("ROLLBACK", READ, "CROLLBACK ZI"),
            ],
            0,
        ),
        (
            &[
                ("BEGIN", BEGIN, "CBEGIN ZT"),
                ("UPDATE", WRITE, "E23505 ZE"),
                ("COMMIT", WRITE, "CROLLBACK ZI"),
            ],
            0,
        ),
    ];
    for (number, (requests, commits)) in cases.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.converse(requests);
        let free = Budget::new(100);
        let left = |budget: &Budget| {
            let granted = |_: &i32| budget.take(Instant::now(), Rank::Quiet);
            (0..100).filter(granted).count()
        };
        assert_eq!(left(&bench.budget) - left(&free), commits, "{number}");
    }
}

#[test]
fn each_transaction_has_its_own_attempts() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.converse(&[("UPDATE", WRITE, "E40001 ZI CUPDATE_1 ZI")]);
    }
    assert_eq!(bench.told, [Outcome::Repeated; 5]);
}

#[test]
fn a_cancelled_repetition_does_not_begin() {
    let mut bench = Bench::new();
    bench.send("UPDATE", WRITE);
    bench.replay.stop();
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("E40001 ZI", "")
    );
    // In the pause before it.
    let mut bench = Bench::new();
    bench.send("UPDATE", WRITE);
    bench.held = frames("E40001 ZI");
    while !matches!(bench.replay.look(&bench.held), Action::Wait(_)) {}
    bench.held.clear();
    bench.replay.stop();
    bench.turn();
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("E40001 ZI", "")
    );
    assert_eq!(bench.told, [Outcome::Exhausted]);
}

#[test]
fn a_transaction_that_has_failed_before_is_not_repeated() {
    let mut bench = Bench::new();
    bench.converse(&[("BEGIN", BEGIN, "CBEGIN ZT"), ("SELECT", READ, "E42601 ZE")]);
    bench.send("SELECT", READ);
    expect_given_on(&mut bench, "E40001 ZE", Outcome::Ineligible);
}

#[test]
fn a_transaction_that_goes_on_after_a_conflict_is_not_repeated() {
    let mut bench = Bench::new();
    bench.converse(&[("BEGIN", BEGIN, "CBEGIN ZT")]);
    bench.send("UPDATE", WRITE);
    expect_given_on(&mut bench, "E40001 ZT", Outcome::Ineligible);
}

#[test]
fn what_outlives_an_abort_is_not_done_twice() {
    let mut bench = Bench::new();
    let prepare = Sent {
        outlives: true,
        ..READ
    };
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("PREPARE", prepare, "CPREPARE ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    expect_given_on(&mut bench, "E40001 ZI", Outcome::Ineligible);
}

#[test]
fn a_request_without_its_end_is_not_repeated() {
    let mut bench = Bench::new();
    bench.parse("", "UPDATE", PARSE);
    expect_given_on(&mut bench, "E40001 ZI", Outcome::Ineligible);
}

#[test]
fn a_transaction_prepared_for_two_phases_is_not_repeated() {
    let mut bench = Bench::new();
    bench.send("BEGIN; PREPARE TRANSACTION; UPDATE", WRITE);
    let mut prepared = Vec::new();
    frontend::put(&mut prepared, b'C', &[b"PREPARE TRANSACTION\0"]);
    bench.answer(&[frames("CBEGIN"), prepared].concat());
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.sent().as_str(), bench.told.as_slice()),
        ("", &[Outcome::Ineligible][..])
    );
}

#[test]
fn settings_and_notices_in_the_middle_do_not_count() {
    let mut bench = Bench::new();
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("SELECT", READ, "D1 S D2 N CSELECT_2 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames(
        "E40001 ZI CBEGIN ZT A D1 D2 S CSELECT_2 ZT CCOMMIT ZI",
    ));
    assert_eq!(bench.seen(), "CCOMMIT ZI");
    assert_eq!(bench.told, [Outcome::Repeated]);
}

#[test]
fn a_begin_that_begins_nothing_ends_the_repetition() {
    let mut bench = Bench::new();
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "BEGIN");
    bench.answer(&frames("CBEGIN ZI"));
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("E40001 ZI", "")
    );
    assert_eq!(bench.told, [Outcome::Diverged]);
}

#[test]
fn a_rollback_that_fails_ends_the_connection() {
    let mut bench = Bench::new();
    bench.converse(&[("BEGIN", BEGIN, "CBEGIN ZT")]);
    bench.send("SELECT", READ);
    bench.answer(&frames("E40001 ZE"));
    assert_eq!(bench.sent(), "ROLLBACK");
    let mut held = frames("E57014 ZE");
    let last = loop {
        match bench.replay.look(&held) {
            Action::Drop(count) => drop(held.drain(..count)),
            other => break other,
        }
    };
    assert_eq!(last, Action::Lost);
}

#[test]
fn statements_of_a_repetition_that_is_given_up_are_closed_and_forgotten() {
    let mut bench = Bench::new();
    bench.converse(&[("BEGIN", BEGIN, "CBEGIN ZT")]);
    bench.parse(
        "s1",
        "SELECT",
        Sent {
            writes: false,
            ..PARSE
        },
    );
    bench.sync();
    bench.answer(&frames("1 2 D1 CSELECT_1 ZT"));
    bench.send("COMMIT", WRITE);
    bench.seen.clear();
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent_tags(), "CS");
    bench.answer(&frames("3 ZI"));
    assert_eq!(bench.sent_tags(), "Q");
    bench.answer(&frames("CBEGIN ZT"));
    assert_eq!(bench.sent_tags(), "PS");
    assert!(bench.forgotten.is_empty());
    bench.answer(&frames("1 2 D2 CSELECT_1 ZT"));
    assert_eq!(bench.sent_tags(), "QCS");
    assert_eq!(bench.forgotten, [b"s1".to_vec()]);
    bench.answer(&frames("CROLLBACK ZI 3 ZI"));
    assert_eq!(bench.seen(), "E40001 ZI");
}

// ---- opting out ---------------------------------------------------------------------------------

#[test]
fn a_statement_that_opts_out_takes_its_transaction_along() {
    let opts_out = |sent| Sent {
        opts_out: true,
        ..sent
    };
    let mut bench = Bench::new();
    bench.send("UPDATE", opts_out(WRITE));
    bench.answer(&frames("D1"));
    assert_eq!(bench.seen(), "D1", "nothing is kept back for a repetition");
    bench.answer(&frames("CUPDATE_1 E40001 ZI"));
    assert_eq!(bench.seen(), "CUPDATE_1 E40001 ZI");
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("SELECT", opts_out(READ), "D1 CSELECT_1 ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("E40001 ZI", "")
    );
    assert_eq!(bench.told, [Outcome::OptedOut, Outcome::OptedOut]);
    // The next one is repeated.
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "UPDATE");
}

#[test]
fn a_session_opts_out_at_once_and_in_for_the_next_transaction() {
    let mut bench = Bench::new();
    let begin = [
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ];
    // On again changes nothing.
    bench.converse(&begin);
    bench.replay.allow(true, true);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "BEGIN");
    bench.answer(&frames("CBEGIN ZT CUPDATE_1 ZT CCOMMIT ZI"));
    bench.sent.clear();
    bench.seen.clear();
    bench.told.clear();
    // Off in the middle; on again does not help this transaction.
    bench.converse(&begin);
    bench.replay.allow(false, true);
    bench.replay.allow(true, true);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("E40001 ZI", "")
    );
    bench.converse(&begin);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "BEGIN", "the next is repeated");
    bench.answer(&frames("CBEGIN ZT CUPDATE_1 ZT CCOMMIT ZI"));
    bench.sent.clear();
    bench.seen.clear();
    // Requests under way count as open.
    bench.send("UPDATE", WRITE);
    bench.replay.allow(false, false);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("E40001 ZI", "")
    );
    // It stays off on other connections.
    bench.replay.reset();
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.seen(), "E40001 ZI");
    bench.replay.allow(true, false);
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen().as_str(), bench.sent().as_str()),
        ("", "UPDATE")
    );
    use Outcome::{OptedOut, Repeated};
    assert_eq!(bench.told, [OptedOut, Repeated, OptedOut, OptedOut]);
}

#[test]
fn a_transaction_whose_begin_waits_for_a_connection_is_open() {
    let mut bench = Bench::new();
    bench.replay.allow(false, false);
    bench.replay.allow(true, true);
    bench.replay.reset();
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.told, [Outcome::OptedOut]);
    bench.replay.reset();
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent(), "UPDATE", "the next is not");
}

// ---- insight ------------------------------------------------------------------------------------

/// Texts of the statements that had part in each conflict.
fn suspects(bench: &mut Bench) -> Vec<String> {
    let text = |ran: &insight::Ran| match &ran.source {
        insight::Source::Text(text) => String::from_utf8_lossy(text).into_owned(),
        insight::Source::Prepared(name) => format!("<{}>", String::from_utf8_lossy(name)),
    };
    let conflicts = std::mem::take(&mut bench.conflicts);
    let texts = conflicts.iter().map(|evidence| {
        let ran = evidence.ran.iter().flatten();
        let texts: Vec<String> = ran.map(text).collect();
        format!("{}: {}", evidence.code.label(), texts.join(", "))
    });
    texts.collect()
}

#[test]
fn every_conflict_names_its_requests() {
    let all = "BEGIN, SELECT, UPDATE, COMMIT";
    let mut bench = transaction();
    assert_eq!(suspects(&mut bench), [format!("other: {all}")]);
    // In the middle of the repetition.
    let error = |code: &str| {
        let mut out = Vec::new();
        let body = format!("SERROR\0C40001\0Mno ({code})\0\0");
        frontend::put(&mut out, b'E', &[body.as_bytes()]);
        out
    };
    bench.answer(&[error("OC001"), frames("ZE E25P02 ZE")].concat());
    assert_eq!(suspects(&mut bench), [format!("OC001: {all}")]);
    bench.answer(&frames(
        "CROLLBACK ZI CBEGIN ZT D1 CSELECT_1 ZT CUPDATE_1 ZT",
    ));
    bench.answer(&[error("OC000"), frames("ZI")].concat());
    assert_eq!(suspects(&mut bench), [format!("OC000: {all}")]);
    bench.answer(&frames("CBEGIN ZT D1 CSELECT_1 ZT CUPDATE_1 ZT CCOMMIT ZI"));
    assert_eq!((bench.told.len(), bench.efforts.as_slice()), (1, &[3][..]));
    // One that cannot be repeated, and one that is not to be.
    bench.send("UPDATE 1", WRITE);
    bench.send("UPDATE 2", WRITE);
    bench.answer(&frames("E40001 ZI CUPDATE_1 ZI"));
    assert_eq!(suspects(&mut bench), ["other: UPDATE 1"]);
    bench.replay.allow(false, false);
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ]);
    bench.send("COMMIT", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(suspects(&mut bench), ["other: BEGIN, UPDATE, COMMIT"]);
    assert_eq!(bench.efforts, [3]);
}

#[test]
fn effort_is_told_when_the_transaction_ends() {
    let mut bench = Bench::new();
    bench.converse(&[("BEGIN", BEGIN, "CBEGIN ZT")]);
    bench.send("SELECT", READ);
    bench.answer(&frames("E40001 ZE CROLLBACK ZI CBEGIN ZT D1 CSELECT_1 ZT"));
    assert_eq!(
        (bench.told.as_slice(), bench.efforts.len()),
        (&[Outcome::Repeated][..], 0)
    );
    assert!(
        !bench.replay.meter.is_running(),
        "the client's own time does not count"
    );
    bench.converse(&[(
        "COMMIT",
        WRITE,
        "E40001 ZI CBEGIN ZT D1 CSELECT_1 ZT CCOMMIT ZI",
    )]);
    assert_eq!(bench.efforts, [2]);
    // A cancel is no repetition.
    bench.send("UPDATE", WRITE);
    bench.replay.stop();
    bench.answer(&frames("CUPDATE_1 ZI"));
    assert_eq!(bench.efforts, [2]);
}

/// A row longer than what is held.
fn long(letter: char) -> String {
    format!("D{}", letter.to_string().repeat(LIMITS.hold_bytes))
}

/// A write of which the client has got `rows` when its conflict comes.
fn shown_in_part(rows: &str) -> Bench {
    let mut bench = Bench::new();
    bench.send("UPDATE", WRITE);
    bench.answer(&frames(rows));
    assert_eq!(bench.seen(), rows);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.seen(), "", "the error is kept");
    assert_eq!(bench.sent(), "BEGIN");
    assert!(bench.replay.is_repeating() && bench.replay.is_before_commit());
    bench.answer(&frames("CBEGIN ZT"));
    assert_eq!(bench.sent(), "UPDATE");
    bench
}

#[test]
fn what_the_client_has_must_come_again_before_the_rest_and_the_commit() {
    let rows = format!("D1 {}", long('x'));
    let mut bench = shown_in_part(&rows);
    bench.answer(&frames(&rows));
    bench.answer(&frames("D4 CUPDATE"));
    assert_eq!(bench.seen(), "", "not committed yet");
    bench.answer(&frames("ZT"));
    assert!(!bench.replay.is_before_commit() || bench.sent.is_empty());
    assert_eq!(bench.sent(), "COMMIT");
    assert!(!bench.replay.is_before_commit());
    bench.answer(&frames("CCOMMIT ZI"));
    assert_eq!(bench.seen(), "D4 CUPDATE ZI");
    assert_eq!(bench.told, [Outcome::Repeated]);
    assert!(!bench.replay.is_repeating());
    bench.send("SELECT", READ);
    bench.answer(&frames("D1 C ZI"));
    assert_eq!(bench.seen(), "D1 C ZI");
}

#[test]
fn another_row_in_the_place_of_one_that_was_seen_ends_it() {
    let rows = format!("D1 {}", long('x'));
    for other in [
        format!("D2 {}", long('x')),
        format!("D1 {}", long('y')),
        "D1".into(),
    ] {
        let mut bench = shown_in_part(&rows);
        bench.answer(&frames(&format!("{other} CUPDATE ZT")));
        assert_eq!(bench.sent(), "ROLLBACK");
        bench.answer(&frames("CROLLBACK ZI"));
        assert_eq!(bench.seen(), "E40001 ZI", "{other}");
        assert_eq!(bench.told, [Outcome::Diverged]);
    }
}

#[test]
fn a_row_that_was_cut_comes_to_its_end() {
    let row = frames(&long('x'));
    let (part, rest) = row.split_at(row.len() - 10);
    let mut bench = Bench::new();
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("D1"));
    bench.answer(part);
    let mut seen = std::mem::take(&mut bench.seen);
    assert!(seen.len() > LIMITS.hold_bytes && seen.len() < row.len());
    // All of it at once, so that it is not asked between.
    bench.held.extend([rest, &frames("E40001 ZI")].concat());
    bench.turn();
    seen.append(&mut bench.seen);
    assert_eq!(shown(&seen), format!("D1 {}", long('x')));
    assert_eq!(bench.sent(), "BEGIN");
    bench.answer(&frames("CBEGIN ZT"));
    bench.answer(&frames(&format!("D1 {} C ZT", long('x'))));
    bench.answer(&frames("CCOMMIT ZI"));
    assert_eq!(bench.seen(), "C ZI");
}

#[test]
fn conflicts_of_such_a_repetition_are_repeated_again() {
    let rows = format!("D1 {}", long('x'));
    let more = format!("{} {}", long('y'), long('z'));
    let mut bench = shown_in_part(&rows);
    bench.sent.clear();
    // At its COMMIT, after more has been seen.
    bench.answer(&frames(&format!("{rows} {more} D5 C ZT")));
    assert_eq!(bench.seen(), more);
    assert_eq!(bench.sent(), "COMMIT");
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(
        (bench.seen(), bench.sent()),
        (String::new(), "BEGIN".into())
    );
    // Among what was seen.
    bench.answer(&frames("CBEGIN ZT D1 E40001 ZE"));
    assert_eq!(bench.sent(), "UPDATE; ROLLBACK");
    bench.answer(&frames("CROLLBACK ZI"));
    assert_eq!(
        (bench.seen(), bench.sent()),
        (String::new(), "BEGIN".into())
    );
    bench.answer(&frames(&format!(
        "CBEGIN ZT {rows} {more} D6 C ZT CCOMMIT ZI"
    )));
    assert_eq!(bench.seen(), "D6 C ZI");
    assert_eq!(bench.told, [Outcome::Repeated]);
    assert_eq!(bench.conflicts.len(), 3);
}

#[test]
fn an_error_of_the_rest_is_the_clients() {
    let rows = format!("D1 {}", long('x'));
    let mut bench = shown_in_part(&rows);
    bench.answer(&frames(&format!("{rows} D2 E22012 ZE")));
    assert_eq!(bench.sent(), "ROLLBACK");
    bench.answer(&frames("CROLLBACK ZI"));
    assert_eq!(bench.seen(), "D2 E22012 ZI");

    let mut bench = shown_in_part(&rows);
    bench.answer(&frames(&format!("{rows} D2 C ZT")));
    bench.answer(&frames("E54000 ZI"));
    assert_eq!(bench.seen(), "D2 C E54000 ZI");
}

#[test]
fn transaction_control_within_is_not_run_in_a_block() {
    let mut bench = Bench::new();
    let rows = format!("D1 {}", long('x'));
    bench.send(
        "UPDATE; COMMIT",
        Sent {
            controls: true,
            ..WRITE
        },
    );
    bench.answer(&frames(&format!("{rows} E40001 ZI")));
    assert_eq!(bench.seen(), format!("{rows} E40001 ZI"));
    assert_eq!(bench.sent(), "");
    assert_eq!(bench.told, [Outcome::Ineligible]);
}

fn copy_rows() -> Vec<u8> {
    let mut data = Vec::new();
    frontend::put(&mut data, b'd', &[b"1"]);
    frontend::put(&mut data, b'c', &[]);
    data
}

#[test]
fn a_copy_that_failed_before_its_data_asks_for_them_in_the_repetition() {
    let mut bench = Bench::new();
    bench.send("COPY", WRITE);
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent_tags(), "Q");
    bench.answer(&frames("G"));
    assert_eq!(bench.seen(), "G");
    assert!(!bench.replay.is_repeating(), "the client sends its data");
    assert_eq!(bench.told, [Outcome::Repeated]);
    // From here it is as in a first run: without the data nothing is repeated, with them all is.
    bench.replay.note_copy_end(&copy_rows());
    bench.answer(&frames("CCOPY_1 E40001 ZI"));
    assert_eq!(bench.sent_tags(), "Qdc");
    bench.answer(&frames("G CCOPY_1 ZI"));
    assert_eq!(bench.seen(), "CCOPY_1 ZI");
    bench.send("COPY", WRITE);
    bench.answer(&frames("E40001 ZI G E40001 ZI"));
    assert_eq!(bench.seen(), "G E40001 ZI");
    // Data that came along before the server was ready for them are sent along again.
    let mut bench = Bench::new();
    bench.send("COPY", WRITE);
    bench.replay.note_copy_end(&copy_rows());
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(bench.sent_tags(), "Qdc");
    bench.answer(&frames("G CCOPY_1 ZI"));
    assert_eq!(bench.seen(), "G CCOPY_1 ZI");
}

#[test]
fn a_sync_ahead_of_copy_data_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.parse("", "COPY", PARSE);
    bench.sync();
    bench.answer(&frames("G"));
    bench.replay.note_copy_end(&copy_rows());
    bench.sync();
    bench.answer(&frames("CCOPY_1 E40001 ZI"));
    assert_eq!(bench.sent_tags(), "PdcS");
    bench.answer(&frames("G E40001 ZI"));
    assert_eq!(
        bench.sent_tags(),
        "PdcS",
        "the Sync behind the data ends it"
    );
    bench.answer(&frames("G CCOPY_1 ZI"));
    assert_eq!(bench.seen(), "G CCOPY_1 ZI");

    // Data that do not wait for the server have their Sync behind them.
    let mut bench = Bench::new();
    bench.parse("", "COPY", PARSE);
    bench.replay.note_copy_end(&copy_rows());
    bench.sync();
    bench.answer(&frames("G CCOPY_1 E40001 ZI"));
    assert_eq!(bench.sent_tags(), "PdcS");
    bench.answer(&frames("G CCOPY_1 ZI"));
    assert_eq!(bench.seen(), "G CCOPY_1 ZI");
}

#[test]
fn acknowledgements_shown_by_a_repetition_are_not_given_again() {
    let mut bench = Bench::new();
    bench.parse("s1", "UPDATE", PARSE);
    bench.sync();
    bench.answer(&frames("1 2 E40001 ZI 3 ZI"));
    assert_eq!(bench.seen(), "");
    bench.answer(&frames("1 2 N"));
    assert_eq!(bench.seen(), "1 2 N");
    for _ in 0..2 {
        bench.answer(&frames("E40001 ZI 3 ZI 1 2"));
    }
    bench.answer(&frames("E40001 ZI 3 ZI"));
    assert_eq!(bench.seen(), "E40001 ZI");
    assert_eq!(bench.told, [Outcome::Exhausted]);
}

#[test]
fn statements_that_a_given_up_repetition_closed_are_forgotten() {
    let mut bench = Bench::new();
    let mut close = Vec::new();
    frontend::put_close_statement(&mut close, b"old");
    bench.replay.note(&close, PARSE);
    bench.parse("new", "UPDATE", PARSE);
    bench.sync();
    bench.answer(&frames("3 1 2 E40001 ZI 3 ZI"));
    for _ in 0..3 {
        bench.answer(&frames("E40001 ZI 3 3 ZI"));
    }
    assert_eq!(bench.seen(), "E40001 ZI");
    assert_eq!(bench.forgotten, [b"new".to_vec(), b"old".to_vec()]);
}

#[test]
fn a_rollback_destroys_the_unnamed_statement() {
    let mut bench = Bench::new();
    bench.converse(&[
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("SELECT 1", READ, "D1 CSELECT_1 ZT"),
    ]);
    bench.send("SELECT 2", READ);
    assert_eq!(bench.unnamed_lost, 0);
    bench.answer(&frames("E40001 ZE"));
    assert_eq!(
        (bench.sent(), bench.unnamed_lost),
        ("ROLLBACK".to_owned(), 1)
    );
}
