//! The gate of sessions that belong to a tenant: every text of the client passes
//! [`tenancy::isolate_all`] before anything else in the session sees it, and goes on as what was
//! printed from the tree that was understood.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pg_query::NodeEnum;
use tokio::sync::{Notify, watch};

use crate::auth::{Binding, Identity};
use crate::policy::Cache;
use crate::policy::tenancy::copy::{CopyRows, Place};
use crate::policy::tenancy::rules::{Role, TenantValue};
use crate::policy::tenancy::{
    self, Catalog, Policy, Refusal, Rule, SEARCH_PATH, Tenant, TenantParameter, scrub,
};
use crate::sql::statement::ParseError;
use crate::sql::{Statement, classify};
use crate::upstream::Settings;
use crate::wire::backend::{TransactionStatus, error_fields};
use crate::wire::frame::HEADER;
use crate::wire::frontend;
use crate::wire::reply::{self, ClientError};
use crate::wire::sqlstate;

use super::frontend::{MAX_PARSE, READ_QUERY, Taken};
use super::limbo::aborted;
use super::names::Names;
use super::run::{End, Session};
use super::script::{Piece, Script};
use super::tenant;

/// Bytes of isolated texts that a worker keeps for a database entry, about.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// How long a login waits for the first verification of the database.
const FIRST_CHECK: Duration = Duration::from_secs(5);

/// Start-up parameters that change nothing but how values look.
const PLAIN_PARAMETERS: [&str; 7] = [
    "application_name",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "options",
    "timezone",
];

/// The tenant policy of a database entry as it is now.
#[derive(Debug)]
pub struct Isolation {
    database: String,
    epoch: AtomicU64,
    wanted: Mutex<Arc<Policy>>,
    now: watch::Sender<Arc<Standing>>,
    /// When that became so.
    since: Mutex<Instant>,
    /// Somebody saw the schema change.
    changed: Notify,
    refusals: Mutex<Vec<(Rule, u64)>>,
}

/// Whether tenants may be served.
#[derive(Debug)]
pub enum Standing {
    /// The database is as the policy takes it to be.
    Open {
        /// The policy.
        policy: Arc<Policy>,
        /// The database's catalog.
        catalog: Arc<Catalog>,
    },
    /// Nobody knows yet: no tenant is served.
    Unverified {
        /// The policy.
        policy: Arc<Policy>,
    },
    /// It is not: no tenant is served.
    Closed {
        /// The policy.
        policy: Arc<Policy>,
        /// Why not, one sentence each, for operators.
        reasons: Vec<String>,
    },
}

impl Standing {
    /// In a word.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open { .. } => "served",
            Self::Unverified { .. } => "not verified yet",
            Self::Closed { .. } => "closed",
        }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        match self {
            Self::Open { policy, .. }
            | Self::Closed { policy, .. }
            | Self::Unverified { policy } => policy,
        }
    }
}

impl Isolation {
    /// A policy for a database entry that has not been verified yet.
    #[must_use]
    pub fn new(database: &str, policy: Arc<Policy>) -> Self {
        Self {
            database: database.to_owned(),
            epoch: AtomicU64::new(0),
            wanted: Mutex::new(Arc::clone(&policy)),
            now: watch::Sender::new(Arc::new(Standing::Unverified { policy })),
            since: Mutex::new(Instant::now()),
            changed: Notify::new(),
            refusals: Mutex::default(),
        }
    }

    /// Name of the database entry.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Another policy, or the same once more; it holds from its verification on.
    pub fn replace(&self, policy: Arc<Policy>) {
        *self.wanted() = policy;
        self.changed.notify_one();
    }

    /// The policy that is to be verified next.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.wanted())
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, Arc<Policy>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database could not be verified for too long.
    pub fn close(&self, reason: &str) {
        self.put(Standing::Closed {
            policy: self.policy(),
            reasons: vec![reason.to_owned()],
        });
    }

    /// The policy could not be verified. One that was before holds on; a new one is not served by.
    pub fn put_off(&self) {
        let policy = self.policy();
        if !self.standing().policy().is_of(&policy) {
            self.put(Standing::Unverified { policy });
        }
    }

    /// What was found. Sessions that are open follow with their next statement.
    pub fn put(&self, standing: Standing) {
        let same = match (&*self.standing(), &standing) {
            (
                Standing::Open {
                    policy: a,
                    catalog: b,
                },
                Standing::Open { policy, catalog },
            ) => a == policy && b == catalog,
            (Standing::Closed { reasons: a, .. }, Standing::Closed { reasons, .. }) => a == reasons,
            _ => false,
        };
        if !same {
            self.now.send_replace(Arc::new(standing));
            *self.since() = Instant::now();
            self.epoch.fetch_add(1, Ordering::Release);
        }
    }

