//! The rows of a COPY FROM STDIN on their way to the server: every row gets the tenant's value, or is
//! made sure to have it.
//!
//! Pure: pieces of the client's data go in, cut anywhere, and data for the server come out. Rows and
//! fields end where PostgreSQL's `copyfromparse.c` ends them. What comes out has one spelling: every
//! row ends with a newline, no other byte of it can be taken for an end, and there is no end-of-data
//! marker.

use super::Rule;
use super::rules::TenantColumn;
use super::tenant::{Tenant, TenantType};
use crate::wire::reply::ClientError;

/// Bytes of a row at most. DSQL takes 2 MiB.
pub const ROW_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a given tenant value at most, as the client spells it.
const VALUE_BYTES: usize = 1024;

/// How fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Backslash escapes.
    Text,
    /// Quotes.
    Csv {
        /// Begins and ends what is quoted.
        quote: u8,
        /// Stands before a quote inside.
        escape: u8,
    },
}

/// Where the tenant column stands among the columns of the client's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is not there: the value is put behind the others.
    Added,
    /// At this index, from 0.
    Given(usize),
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// Text or csv.
    pub format: Format,
    /// Between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Vec<u8>,
    /// The first line has names.
    pub header: bool,
}

/// What is to be known of a COPY to give its rows their tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRows {
    /// How they are written.
    pub spelling: Spelling,
    /// Where the tenant column is.
    pub place: Place,
    kind: TenantType,
    tenant: String,
    /// The tenant's value and the column's name as fields of the format.
    value: Vec<u8>,
    name: Vec<u8>,
}

impl CopyRows {
    /// `None` when the tenant has no value of the column's type.
    #[must_use]
    pub fn new(
        spelling: Spelling,
        place: Place,
        column: TenantColumn<'_>,
        tenant: &Tenant,
    ) -> Option<Self> {
        let tenant = tenant.value(column.kind)?.to_owned();
        let mut value = field(tenant.as_bytes(), &spelling);
        if value == spelling.null {
            // Another spelling of the same, which is not what stands for NULL.
            let rest = value.split_off(1);
            value = format!("\\{:03o}", value[0]).into_bytes();
            value.extend(rest);
        }
        Some(Self {
            place,
            kind: column.kind,
            value,
            name: field(column.name.as_bytes(), &spelling),
            spelling,
            tenant,
        })
    }
}

/// A field of this text. In csv it is quoted, so that it never stands for NULL.
fn field(text: &[u8], spelling: &Spelling) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    match spelling.format {
        Format::Text => {
            for byte in text {
                match byte {
                    b'\n' => out.extend_from_slice(b"\\n"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    b'\t' => out.extend_from_slice(b"\\t"),
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    byte if *byte == spelling.delimiter => out.extend_from_slice(&[b'\\', *byte]),
                    byte => out.push(*byte),
                }
            }
        }
        Format::Csv { quote, escape } => {
            out.push(quote);
            for byte in text {
                if *byte == quote || *byte == escape {
                    out.push(escape);
                }
                out.push(*byte);
            }
            out.push(quote);
        }
    }
    out
}

/// Why a COPY fails before the server says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A row of another tenant, or of none.
    Foreign,
    /// The tenant's column has something that is no value of its type.
    Value,
    /// The same: a number that is too large.
    Range,
    /// A row is longer than [`ROW_BYTES`].
    TooLong,
    /// Lines end in different ways.
    Newline,
    /// A `\.` that ends nothing.
    Marker,
    /// What is quoted does not end.
    Quote,
}

