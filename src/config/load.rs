//! From a file to a [`Config`]: YAML, `{env: NAME}` and `{file: PATH}`, and every error there is.
//!
//! Values are read by the types of `schema` through a deserializer over [`Document`]. When one is
//! wrong it is reported and taken out, and the rest is read again: one run names all mistakes.

use std::collections::HashSet;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::check;
use super::document::{Document, Key, Node, Place, Step, Value, render};
use super::schema::Config;

/// Something wrong in a configuration file. Never holds a value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line from 1; 0 when the file could not be read.
    pub line: usize,
    /// Column from 1; 0 when the file could not be read.
    pub column: usize,
    /// Path of the key, such as `clusters.main.pool.size` or `users[0].name`; empty for the file.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for Problem {}

/// Bytes of a configuration file at most.
const FILE_SIZE: u64 = 16 * 1024 * 1024;
/// Bytes of a file named by `{file: PATH}` at most.
const VALUE_SIZE: u64 = 1024 * 1024;

impl Config {
    /// Reads and checks a configuration file. Relative paths in it are taken from its folder, and
    /// come out joined to it. Reads the environment and every file the configuration names.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = read_text(path, FILE_SIZE).map_err(|message| {
            vec![Problem {
                file: path.to_owned(),
                line: 0,
                column: 0,
                key: String::new(),
                message,
            }]
        })?;
        Self::parse(path, &text)
    }

    /// The same for text that is already in memory; `path` gives the folder and the name in
    /// messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut document = Document::parse(path, text).map_err(|problem| vec![problem])?;
        let mut problems = document.repeated();
        let config = read::<Self>(&mut document, folder, &mut problems);
        if let Some(mut config) = config {
            join_paths(&mut config, folder);
            check::check(&config, &document, &mut problems);
            if problems.is_empty() {
                return Ok(config);
            }
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(problems)
    }
}

fn join_paths(config: &mut Config, folder: &Path) {
    let tls = config.listen.tls.iter_mut();
    let listen = tls.flat_map(|tls| {
        [&mut tls.certificate, &mut tls.private_key]
            .into_iter()
            .chain(&mut tls.client_ca)
    });
    let clusters = config.clusters.values_mut();
    let roots = clusters.filter_map(|cluster| cluster.ca_file.as_mut());
    let policies = config.tenancy.values_mut().map(|policy| &mut policy.file);
    let tokens = config.tokens.values_mut();
    let keys = tokens.map(|issuer| &mut issuer.keys_file);
    for path in listen.chain(roots).chain(policies).chain(keys) {
        *path = folder.join(&path);
    }
}

/// Reads a `T`, taking out what is wrong until the rest can be read. `None` when nothing is left.
fn read<T: DeserializeOwned>(
    document: &mut Document,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let mut dropped: HashSet<Vec<Step>> = HashSet::new();
    loop {
        let reader = Reader {
            node: &document.root,
            folder,
        };
        let mut error = match T::deserialize(reader) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        error.path.reverse();
        let mut missing = error.path.clone();
        missing.extend(error.missing.map(Step::from));
        // What was taken out is not also missing.
        if !dropped.contains(&missing) {
            problems.push(error.problem(document, &missing));
        }
        // A value that cannot be taken out twice ends the loop whatever a type does.
        if error.path.is_empty() || !dropped.insert(error.path.clone()) {
            return None;
        }
        document.drop_value(&error.path);
    }
}