    fn since(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How things are.
    #[must_use]
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.now.borrow())
    }

    /// The schema may have changed.
    pub fn note_change(&self) {
        self.changed.notify_one();
    }

    /// Returns when the schema may have changed.
    pub async fn change(&self) {
        self.changed.notified().await;
    }

    /// Refusals so far, by rule.
    #[must_use]
    pub fn refusals(&self) -> Vec<(Rule, u64)> {
        self.counted().clone()
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Vec<(Rule, u64)>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, rule: Rule) {
        let mut counted = self.counted();
        match counted.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, count)) => *count += 1,
            None => counted.push((rule, 1)),
        }
    }

    /// The guard of a session, or none for a user who sees all tenants.
    ///
    /// # Errors
    /// The user has no tenant, a start-up parameter is not open to tenants, or the database is not
    /// as the policy takes it to be: FATAL, for the client.
    pub async fn guard(
        self: &Arc<Self>,
        identity: &Identity,
        kept: &Rc<Admissions>,
    ) -> Result<Option<Guard>, ClientError> {
        if *identity.binding() == Binding::Unrestricted && identity.selected().is_some() {
            return Err(tenant::not_the_one());
        }
        if *identity.binding() == Binding::Unrestricted {
            tracing::info!(
                target: "audit",
                user = identity.user(),
                database = identity.database(),
                "session of a user who sees all tenants"
            );
            return Ok(None);
        }
        // Ahead of the wait, so that nobody waits in vain; what counts is the policy behind it.
        self.tenant_name(identity)?;
        let known = |now: &Arc<Standing>| !matches!(**now, Standing::Unverified { .. });
        let mut now = self.now.subscribe();
        let _ = tokio::time::timeout(FIRST_CHECK, now.wait_for(known)).await;
        let mut guard = Guard {
            isolation: Arc::clone(self),
            kept: Rc::clone(kept),
            name: self.tenant_name(identity)?,
            epoch: 0,
            scope: None,
            loud: false,
            stays_loud: false,
            noticed: None,
            sources: HashMap::new(),
            stale: 0,
            parameter: None,
            copies: HashMap::new(),
            on_server: HashMap::new(),
        };
        guard.follow();
        guard.scope().map_err(fatal)?;
        check_parameters(identity, self.standing().policy()).map_err(fatal)?;
        Ok(Some(guard))
    }

    fn tenant_name(&self, identity: &Identity) -> Result<String, ClientError> {
        let standing = self.standing();
        tenant::resolve(identity, standing.policy()).map_err(|unresolved| {
            tracing::warn!(
                target: "audit",
                user = identity.user(),
                database = %self.database,
                reason = unresolved.reason(),
                "login refused: the session has no tenant"
            );
            unresolved.error()
        })
    }
}

fn fatal(error: ClientError) -> ClientError {
    ClientError {
        severity: reply::Severity::Fatal,
        ..error
    }
}

/// What a tenant may ask for at start-up: how values look, and what its policy leaves it.
fn check_parameters(identity: &Identity, policy: &Policy) -> Result<(), ClientError> {
    for (name, value) in identity.parameters() {
        let name = name.to_ascii_lowercase();
        let path = || value.split(',').map(|part| part.trim().trim_matches('"'));
        let allowed = match name.as_str() {
            "user" | "database" => true,
            // The texts that leave are UTF-8.
            "client_encoding" => matches!(
                value.trim_matches('\'').to_ascii_lowercase().as_str(),
                "utf8" | "utf-8" | "unicode" | "auto"
            ),
            // The policy's own path, by another hand.
            "search_path" => path()
                .filter(|schema| *schema != "$user")
                .eq(policy.search_path.iter().map(String::as_str)),
            name => {
                PLAIN_PARAMETERS.contains(&name)
                    || policy.settings.allow.contains(name)
                    || name.starts_with("_pq_.")
            }
        };
        if !allowed {
            return Err(ClientError::error(
                tenancy::INSUFFICIENT_PRIVILEGE,
                format!("parameter \"{name}\" is not open to tenants"),
            )
            .hint("Leave it out of the connection string, or ask the operator to allow it."));
        }
    }
    Ok(())
}

/// The start-up settings of a tenant's session: names without a schema mean the system's.
pub(super) fn pin_search_path(settings: &mut Settings) {
    settings.insert("search_path".to_owned(), SEARCH_PATH.to_owned());
    settings.remove("client_encoding");
}

/// What became of texts before, for the sessions of a worker in one database entry. Keyed by text and
/// the whole of the tenant; by none where no tenant was known.
#[derive(Debug)]
pub struct Admissions(RefCell<Cache<Admission, Option<Rc<Tenant>>>>);

type Admission = Rc<Result<Admitted, Denied>>;

impl Default for Admissions {
    fn default() -> Self {
        Self(RefCell::new(Cache::new(KEPT_BYTES)))
    }
}

