//! Any text gets a decision or an error, soon and without a crash.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::sql::tree::{self, nesting};

/// Texts to begin with: the cases, and the recordings' statements.
fn seeds() -> Vec<String> {
    let mut seeds: Vec<String> = CASES.iter().map(|(sql, _)| (*sql).to_owned()).collect();
    for case in include_str!("../../../tests/emulator/recordings.jsonl").lines() {
        let case: serde_json::Value = serde_json::from_str(case).unwrap();
        for step in case["steps"].as_array().unwrap() {
            seeds.push(step["sql"].as_str().unwrap().to_owned());
        }
    }
    seeds
}

/// A text with some tokens or bytes left out, doubled, exchanged or taken from elsewhere.
fn mutated(seeds: &[String], random: &mut StdRng) -> String {
    let mut words: Vec<String> = seeds
        .choose(random)
        .unwrap()
        .split_inclusive([' ', '(', ')', ','])
        .map(str::to_owned)
        .collect();
    for _ in 0..random.random_range(1..3) {
        if words.is_empty() {
            break;
        }
        let at = random.random_range(0..words.len());
        match random.random_range(0..6) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, words[at].clone()),
            2 => {
                let other = random.random_range(0..words.len());
                words.swap(at, other);
            }
            3 => {
                let other = seeds.choose(random).unwrap();
                let taken: Vec<&str> = other.split_inclusive(' ').collect();
                words.insert(at, (*taken.choose(random).unwrap()).to_owned());
            }
            4 => {
                let nested = "(".repeat(random.random_range(1..200));
                words.insert(at, nested);
            }
            _ => {
                let byte = char::from(random.random_range(1..127u8));
                words[at].push(byte);
            }
        }
    }
    words.concat()
}

/// Texts of the files of a folder and those below it; statements end where a line does, near enough.
fn texts_below(folder: PathBuf) -> Vec<String> {
    let mut texts = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sql")
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                texts.extend(text.split_inclusive(";\n").map(str::to_owned));
            }
        }
    }
    // The same seed gives the same texts wherever files are listed in another order.
    texts.sort_unstable();
    texts
}

/// PostgreSQL's regression SQL, where `DSQL_PROXY_SQL_CORPUS` says it is (see `scripts/sql-corpus`).
fn corpus() -> Option<Vec<String>> {
    let folder = std::env::var_os("DSQL_PROXY_SQL_CORPUS")?;
    Some(texts_below(folder.into()))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// 20,000 texts, or as many as `DSQL_PROXY_MUTATIONS` says, by the seed in `DSQL_PROXY_SEED`; made of
/// the cases, the recordings, and the corpus if it is there.
#[test]
fn mutated_texts_get_an_answer() {
    const SLOW: Duration = Duration::from_millis(20);
    let count = usize::try_from(number("DSQL_PROXY_MUTATIONS").unwrap_or(20_000)).unwrap();
    let seed = number("DSQL_PROXY_SEED").unwrap_or(5);
    let mut seeds = seeds();
    seeds.extend(corpus().into_iter().flatten());
    let rules = Rules::standard().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut read, mut slow, mut unprinted, mut longest) =
        (0, 0, 0, (Duration::ZERO, String::new()));
    let mut kinds = std::collections::BTreeMap::new();
    for _ in 0..count {
        let text = mutated(&seeds, &mut random);
        let begin = Instant::now();
        if let Ok(statements) = parse(&text) {
            read += 1;
            for statement in &statements {
                let decision = decide(statement, &facts(), &rules);
                *kinds.entry(decision.kind()).or_insert(0usize) += 1;
                if let Action::Reject(error) = &decision.action
                    && error.code == "XX000"
                {
                    unprinted += 1;
                    println!("cannot be printed: {text}: {error:?}");
                }
            }
        }
        let took = begin.elapsed();
        slow += usize::from(took > SLOW);
        if took > longest.0 {
            longest = (took, text);
        }
    }
    println!(
        "seed {seed}: {count} texts of {}, {read} read, {kinds:?}, {unprinted} refused since they \
         cannot be printed; {slow} took more than 20 ms, the longest {:?}: {}",
        seeds.len(),
        longest.0,
        longest.1.chars().take(1000).collect::<String>(),
    );
    assert!(
        read * 20 > count,
        "{read} of {count} were read: the mutations are too coarse"
    );
    // Some of the corpus are beyond the printer, and refused for it.
    assert!(unprinted * 1000 <= count, "{unprinted}");
    // A busy machine may stop any of them for a while, but not many.
    assert!(
        slow * 100 <= count,
        "{slow} of {count} took more than 20 ms"
    );
}

/// What the parser takes, the walks and the printer take too: with half of a thread's stack.
#[test]
fn deep_statements_are_decided() {
    let work = || {
        let rules = Rules::standard().unwrap();
        let mut decided = 0;
        for shape in nesting::tests::SHAPES {
            for size in [10, 45, 150, 300, 490] {
                let text = shape(size);
                for text in [format!("{text} FOR SHARE"), text] {
                    let begin = Instant::now();
                    for statement in parse(&text).unwrap_or_default() {
                        let _ = decide(&statement, &facts(), &rules);
                        decided += 1;
                    }
                    println!("{size} {:?}: {}", begin.elapsed(), shape(1));
                }
            }
        }
        decided
    };
    let decided = std::thread::Builder::new()
        .stack_size(nesting::STACK / 2)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
    assert!(decided > 120, "{decided}");
}

#[derive(Default, Debug)]
struct Tally {
    read: usize,
    unread: usize,
    same: usize,
    refused: usize,
}

fn print_again(text: &str, tally: &mut Tally) {
    let Ok(statements) = parse(text) else {
        tally.unread += 1;
        return;
    };
    for statement in &statements {
        let Some(node) = statement.node() else {
            continue;
        };
        tally.read += 1;
        if std::env::var_os("DSQL_PROXY_TRACE").is_some() {
            eprintln!("{}", statement.text);
        }
        match tree::verify_print(node) {
            Ok(_) => tally.same += 1,
            Err(_) => tally.refused += 1,
        }
    }
}

/// Parse, print, parse: the same tree or an error. The texts are our own, and those of the folder
/// `DSQL_PROXY_SQL_CORPUS` (see `scripts/sql-corpus`).
#[test]
fn printed_statements_read_the_same() {
    let mut own = Tally::default();
    for seed in seeds() {
        print_again(&seed, &mut own);
    }
    println!("own statements: {own:?}");
    assert!(own.read > 400 && own.refused == 0, "{own:?}");
    let Some(texts) = self::corpus() else {
        return;
    };
    let mut corpus = Tally::default();
    for text in &texts {
        print_again(text, &mut corpus);
    }
    println!("corpus: {corpus:?}");
    assert!(
        corpus.read > 10_000 && corpus.refused * 100 < corpus.read,
        "{corpus:?}"
    );
}
