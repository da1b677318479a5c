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
    runs: true,
    skippable: false,
    own_begin: false,
    outlives: false,
    executes: true,
    quiet: false,
};
const READ: Sent = Sent {
    writes: false,
    ..WRITE
};
const BEGIN: Sent = Sent {
    begins: true,
    runs: false,
    ..READ
};

/// A session and its upstream, as far as bytes go.
struct Bench {
    replay: Replay,
    held: Vec<u8>,
    /// What the session got to see.
    seen: Vec<u8>,
    sent: Vec<Vec<u8>>,
    told: Vec<Outcome>,
    waits: usize,
}

impl Bench {
    fn new() -> Self {
        Self {
            replay: Replay::new(LIMITS, Rc::new(Budget::new(20))),
            held: Vec::new(),
            seen: Vec::new(),
            sent: Vec::new(),
            told: Vec::new(),
            waits: 0,
        }
    }

    fn send(&mut self, text: &str, sent: Sent) {
        let mut bytes = Vec::new();
        frontend::put_query(&mut bytes, text.as_bytes());
        self.replay.note(&bytes, sent);
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
                Action::Tell(outcome) => self.told.push(outcome),
                Action::Forget(_) => {}
                Action::Lost => panic!("lost"),
            }
        }
    }

    fn seen(&mut self) -> String {
        shown(&std::mem::take(&mut self.seen))
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
    for (text, sent, answer) in [
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("SELECT 1", READ, "D1 CSELECT_1 ZT"),
    ] {
        bench.send(text, sent);
        bench.answer(&frames(answer));
    }
    bench.seen();
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
    let mut bytes = Vec::new();
    frontend::put_parse(&mut bytes, b"s1", b"UPDATE", b"\0\0");
    bench.replay.note(
        &bytes,
        Sent {
            ends: false,
            simple: false,
            ..WRITE
        },
    );
    let mut sync = Vec::new();
    frontend::put(&mut sync, b'S', &[]);
    bench.replay.note(
        &sync,
        Sent {
            simple: false,
            ..READ
        },
    );
    bench.answer(&frames("1 2 CUPDATE_1 E40001 ZI"));
    assert_eq!(tags(&std::mem::take(&mut bench.sent).concat()), "CS");
    assert!(bench.replay.is_before_commit());
    bench.answer(&frames("3 ZI"));
    assert_eq!(tags(&std::mem::take(&mut bench.sent).concat()), "PS");
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
    assert_eq!(tags(&std::mem::take(&mut bench.sent).concat()), "Qdc");
    bench.answer(&frames("G CCOPY_1 ZI"));
    assert_eq!(bench.seen(), "CCOPY_1 ZI");
}

#[test]
fn what_is_too_long_is_not_repeated() {
    // Answers beyond the hold go on.
    let mut bench = Bench::new();
    bench.send("UPDATE RETURNING", WRITE);
    bench.answer(&frames(&format!("D{}", "x".repeat(2000))));
    assert!(bench.seen.len() > 1000);
    bench.answer(&frames("CUPDATE_1 E40001 ZI"));
    assert!(bench.seen().ends_with(" CUPDATE_1 E40001 ZI"));
    // A request beyond the journal.
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
    let mut bytes = Vec::new();
    frontend::put_parse(&mut bytes, b"", b"UPDATE", b"\0\0");
    bench.replay.note(
        &bytes,
        Sent {
            ends: false,
            simple: false,
            ..WRITE
        },
    );
    let mut flush = Vec::new();
    frontend::put(&mut flush, b'H', &[]);
    bench.replay.flush(&flush);
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
    let mut bytes = Vec::new();
    frontend::put_parse(&mut bytes, b"", b"UPDATE", b"\0\0");
    bench.replay.note(
        &bytes,
        Sent {
            ends: false,
            simple: false,
            skippable: true,
            ..WRITE
        },
    );
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("E42601 1"));
    assert_eq!(bench.seen(), "E42601 1");
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
    for (text, sent, answer) in [
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE 1", WRITE, "CUPDATE_1 ZT"),
        (
            "COMMIT; BEGIN; UPDATE 2",
            WRITE,
            "CCOMMIT CBEGIN CUPDATE_1 ZT",
        ),
        ("UPDATE 3", WRITE, "CUPDATE_1 ZT"),
    ] {
        bench.send(text, sent);
        bench.answer(&frames(answer));
    }
    bench.seen();
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
    for (text, sent, answer) in [
        ("BEGIN", BEGIN, "CBEGIN ZT"),
        ("UPDATE", WRITE, "CUPDATE_1 ZT"),
    ] {
        bench.send(text, sent);
        bench.answer(&frames(answer));
    }
    bench.seen();
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
    let mut begin = Vec::new();
    frontend::put_parse(&mut begin, b"", b"BEGIN", b"\0\0");
    let own = Sent {
        ends: false,
        simple: false,
        own_begin: true,
        ..BEGIN
    };
    bench.replay.note(&begin, own);
    bench.send("SELECT", READ);
    bench.answer(&frames("1 2 CBEGIN D1 CSELECT_1 ZT"));
    bench.send("COMMIT", WRITE);
    bench.seen();
    bench.answer(&frames("E40001 ZI"));
    assert_eq!(tags(&std::mem::take(&mut bench.sent).concat()), "PQ");
    bench.answer(&frames("1 2 E40001"));
    assert_eq!(tags(&std::mem::take(&mut bench.sent).concat()), "S");
    bench.answer(&frames("ZI"));
    assert_eq!(
        tags(&std::mem::take(&mut bench.sent).concat()),
        "PQ",
        "again"
    );
    // In the first run the session sees to that.
    let mut bench = Bench::new();
    bench.replay.note(&begin, own);
    bench.send("UPDATE", WRITE);
    bench.answer(&frames("1 2 E40001"));
    assert_eq!(bench.seen(), "1 2 E40001");
}

#[test]
fn an_error_that_the_client_waits_for_is_not_kept() {
    let mut bench = Bench::new();
    let mut bytes = Vec::new();
    frontend::put_parse(&mut bytes, b"", b"UPDATE", b"\0\0");
    let extended = Sent {
        ends: false,
        simple: false,
        skippable: true,
        ..WRITE
    };
    bench.replay.note(&bytes, extended);
    bench.replay.flush(b"H\0\0\0\x04");
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
