//! The databases of a world, and running one statement in them.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use dsql_proxy::policy::tenancy::rules::{Errors, Role, TenantValue};
use dsql_proxy::policy::tenancy::{
    self, Catalog, Isolated, Policy, Refusal, RelationName, Rule, SEARCH_PATH, Tenant, TenantType,
    check, scrub,
};
use dsql_proxy::sql::Statement;

use crate::answer::Answer;
use crate::client::Client;
use crate::message;
use crate::postgres;
use crate::snapshot;
use crate::world::{WORLDS, World};

/// The policy of the cases.
pub const POLICY: &str = "
version: 1
search_path: [app]
tenant:
  type: integer
  values:
    '1': {uuid: 00000000-0000-0000-0000-000000000001, text: acme1}
    '2': {uuid: 00000000-0000-0000-0000-000000000002, text: acme2}
    '3': {uuid: 00000000-0000-0000-0000-000000000003, text: acme3}
tables:
  app.orders: {}
  app.customers: {}
  app.items: {}
  app.accounts: {existence_oracle: accept}
  app.docs_u: {type: uuid}
  app.docs_t: {type: text}
  app.Orders: {}
  app.tree: {}
shared: {app.countries: {access: read}}
views: {app.v_orders: {mode: inline}, app.v_totals: {mode: inline}, app.v_rank: {mode: inline}}
settings: {allow: [application_name, timezone, statement_timeout, datestyle, extra_float_digits]}
";

/// The tenant of the cases' client.
pub const TENANT: &str = "2";

/// The longest that a statement may take.
const TIMEOUT: &str = "2s";

/// One thread's connections to the databases of a world.
pub struct Ground {
    pub world: &'static World,
    pub bare: Client,
    pub guarded: Client,
    pub policy: Policy,
    pub catalog: Catalog,
    pub tenant: Tenant,
    /// Number of the tenant, from 0.
    pub own: usize,
    /// Rows of others, as they are before any statement; by tenant.
    untouched: [Vec<String>; 3],
    /// Writers of two tests would wait for each other's rows.
    _alone: MutexGuard<'static, bool>,
}

/// What became of a text in both databases, before everything was undone.
pub struct Outcome {
    pub ours: Answer,
    pub theirs: Answer,
    /// Tables whose rows of the tenant differ afterwards.
    pub differs: Vec<String>,
    /// A row of another tenant is not as it was.
    pub foreign_change: bool,
}

/// The databases of the cases, with tenant 2.
pub fn open() -> Ground {
    open_world(&WORLDS[0])
}

/// How the tenant's value gets into statements, unless a test says so itself: `ISOLATION_VALUE`.
pub fn value() -> TenantValue {
    match std::env::var("ISOLATION_VALUE").as_deref() {
        Ok("parameter") => TenantValue::Parameter,
        _ => TenantValue::Literal,
    }
}

/// The key of a policy that says so.
pub fn value_key(value: TenantValue) -> &'static str {
    match value {
        TenantValue::Literal => "tenant_value: literal\n",
        TenantValue::Parameter => "tenant_value: parameter\n",
    }
}

/// Makes the databases if they are not there, and connects. One test at a time has a world.
pub fn open_world(world: &'static World) -> Ground {
    static READY: [Mutex<bool>; WORLDS.len()] = [const { Mutex::new(false) }; WORLDS.len()];
    let cluster = postgres::cluster();
    let at = WORLDS
        .iter()
        .position(|one| one.name == world.name)
        .unwrap();
    let mut ready = READY[at].lock().unwrap_or_else(PoisonError::into_inner);
    let mut policy = Policy::parse(world.policy).unwrap();
    policy.tenant_value = value();
    if !*ready {
        make(world, &policy);
        *ready = true;
    }
    let mut bare = cluster.connect_superuser(world.databases[0]);
    let catalog = snapshot::take(&mut bare);
    let fatal: Vec<_> = check(&policy, &catalog)
        .into_iter()
        .filter(|finding| finding.problem.is_fatal())
        .map(|finding| finding.to_string())
        .collect();
    assert_eq!(fatal, [""; 0], "the fixture can be served");
    bare.run(&format!(
        "set search_path = {SEARCH_PATH}; set statement_timeout = '{TIMEOUT}'; set role owner"
    ));
    let mut guarded = cluster.connect_superuser(world.databases[1]);
    guarded.run(&format!(
        "set search_path = {}; set statement_timeout = '{TIMEOUT}'",
        world.path
    ));
    let mut ground = Ground {
        world,
        bare,
        guarded,
        tenant: policy.tenant_named(world.tenants[1]).unwrap(),
        policy,
        catalog,
        own: 1,
        untouched: Default::default(),
        _alone: ready,
    };
    for own in 0..world.tenants.len() {
        ground.become_tenant(own);
        let text = ground.state_query();
        ground.bare.run("reset role");
        let state = State::of(&ground.bare.run(&text));
        ground.bare.run("set role owner");
        ground.untouched[own] = state.foreign;
    }
    ground.become_tenant(1);
    ground
}

