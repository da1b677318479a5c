//! The emulated cluster against the facts about Aurora DSQL, over the wire.
//!
//! `cargo test --test emulator` runs all; `cargo test --test emulator -- tokens faults::cut` what
//! contains one of the words. `DSQLPROXY_RECORDINGS=FILE` plays another file of recordings,
//! `DSQLPROXY_LOAD_SECONDS=60` and `DSQLPROXY_LOAD_SESSIONS=500` set the size of the load.
//!
//! It has a `main` of its own because an emulator is dear to start and cannot be shared: schema
//! changes, faults and the clock reach every session of a cluster. So each worker keeps one emulator,
//! lends it to one test at a time and stops it, with its PostgreSQL, in the end.

mod boundaries;
mod client;
mod conformance;
mod cost;
#[path = "../emulated/mod.rs"]
mod emulated;
mod faults;
mod ground;
mod internals;
mod load;
mod logs;
mod protocol;
mod tokens;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ground::Ground;

/// A named test.
type Test = (&'static str, fn(&mut Ground));

/// What the command line asks for; flags of the standard harness that mean nothing here are let pass.
struct Selection {
    words: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

impl Selection {
    fn read(arguments: impl Iterator<Item = String>) -> Self {
        let split = |argument: String| match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                vec![flag.to_owned(), value.to_owned()]
            }
            _ => vec![argument],
        };
        let mut arguments = arguments.flat_map(split);
        let mut selection = Self {
            words: Vec::new(),
            skipped: Vec::new(),
            exact: false,
            list: false,
            threads: 2,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => selection.exact = true,
                "--list" => selection.list = true,
                "--skip" => selection.skipped.extend(arguments.next()),
                "--test-threads" => {
                    let number = arguments.next().and_then(|word| word.parse().ok());
                    selection.threads = number.unwrap_or(selection.threads).max(1);
                }
                "--format" | "--color" | "-Z" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                _ => selection.words.push(argument),
            }
        }
        selection
    }

    fn takes(&self, name: &str) -> bool {
        let fits = |word: &String| match self.exact {
            true => name == word,
            false => name.contains(word.as_str()),
        };
        (self.words.is_empty() || self.words.iter().any(fits)) && !self.skipped.iter().any(fits)
    }
}

fn main() -> ExitCode {
    let selection = Selection::read(std::env::args().skip(1));
    logs::install();
    let side_by_side = [
        conformance::TESTS,
        boundaries::TESTS,
        tokens::TESTS,
        faults::TESTS,
        protocol::TESTS,
        internals::TESTS,
    ];
    let taken = |tests: &[&'static [Test]]| -> Vec<Test> {
        let all = tests.iter().flat_map(|part| part.iter());
        all.filter(|(name, _)| selection.takes(name))
            .copied()
            .collect()
    };
    let tests = taken(&side_by_side);
    // These want the machine, or the log of the whole run, for themselves.
    let mut alone = taken(&[load::TESTS, logs::TESTS]);
    // A measurement is nothing to wait for: only by name.
    if selection.words.iter().any(|word| word.starts_with("cost")) {
        alone.extend(taken(&[cost::TESTS]));
    }
    if selection.list {
        for (name, _) in tests.iter().chain(&alone) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let count = tests.len() + alone.len();
    let begun = Instant::now();
    let mut failed = run_all(tests, selection.threads);
    failed.extend(run_all(alone, 1));
    failed.sort_unstable();
    println!(
        "\ntest result: {}. {} passed; {} failed; finished in {:.1}s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        count - failed.len(),
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    for name in &failed {
        println!("    {name}");
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Gives the names of those that failed.
fn run_all(mut tests: Vec<Test>, threads: usize) -> Vec<&'static str> {
    let threads = threads.min(tests.len());
    tests.reverse();
    let queue = Mutex::new(tests);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut ground = None;
                loop {
                    let next = queue.lock().unwrap().pop();
                    let Some((name, test)) = next else { return };
                    let begun = Instant::now();
                    let good = run_one(name, test, &mut ground);
                    report(name, good, begun.elapsed());
                    if !good {
                        failed.lock().unwrap().push(name);
                        // What a failed test left is not known.
                        ground = None;
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn run_one(name: &str, test: fn(&mut Ground), kept: &mut Option<Ground>) -> bool {
    let body = || {
        // After a panic the ground is thrown away, whatever state it is in.
        catch_unwind(AssertUnwindSafe(|| {
            if kept.as_mut().is_some_and(|ground| ground.empty().is_err()) {
                *kept = None;
            }
            test(kept.get_or_insert_with(Ground::start));
        }))
        .is_ok()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn_scoped(scope, body).unwrap().join().unwrap()
    })
}

fn report(name: &str, good: bool, took: Duration) {
    let word = if good { "ok" } else { "FAILED" };
    println!("test {name} ... {word} ({:.1}s)", took.as_secs_f64());
}