/// What goes on in place of a client's text.
#[derive(Debug)]
struct Admitted {
    text: Vec<u8>,
    statements: usize,
    loud: bool,
    /// It makes something that is run later.
    lasts: bool,
    /// It has a DISCARD.
    discards: bool,
    /// Names that it gives to statements by PREPARE.
    prepares: Vec<String>,
    /// Names of the statements that it runs by EXECUTE.
    executes: Vec<String>,
    /// It is a COPY FROM STDIN.
    copy: Option<Rc<CopyRows>>,
    /// Its last parameter, when that is the tenant's.
    parameter: Option<TenantParameter>,
}

impl Admitted {
    /// It can be prepared for this tenant with so many parameters of declared types.
    fn serves(&self, tenant: &Tenant, declared: usize) -> bool {
        self.parameter.is_none_or(|parameter| {
            declared < usize::from(parameter.number) && tenant.value(parameter.kind).is_some()
        })
    }
}

/// Why a text goes nowhere.
#[derive(Debug, Clone)]
pub(super) enum Denied {
    /// By the policy.
    Refused(Refusal),
    /// It is no statement, or nobody is served.
    Unreadable(ClientError),
}

impl Denied {
    fn error(&self) -> ClientError {
        match self {
            Self::Refused(refusal) => refusal.error(),
            Self::Unreadable(error) => error.clone(),
        }
    }
}

/// What binds a session to its tenant; it is never taken off.
#[derive(Debug)]
pub struct Guard {
    isolation: Arc<Isolation>,
    kept: Rc<Admissions>,
    name: String,
    epoch: u64,
    /// As things are now; none while the database is closed.
    scope: Option<Scope>,
    /// When a batch that goes on was first seen to be behind.
    noticed: Option<Instant>,
    /// Something under way may fail with words about a value.
    loud: bool,
    /// A named statement may, whenever it is executed.
    stays_loud: bool,
    /// What the client's named statements were made of, by their names.
    sources: HashMap<Vec<u8>, Source>,
    /// Bytes of sources since those without a name were last taken out.
    stale: usize,
    /// The last parameter of the Parse that is being taken, when that is the tenant's.
    parameter: Option<TenantParameter>,
    /// How the rows of COPYs are extended, by the texts that went on.
    copies: HashMap<Vec<u8>, Rc<CopyRows>>,
    /// Statements that the server was told to PREPARE, and whether under a former policy. Whether one is still
    /// there nobody knows for sure.
    on_server: HashMap<String, bool>,
}

/// A prepared statement's text as the client had it, and what went on.
#[derive(Debug)]
struct Source {
    text: Box<[u8]>,
    isolated: Box<[u8]>,
    wish: Wish,
}

/// How a text is to hold the tenant's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// As a literal.
    Literal,
    /// As a parameter, if the policy says so and it can; the client declares so many of its own.
    Parameter(usize),
}

/// Names that are gone, or never came to be, may leave so many sources behind.
const STALE_SOURCES: usize = 64;

/// Their bytes.
const STALE_BYTES: usize = 1 << 20;

/// How long a batch without a Sync goes on under the policy that it began with.
const BATCH_GRACE: Duration = Duration::from_secs(5);

/// Whether a batch that goes on under a former policy has had its time: since it was noticed, and since the
/// policy changed.
fn is_overdue(noticed: Instant, changed: Instant, now: Instant) -> bool {
    [noticed, changed]
        .iter()
        .any(|since| now.saturating_duration_since(*since) > BATCH_GRACE)
}

/// Texts of COPYs that are remembered; more are forgotten, and fail when they are executed.
const COPIES: usize = 256;

/// Their bytes.
const COPY_BYTES: usize = 2 << 20;

/// Names of statements that a session may have the server PREPARE.
const ON_SERVER: usize = 4096;

#[derive(Debug, Clone)]
struct Scope {
    policy: Arc<Policy>,
    catalog: Arc<Catalog>,
    tenant: Rc<Tenant>,
}

impl Guard {
    /// The policy or the schema changed since the guard last followed.
    fn is_behind(&self) -> bool {
        self.epoch != self.isolation.epoch.load(Ordering::Acquire)
    }

    /// Takes over what changed.
    fn follow(&mut self) {
        self.epoch = self.isolation.epoch.load(Ordering::Acquire);
        self.on_server
            .values_mut()
            .for_each(|former| *former = true);
        self.noticed = None;
        self.scope = match &*self.isolation.standing() {
            Standing::Closed { .. } | Standing::Unverified { .. } => None,
            Standing::Open { policy, catalog } => {
                let tenant = policy.tenant_named(&self.name).ok();
                tenant.map(|tenant| Scope {
                    policy: Arc::clone(policy),
                    catalog: Arc::clone(catalog),
                    tenant: Rc::new(tenant),
                })
            }
        };
    }

