//! The two databases, and running one statement in each.

use std::sync::{Mutex, MutexGuard, PoisonError};

use dsql_proxy::policy::tenancy::{
    self, Catalog, Isolated, Policy, Refusal, SEARCH_PATH, Tenant, check,
};
use dsql_proxy::sql::Statement;

use crate::answer::Answer;
use crate::client::Client;
use crate::message;
use crate::postgres;
use crate::snapshot;

const FIXTURE: &str = include_str!("fixture.sql");

/// The policy of the fixture.
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

/// The tenant of the client.
pub const TENANT: &str = "2";

/// Tables whose contents are compared.
const TABLES: [&str; 10] = [
    "orders",
    "customers",
    "items",
    "accounts",
    "docs_u",
    "docs_t",
    "\"Orders\"",
    "tree",
    "countries",
    "audit_log",
];

/// One thread's connections to both databases.
pub struct Ground {
    pub bare: Client,
    pub guarded: Client,
    pub policy: Policy,
    pub catalog: Catalog,
    pub tenant: Tenant,
    /// Writers of two tests would wait for each other's rows.
    _alone: MutexGuard<'static, bool>,
}

/// What became of a text in both databases, before everything was undone.
pub struct Outcome {
    pub ours: Answer,
    pub theirs: Answer,
    /// Tables that differ afterwards.
    pub differs: Vec<String>,
    /// A row of another tenant is not as it was.
    pub foreign_change: bool,
}

/// Makes both databases if they are not there, and connects. One test at a time has them.
pub fn open() -> Ground {
    static READY: Mutex<bool> = Mutex::new(false);
    let cluster = postgres::cluster();
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    if !*ready {
        make(&mut cluster.connect_superuser("postgres"));
        *ready = true;
    }
    let mut bare = cluster.connect_superuser("bare");
    let catalog = snapshot::take(&mut bare);
    bare.run(&format!(
        "set search_path = {SEARCH_PATH}; set statement_timeout = '10s'; set role owner"
    ));
    let mut guarded = cluster.connect_superuser("guarded");
    guarded.run("set search_path = app; set statement_timeout = '10s'; set role tenant_2");
    let policy = Policy::parse(POLICY).unwrap();
    let fatal: Vec<_> = check(&policy, &catalog)
        .into_iter()
        .filter(|finding| finding.problem.is_fatal())
        .map(|finding| finding.to_string())
        .collect();
    assert_eq!(fatal, [""; 0], "the fixture can be served");
    let tenant = policy.tenant_named(TENANT).unwrap();
    Ground {
        bare,
        guarded,
        policy,
        catalog,
        tenant,
        _alone: ready,
    }
}

/// A connection to a third database, in which all rows of other tenants are other ones.
pub fn open_disturbed() -> Client {
    let cluster = postgres::cluster();
    cluster
        .connect_superuser("postgres")
        .run("create database disturbed owner owner");
    let mut client = cluster.connect_superuser("disturbed");
    client.run(FIXTURE);
    client.run(DISTURBANCE);
    client.run(&format!(
        "set search_path = {SEARCH_PATH}; set statement_timeout = '10s'"
    ));
    client
}

/// Rows of tenants 1 and 3 are deleted and changed, a fourth tenant has many, with values at which
/// loud expressions fail; statistics are fresh.
const DISTURBANCE: &str = "
set search_path = app;
delete from orders where tenant_id = 1 and id % 2 = 0;
update orders set note = '[(', amount = 2147483647, customer_id = -2147483648 where tenant_id = 3;
insert into orders (tenant_id, id, customer_id, amount, note, status)
  select 4, i, i % 7, i % 40, case i % 3 when 0 then 'note\\' when 1 then '*' else 'x' end, 'paid' from generate_series(1, 200) i;
delete from customers where tenant_id = 1;
update customers set name = '(', ref_by = 2147483647 where tenant_id = 3;
insert into items select 4, i, 1, 'sku\\', 2147483647 from generate_series(1, 200) i;
delete from docs_u where tenant_id::text like '%1';
update docs_t set body = '[' where tenant_id = 'acme3';
insert into \"Orders\" select 4, i, '+' from generate_series(1, 100) i;
delete from tree where tenant_id = 3;
insert into tree select 4, i, i - 1, '(' from generate_series(1, 100) i;
analyze";

fn make(admin: &mut Client) {
    admin
        .run("create role owner; create role tenant_1; create role tenant_2; create role tenant_3; grant owner to app");
    for database in ["bare", "guarded"] {
        admin.run(&format!("create database {database} owner owner"));
        let mut client = postgres::cluster().connect_superuser(database);
        client.run(FIXTURE);
        client.run(
            "do $$ declare r record; begin
               for r in select oid::regclass as name, relkind from pg_class where relnamespace = 'app'::regnamespace and relkind in ('r', 'v')
               loop execute format('alter %s %s owner to owner', case r.relkind when 'v' then 'view' else 'table' end, r.name); end loop;
             end $$; grant usage on schema app to owner",
        );
    }
    let mut guarded = postgres::cluster().connect_superuser("guarded");
    guarded.run("alter schema app owner to owner; grant usage on schema app to tenant_1, tenant_2, tenant_3");
    let value = |kind: &str, tenant: u32| match kind {
        "uuid" => format!("'00000000-0000-0000-0000-00000000000{tenant}'::uuid"),
        "text" => format!("'acme{tenant}'"),
        _ => tenant.to_string(),
    };
    let default = |kind: &str| match kind {
        "uuid" => "('00000000-0000-0000-0000-00000000000' || right(current_user, 1))::uuid",
        "text" => "'acme' || right(current_user, 1)",
        _ => "right(current_user, 1)::int",
    };
    for (table, kind) in [
        ("orders", "int"),
        ("customers", "int"),
        ("items", "int"),
        ("accounts", "int"),
        ("docs_u", "uuid"),
        ("docs_t", "text"),
        ("\"Orders\"", "int"),
        ("tree", "int"),
    ] {
        guarded.run(&format!(
            "alter table app.{table} enable row level security;
             alter table app.{table} alter tenant_id set default {}",
            default(kind)
        ));
        for tenant in 1..=3 {
            let value = value(kind, tenant);
            guarded.run(&format!(
                "create policy of_{tenant} on app.{table} to tenant_{tenant} using (tenant_id = {value}) with check (tenant_id = {value});
                 grant select, insert, update, delete on app.{table} to tenant_{tenant}"
            ));
        }
    }
    guarded.run(
        "alter view app.v_orders set (security_invoker = on); alter view app.v_totals set (security_invoker = on);
         alter view app.v_rank set (security_invoker = on);
         grant select on app.v_orders, app.v_totals, app.v_rank, app.countries to tenant_1, tenant_2, tenant_3;
         analyze",
    );
}