/// Reads a small text file for an operator: errors say what to do, not what is in it.
fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let wrong = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(wrong)?;
    if bytes.len() as u64 > limit {
        return Err(format!("{} is above {limit} bytes", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// Why a value could not be read; the path grows from the inside out.
#[derive(Debug)]
struct Error {
    message: String,
    missing: Option<&'static str>,
    place: Option<Place>,
    path: Vec<Step>,
    /// The last step may be a piece of a value, and is not shown.
    hidden: bool,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            missing: None,
            place: None,
            path: Vec::new(),
            hidden: false,
        }
    }

    fn within(mut self, step: Step, place: Place) -> Self {
        self.place.get_or_insert(place);
        self.path.push(step);
        self
    }

    fn problem(&self, document: &Document, path: &[Step]) -> Problem {
        let place = self.place.unwrap_or(document.root.place);
        let shown = path.len() - usize::from(self.hidden && !path.is_empty());
        Problem {
            file: document.file.clone(),
            line: place.line,
            column: place.column,
            key: render(&path[..shown]),
            message: self.message.clone(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The default messages repeat the value they refuse, which may be a secret in a wrong place.
impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Seq => "a list",
            Unexpected::Map => "a section",
            Unexpected::Unit | Unexpected::Option => "nothing",
            _ => "a single value",
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("wrong value: expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown value: write {}", alternatives(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key; known here: {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error = Self::new("missing");
        error.missing = Some(field);
        error
    }
}

fn alternatives(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// Reads one value of the document.
#[derive(Clone, Copy)]
struct Reader<'t> {
    node: &'t Node,
    folder: &'t Path,
}

impl<'t> Reader<'t> {
    /// The value as text, through `{env: …}` and `{file: …}`.
    fn text(self) -> Result<String, Error> {
        match &self.node.value {
            Value::Scalar(text) => Ok(text.clone()),
            Value::Map(entries) => match entries.as_slice() {
                [(Key { text, .. }, source)] if text == "env" => variable(source.scalar()?),
                [(Key { text, .. }, source)] if text == "file" => {
                    file_value(&self.folder.join(source.scalar()?))
                }
                _ => Err(self.unfit("text, {env: NAME} or {file: PATH}")),
            },
            Value::Null => Err(valueless()),
            _ => Err(self.unfit("text")),
        }
    }

    fn unfit(self, expected: &str) -> Error {
        let found = match self.node.value {
            Value::Null | Value::Dropped => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
        };
        Error::new(format!("expected {expected}, found {found}"))
    }

    fn number<N: std::str::FromStr>(self, low: &str, high: &str) -> Result<N, Error> {
        let expected = format!("a whole number from {low} to {high}");
        let Value::Scalar(text) = &self.node.value else {
            return Err(self.unfit(&expected));
        };
        text.parse()
            .map_err(|_| Error::new(format!("expected {expected}")))
    }
}

fn valueless() -> Error {
    Error::new(
        "has no value; write one (in quotes if it is empty or begins with #) or remove the key",
    )
}

impl Node {
    fn scalar(&self) -> Result<&str, Error> {
        match &self.value {
            Value::Scalar(text) => Ok(text),
            _ => Err(Error::new("expected a name after env or a path after file")),
        }
    }
}

fn variable(name: &str) -> Result<String, Error> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => {
            Err(Error::new(format!("environment variable {name} is empty")))
        }
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(Error::new(format!(
            "environment variable {name} is not set"
        ))),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::new(format!(
            "environment variable {name} is not UTF-8 text"
        ))),
    }
}

/// The text of a file without the line end that editors and `echo` leave behind.
fn file_value(path: &Path) -> Result<String, Error> {
    let text = read_text(path, VALUE_SIZE).map_err(Error::new)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Error::new(format!("{} is empty", path.display())));
    }
    Ok(text.to_owned())
}

macro_rules! read_number {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
            let (low, high) = (<$type>::MIN.to_string(), <$type>::MAX.to_string());
            visitor.$visit(self.number::<$type>(&low, &high)?)
        }
    )*};
}

macro_rules! read_text {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_string(self.text()?)
        }
    )*};
}

impl<'t> Deserializer<'t> for Reader<'t> {
    type Error = Error;

    read_number! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    read_text! {
        deserialize_str deserialize_string deserialize_char deserialize_identifier
        deserialize_bytes deserialize_byte_buf
    }

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null | Value::Dropped => visitor.visit_unit(),
            Value::Scalar(text) => visitor.visit_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar(text) if text == "true" => visitor.visit_bool(true),
            Value::Scalar(text) if text == "false" => visitor.visit_bool(false),
            Value::Scalar(_) => Err(Error::new("expected true or false")),
            _ => Err(self.unfit("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => visitor.visit_f64(number),
                _ => Err(Error::new("expected a number")),
            },
            _ => Err(self.unfit("a number")),
        }
    }

    /// A key without a value is refused, not read as absent: whoever comments out all keys of a
    /// `tls:` section would otherwise lose TLS without a word.
    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Null => Err(valueless()),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.unfit("nothing")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(nodes) => visitor.visit_seq(Elements {
                nodes,
                next: 0,
                folder: self.folder,
            }),
            _ => Err(self.unfit("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'t>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries {
                entries,
                next: 0,
                folder: self.folder,
            }),
            _ => Err(self.unfit("a section of keys")),
        }
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.text()?;
        let word: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
        visitor.visit_enum(word)
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// Entries of a section.
struct Entries<'t> {
    entries: &'t [(Key, Node)],
    next: usize,
    folder: &'t Path,
}

impl<'t> MapAccess<'t> for Entries<'t> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'t>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        while let Some((key, node)) = self.entries.get(self.next) {
            if matches!(node.value, Value::Dropped) {
                self.next += 1;
                continue;
            }
            let name: StrDeserializer<'_, Error> = key.text.as_str().into_deserializer();
            return seed.deserialize(name).map(Some).map_err(|error| Error {
                hidden: !is_plainly_a_key(key, node),
                ..error.within(Step::Key(key.text.clone()), key.place)
            });
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, node)) = self.entries.get(self.next) else {
            return Err(Error::custom("no value is left"));
        };
        self.next += 1;
        let reader = Reader {
            node,
            folder: self.folder,
        };
        seed.deserialize(reader)
            .map_err(|error| error.within(Step::Key(key.text.clone()), node.place_beside(key)))
    }
}

/// `{password: a, b}` has the key `b`: half a password to its writer.
fn is_plainly_a_key(key: &Key, node: &Node) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '<');
    key.text.chars().all(word) && !matches!(node.value, Value::Null)
}

/// Elements of a list.
struct Elements<'t> {
    nodes: &'t [Node],
    next: usize,
    folder: &'t Path,
}

impl<'t> SeqAccess<'t> for Elements<'t> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'t>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        while let Some(node) = self.nodes.get(self.next) {
            let index = self.next;
            self.next += 1;
            if matches!(node.value, Value::Dropped) {
                continue;
            }
            let reader = Reader {
                node,
                folder: self.folder,
            };
            return seed
                .deserialize(reader)
                .map(Some)
                .map_err(|error| error.within(Step::Index(index), node.place));
        }
        Ok(None)
    }
}
