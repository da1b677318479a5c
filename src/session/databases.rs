//! The names of databases in a session, and the schema of a created one as its `public`: texts pass
//! [`databases::translate`] ahead of all else that the session does with them.

use std::cell::RefCell;
use std::rc::Rc;

use crate::policy::Cache;
use crate::policy::databases::{self, Naming};
use crate::upstream::Settings;
use crate::wire::frame::HEADER;
use crate::wire::frontend;
use crate::wire::reply::ClientError;
use crate::wire::sqlstate;

use super::advisory::{Evict, Occupancy};
use super::frontend::{READ_QUERY, Taken};
use super::run::{End, Session};

/// Bytes of translated texts that a worker keeps, about.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// What became of texts before, for the sessions of a worker.
#[derive(Debug)]
pub struct Translations(RefCell<Cache<Translated, Rc<Naming>>>);

type Translated = Option<Rc<[u8]>>;

impl Default for Translations {
    fn default() -> Self {
        Self(RefCell::new(Cache::new(KEPT_BYTES)))
    }
}

/// What a session needs to know of databases.
pub struct DatabaseEnv {
    /// What it calls its own.
    pub naming: Rc<Naming>,
    /// Those of the worker.
    pub translations: Rc<Translations>,
    /// Keeps its database from being dropped, if it is a created one.
    pub occupancy: Option<Occupancy>,
    /// Ends the sessions of this process in a created database.
    pub evict: Rc<dyn Fn(&str)>,
}

impl std::fmt::Debug for DatabaseEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseEnv")
            .field("naming", &self.naming)
            .field("occupancy", &self.occupancy)
            .finish_non_exhaustive()
    }
}

impl DatabaseEnv {
    fn translate(&self, text: &[u8]) -> Result<Translated, ClientError> {
        let mut known = self.translations.0.borrow_mut();
        if let Some(translated) = known.get(text, &self.naming, 0) {
            return Ok(translated);
        }
        let Ok(read) = std::str::from_utf8(text) else {
            return Ok(None);
        };
        let translated = databases::translate(read, &self.naming)?;
        let translated: Translated = translated.map(|text| text.into_bytes().into());
        // What is the same needs no more than a look.
        if let Some(translated) = &translated {
            let weight = translated.len() + 64;
            known.put(text, &self.naming, 0, Some(Rc::clone(translated)), weight);
        }
        Ok(translated)
    }

    pub(super) fn evict(&self) -> Evict {
        Rc::clone(&self.evict)
    }
}

/// Start-up parameters of a session: a created database begins with its schema in `search_path`.
pub(super) fn put_search_path(settings: &mut Settings, naming: &Naming) {
    let Some(schema) = &naming.schema else {
        return;
    };
    let asked = settings.get("search_path").map(String::as_str);
    let path = databases::path(asked.unwrap_or("\"$user\", public"), schema);
    settings.insert("search_path".to_owned(), path);
}

impl Session {
    /// The session is connected to a created database.
    pub(super) fn is_in_created(&self) -> bool {
        let env = self.env.databases.as_ref();
        env.is_some_and(|env| env.naming.schema.is_some())
    }

    /// Takes a Query or Parse as it is said to the cluster; `None`: it is said the same.
    pub(super) fn take_named(
        &mut self,
        tag: u8,
        total: usize,
        bytes: &[u8],
    ) -> Result<Option<Taken>, End> {
        let Some(env) = &self.env.databases else {
            return Ok(None);
        };
        if self.owed.is_empty() && !self.owed.is_unsynced() {
            self.reworded = false;
        }
        if bytes.len() < total {
            if tag != b'Q' || env.naming.schema.is_none() {
                return Ok(None);
            }
            let error = ClientError::error(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                format!("in a created database a text has at most {READ_QUERY} bytes"),
            )
            .hint("Send the data as parameters, or with COPY.");
            let taken = self.refuse_text(tag, error)?;
            return Ok(Some(done(taken, total, bytes.len())));
        }
        let body = &bytes[HEADER..];
        let text = match tag {
            b'Q' => frontend::query(body)?,
            _ => frontend::parse(body)?.text,
        };
        let translated = match env.translate(text) {
            Ok(None) => return Ok(None),
            Ok(Some(translated)) => translated,
            Err(error) => {
                let taken = self.refuse_text(tag, error)?;
                return Ok(Some(done(taken, total, bytes.len())));
            }
        };
        let mut frame = Vec::with_capacity(translated.len() + HEADER + 64);
        match tag {
            b'Q' => frontend::put_query(&mut frame, &translated),
            _ => {
                let parse = frontend::parse(body)?;
                frontend::put_parse(&mut frame, parse.name, &translated, parse.types);
            }
        }
        self.reworded = true;
        let taken = self.take_columns(tag, frame.len(), &frame)?;
        Ok(Some(done(taken, total, bytes.len())))
    }

    /// An ErrorResponse in the client's words; `None` when it says the same.
    pub(super) fn in_words_of_database(&self, body: &[u8]) -> Option<Vec<u8>> {
        let env = self.env.databases.as_ref()?;
        let named = env.naming.schema.as_ref().and_then(|schema| {
            let found = memchr::memmem::find(body, schema.as_bytes()).is_some();
            found.then(|| {
                let text = String::from_utf8_lossy(body);
                text.replace(&format!("\"{schema}\".") as &str, "public.")
                    .replace(schema.as_str(), "public")
                    .into_bytes()
            })
        });
        if !self.reworded {
            return named;
        }
        // A place in another text is none in the client's.
        let told = named.as_deref().unwrap_or(body);
        let fields: Vec<&[u8]> = told.split(|byte| *byte == 0).collect();
        let placed = fields.iter().any(|field| field.first() == Some(&b'P'));
        if !placed {
            return named;
        }
        let kept: Vec<&[u8]> = fields
            .into_iter()
            .filter(|field| field.first() != Some(&b'P'))
            .collect();
        Some(kept.join(&0))
    }
}

/// All that is there; of a frame that is too long the rest goes nowhere.
fn done(taken: Taken, total: usize, there: usize) -> Taken {
    match taken {
        Taken::Wait => Taken::Wait,
        _ => super::frontend::skip(total, there),
    }
}