impl Broken {
    /// What the client reads: the words of a refused INSERT, or of the server's `copyfromparse.c`.
    #[must_use]
    pub fn error(self) -> ClientError {
        match self {
            Self::Foreign => {
                ClientError::error(Rule::ForeignTenant.code(), Rule::ForeignTenant.text())
            }
            Self::Value => ClientError::error("22P02", super::scrub::canned("22P02")),
            Self::Range => ClientError::error("22003", super::scrub::canned("22003")),
            Self::TooLong => ClientError::error("54000", "a row of the COPY is too long")
                .hint("Rows of a tenant's COPY may have 4 MiB."),
            Self::Newline => ClientError::error(
                "22P04",
                "literal carriage return or newline found in data",
            )
            .hint(
                "End all lines in the same way; write others as \\r and \\n, or quote them in csv.",
            ),
            Self::Marker => ClientError::error("22P04", "end-of-copy marker corrupt"),
            Self::Quote => ClientError::error("22P04", "unterminated CSV quoted field"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Unknown,
    Newline,
    Return,
    Both,
}

/// Bytes whose meaning the next one tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// A backslash: of text anywhere, of csv at the begin of a line.
    Backslash,
    /// A carriage return that ends a line, with or without a newline.
    Return,
    /// `\.`
    Marker,
    /// `\.` and a carriage return.
    MarkerReturn,
}

/// A COPY's data being extended.
#[derive(Debug)]
pub struct Extension {
    rows: std::rc::Rc<CopyRows>,
    ends: LineEnd,
    pending: Pending,
    /// The line at hand is the header.
    header: bool,
    /// Bytes of the line at hand.
    bytes: usize,
    /// Index of its field.
    field: usize,
    /// Inside quotes.
    quoted: bool,
    /// Inside quotes, behind an escape that is no quote.
    escaped: bool,
    /// The given tenant value so far.
    held: Vec<u8>,
    /// The end-of-data marker came: what follows is ignored.
    over: bool,
}

impl Extension {
    /// Begins with a COPY's first byte.
    #[must_use]
    pub fn new(rows: std::rc::Rc<CopyRows>) -> Self {
        Self {
            ends: LineEnd::Unknown,
            pending: Pending::Nothing,
            header: rows.spelling.header,
            bytes: 0,
            field: 0,
            quoted: false,
            escaped: false,
            held: Vec::new(),
            over: false,
            rows,
        }
    }

    /// Takes a piece of the client's data and appends what it becomes to `out`.
    ///
    /// # Errors
    /// The COPY must not go on.
    pub fn put(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        for byte in data {
            if self.over {
                break;
            }
            self.byte(*byte, out)?;
        }
        Ok(())
    }

    /// The client has sent all: appends what is left.
    ///
    /// # Errors
    /// The COPY must not be completed.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        if self.over {
            return Ok(());
        }
        let csv = self.is_csv();
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => {}
            // The server drops a backslash with nothing behind it; the row is one.
            Pending::Backslash if !csv => self.bytes += 1,
            Pending::Backslash => self.plain(b'\\', out)?,
            Pending::Return if self.ends == LineEnd::Both => return Err(Broken::Newline),
            Pending::Return => self.end_line(out)?,
            Pending::Marker | Pending::MarkerReturn if !csv => return Err(Broken::Marker),
            Pending::Marker => self.plain_marker(out)?,
            Pending::MarkerReturn => {
                self.plain_marker(out)?;
                self.byte(b'\r', out)?;
                return self.finish(out);
            }
        }
        // What is put behind it would be inside. A header is the server's to skip, or to refuse.
        match self.quoted {
            true if self.header => return Ok(()),
            true => return Err(Broken::Quote),
            false => {}
        }
        if self.bytes > 0 {
            self.end_line(out)?;
        }
        self.over = true;
        Ok(())
    }

    fn is_csv(&self) -> bool {
        self.rows.spelling.format != Format::Text
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Broken> {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => self.fresh(byte, out),
            Pending::Return if byte == b'\n' => {
                self.ends = LineEnd::Both;
                self.end_line(out)
            }
            Pending::Return if self.ends == LineEnd::Both => Err(Broken::Newline),
            Pending::Return => {
                self.ends = LineEnd::Return;
                self.end_line(out)?;
                self.fresh(byte, out)
            }
            Pending::Backslash if byte == b'.' => {
                self.pending = Pending::Marker;
                Ok(())
            }
            Pending::Backslash if self.is_csv() => {
                self.plain(b'\\', out)?;
                self.fresh(byte, out)
            }
            Pending::Backslash => {
                self.plain(b'\\', out)?;
                self.plain(byte, out)
            }
            Pending::Marker => self.behind_marker(byte, out),
            Pending::MarkerReturn if byte == b'\n' => self.end_data(out),
            Pending::MarkerReturn if self.is_csv() => {
                self.plain_marker(out)?;
                self.fresh(b'\r', out)?;
                self.byte(byte, out)
            }
            Pending::MarkerReturn => Err(Broken::Marker),
        }
    }

    /// What follows `\.`: the end of its line, or it is no marker.
    fn behind_marker(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Broken> {
        let ends = match (self.ends, byte) {
            (LineEnd::Both, b'\r') => {
                self.pending = Pending::MarkerReturn;
                return Ok(());
            }
            (LineEnd::Unknown, b'\r' | b'\n') => true,
            (LineEnd::Newline, b'\n') | (LineEnd::Return, b'\r') => true,
            _ => false,
        };
        match ends {
            true => self.end_data(out),
            false if self.is_csv() => {
                self.plain_marker(out)?;
                self.fresh(byte, out)
            }
            false => Err(Broken::Marker),
        }
    }

    /// A `\.` of csv that is data.
    fn plain_marker(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.plain(b'\\', out)?;
        self.fresh(b'.', out)
    }

    fn end_data(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        if self.bytes > 0 {
            self.end_line(out)?;
        }
        self.over = true;
        Ok(())
    }

    /// A byte with nothing pending.
    fn fresh(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Broken> {
        match self.rows.spelling.format {
            Format::Text if byte == b'\\' => {
                self.pending = Pending::Backslash;
                return Ok(());
            }
            Format::Csv { .. } if byte == b'\\' && self.bytes == 0 => {
                self.pending = Pending::Backslash;
                return Ok(());
            }
            Format::Csv { quote, escape } if self.quoted => {
                let escaped = std::mem::take(&mut self.escaped);
                if escaped && (byte == quote || byte == escape) {
                    return self.plain(byte, out);
                }
                if byte == quote {
                    self.quoted = false;
                } else {
                    self.escaped = byte == escape;
                }
                return self.plain(byte, out);
            }
            _ => {}
        }
        match (byte, self.ends) {
            (b'\r', LineEnd::Unknown | LineEnd::Both) => {
                self.pending = Pending::Return;
                Ok(())
            }
            (b'\r', LineEnd::Return) => self.end_line(out),
            (b'\n', LineEnd::Unknown | LineEnd::Newline) => {
                self.ends = LineEnd::Newline;
                self.end_line(out)
            }
            (b'\r' | b'\n', _) => Err(Broken::Newline),
            _ if byte == self.rows.spelling.delimiter => {
                self.close_field(out)?;
                self.field += 1;
                self.bytes += 1;
                out.push(byte);
                Ok(())
            }
            _ => {
                if let Format::Csv { quote, .. } = self.rows.spelling.format {
                    self.quoted = byte == quote;
                }
                self.plain(byte, out)
            }
        }
    }

    /// A byte of a field.
    fn plain(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.bytes += 1;
        if self.bytes > ROW_BYTES {
            return Err(Broken::TooLong);
        }
        if !self.is_given() {
            out.push(byte);
            return Ok(());
        }
        if self.held.len() >= VALUE_BYTES {
            return Err(Broken::Foreign);
        }
        self.held.push(byte);
        Ok(())
    }

    /// The field at hand is the tenant's.
    fn is_given(&self) -> bool {
        !self.header && self.rows.place == Place::Given(self.field)
    }

    fn close_field(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        if !self.is_given() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let value = match self.rows.spelling.format {
            Format::Text if held == self.rows.spelling.null => None,
            Format::Text => Some(unescaped(&held)),
            Format::Csv { quote, .. }
                if held == self.rows.spelling.null && !held.contains(&quote) =>
            {
                None
            }
            Format::Csv { quote, escape } => Some(unquoted(&held, quote, escape)),
        };
        let value = value.ok_or(Broken::Foreign)?;
        compare(self.rows.kind, &value, &self.rows.tenant)?;
        out.extend_from_slice(&self.rows.value);
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.close_field(out)?;
        if self.rows.place == Place::Added {
            out.push(self.rows.spelling.delimiter);
            out.extend_from_slice(match self.header {
                true => &self.rows.name,
                false => &self.rows.value,
            });
        }
        out.push(b'\n');
        self.header = false;
        self.bytes = 0;
        self.field = 0;
        self.quoted = false;
        self.escaped = false;
        Ok(())
    }
}

/// What a field of format text says.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.iter().copied().peekable();
    let digits = |rest: &mut std::iter::Peekable<_>, radix: u32, most: usize, start: u32| {
        let mut value = start;
        for _ in 0..most {
            let digit = rest
                .peek()
                .and_then(|byte: &u8| char::from(*byte).to_digit(radix));
            let Some(digit) = digit else { break };
            value = value * radix + digit;
            rest.next();
        }
        u8::try_from(value & 0xff).unwrap_or(0)
    };
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(byte) = rest.next() else { break };
        out.push(match byte {
            b'0'..=b'7' => digits(&mut rest, 8, 2, u32::from(byte - b'0')),
            b'x' if rest.peek().is_some_and(u8::is_ascii_hexdigit) => digits(&mut rest, 16, 2, 0),
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        });
    }
    out
}