impl Ground {
    /// What may leave for the server.
    pub fn isolate(&self, text: &str) -> Result<Vec<Isolated>, Refusal> {
        let statements = Statement::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        tenancy::isolate_all(&statements, &self.policy, &self.catalog, &self.tenant)
    }

    /// Runs both texts, which read alone, each in a transaction that is undone.
    pub fn read(&mut self, ours: &str, theirs: &str) -> Outcome {
        let ours = ask(&mut self.bare, ours, None);
        let theirs = ask(&mut self.guarded, theirs, None);
        self.bare.query("rollback");
        self.guarded.query("rollback");
        Outcome {
            ours,
            theirs,
            differs: Vec::new(),
            foreign_change: false,
        }
    }

    /// Runs both texts, each in a transaction that is undone.
    pub fn run(&mut self, ours: &str, theirs: &str, params: Option<&[&str]>) -> Outcome {
        self.bare.query("begin");
        let before = contents(&mut self.bare, "owner");
        self.bare.query("rollback");
        let ours = ask(&mut self.bare, ours, params);
        let ours_after = contents(&mut self.bare, "owner");
        let theirs = ask(&mut self.guarded, theirs, params);
        let theirs_after = contents(&mut self.guarded, "tenant_2");
        self.bare.query("rollback");
        self.guarded.query("rollback");
        let failed = ours.sqlstate.is_some() || theirs.sqlstate.is_some();
        let differs = if failed {
            Vec::new()
        } else {
            differing(&ours_after, &theirs_after)
        };
        let foreign_change = match (&before, &ours_after) {
            (Some(before), Some(after)) => foreign(before) != foreign(after),
            _ => false,
        };
        Outcome {
            ours,
            theirs,
            differs,
            foreign_change,
        }
    }
}

/// Runs a text inside a new transaction, unless it has one of its own.
pub fn ask(client: &mut Client, text: &str, params: Option<&[&str]>) -> Answer {
    client.query("begin");
    match params {
        None => Answer::of(&client.query(text)),
        Some(params) => {
            client.send(
                &[
                    message::parse("", text, &[]),
                    message::bind_text("", "", params),
                    message::describe(b'P', ""),
                    message::execute("", 0),
                    message::sync(),
                ]
                .concat(),
            );
            Answer::of(&client.until_ready())
        }
    }
}

/// All rows of all tables, sorted; `None` when the transaction has failed.
fn contents(client: &mut Client, role: &str) -> Option<Vec<(String, Vec<String>)>> {
    let reset = client.query("reset role");
    if reset.iter().any(|frame| frame.tag == b'E') {
        return None;
    }
    let each = TABLES.map(|table| {
        format!(
            "select '{}', t::text from app.{table} t",
            table.replace('"', "")
        )
    });
    let frames = client.run(&format!("{} order by 1, 2", each.join(" union all ")));
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for frame in frames.iter().filter(|frame| frame.tag == b'D') {
        let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
        let mut values = frame.values().into_iter().map(text);
        let (table, row) = (values.next().unwrap(), values.next().unwrap());
        match found.last_mut() {
            Some((last, rows)) if *last == table => rows.push(row),
            _ => found.push((table, vec![row])),
        }
    }
    client.run(&format!("set role {role}"));
    Some(found)
}

type Contents = Option<Vec<(String, Vec<String>)>>;

fn differing(ours: &Contents, theirs: &Contents) -> Vec<String> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return vec!["only one of both has failed".to_owned()];
    };
    let missing = |from: &[(String, Vec<String>)], table: &str, row: &String| {
        !from
            .iter()
            .any(|(of, rows)| of == table && rows.contains(row))
    };
    let mut differing = Vec::new();
    for (sign, one, other) in [('+', ours, theirs), ('-', theirs, ours)] {
        for (table, rows) in one {
            let rows = rows.iter().filter(|row| missing(other, table, row));
            differing.extend(rows.map(|row| format!("{sign} {table} {row}")));
        }
    }
    differing
}

/// Rows of other tenants, and of what no tenant may write.
fn foreign(contents: &[(String, Vec<String>)]) -> Vec<String> {
    let own = |table: &str, row: &str| match table {
        "countries" | "audit_log" => false,
        "docs_u" => row.starts_with("(00000000-0000-0000-0000-000000000002,"),
        "docs_t" => row.starts_with("(acme2,"),
        _ => row.starts_with("(2,"),
    };
    let rows = contents.iter().flat_map(|(table, rows)| {
        rows.iter()
            .filter(|row| !own(table, row))
            .map(move |row| format!("{table} {row}"))
    });
    rows.collect()
}
