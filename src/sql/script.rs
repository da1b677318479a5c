//! Files of SQL as psql reads them: statements, backslash commands, and data of COPY.

use std::ops::Range;

use super::scan::{Token, Tokens};

/// One part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A statement, without its semicolon.
    Statement(Range<usize>),
    /// A command of psql, from its backslash to the end of the line.
    Command(Range<usize>),
    /// Lines of a COPY FROM STDIN, with the line `\.` at the end.
    Data(Range<usize>),
}

/// Parts of a file, in order. Blanks and comments between them are left out.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    text: &'a str,
    at: usize,
    /// A COPY FROM STDIN came before.
    data: bool,
}

/// Splits the text of a file.
#[must_use]
pub fn parts(text: &str) -> Parts<'_> {
    Parts {
        text,
        // Some editors put a byte order mark first.
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        data: false,
    }
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        if std::mem::take(&mut self.data)
            && let Some(data) = self.data()
        {
            return Some(Part::Data(data));
        }
        // Empty statements move on while the same tokens are read.
        let base = self.at;
        let mut tokens = Tokens::new(&self.text.as_bytes()[base..]);
        let mut statement = Open::default();
        while let Some(token) = tokens.next() {
            let span = tokens.span();
            let (start, end) = (base + span.start, base + span.end);
            match token {
                Token::Symbol(b'\\') => return Some(self.command(statement.start, start)),
                Token::Semicolon if statement.ends_here() => {
                    self.at = end;
                    match statement.start {
                        // An empty statement.
                        None => {}
                        Some(begin) => {
                            self.data = statement.copies;
                            return Some(Part::Statement(begin..start));
                        }
                    }
                }
                _ => statement.take(token, start),
            }
        }
        let begin = statement.start?;
        let end = begin + self.text[begin..].trim_end().len();
        self.at = self.text.len();
        (begin < end).then_some(Part::Statement(begin..end))
    }
}

impl Parts<'_> {
    /// A backslash ends a statement without a semicolon (`\g`), or stands alone.
    fn command(&mut self, statement: Option<usize>, backslash: usize) -> Part {
        if let Some(begin) = statement {
            // The command is read next.
            self.at = backslash;
            let end = begin + self.text[begin..backslash].trim_end().len();
            return Part::Statement(begin..end);
        }
        let end = self.text[backslash..]
            .find('\n')
            .map_or(self.text.len(), |length| backslash + length);
        self.at = end;
        Part::Command(backslash..end)
    }

    /// The lines behind the one the COPY ends on, up to `\.`.
    fn data(&mut self) -> Option<Range<usize>> {
        let begin = self.at + self.text[self.at..].find('\n')? + 1;
        let mut end = begin;
        for line in self.text[begin..].split_inclusive('\n') {
            end += line.len();
            if line.trim_end_matches(['\n', '\r']) == "\\." {
                self.at = end;
                return Some(begin..end);
            }
        }
        // Without an end mark psql takes the rest of the file.
        self.at = end;
        (begin < end).then_some(begin..end)
    }
}

/// A statement that is being read.
#[derive(Debug, Default)]
struct Open {
    start: Option<usize>,
    words: usize,
    depth: usize,
    creates: bool,
    atomic: usize,
    /// It began as COPY, and a FROM came, and STDIN right behind.
    copy: bool,
    from: bool,
    copies: bool,
}

impl Open {
    fn ends_here(&self) -> bool {
        self.depth == 0 && self.atomic == 0
    }

    fn take(&mut self, token: Token<'_>, start: usize) {
        self.start.get_or_insert(start);
        match token {
            Token::Symbol(b'(') => self.depth += 1,
            Token::Symbol(b')') => self.depth = self.depth.saturating_sub(1),
            Token::Word(_) => self.word(token),
            _ => {}
        }
        self.from = self.copy && token.is("from");
        self.words += 1;
    }

    /// psql looks for BEGIN … END and CASE … END in CREATE FUNCTION and CREATE PROCEDURE.
    fn word(&mut self, token: Token<'_>) {
        if self.words == 0 {
            self.creates = token.is("create");
            self.copy = token.is("copy");
        }
        if self.from && token.is("stdin") {
            self.copies = true;
        }
        if self.creates && self.depth == 0 {
            if token.is("begin") || (self.atomic > 0 && token.is("case")) {
                self.atomic += 1;
            } else if self.atomic > 0 && token.is("end") {
                self.atomic -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        parts(text)
            .map(|part| match part {
                Part::Statement(span) => format!("s {}", &text[span]),
                Part::Command(span) => format!("c {}", &text[span]),
                Part::Data(span) => format!("d {}", &text[span]),
            })
            .collect()
    }

    #[test]
    fn files_are_split_as_psql_does() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" ; ;; -- x;\n", &[]),
            ("SELECT 1", &["s SELECT 1"]),
            (
                "SELECT 1;; -- none\n; ;SELECT 2;\n\\q",
                &["s SELECT 1", "s SELECT 2", "c \\q"],
            ),
            (
                "SELECT 1;SELECT ';' ; -- ;\n",
                &["s SELECT 1", "s SELECT ';' "],
            ),
            (
                "SELECT $$;$$, E'\\';'; SELECT \"a;\"",
                &["s SELECT $$;$$, E'\\';'", "s SELECT \"a;\""],
            ),
            ("/* ; /* ; */ */ SELECT 1; -- the end", &["s SELECT 1"]),
            (
                "\\connect x\nSELECT 1\n\\g\n\\set a 'b;c'",
                &["c \\connect x", "s SELECT 1", "c \\g", "c \\set a 'b;c'"],
            ),
            (
                "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
                &[
                    "s CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)",
                    "s SELECT 3",
                ],
            ),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; SELECT 3",
                &[
                    "s CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END",
                    "s SELECT 3",
                ],
            ),
            ("BEGIN; COMMIT;", &["s BEGIN", "s COMMIT"]),
            (
                "COPY public.t (a, b) FROM stdin;\n1\tx;'\n\\N\t\\\\\n\\.\n\nSELECT 1;",
                &[
                    "s COPY public.t (a, b) FROM stdin",
                    "d 1\tx;'\n\\N\t\\\\\n\\.\n",
                    "s SELECT 1",
                ],
            ),
            (
                "COPY t FROM stdin;\n\\.\nSELECT 1;",
                &["s COPY t FROM stdin", "d \\.\n", "s SELECT 1"],
            ),
            (
                "COPY t FROM stdin;\n1\n2",
                &["s COPY t FROM stdin", "d 1\n2"],
            ),
            (
                "COPY t TO stdout;\nSELECT 1;",
                &["s COPY t TO stdout", "s SELECT 1"],
            ),
            ("\u{feff}SELECT 1;", &["s SELECT 1"]),
        ];
        for (text, expected) in cases {
            assert_eq!(&split(text), expected, "{text}");
        }
    }
}
