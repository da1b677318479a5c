//! A YAML file as a tree that remembers where each key and value stands.
//!
//! Messages made here never repeat a value: the file holds secrets, and a slip of the pen can put
//! one where a word of the format is expected.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::Problem;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// One value.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar, as it was written.
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Found wrong and reported; read as if it were not there.
    Dropped,
}

/// A key of a mapping.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

/// One step of the way from the root to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Key(String),
    /// Position in a list as written, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Writes a path as `clusters.main.pool.size` or `users[0].name`.
pub(super) fn render(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
    }
    text
}

/// A file and its tree.
pub(super) struct Document {
    pub(super) file: PathBuf,
    pub(super) root: Node,
}

impl Document {
    /// Reads the text of a file. Repeated keys are reported by [`Document::repeated`].
    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, Problem> {
        let root = Builder::new(text).document().map_err(|fault| Problem {
            file: file.to_owned(),
            line: fault.place.line,
            column: fault.place.column,
            key: String::new(),
            message: fault.message,
        })?;
        Ok(Self {
            file: file.to_owned(),
            root,
        })
    }

    /// A problem with the value at `path`, placed at the nearest thing that is in the file.
    pub(super) fn problem(&self, path: &[Step], message: impl Into<String>) -> Problem {
        let place = self.place(path);
        Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            key: render(path),
            message: message.into(),
        }
    }

    fn place(&self, path: &[Step]) -> Place {
        let mut node = &self.root;
        let mut place = node.place;
        for step in path {
            let Some((found, at)) = node.child(step) else {
                return place;
            };
            (node, place) = (found, at);
        }
        place
    }

    /// Whether `path` is in the file, found wrong or not.
    pub(super) fn contains(&self, path: &[Step]) -> bool {
        let mut node = &self.root;
        for step in path {
            match node.child(step) {
                Some((found, _)) => node = found,
                None => return false,
            }
        }
        true
    }

    /// Whether `path` or a section around it was dropped.
    pub(super) fn is_dropped(&self, path: &[Step]) -> bool {
        let mut node = &self.root;
        for step in path {
            match node.child(step) {
                Some((found, _)) => node = found,
                None => break,
            }
        }
        matches!(node.value, Value::Dropped)
    }

    /// Positions of the entries of the list at the top-level key `name` that were not dropped.
    pub(super) fn kept(&self, name: &str) -> Vec<usize> {
        match self.root.child(&Step::from(name)) {
            Some((
                Node {
                    value: Value::List(nodes),
                    ..
                },
                _,
            )) => (0..nodes.len())
                .filter(|&index| !matches!(nodes[index].value, Value::Dropped))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Takes the value at `path` out of what will be read.
    pub(super) fn drop_value(&mut self, path: &[Step]) {
        let mut node = &mut self.root;
        for step in path {
            match node.child_mut(step) {
                Some(found) => node = found,
                None => return,
            }
        }
        node.value = Value::Dropped;
    }

    /// Reports keys written twice in one mapping, and drops the second.
    pub(super) fn repeated(&mut self) -> Vec<Problem> {
        let mut found = Vec::new();
        collect_repeated(&mut self.root, &mut Vec::new(), &mut found);
        found
            .into_iter()
            .map(|(path, place, first)| Problem {
                file: self.file.clone(),
                line: place.line,
                column: place.column,
                key: render(&path),
                message: format!("key given twice, first in line {}", first.line),
            })
            .collect()
    }
}

type Repeated = (Vec<Step>, Place, Place);

fn collect_repeated(node: &mut Node, path: &mut Vec<Step>, found: &mut Vec<Repeated>) {
    match &mut node.value {
        Value::List(nodes) => {
            for (index, child) in nodes.iter_mut().enumerate() {
                path.push(Step::Index(index));
                collect_repeated(child, path, found);
                path.pop();
            }
        }
        Value::Map(entries) => {
            let mut seen: HashMap<String, Place> = HashMap::new();
            entries.retain_mut(|(key, child)| {
                path.push(Step::Key(key.text.clone()));
                let first = seen.get(&key.text).copied();
                match first {
                    Some(first) => found.push((path.clone(), key.place, first)),
                    None => collect_repeated(child, path, found),
                }
                path.pop();
                seen.entry(key.text.clone()).or_insert(key.place);
                first.is_none()
            });
        }
        _ => {}
    }
}

impl Node {
    /// The value after `step`, and where to point at: the value, or its key if there is none.
    fn child(&self, step: &Step) -> Option<(&Node, Place)> {
        match (&self.value, step) {
            (Value::Map(entries), Step::Key(name)) => entries
                .iter()
                .find(|(key, _)| key.text == *name)
                .map(|(key, node)| (node, node.place_beside(key))),
            (Value::List(nodes), Step::Index(index)) => {
                nodes.get(*index).map(|node| (node, node.place))
            }
            _ => None,
        }
    }

    fn child_mut(&mut self, step: &Step) -> Option<&mut Node> {
        match (&mut self.value, step) {
            (Value::Map(entries), Step::Key(name)) => entries
                .iter_mut()
                .find(|(key, _)| key.text == *name)
                .map(|(_, node)| node),
            (Value::List(nodes), Step::Index(index)) => nodes.get_mut(*index),
            _ => None,
        }
    }

    /// Where to point at for this value of `key`: sections and absent values at their key.
    pub(super) fn place_beside(&self, key: &Key) -> Place {
        match self.value {
            Value::Scalar(_) => self.place,
            _ => key.place,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(nodes) => nodes.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| 1 + node.size()).sum(),
            _ => 0,
        }
    }
}