/// A connection to a third database, in which all rows of other tenants than number 1 are other ones.
pub fn open_disturbed(world: &'static World) -> Client {
    let cluster = postgres::cluster();
    let database = world.databases[2];
    let mut admin = cluster.connect_superuser("postgres");
    admin.run(&format!("drop database if exists {database} with (force)"));
    admin.run(&format!("create database {database} owner owner"));
    let mut client = cluster.connect_superuser(database);
    client.run(world.fixture);
    client.run(world.disturbance);
    client.run(&format!(
        "set search_path = {SEARCH_PATH}; set statement_timeout = '{TIMEOUT}'"
    ));
    client
}

fn quoted(name: &RelationName) -> String {
    format!("\"{}\".\"{}\"", name.schema, name.name)
}

/// A tenant's value as SQL.
fn literal(tenant: &Tenant, kind: TenantType) -> String {
    let value = tenant.value(kind).unwrap();
    format!("cast('{value}' as {})", kind.catalog_name())
}

fn make(world: &World, policy: &Policy) {
    static ROLES: Once = Once::new();
    let cluster = postgres::cluster();
    let mut admin = cluster.connect_superuser("postgres");
    ROLES.call_once(|| {
        cluster.connect_superuser("postgres").run(
            "create role owner; create role tenant_1; create role tenant_2; create role tenant_3; grant owner to app",
        );
    });
    let [bare, guarded, _] = world.databases;
    for database in [bare, guarded] {
        admin.run(&format!("create database {database} owner owner"));
        let mut client = cluster.connect_superuser(database);
        client.run(world.fixture);
        client.run(
            "do $$ declare r record; begin
               for r in select oid::regclass as name, relkind from pg_class where relkind in ('r', 'v') and relnamespace in
                 (select oid from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema')
               loop execute format('alter %s %s owner to owner', case r.relkind when 'v' then 'view' else 'table' end, r.name); end loop;
               for r in select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
               loop execute format('alter schema %I owner to owner; grant usage on schema %I to tenant_1, tenant_2, tenant_3', r.nspname, r.nspname); end loop;
             end $$",
        );
    }
    let mut guarded = cluster.connect_superuser(guarded);
    let catalog = snapshot::take(&mut guarded);
    for name in policy.tables.keys() {
        guard(&mut guarded, world, policy, name);
    }
    for name in policy.shared.keys() {
        guarded.run(&format!(
            "grant select on {} to tenant_1, tenant_2, tenant_3",
            quoted(name)
        ));
    }
    for name in policy.views.keys() {
        let name = quoted(name);
        // Locking clauses need the right to update.
        guarded.run(&format!(
            "alter view {name} set (security_invoker = on); grant select, update on {name} to tenant_1, tenant_2, tenant_3"
        ));
    }
    assert!(
        policy
            .tables
            .keys()
            .all(|name| catalog.relation(name).is_some())
    );
    guarded.run("analyze");
}

/// Row-level security of one table, and a tenant column that fills itself.
fn guard(guarded: &mut Client, world: &World, policy: &Policy, name: &RelationName) {
    let Some(Role::Tenant(column)) = policy.role(name) else {
        panic!("{name} belongs to tenants");
    };
    let table = quoted(name);
    let value = |tenant: &str| literal(&policy.tenant_named(tenant).unwrap(), column.kind);
    let [one, two, three] = world.tenants.map(value);
    guarded.run(&format!(
        "alter table {table} enable row level security;
         alter table {table} alter \"{}\" set default
           case current_user when 'tenant_1' then {one} when 'tenant_2' then {two} when 'tenant_3' then {three} end",
        column.name
    ));
    for (at, value) in [one, two, three].into_iter().enumerate() {
        let (role, test) = (
            format!("tenant_{}", at + 1),
            format!("\"{}\" = {value}", column.name),
        );
        guarded.run(&format!(
            "create policy of_{role} on {table} to {role} using ({test}) with check ({test});
             grant select, insert, update, delete on {table} to {role}"
        ));
    }
}

/// Rows of all tables, as sums.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    /// Of the tenant, by table.
    own: Vec<String>,
    /// Of the others and of nobody.
    foreign: Vec<String>,
}