    /// Why a batch that began under a former policy does not go on, when it does not.
    fn ends_batch(&mut self) -> Option<ClientError> {
        let noticed = *self.noticed.get_or_insert_with(Instant::now);
        let served = matches!(*self.isolation.standing(), Standing::Open { .. });
        let over = !served || is_overdue(noticed, *self.isolation.since(), Instant::now());
        over.then(|| {
            ClientError::error(
                sqlstate::SERIALIZATION_FAILURE,
                "the tenant policy or the schema changed during the batch",
            )
            .hint("Send Sync, then send the batch again.")
        })
    }

    /// It runs a statement that the server has from a former policy.
    fn runs_former(&self, admitted: &Admitted) -> bool {
        let mut names = admitted.executes.iter();
        names.any(|name| self.on_server.get(name) == Some(&true))
    }

    /// Notes what the server is told to PREPARE. False: it is too much.
    fn note_prepares(&mut self, admitted: &Admitted) -> bool {
        for name in &admitted.prepares {
            self.on_server.entry(name.clone()).or_insert(false);
        }
        self.on_server.len() <= ON_SERVER
    }

    /// Remembers what a name is made of.
    fn keep_source(&mut self, name: &[u8], source: Source, names: &Names) {
        self.stale += name.len() + source.text.len() + source.isolated.len();
        if self.sources.len() > names.len() + STALE_SOURCES || self.stale > STALE_BYTES {
            self.sources.retain(|name, _| names.get(name).is_some());
            self.stale = 0;
        }
        self.sources.insert(name.to_vec(), source);
    }

    /// Name of the tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.name
    }

    fn scope(&self) -> Result<&Scope, ClientError> {
        self.scope.as_ref().ok_or_else(|| {
            ClientError::error(
                sqlstate::CANNOT_CONNECT_NOW,
                "the database is not served to tenants at the moment",
            )
            .hint("The proxy's log and /readyz say why.")
        })
    }

    fn admit(&self, text: &[u8], wish: Wish) -> Result<Admission, ClientError> {
        let scope = self.scope()?;
        let shares = scope.policy.tenant_value == TenantValue::Parameter;
        if let Wish::Parameter(declared) = wish
            && shares
        {
            let shared = self.admit_for(text, scope, None);
            let serves = match shared.as_ref() {
                Ok(admitted) => admitted.serves(&scope.tenant, declared),
                Err(Denied::Refused(refusal)) => refusal.rule != Rule::OfTenant,
                Err(Denied::Unreadable(_)) => true,
            };
            if serves {
                return Ok(shared);
            }
        }
        Ok(self.admit_for(text, scope, Some(Rc::clone(&scope.tenant))))
    }

    /// What becomes of a text for this tenant; without one, for any.
    fn admit_for(&self, text: &[u8], scope: &Scope, tenant: Option<Rc<Tenant>>) -> Admission {
        let mut kept = self.kept.0.borrow_mut();
        if let Some(known) = kept.get(text, &tenant, self.epoch) {
            return known;
        }
        let admission = Rc::new(isolate(text, scope, tenant.as_deref()));
        let weight = admission
            .as_ref()
            .as_ref()
            .map_or(256, |admitted| admitted.text.len() + 64);
        kept.put(text, &tenant, self.epoch, Rc::clone(&admission), weight);
        admission
    }

    fn note_copy(&mut self, admitted: &Admitted) {
        if let Some(rows) = &admitted.copy {
            let bytes: usize = self.copies.keys().map(Vec::len).sum();
            if self.copies.len() >= COPIES || bytes + admitted.text.len() > COPY_BYTES {
                self.copies.clear();
            }
            self.copies.insert(admitted.text.clone(), Rc::clone(rows));
        }
    }

    /// How the rows of this text, which went on, are extended.
    pub(super) fn rows_of(&self, text: &[u8]) -> Option<Rc<CopyRows>> {
        self.copies.get(text).cloned()
    }

    /// What a tenant reads of the body of an ErrorResponse or NoticeResponse.
    fn scrub(&self, body: &[u8]) -> Vec<u8> {
        let fields = fields(body);
        let (errors, columns) = match &self.scope {
            Some(scope) => (scope.policy.limits.errors, tenant_columns(scope)),
            None => Default::default(),
        };
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let context = scrub::Context {
            errors,
            tenant_columns: &columns,
            loud: self.loud || self.stays_loud,
        };
        let mut scrubbed = Vec::new();
        for (kind, text) in scrub::scrub(&fields, context) {
            scrubbed.push(kind);
            scrubbed.extend_from_slice(text.as_bytes());
            scrubbed.push(0);
        }
        scrubbed.push(0);
        scrubbed
    }
}