/// What a field of format csv says.
fn unquoted(field: &[u8], quote: u8, escape: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.iter().copied().peekable();
    let mut quoted = false;
    while let Some(byte) = rest.next() {
        if !quoted {
            match byte == quote {
                true => quoted = true,
                false => out.push(byte),
            }
            continue;
        }
        let next = rest.peek().copied();
        match next.filter(|next| byte == escape && (*next == escape || *next == quote)) {
            Some(next) => {
                out.push(next);
                rest.next();
            }
            None if byte == quote => quoted = false,
            None => out.push(byte),
        }
    }
    out
}

/// Whether a value of the tenant column is the tenant's, in any spelling that the type takes.
fn compare(kind: TenantType, value: &[u8], tenant: &str) -> Result<(), Broken> {
    let same = match kind {
        TenantType::Text => value == tenant.as_bytes(),
        TenantType::Uuid => uuid(value).ok_or(Broken::Value)? == tenant,
        TenantType::Integer => number::<i32>(value)?.to_string() == tenant,
        TenantType::Bigint => number::<i64>(value)?.to_string() == tenant,
    };
    same.then_some(()).ok_or(Broken::Foreign)
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Result<T, Broken> {
    let space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let start = value.iter().position(|byte| !space(byte)).unwrap_or(0);
    let end = value.iter().rposition(|byte| !space(byte));
    let word = &value[start..end.map_or(start, |end| end + 1)];
    let digits = word.strip_prefix(b"-").or(word.strip_prefix(b"+"));
    let digits = digits.unwrap_or(word);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Broken::Value);
    }
    let word = std::str::from_utf8(word).map_err(|_| Broken::Value)?;
    word.parse().map_err(|_| Broken::Range)
}