impl State {
    fn of(frames: &[message::Frame]) -> Self {
        let mut state = Self::default();
        for frame in frames.iter().filter(|frame| frame.tag == b'D') {
            let text =
                |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
            let values: Vec<String> = frame.values().into_iter().map(text).collect();
            state.own.push(format!("{} {}", values[0], values[1]));
            state.foreign.push(format!("{} {}", values[0], values[2]));
        }
        state
    }

    /// Tables that are not the same.
    fn differing(&self, other: &Self) -> Vec<String> {
        let pairs = self.own.iter().zip(&other.own);
        pairs
            .filter(|(one, other)| one != other)
            .map(|(one, _)| one.split(' ').next().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Ground {
    /// The tenant that speaks from now on.
    pub fn become_tenant(&mut self, own: usize) {
        self.own = own;
        self.tenant = self.policy.tenant_named(self.world.tenants[own]).unwrap();
        self.guarded
            .run(&format!("reset role; set role tenant_{}", own + 1));
    }

    /// What may leave for the server.
    pub fn isolate(&self, text: &str) -> Result<Vec<Isolated>, Refusal> {
        let statements = Statement::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        if self.policy.tenant_value == TenantValue::Parameter
            && let [one] = statements.as_slice()
        {
            match tenancy::isolate_shared(one, &self.policy, &self.catalog) {
                Err(refusal) if refusal.rule == Rule::OfTenant => {}
                shared => return shared.map(|one| vec![one]),
            }
        }
        tenancy::isolate_all(&statements, &self.policy, &self.catalog, &self.tenant)
    }

    /// The messages that have it run, with the client's parameters.
    pub fn asking(&self, isolated: &[Isolated], params: Option<&[&str]>) -> Vec<u8> {
        if let [one] = isolated
            && let Some(parameter) = one.parameter
        {
            let own = self.tenant.value(parameter.kind).unwrap();
            let mut types = vec![0; usize::from(parameter.number) - 1];
            types.push(parameter.kind.oid());
            let params: Vec<&str> = params
                .unwrap_or_default()
                .iter()
                .copied()
                .chain([own])
                .collect();
            return extended(&one.text, &types, &params);
        }
        let texts: Vec<&str> = isolated.iter().map(|one| one.text.as_str()).collect();
        match params {
            None => message::query(texts.join("; ")),
            Some(params) => extended(&texts.join("; "), &[], params),
        }
    }

    /// A value in the text that only other tenants have.
    pub fn tainted(&self, text: &str) -> Option<String> {
        self.world.tainted(self.own, text)
    }

    /// The error as a tenant would read it.
    pub fn scrub(&self, error: &[(u8, String)], errors: Errors, loud: bool) -> scrub::Fields {
        let columns: Vec<&str> = self
            .policy
            .tables
            .keys()
            .filter_map(|table| match self.policy.role(table) {
                Some(Role::Tenant(column)) => Some(column.name),
                _ => None,
            })
            .collect();
        let context = scrub::Context {
            errors,
            tenant_columns: &columns,
            loud,
        };
        scrub::scrub(error, context)
    }

    /// Sums of the rows of all tables, those of the tenant and the others.
    fn state_query(&self) -> String {
        let tables = self
            .catalog
            .relations
            .iter()
            .filter(|(_, relation)| relation.kind == tenancy::catalog::RelationKind::Table);
        let each = tables.map(|(name, _)| {
            let own = match self.policy.role(name) {
                Some(Role::Tenant(column)) => {
                    format!("r.\"{}\" = {}", column.name, literal(&self.tenant, column.kind))
                }
                _ => "false".to_owned(),
            };
            let sum = |test: &str| {
                format!("coalesce(md5(string_agg(r::text, chr(10) order by r::text) filter (where {test})), '')")
            };
            format!(
                "select '{name}', {}, {} from {} r",
                sum(&own),
                sum(&format!("({own}) is not true")),
                quoted(name)
            )
        });
        each.collect::<Vec<_>>().join(" union all ")
    }

    /// Runs both texts, which read alone, each in a transaction that is undone.
    pub fn read(&mut self, ours: &[Isolated], theirs: &str) -> Outcome {
        self.bare.send(&undone(&self.asking(ours, None)));
        self.guarded.send(&undone(&message::query(theirs)));
        let [ours, theirs] = [&mut self.bare, &mut self.guarded].map(|client| {
            client.until_ready();
            let answer = Answer::of(&client.until_ready());
            client.until_ready();
            answer
        });
        Outcome {
            ours,
            theirs,
            differs: Vec::new(),
            foreign_change: false,
        }
    }

    /// Runs both texts, each in a transaction that is undone.
    pub fn run(&mut self, ours: &[Isolated], theirs: &str, params: Option<&[&str]>) -> Outcome {
        let state = self.state_query();
        let with_state = |asking: Vec<u8>| {
            let rest = ["reset role", &state, "rollback"].map(message::query);
            [message::query("begin"), asking, rest.concat()].concat()
        };
        self.bare.send(&with_state(self.asking(ours, params)));
        let theirs = match params {
            None => message::query(theirs),
            Some(params) => extended(theirs, &[], params),
        };
        self.guarded.send(&with_state(theirs));
        let [(ours, after), (theirs, expected)] =
            [&mut self.bare, &mut self.guarded].map(|client| {
                client.until_ready();
                let answer = Answer::of(&client.until_ready());
                client.until_ready();
                let state = State::of(&client.until_ready());
                client.until_ready();
                (answer, state)
            });
        // Behind the end of the transaction the roles were reset for good.
        let ends = |tag: &String| tag == "COMMIT" || tag == "ROLLBACK";
        if ours.tags.iter().chain(&theirs.tags).any(ends) {
            self.bare.run("set role owner");
            self.become_tenant(self.own);
        }
        let failed = ours.sqlstate.is_some() || theirs.sqlstate.is_some();
        let differs = match failed {
            true => Vec::new(),
            false => after.differing(&expected),
        };
        let untouched = &self.untouched[self.own];
        let foreign_change = [after, expected]
            .iter()
            .any(|state| !state.foreign.is_empty() && state.foreign != *untouched);
        Outcome {
            ours,
            theirs,
            differs,
            foreign_change,
        }
    }

    /// Takes away what rolled-back statements left in the tables.
    pub fn tidy(&mut self) {
        for client in [&mut self.bare, &mut self.guarded] {
            client.run("reset role");
            client.query("set statement_timeout = 0");
            client.query("vacuum");
            client.run(&format!("set statement_timeout = '{TIMEOUT}'"));
        }
        self.bare.run("set role owner");
        self.become_tenant(self.own);
    }
}

fn extended(text: &str, types: &[u32], params: &[&str]) -> Vec<u8> {
    [
        message::parse("", text, types),
        message::bind_text("", "", params),
        message::describe(b'P', ""),
        message::execute("", 0),
        message::sync(),
    ]
    .concat()
}

/// These messages in a transaction that is undone.
fn undone(asking: &[u8]) -> Vec<u8> {
    let [begin, rollback] = ["begin", "rollback"].map(message::query);
    [&begin, asking, &rollback].concat()
}

/// Runs what messages ask for inside a new transaction that is undone.
pub fn ask_undone(client: &mut Client, asking: &[u8]) -> Answer {
    client.send(&undone(asking));
    client.until_ready();
    let answer = Answer::of(&client.until_ready());
    client.until_ready();
    answer
}