fn tenant_columns(scope: &Scope) -> Vec<String> {
    let policy = &scope.policy;
    let mut columns: Vec<String> = policy
        .tables
        .keys()
        .filter_map(|table| match policy.role(table) {
            Some(Role::Tenant(column)) => Some(column.name.to_owned()),
            _ => None,
        })
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

fn fields(body: &[u8]) -> scrub::Fields {
    let mut fields = scrub::Fields::new();
    for field in body.split(|byte| *byte == 0) {
        if let Some((kind, text)) = field.split_first() {
            fields.push((*kind, String::from_utf8_lossy(text).into_owned()));
        }
    }
    fields
}

/// Begins a text whose transaction is not to be run again, as the client's did.
const OPT_OUT: &[u8] = b"/* dsqlproxy.retry=off */ ";

fn isolate(text: &[u8], scope: &Scope, tenant: Option<&Tenant>) -> Result<Admitted, Denied> {
    let words = std::str::from_utf8(text).map_err(|_| unreadable(&ParseError::Encoding))?;
    let statements = Statement::read(words).map_err(|error| unreadable(&error))?;
    let (policy, catalog) = (&scope.policy, &scope.catalog);
    let isolated = match (tenant, statements.as_slice()) {
        (Some(tenant), all) => tenancy::isolate_all(all, policy, catalog, tenant),
        (None, [one]) => tenancy::isolate_shared(one, policy, catalog).map(|one| vec![one]),
        (None, _) => Err(Refusal::new(Rule::OfTenant, "")),
    };
    let isolated = isolated.map_err(Denied::Refused)?;
    let mut out = match classify(text).opts_out {
        true => OPT_OUT.to_vec(),
        false => Vec::new(),
    };
    let copy = isolated.iter().find_map(|one| one.copy.clone());
    // With and without the tenant's column in the data it may be the same text.
    if let Some(Place::Given(index)) = copy.as_ref().map(|rows| rows.place) {
        out.extend_from_slice(format!("/* tenant: {index} */ ").as_bytes());
    }
    let any = |found: &dyn Fn(&NodeEnum) -> bool| isolated.iter().any(|one| found(&one.tree));
    let named = |name: &dyn Fn(&NodeEnum) -> Option<&String>| -> Vec<String> {
        let names = isolated.iter().filter_map(|one| name(&one.tree));
        names.cloned().collect()
    };
    for (position, statement) in isolated.iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(statement.text.as_bytes());
    }
    Ok(Admitted {
        text: out,
        statements: isolated.len(),
        loud: isolated.iter().any(|statement| statement.loud),
        lasts: any(&|node| {
            matches!(
                node,
                NodeEnum::PrepareStmt(_) | NodeEnum::DeclareCursorStmt(_)
            )
        }),
        discards: any(&|node| matches!(node, NodeEnum::DiscardStmt(_))),
        prepares: named(&|node| match node {
            NodeEnum::PrepareStmt(prepare) => Some(&prepare.name),
            _ => None,
        }),
        executes: named(&|node| match node {
            NodeEnum::ExecuteStmt(execute) => Some(&execute.name),
            _ => None,
        }),
        copy: copy.map(Rc::new),
        parameter: isolated.iter().find_map(|one| one.parameter),
    })
}

/// The types of a Parse's parameters with that of the tenant's behind them. The server finds out those of the
/// client in between.
fn typed(types: &[u8], parameter: Option<TenantParameter>) -> Cow<'_, [u8]> {
    let Some(TenantParameter { number, kind }) = parameter else {
        return Cow::Borrowed(types);
    };
    let mut typed = number.to_be_bytes().to_vec();
    typed.extend_from_slice(types.get(2..).unwrap_or_default());
    typed.resize(2 + 4 * (usize::from(number) - 1), 0);
    typed.extend_from_slice(&kind.oid().to_be_bytes());
    Cow::Owned(typed)
}

/// EXECUTE would run what another policy let through.
fn former() -> ClientError {
    ClientError::error(
        sqlstate::INVALID_SQL_STATEMENT_NAME,
        "the tenant policy or the schema changed since the statement was prepared",
    )
    .hint("Prepare it again under another name.")
}

