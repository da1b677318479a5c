//! PostgreSQL's lexical structure without a grammar: words, strings, comments, statement ends.
//!
//! Source: PostgreSQL manual, chapter "Lexical Structure". `standard_conforming_strings` is taken
//! to be on, as it is on DSQL always and on PostgreSQL by default.

/// A token and where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// Unquoted identifier or keyword, in the case of the text.
    Word(&'a [u8]),
    /// Quoted identifier, quotes included; `U&` forms too.
    Quoted(&'a [u8]),
    /// String constant of any form, delimiters included.
    Text(&'a [u8]),
    /// Number or parameter (`1.5e3`, `$1`).
    Number(&'a [u8]),
    /// `;`
    Semicolon,
    /// Any other single byte.
    Symbol(u8),
}

impl Token<'_> {
    /// True for an unquoted word equal to `keyword` (lower case) in any case.
    #[must_use]
    pub fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }
}

/// Iterator over the tokens of a statement text. Ends early at an unterminated string or comment,
/// which the server will refuse as a whole.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    start: usize,
    opts_out: bool,
}

/// A comment of a statement that keeps its transaction from being run again, without delimiters
/// and blanks.
const OPT_OUT: &[u8] = b"dsqlproxy.retry=off";

impl<'a> Tokens<'a> {
    /// Tokens of `text`.
    #[must_use]
    pub fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            start: 0,
            opts_out: false,
        }
    }

    /// Whether one of the comments passed so far was `/* dsqlproxy.retry=off */`: the transaction is
    /// not to be run again after a conflict. Blanks and the case of letters do not matter.
    #[must_use]
    pub fn opts_out(&self) -> bool {
        self.opts_out
    }

    /// Where in the text the last token stands.
    #[must_use]
    pub fn span(&self) -> std::ops::Range<usize> {
        self.start..self.at
    }

    fn skip_blank(&mut self) {
        loop {
            match self.text.get(self.at..) {
                Some([b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, ..]) => self.at += 1,
                Some([b'-', b'-', rest @ ..]) => {
                    self.at = memchr::memchr2(b'\n', b'\r', rest)
                        .map_or(self.text.len(), |end| self.at + 2 + end);
                }
                Some([b'/', b'*', ..]) => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let start = self.at;
        let mut depth = 0usize;
        while let Some(rest) = self.text.get(self.at..) {
            match rest {
                [b'/', b'*', ..] => {
                    depth += 1;
                    self.at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        self.opts_out |= is_opt_out(&self.text[start + 2..self.at - 2]);
                        return;
                    }
                }
                [] => return,
                _ => self.at += 1,
            }
        }
    }

    fn word(&mut self, start: usize) -> Token<'a> {
        while self.text.get(self.at).copied().is_some_and(is_word_byte) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        match (word, &self.text[self.at..]) {
            ([b'e' | b'E'], [b'\'', ..]) => self.string(start, true),
            ([b'b' | b'B' | b'x' | b'X' | b'n' | b'N'], [b'\'', ..]) => self.string(start, false),
            ([b'u' | b'U'], [b'&', b'\'', ..]) => {
                self.at += 1;
                self.string(start, false)
            }
            ([b'u' | b'U'], [b'&', b'"', ..]) => {
                self.at += 1;
                self.quoted(start)
            }
            _ => Token::Word(word),
        }
    }

    /// `self.at` stands on the opening quote.
    fn string(&mut self, start: usize, backslash: bool) -> Token<'a> {
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' if backslash => self.at += 1,
                b'\'' if self.text.get(self.at) == Some(&b'\'') => self.at += 1,
                b'\'' => match self.continuation() {
                    Some(next) => self.at = next,
                    None => return Token::Text(&self.text[start..self.at]),
                },
                _ => {}
            }
        }
        self.unterminated(start)
    }

    /// Where a string goes on behind its closing quote: a quote in a later line, with nothing but
    /// blanks and `--` comments between. Manual: "String Constants".
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut newline = false;
        loop {
            match self.text.get(at..)? {
                [b'\n' | b'\r', ..] => {
                    newline = true;
                    at += 1;
                }
                [b' ' | b'\t' | 0x0b | 0x0c, ..] => at += 1,
                [b'-', b'-', rest @ ..] => at += 2 + memchr::memchr2(b'\n', b'\r', rest)?,
                [b'\'', ..] if newline => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// `self.at` stands on the opening quote.
    fn quoted(&mut self, start: usize) -> Token<'a> {
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'"' if self.text.get(self.at) == Some(&b'"') => self.at += 1,
                b'"' => return Token::Quoted(&self.text[start..self.at]),
                _ => {}
            }
        }
        self.unterminated(start)
    }

    fn unterminated(&mut self, start: usize) -> Token<'a> {
        self.at = self.text.len();
        Token::Text(&self.text[start..])
    }

    /// `self.at` stands on a `$`.
    fn dollar(&mut self, start: usize) -> Token<'a> {
        let rest = &self.text[start + 1..];
        let tag = rest
            .iter()
            .position(|&byte| !is_tag_byte(byte))
            .unwrap_or(rest.len());
        let opens = rest.get(tag) == Some(&b'$') && !rest.first().is_some_and(u8::is_ascii_digit);
        if !opens {
            self.at += 1;
            while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
                self.at += 1;
            }
            return Token::Number(&self.text[start..self.at]);
        }
        let delimiter = &self.text[start..start + tag + 2];
        let body = start + delimiter.len();
        match memchr::memmem::find(&self.text[body..], delimiter) {
            Some(end) => {
                self.at = body + end + delimiter.len();
                Token::Text(&self.text[start..self.at])
            }
            None => self.unterminated(start),
        }
    }

    fn number(&mut self, start: usize) -> Token<'a> {
        while let Some(&byte) = self.text.get(self.at) {
            let sign = matches!(byte, b'+' | b'-')
                && matches!(self.text[self.at - 1], b'e' | b'E')
                && !matches!(&self.text[start..self.at], [b'0', b'x' | b'X', ..]);
            if !(is_word_byte(byte) || byte == b'.' || sign) {
                break;
            }
            self.at += 1;
        }
        Token::Number(&self.text[start..self.at])
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let start = self.at;
        self.start = start;
        let token = match *self.text.get(start)? {
            byte if is_word_start(byte) => self.word(start),
            b'\'' => self.string(start, false),
            b'"' => self.quoted(start),
            b'$' => self.dollar(start),
            b'0'..=b'9' => self.number(start),
            b';' => {
                self.at += 1;
                Token::Semicolon
            }
            other => {
                self.at += 1;
                Token::Symbol(other)
            }
        };
        Some(token)
    }
}

