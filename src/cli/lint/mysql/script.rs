//! Files of MySQL as its client reads them: statements, comments, DELIMITER.

/// One statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it begins, in bytes.
    pub at: usize,
    /// Its text without comments and delimiter; what stands in `/*!40101 … */` is part of it.
    pub text: String,
}

/// Splits the text of a file.
pub(super) fn parts(text: &str) -> Vec<Part> {
    let mut reader = Reader {
        text,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        delimiter: ";".to_owned(),
        version: false,
        part: None,
        parts: Vec::new(),
    };
    while reader.at < text.len() {
        reader.step();
    }
    reader.end();
    reader.parts
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    delimiter: String,
    /// Inside `/*!40101 … */`.
    version: bool,
    part: Option<Part>,
    parts: Vec<Part>,
}

impl Reader<'_> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with(&self.delimiter) {
            self.at += self.delimiter.len();
            self.end();
        } else if self.part.is_none() && word(rest).eq_ignore_ascii_case("delimiter") {
            let line = rest.lines().next().unwrap_or_default();
            if let Some(delimiter) = line.split_whitespace().nth(1) {
                self.delimiter = delimiter.to_owned();
            }
            self.at += line.len();
        } else if rest.starts_with('#') || is_dashes(rest) {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*!") || rest.starts_with("/*M!") {
            let begin = rest.find('!').map_or(3, |mark| mark + 1);
            let digits = rest[begin..].bytes().take_while(u8::is_ascii_digit).count();
            self.version = true;
            self.at += begin + digits;
            self.blank();
        } else if rest.starts_with("/*") {
            self.at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            self.blank();
        } else if self.version && rest.starts_with("*/") {
            self.version = false;
            self.at += 2;
            self.blank();
        } else if rest.starts_with(['\'', '"', '`']) {
            let length = quoted(rest);
            self.take(length);
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            match rest.starts_with(char::is_whitespace) && self.part.is_none() {
                true => self.at += length,
                false => self.take(length),
            }
        }
    }

    fn take(&mut self, length: usize) {
        let piece = &self.text[self.at..self.at + length];
        let at = self.at;
        let part = self.part.get_or_insert_with(|| Part {
            at,
            text: String::new(),
        });
        part.text.push_str(piece);
        self.at += length;
    }

    /// A comment parts words.
    fn blank(&mut self) {
        if let Some(part) = &mut self.part {
            part.text.push(' ');
        }
    }

    fn end(&mut self) {
        if let Some(mut part) = self.part.take() {
            part.text.truncate(part.text.trim_end().len());
            if !part.text.is_empty() {
                self.parts.push(part);
            }
        }
    }
}

fn word(text: &str) -> &str {
    let end = text
        .find(|letter: char| !letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    &text[..end]
}

/// Two dashes begin a comment where a blank or control character is behind them.
fn is_dashes(text: &str) -> bool {
    text.strip_prefix("--").is_some_and(|rest| {
        rest.chars()
            .next()
            .is_none_or(|next| next.is_whitespace() || next.is_control())
    })
}

/// The length of what is in quotes at the beginning, with them.
fn quoted(text: &str) -> usize {
    let bytes = text.as_bytes();
    let quote = bytes[0];
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote != b'`' => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(usize, String)> {
        parts(text)
            .into_iter()
            .map(|part| (part.at, part.text))
            .collect()
    }

    #[test]
    fn files_are_split_as_the_client_does() {
        let cases: &[(&str, &[(usize, &str)])] = &[
            ("", &[]),
            (" ;;\n-- x;\n# y;\n", &[]),
            ("SELECT 1; SELECT 2", &[(0, "SELECT 1"), (10, "SELECT 2")]),
            (
                "SELECT ';\\';', \";\", `;`, '''', '\\\\'; SELECT 2",
                &[
                    (0, "SELECT ';\\';', \";\", `;`, '''', '\\\\'"),
                    (37, "SELECT 2"),
                ],
            ),
            (
                "/*!40101 SET NAMES utf8 */; /* no; */ SELECT 1--1 -- two\n;",
                &[(9, "SET NAMES utf8"), (38, "SELECT 1--1")],
            ),
            (
                "CREATE TABLE t (a int) /*!50100 COMMENT 'x;' */ ENGINE=InnoDB;",
                &[(0, "CREATE TABLE t (a int)   COMMENT 'x;'   ENGINE=InnoDB")],
            ),
            (
                "DELIMITER $$\nCREATE TRIGGER t BEGIN SELECT 1; END$$\nDELIMITER ;\nSELECT 2;",
                &[
                    (13, "CREATE TRIGGER t BEGIN SELECT 1; END"),
                    (64, "SELECT 2"),
                ],
            ),
            (
                "SELECT 'ä;' ; SELECT 'ü",
                &[(0, "SELECT 'ä;'"), (15, "SELECT 'ü")],
            ),
        ];
        for (text, expected) in cases {
            let expected: Vec<(usize, String)> = expected
                .iter()
                .map(|(at, text)| (*at, (*text).to_owned()))
                .collect();
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