/// The canonical spelling of a uuid: braces around and a hyphen behind every two bytes may be there.
fn uuid(value: &[u8]) -> Option<String> {
    let inner = match value {
        [b'{', inner @ .., b'}'] => inner,
        plain => plain,
    };
    let mut digits = String::with_capacity(36);
    let mut count = 0;
    let mut before = b'-';
    for byte in inner {
        match byte {
            b'-' if before != b'-' && count % 4 == 0 && count < 32 => {}
            byte if byte.is_ascii_hexdigit() && count < 32 => {
                if matches!(count, 8 | 12 | 16 | 20) {
                    digits.push('-');
                }
                digits.push(char::from(byte.to_ascii_lowercase()));
                count += 1;
            }
            _ => return None,
        }
        before = *byte;
    }
    (count == 32).then_some(digits)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    const CSV: Format = Format::Csv {
        quote: b'"',
        escape: b'"',
    };
    const ODD: Format = Format::Csv {
        quote: b'\'',
        escape: b'\\',
    };

    fn rows(format: Format, place: Place, header: bool) -> CopyRows {
        let column = TenantColumn {
            name: "tenant_id",
            kind: TenantType::Integer,
            hidden: false,
        };
        let spelling = match format {
            Format::Text => spelling(format, b'\t', "\\N"),
            Format::Csv { .. } => spelling(format, b',', ""),
        };
        let spelling = Spelling { header, ..spelling };
        let tenant = Tenant::new(TenantType::Integer, "2").unwrap();
        CopyRows::new(spelling, place, column, &tenant).unwrap()
    }

    fn spelling(format: Format, delimiter: u8, null: &str) -> Spelling {
        Spelling {
            format,
            delimiter,
            null: null.as_bytes().to_vec(),
            header: false,
        }
    }

    fn extend(rows: CopyRows, data: &[u8], piece: usize) -> Result<String, Broken> {
        let mut extension = Extension::new(Rc::new(rows));
        let mut out = Vec::new();
        for piece in data.chunks(piece) {
            extension.put(piece, &mut out)?;
        }
        extension.finish(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn rows_get_their_tenant_wherever_data_are_cut() {
        use Broken::{Foreign, Marker, Newline, Quote, Range, Value};
        use Format::Text;
        use Place::{Added, Given};
        type Row = (
            Format,
            Place,
            bool,
            &'static str,
            Result<&'static str, Broken>,
        );
        let cases: &[Row] = &[
            (Text, Added, false, "", Ok("")),
            (Text, Added, false, "1\ta\n2\tb\n", Ok("1\ta\t2\n2\tb\t2\n")),
            (Text, Added, false, "1\ta\n2\tb", Ok("1\ta\t2\n2\tb\t2\n")),
            (
                Text,
                Added,
                false,
                "1\ta\r\n2\tb\r\n",
                Ok("1\ta\t2\n2\tb\t2\n"),
            ),
            (Text, Added, false, "1\ta\r2\tb\r", Ok("1\ta\t2\n2\tb\t2\n")),
            (Text, Added, false, "1\ta\r2\tb", Ok("1\ta\t2\n2\tb\t2\n")),
            (Text, Added, false, "1\ta\n2\tb\r\n", Err(Newline)),
            (Text, Added, false, "1\ta\r\n2\tb\n", Err(Newline)),
            (Text, Added, false, "1\ta\r\n2\tb\r", Err(Newline)),
            (Text, Added, false, "1\ta\r2\tb\n", Err(Newline)),
            (Text, Added, false, "1\ta\\\nb\n", Ok("1\ta\\\nb\t2\n")),
            (Text, Added, false, "1\ta\\\rb\n", Ok("1\ta\\\rb\t2\n")),
            (
                Text,
                Added,
                false,
                "1\ta\\\tb\\\\\n",
                Ok("1\ta\\\tb\\\\\t2\n"),
            ),
            (Text, Added, false, "1\ta\\", Ok("1\ta\t2\n")),
            (Text, Added, false, "\\", Ok("\t2\n")),
            (Text, Added, false, "\n\n", Ok("\t2\n\t2\n")),
            (Text, Added, false, "1\ta\n\\.\n9\tz\n", Ok("1\ta\t2\n")),
            (Text, Added, false, "1\ta\r\n\\.\r\n9\tz", Ok("1\ta\t2\n")),
            (Text, Added, false, "1\ta\\.\n9\tz\n", Ok("1\ta\t2\n")),
            (Text, Added, false, "\\.\n9\tz\n", Ok("")),
            (Text, Added, false, "\\.\r9\tz\n", Ok("")),
            (Text, Added, false, "1\ta\n\\.x\n", Err(Marker)),
            (Text, Added, false, "1\ta\n\\.", Err(Marker)),
            (Text, Added, false, "1\ta\n\\.\r\n", Err(Marker)),
            (Text, Added, false, "1\t\\\\.\n", Ok("1\t\\\\.\t2\n")),
            (
                Text,
                Added,
                true,
                "id\tnote\n1\ta\n",
                Ok("id\tnote\ttenant_id\n1\ta\t2\n"),
            ),
            (Text, Given(1), false, "1\t2\ta\n", Ok("1\t2\ta\n")),
            (
                Text,
                Given(1),
                false,
                "1\t02 \ta\n3\t\\x32\tb",
                Ok("1\t2\ta\n3\t2\tb\n"),
            ),
            (Text, Given(1), false, "1\t\\062\ta\n", Ok("1\t2\ta\n")),
            (Text, Given(1), false, "1\t3\ta\n", Err(Foreign)),
            (Text, Given(1), false, "1\t\\N\ta\n", Err(Foreign)),
            (Text, Given(1), false, "1\tx\ta\n", Err(Value)),
            (Text, Given(1), false, "1\t\ta\n", Err(Value)),
            (Text, Given(1), false, "1\t99999999999\ta\n", Err(Range)),
            (Text, Given(1), false, "1\t3", Err(Foreign)),
            (Text, Given(0), false, "2\n", Ok("2\n")),
            (Text, Given(0), true, "tenant_id\n2\n", Ok("tenant_id\n2\n")),
            (Text, Given(2), false, "1\t2\n", Ok("1\t2\n")),
            (CSV, Added, false, "1,a\n2,b", Ok("1,a,\"2\"\n2,b,\"2\"\n")),
            (
                CSV,
                Added,
                false,
                "1,\"a\n,\"\"\r\"\n",
                Ok("1,\"a\n,\"\"\r\",\"2\"\n"),
            ),
            (CSV, Added, false, "1,\"a\r\n2,3", Err(Quote)),
            (CSV, Added, false, "1,a\\\n", Ok("1,a\\,\"2\"\n")),
            (CSV, Added, false, "\\.\n9,z\n", Ok("")),
            (CSV, Added, false, "\\.x,1\n", Ok("\\.x,1,\"2\"\n")),
            (CSV, Added, false, "\\..\n", Ok("\\..,\"2\"\n")),
            (CSV, Added, false, "\\", Ok("\\,\"2\"\n")),
            (CSV, Added, false, "\\.", Ok("\\.,\"2\"\n")),
            (CSV, Added, false, "1\r\n\\.\r\n", Ok("1,\"2\"\n")),
            (CSV, Added, false, "1\r\n\\.\r", Err(Newline)),
            (CSV, Added, false, "1\r\n\\.\n", Err(Newline)),
            (
                CSV,
                Added,
                false,
                "\"\n\\.\n\"\n",
                Ok("\"\n\\.\n\",\"2\"\n"),
            ),
            (
                CSV,
                Added,
                true,
                "id,\"a\nb\"\n1,2\n",
                Ok("id,\"a\nb\",\"tenant_id\"\n1,2,\"2\"\n"),
            ),
            (
                CSV,
                Given(0),
                false,
                "2,a\n\"2\",b\n",
                Ok("\"2\",a\n\"2\",b\n"),
            ),
            (CSV, Given(0), false, ",a\n", Err(Foreign)),
            (CSV, Given(0), false, "\"\",a\n", Err(Value)),
            (CSV, Given(0), false, "\"3\",a\n", Err(Foreign)),
            (CSV, Given(1), false, "\",3,\",2\n", Ok("\",3,\",\"2\"\n")),
            (CSV, Given(1), false, "\",2,\",3\n", Err(Foreign)),
            (ODD, Added, false, "'a\\'\n',b\n", Ok("'a\\'\n',b,'2'\n")),
            (ODD, Added, false, "'a\\\\'\nb", Ok("'a\\\\','2'\nb,'2'\n")),
            (ODD, Added, false, "a\\'b\n", Err(Quote)),
            (CSV, Added, false, "1,\"a\n", Err(Quote)),
            (CSV, Added, false, "\"", Err(Quote)),
            (CSV, Added, true, "a\n1,\"", Err(Quote)),
            (CSV, Added, true, "a,\"\n", Ok("a,\"\n")),
            (ODD, Given(1), false, "'\\',3',2\n", Ok("'\\',3','2'\n")),
        ];
        for (format, place, header, data, expected) in cases {
            for piece in [1, 2, 3, 1000] {
                let found = extend(rows(*format, *place, *header), data.as_bytes(), piece);
                let expected = expected.map(str::to_owned);
                assert_eq!(found, expected, "{format:?} {place:?} {data:?} by {piece}");
            }
        }
    }

    #[test]
    fn a_value_is_never_taken_for_another_or_for_null() {
        let tenant = |kind, value: &str| Tenant::new(kind, value).unwrap();
        let column = |kind| TenantColumn {
            name: "t-x",
            kind,
            hidden: false,
        };
        let make = |format, delimiter, null, kind, value: &str| {
            let spelling = spelling(format, delimiter, null);
            let tenant = tenant(kind, value);
            let rows = CopyRows::new(spelling, Place::Added, column(kind), &tenant).unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (text(rows.value), text(rows.name))
        };
        use TenantType::{Integer, Text};
        assert_eq!(
            make(Format::Text, b'-', "\\N", Text, "a-b"),
            ("a\\-b".to_owned(), "t\\-x".to_owned())
        );
        assert_eq!(make(Format::Text, b'\t', "27", Integer, "27").0, "\\0627");
        assert_eq!(make(CSV, b'2', "2", Integer, "27").0, "\"27\"");
        let quote = Format::Csv {
            quote: b'a',
            escape: b'b',
        };
        assert_eq!(make(quote, b',', "", Text, "abc").0, "ababbca");
        let other = tenant(Integer, "2");
        let csv = spelling(CSV, b',', "");
        assert!(CopyRows::new(csv, Place::Added, column(Text), &other).is_none());
    }

    #[test]
    fn spellings_of_a_value_are_those_of_the_type() {
        let id = "00000000-0000-0000-0000-00000000000a";
        let cases = [
            (
                TenantType::Uuid,
                "00000000-0000-0000-0000-00000000000A",
                id,
                Ok(()),
            ),
            (
                TenantType::Uuid,
                "{0000000000000000000000000000000a}",
                id,
                Ok(()),
            ),
            (
                TenantType::Uuid,
                "0000-0000-0000-0000-0000-0000-0000-000a",
                id,
                Ok(()),
            ),
            (
                TenantType::Uuid,
                "0000-0000-0000-0000-0000-0000-0000-000a-",
                id,
                Err(Broken::Value),
            ),
            (
                TenantType::Uuid,
                "{00000000000000000000000000000000a",
                id,
                Err(Broken::Value),
            ),
            (
                TenantType::Uuid,
                "00000000-0000-0000-0000-00000000000b",
                id,
                Err(Broken::Foreign),
            ),
            (TenantType::Bigint, "\t+0007 ", "7", Ok(())),
            (TenantType::Bigint, "-7", "-7", Ok(())),
            (TenantType::Bigint, "7 7", "7", Err(Broken::Value)),
            (TenantType::Integer, "-", "7", Err(Broken::Value)),
            (TenantType::Integer, " ", "7", Err(Broken::Value)),
            (TenantType::Integer, "2147483648", "7", Err(Broken::Range)),
            (TenantType::Text, "acme", "acme", Ok(())),
            (TenantType::Text, "acme ", "acme", Err(Broken::Foreign)),
        ];
        for (kind, value, tenant, expected) in cases {
            assert_eq!(compare(kind, value.as_bytes(), tenant), expected, "{value}");
        }
    }

    #[test]
    fn a_row_has_a_limit_and_so_has_what_is_kept_of_it() {
        let mut extension = Extension::new(Rc::new(rows(CSV, Place::Added, false)));
        let chunk = vec![b'"'; 1 << 16];
        let mut broken = None;
        for _ in 0..=ROW_BYTES / chunk.len() {
            let mut out = Vec::new();
            broken = extension.put(&chunk, &mut out).err();
            assert!(out.len() <= chunk.len());
        }
        assert_eq!(broken, Some(Broken::TooLong));
        let given = rows(Format::Text, Place::Given(0), false);
        let zeros = "0".repeat(VALUE_BYTES + 1);
        assert_eq!(extend(given, zeros.as_bytes(), 7), Err(Broken::Foreign));
    }
}