/// What is wrong with the text as YAML.
struct Fault {
    place: Place,
    message: String,
}

impl From<ScanError> for Fault {
    fn from(error: ScanError) -> Self {
        Self {
            place: Place {
                line: error.marker().line(),
                column: error.marker().col() + 1,
            },
            message: format!("not valid YAML: {}", error.info()),
        }
    }
}

/// Values in one file at most, aliases expanded.
const VALUES: usize = 1_000_000;
/// Sections within sections at most.
const DEPTH: usize = 32;

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    values: usize,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        let mut options = Options::default();
        options.emit_comments = false;
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            values: 0,
        }
    }

    fn document(mut self) -> Result<Node, Fault> {
        let mut root = None;
        while let Some((event, place)) = self.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_none() => {}
                Event::DocumentStart(..) => {
                    return Err(fault(place, "a second document begins; write one"));
                }
                event => root = Some(self.node(event, place, 0)?),
            }
        }
        root.ok_or_else(|| fault(Place { line: 1, column: 1 }, "the file is empty"))
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Place)>, Fault> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Err(error)) => Err(error.into()),
            Some(Ok((event, span))) => Ok(Some((event, start(&span)))),
        }
    }

    fn node(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Node, Fault> {
        self.count(1, place)?;
        if depth > DEPTH {
            return Err(fault(place, "nested too deeply"));
        }
        refuse_tag(&event, place)?;
        let anchor = event.anchor_id();
        let value = match event {
            Event::Alias(id) => return self.alias(id, place),
            Event::Scalar(text, style, ..) => scalar(text.into_owned(), style),
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Map(self.map(depth)?),
            _ => return Err(fault(place, "not valid YAML: a value is missing")),
        };
        let node = Node { place, value };
        if let Some(id) = anchor {
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<Node, Fault> {
        let target = self
            .anchors
            .get(&id)
            .cloned()
            .ok_or_else(|| fault(place, "an alias stands inside of what it stands for"))?;
        self.count(target.size(), place)?;
        Ok(Node {
            place,
            value: target.value,
        })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut nodes = Vec::new();
        loop {
            match self.within()? {
                (Event::SequenceEnd, _) => return Ok(nodes),
                (event, place) => nodes.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Fault> {
        let mut entries = Vec::new();
        loop {
            let (event, place) = self.within()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let Value::Scalar(text) = self.node(event, place, depth + 1)?.value else {
                return Err(fault(place, "a key must be a word"));
            };
            let (event, at) = self.within()?;
            let value = self.node(event, at, depth + 1)?;
            entries.push((Key { text, place }, value));
        }
    }

    fn within(&mut self) -> Result<(Event<'t>, Place), Fault> {
        self.next()?
            .ok_or_else(|| fault(Place { line: 1, column: 1 }, "the file ends in a section"))
    }

    fn count(&mut self, more: usize, place: Place) -> Result<(), Fault> {
        self.values = self.values.saturating_add(more);
        if self.values > VALUES {
            return Err(fault(place, "too many values"));
        }
        Ok(())
    }
}

fn start(span: &Span) -> Place {
    let start = span.tag_start().unwrap_or(span.start);
    Place {
        line: start.line(),
        column: start.col() + 1,
    }
}

fn fault(place: Place, message: &str) -> Fault {
    Fault {
        place,
        message: message.to_owned(),
    }
}

/// A password that begins with `!` and is not quoted is a tag for YAML, and would be lost.
fn refuse_tag(event: &Event<'_>, place: Place) -> Result<(), Fault> {
    match event.tag() {
        Some(tag) if tag.core_suffix() != Some("str") => Err(fault(
            place,
            "tags are not supported; quote a value that begins with !",
        )),
        _ => Ok(()),
    }
}

fn scalar(text: String, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar(text)
}