fn unreadable(error: &ParseError) -> Denied {
    let (code, hint) = match error {
        ParseError::Encoding => ("22021", Some("Send the text in UTF-8.")),
        ParseError::TooLong(_) => ("54000", Some("Send the data as parameters.")),
        ParseError::TooDeep => ("54001", Some("Nest expressions less deeply.")),
        ParseError::Syntax(_) => ("42601", None),
    };
    let message = error.to_string();
    let message = message
        .strip_prefix("Invalid statement: ")
        .unwrap_or(&message);
    let error = ClientError::error(code, message);
    Denied::Unreadable(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

impl Session {
    /// Whether the session belongs to a tenant.
    pub(super) fn is_guarded(&self) -> bool {
        self.env.guard.is_some()
    }

    /// Takes a frame that brings text: what goes on is what the policy made of it.
    pub(super) fn take_guarded(
        &mut self,
        tag: u8,
        total: usize,
        bytes: &[u8],
    ) -> Result<Taken, End> {
        let taken = match self.admit_frame(tag, total, bytes)? {
            Ok(frame) => {
                let taken = self.take_admitted(tag, frame.len(), &frame)?;
                if let Some(guard) = &mut self.env.guard {
                    guard.parameter = None;
                }
                taken
            }
            Err(denied) => {
                let taken = self.refuse_text(tag, denied.error())?;
                // What has to wait comes here again.
                if !matches!(taken, Taken::Wait) {
                    self.note_denied(&denied);
                }
                taken
            }
        };
        Ok(match taken {
            Taken::Wait => Taken::Wait,
            // All that is there; of a frame that is too long the rest goes nowhere.
            _ => super::frontend::skip(total, bytes.len()),
        })
    }

    /// The frame that goes on, or why there is none.
    fn admit_frame(
        &mut self,
        tag: u8,
        total: usize,
        bytes: &[u8],
    ) -> Result<Result<Vec<u8>, Denied>, End> {
        let deny = |rule| Ok(Err(Denied::Refused(Refusal::new(rule, ""))));
        if bytes.len() < total {
            return deny(Rule::TooLong);
        }
        let (name, text, types): (&[u8], &[u8], &[u8]) = match tag {
            b'Q' => (b"", frontend::query(&bytes[HEADER..])?, b""),
            b'P' => {
                let parse = frontend::parse(&bytes[HEADER..])?;
                (parse.name, parse.text, parse.types)
            }
            _ => return deny(Rule::Function),
        };
        // Only a dialect answers them without the server.
        let forwards = self.env.policy.is_none();
        let (admission, wish) = match self.admit_text(tag, text, types)? {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(Denied::Unreadable(error))),
        };
        let names = &self.names;
        let Some(guard) = &mut self.env.guard else {
            return Err(super::run::violation("a tenant's session has no guard"));
        };
        let admitted = match admission.as_ref() {
            Ok(admitted) => admitted,
            Err(denied) => return Ok(Err(denied.clone())),
        };
        if admitted.discards && forwards {
            return deny(Rule::StatementKind);
        }
        if forwards && guard.runs_former(admitted) {
            return Ok(Err(Denied::Unreadable(former())));
        }
        if forwards && !guard.note_prepares(admitted) {
            return deny(Rule::StatementKind);
        }
        guard.note_copy(admitted);
        let mut frame = Vec::with_capacity(admitted.text.len() + HEADER + types.len() + 64);
        if tag == b'Q' {
            frontend::put_query(&mut frame, &admitted.text);
        } else {
            if admitted.statements > 1 {
                return Ok(Err(Denied::Unreadable(ClientError::error(
                    "42601",
                    "cannot insert multiple commands into a prepared statement",
                ))));
            }
            // The count, then the types.
            let odd = types
                .get(2..)
                .unwrap_or_default()
                .chunks_exact(4)
                .find(|oid| {
                    let oid = u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]);
                    !tenancy::takes_parameter(oid)
                });
            if odd.is_some() {
                return deny(Rule::Type);
            }
            guard.parameter = admitted.parameter;
            let types = typed(types, admitted.parameter);
            frontend::put_parse(&mut frame, name, &admitted.text, &types);
            if !name.is_empty() && names.get(name).is_none() {
                let source = Source {
                    text: text.into(),
                    isolated: admitted.text.as_slice().into(),
                    wish,
                };
                guard.keep_source(name, source, names);
            }
        }
        guard.loud |= admitted.loud;
        guard.stays_loud |= admitted.loud && (tag == b'P' || admitted.lasts);
        let limit = if tag == b'Q' { READ_QUERY } else { MAX_PARSE };
        match frame.len() > limit {
            true => deny(Rule::TooLong),
            false => Ok(Ok(frame)),
        }
    }

    /// What becomes of a text that a Query or Parse brings.
    fn admit_text(
        &self,
        tag: u8,
        text: &[u8],
        types: &[u8],
    ) -> Result<Result<(Admission, Wish), ClientError>, End> {
        let Some(guard) = &self.env.guard else {
            return Err(super::run::violation("a tenant's session has no guard"));
        };
        let wish = match tag {
            b'P' => Wish::Parameter(types.len().saturating_sub(2) / 4),
            _ => Wish::Literal,
        };
        let admission = match guard.admit(text, wish) {
            Ok(admission) => admission,
            Err(error) => return Ok(Err(error)),
        };
        // What the dialect makes of a text might lack the parameter.
        let changes = admission.as_ref().as_ref().is_ok_and(|admitted| {
            admitted.parameter.is_some()
                && self
                    .judge(&admitted.text)
                    .is_some_and(|verdict| !verdict.passes())
        });
        Ok(match changes {
            true => guard
                .admit(text, Wish::Literal)
                .map(|admission| (admission, Wish::Literal)),
            false => Ok((admission, wish)),
        })
    }

    /// The last parameter of the Parse that is being taken, when that is the tenant's.
    pub(super) fn parsed_parameter(&self) -> Option<TenantParameter> {
        self.env.guard.as_ref().and_then(|guard| guard.parameter)
    }

    /// What stands behind the names of a Bind with the tenant's value behind those of the client; `None`
    /// where the statement has no such parameter.
    pub(super) fn bound_to_tenant(
        &self,
        statement: &[u8],
        rest: &[u8],
    ) -> Result<Result<Option<Vec<u8>>, ClientError>, End> {
        let prepared = self.names.get(statement);
        let Some(parameter) = prepared.and_then(|prepared| prepared.parameter) else {
            return Ok(Ok(None));
        };
        let Some(guard) = &self.env.guard else {
            return Err(super::run::violation("a tenant's statement has no guard"));
        };
        let value = match guard.scope() {
            Ok(scope) => scope.tenant.value(parameter.kind),
            Err(error) => return Ok(Err(error)),
        };
        let Some(value) = value else {
            return Ok(Err(Refusal::new(Rule::NoValue, "").error()));
        };
        // As the server would say it, which knows of one more.
        let due = parameter.number - 1;
        let (formats, values) = frontend::bind_counts(rest)?;
        let wrong = if formats > 1 && formats != values {
            format!("bind message has {formats} parameter formats but {values} parameters")
        } else if values != due {
            let name = String::from_utf8_lossy(statement);
            format!(
                "bind message supplies {values} parameters, but prepared statement \"{name}\" requires {due}"
            )
        } else {
            return Ok(Ok(Some(frontend::bind_with_value(rest, value.as_bytes())?)));
        };
        Ok(Err(ClientError::error(sqlstate::PROTOCOL_VIOLATION, wrong)))
    }

    /// Follows a policy or schema that changed: of what the client prepared, what would be another text
    /// now is forgotten. True while answers are due that come first; a batch goes on as it began, up to its
    /// Sync or a Query.
    pub(super) fn must_wait_for_policy(&mut self, tag: u8) -> bool {
        let behind = self.env.guard.as_ref().is_some_and(Guard::is_behind);
        let ends_batch = matches!(tag, b'Q' | b'F');
        if !behind || (self.owed.is_unsynced() && !ends_batch) {
            return false;
        }
        if self.waits_for_answers(false) {
            return true;
        }
        let Some(guard) = &mut self.env.guard else {
            return false;
        };
        guard.follow();
        guard.copies.clear();
        let mut sources = std::mem::take(&mut guard.sources);
        let names = &self.names;
        sources.retain(|name, source| {
            // A Parse that was skipped leaves the source of a statement that never came to be.
            let is_of_name = names
                .get(name)
                .is_some_and(|prepared| *prepared.source == *source.isolated);
            is_of_name
                && guard
                    .admit(&source.text, source.wish)
                    .is_ok_and(|admission| {
                        let admitted = admission.as_ref().as_ref();
                        admitted.is_ok_and(|admitted| {
                            guard.note_copy(admitted);
                            *admitted.text == *source.isolated && !guard.runs_former(admitted)
                        })
                    })
        });
        // What would be sent again is of the old policy.
        if let Some(replay) = &mut self.replay {
            replay.stop();
        }
        self.names.retain(|name| sources.contains_key(name));
        self.names.forget_unnamed();
        guard.sources = sources;
        false
    }

    /// The error of a batch that goes on for too long under the policy that it began with.
    pub(super) fn outlives_policy(&mut self) -> Option<ClientError> {
        let unsynced = self.owed.is_unsynced();
        let guard = self.env.guard.as_mut()?;
        let behind = unsynced && guard.is_behind();
        behind.then(|| guard.ends_batch()).flatten()
    }

    /// The session sees all tenants of a database with tables whose tenant column is hidden.
    pub(super) fn makes_hidden_columns(&self) -> bool {
        let unrestricted = self.env.guard.is_none() && self.limbo.is_none();
        let isolation = self.env.isolation.as_ref().filter(|_| unrestricted);
        isolation.is_some_and(|isolation| isolation.standing().policy().hides())
    }

    /// Takes a frame that may make a table or a key: those get the hidden column.
    pub(super) fn take_definition(&mut self, tag: u8, bytes: &[u8]) -> Result<Option<Taken>, End> {
        let taken = match self.definition(tag, bytes)? {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => {
                let taken = self.take_admitted(tag, frame.len(), &frame)?;
                self.changes_schema |= !matches!(taken, Taken::Wait);
                taken
            }
            Err(refusal) => self.refuse_text(tag, refusal.error())?,
        };
        Ok(Some(match taken {
            Taken::Wait => Taken::Wait,
            _ => Taken::All,
        }))
    }

    /// The frame with the hidden columns in it; `None` when it has none to get.
    fn definition(&self, tag: u8, bytes: &[u8]) -> Result<Result<Option<Vec<u8>>, Refusal>, End> {
        let (name, text, types): (&[u8], &[u8], &[u8]) = match tag {
            b'Q' => (b"", frontend::query(&bytes[HEADER..])?, b""),
            _ => {
                let parse = frontend::parse(&bytes[HEADER..])?;
                (parse.name, parse.text, parse.types)
            }
        };
        let defines = |word: &[u8]| {
            let mut windows = text.windows(word.len());
            windows.any(|window| window.eq_ignore_ascii_case(word))
        };
        let (Some(isolation), Ok(words)) = (&self.env.isolation, std::str::from_utf8(text)) else {
            return Ok(Ok(None));
        };
        if !defines(b"create") && !defines(b"alter") {
            return Ok(Ok(None));
        }
        let standing = isolation.standing();
        let nothing = Catalog::default();
        let catalog = match &*standing {
            Standing::Open { catalog, .. } => catalog,
            Standing::Unverified { .. } | Standing::Closed { .. } => &nothing,
        };
        let made = tenancy::ddl::with_tenant_column(words, standing.policy(), catalog);
        Ok(made.map(|made| {
            made.map(|text| {
                let mut frame = Vec::new();
                match tag {
                    b'Q' => frontend::put_query(&mut frame, text.as_bytes()),
                    _ => frontend::put_parse(&mut frame, name, text.as_bytes(), types),
                }
                frame
            })
        }))
    }

    /// Counts a refusal, and tells the operators what the client is not told.
    pub(super) fn note_denied(&self, denied: &Denied) {
        if let (Denied::Refused(refusal), Some(guard)) = (denied, &self.env.guard) {
            guard.isolation.count(refusal.rule);
            let alarm = matches!(refusal.rule, Rule::Unverified | Rule::Unprintable);
            if alarm {
                tracing::error!(
                    target: "audit",
                    user = self.identity.user(),
                    tenant = %guard.name,
                    database = self.identity.database(),
                    rule = refusal.rule.name(),
                    subject = ?refusal.subject,
                    "a rewritten statement was not proven and not sent: please report it"
                );
            } else {
                tracing::warn!(
                    target: "audit",
                    user = self.identity.user(),
                    tenant = %guard.name,
                    database = self.identity.database(),
                    rule = refusal.rule.name(),
                    sqlstate = refusal.rule.code(),
                    subject = ?refusal.subject,
                    "statement of a tenant refused"
                );
            }
        }
    }

    /// Answers a text that goes nowhere.
    pub(super) fn refuse_text(&mut self, tag: u8, error: ClientError) -> Result<Taken, End> {
        if self.limbo.is_some() {
            // As of a frame that is too long to be read.
            self.take_in_limbo(tag, usize::MAX, &[0; HEADER])?;
            return Ok(Taken::All);
        }
        if tag == b'P' {
            let failed = self.owed.is_empty() && self.status == TransactionStatus::Failed;
            self.refuse_extended(if failed { aborted() } else { error });
            return Ok(Taken::All);
        }
        let piece = Piece::refused(0..0, error);
        self.pass_query(b"", b"", &classify(b""), Some(Script(vec![piece])))
    }

    /// What a tenant reads of an error of the server; `None` where all may be read.
    pub(super) fn scrubbed(&self, body: &[u8]) -> Option<Vec<u8>> {
        self.env.guard.as_ref().map(|guard| guard.scrub(body))
    }

    /// What a tenant reads of a notice; `None`: nothing.
    pub(super) fn scrubbed_notice(&self, body: &[u8]) -> Option<Vec<u8>> {
        let code = error_fields(body).code;
        let passes = std::str::from_utf8(code).is_ok_and(scrub::passes_notice);
        self.scrubbed(body).filter(|_| passes)
    }

    /// What the policy was verified against may be another now.
    pub(super) fn tell_schema_change(&mut self) {
        if self.changes_schema {
            self.env.pool.note_schema_change();
            if let Some(isolation) = &self.env.isolation {
                isolation.note_change();
            }
        }
        // A procedure has more to come.
        self.changes_schema &= self.procedure.is_some();
    }

    /// Nothing is under way any more.
    pub(super) fn hush_guard(&mut self) {
        if let Some(guard) = &mut self.env.guard {
            guard.loud = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_on_under_a_former_policy_for_a_while() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(!is_overdue(start, start, start));
        assert!(!is_overdue(later(1), start, later(5)));
        // Noticed late, or changed again and again.
        assert!(is_overdue(later(60), start, later(60)));
        assert!(is_overdue(start, later(6), later(6)));
    }

    #[test]
    fn the_tenants_type_stands_behind_those_of_the_client() {
        use crate::policy::tenancy::TenantType;
        let parameter = |number| {
            let kind = TenantType::Integer;
            Some(TenantParameter { number, kind })
        };
        assert_eq!(*typed(b"\0\x01\0\0\0\x19", None), *b"\0\x01\0\0\0\x19");
        assert_eq!(*typed(b"\0\0", parameter(1)), *b"\0\x01\0\0\0\x17");
        let all = b"\0\x03\0\0\0\x19\0\0\0\0\0\0\0\x17";
        assert_eq!(*typed(b"\0\x01\0\0\0\x19", parameter(3)), *all);
    }
}