fn is_opt_out(comment: &[u8]) -> bool {
    // Most comments are something else, and some are long.
    let said = comment.trim_ascii();
    said.len() < 2 * OPT_OUT.len()
        && said
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(u8::to_ascii_lowercase)
            .eq(OPT_OUT.iter().copied())
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The name an identifier token stands for: folded to lower case, or unquoted.
///
/// `None` for other tokens and for `U&` identifiers, which need decoding.
#[must_use]
pub fn identifier(token: Token<'_>) -> Option<Vec<u8>> {
    match token {
        Token::Word(word) => Some(word.to_ascii_lowercase()),
        Token::Quoted([b'"', inner @ .., b'"']) => {
            let mut name = Vec::with_capacity(inner.len());
            let mut bytes = inner.iter();
            while let Some(&byte) = bytes.next() {
                name.push(byte);
                if byte == b'"' {
                    bytes.next();
                }
            }
            Some(name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        Tokens::new(text.as_bytes())
            .map(|token| match token {
                Token::Word(b) | Token::Quoted(b) | Token::Text(b) | Token::Number(b) => {
                    String::from_utf8_lossy(b).into_owned()
                }
                Token::Semicolon => ";".to_owned(),
                Token::Symbol(b) => char::from(b).to_string(),
            })
            .collect()
    }

    #[test]
    fn tokens_follow_the_lexical_rules() {
        let cases: &[(&str, &[&str])] = &[
            ("select 1;", &["select", "1", ";"]),
            ("a -- ;\n b", &["a", "b"]),
            ("/* x /* ; */ ; */ a", &["a"]),
            ("'it''s;' x", &["'it''s;'", "x"]),
            (r"'a\' ; b", &[r"'a\'", ";", "b"]),
            (r"E'a\';' b", &[r"E'a\';'", "b"]),
            ("E'a'\n'\\'; x' b", &["E'a'\n'\\'; x'", "b"]),
            ("'a' -- c\n 'b' c", &["'a' -- c\n 'b'", "c"]),
            ("'a' 'b'", &["'a'", "'b'"]),
            ("0X1E--1\n2", &["0X1E", "2"]),
            ("\"a;\"\"b\" c", &["\"a;\"\"b\"", "c"]),
            ("$$;$$ a", &["$$;$$", "a"]),
            ("$x$;$$;$x$ a", &["$x$;$$;$x$", "a"]),
            ("$1;$2", &["$1", ";", "$2"]),
            ("a$b$c;", &["a$b$c", ";"]),
            ("U&'\\0041;' U&\"a;\"", &["U&'\\0041;'", "U&\"a;\""]),
            ("1.5e-3-2", &["1.5e-3", "-", "2"]),
            ("'open ; select", &["'open ; select"]),
            ("/* open", &[]),
            ("x::int", &["x", ":", ":", "int"]),
        ];
        for (text, expected) in cases {
            assert_eq!(&tokens(text), expected, "{text}");
        }
    }

    #[test]
    fn a_comment_opts_out() {
        let cases = [
            ("/* dsqlproxy.retry=off */ update t set a = 1", true),
            ("update t set a = 1 /*dsqlproxy.retry=off*/", true),
            ("update t /* DSQLProxy.retry = OFF */ set a = 1", true),
            ("/* other */ select 1 /* dsqlproxy.retry=off */;", true),
            ("select '/* dsqlproxy.retry=off */'", false),
            ("select $$/* dsqlproxy.retry=off */$$", false),
            (r"select E'\'/* dsqlproxy.retry=off */'", false),
            ("select \"/* dsqlproxy.retry=off */\"", false),
            ("select 1 -- /* dsqlproxy.retry=off */", false),
            ("/* /* dsqlproxy.retry=off */ */ select 1", false),
            ("/* dsqlproxy.retry=off, please */ select 1", false),
            ("/* dsqlproxy.retry=on */ select 1", false),
            ("/*/ dsqlproxy.retry=off */ select 1", false),
            ("/* dsqlproxy.retry=off ", false),
            ("/**/ select 1", false),
        ];
        for (text, expected) in cases {
            let mut tokens = Tokens::new(text.as_bytes());
            tokens.by_ref().for_each(drop);
            assert_eq!(tokens.opts_out(), expected, "{text}");
        }
    }

    #[test]
    fn any_bytes_end() {
        let bytes: Vec<u8> = (0..=255).collect();
        for start in 0..256 {
            for window in [1, 2, 3, 7, 64] {
                let end = (start + window).min(256);
                assert!(Tokens::new(&bytes[start..end]).count() <= window);
            }
        }
        for text in [
            "$", "$a", "E'", "E'\\", "U&", "U&'", "\"", "/*", "--", "0x", "1e+",
        ] {
            let _ = tokens(text);
        }
    }

    #[test]
    fn identifiers_fold_and_unquote() {
        assert_eq!(
            identifier(Token::Word(b"FoO")).as_deref(),
            Some(&b"foo"[..])
        );
        assert_eq!(
            identifier(Token::Quoted(b"\"Fo\"\"O\"")).as_deref(),
            Some(&b"Fo\"O"[..])
        );
        assert_eq!(identifier(Token::Quoted(b"U&\"x\"")), None);
    }
}
