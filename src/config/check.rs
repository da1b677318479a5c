//! Rules across keys: what no type can say. Every breach is collected.

use std::collections::HashMap;
use std::net::SocketAddr;

use rustls::RootCertStore;
use tracing_subscriber::EnvFilter;

use super::document::{Document, Step};
use super::endpoint::{Endpoint, dsql_region};
use super::schema::{
    Cluster, ClusterKind, Config, Database, Dialect, Pool, UnstorableColumns, UpstreamTls, User,
};
use super::units::parse_moment;
use super::verifier::{PREFIX, Verifier};
use super::{Problem, jwks, pem};

/// Name of the console among the databases.
const CONSOLE: &str = "dsqlproxy";

macro_rules! path {
    ($($step:expr),*) => { &[$(Step::from($step)),*] };
}

/// Adds to `problems` what is wrong in `config` beyond what its types rule out. References to
/// entries of the document that were found wrong already are let pass.
pub(super) fn check(config: &Config, document: &Document, problems: &mut Vec<Problem>) {
    let mut check = Check {
        config,
        document,
        problems,
    };
    check.listen();
    check.limits();
    for (name, cluster) in &config.clusters {
        check.cluster(name, cluster);
    }
    for (name, database) in &config.databases {
        check.database(name, database);
    }
    check.tokens();
    check.users();
}

struct Check<'c> {
    config: &'c Config,
    document: &'c Document,
    problems: &'c mut Vec<Problem>,
}

impl Check<'_> {
    fn wrong(&mut self, path: &[Step], message: impl Into<String>) {
        // A value that could not be read counts as absent, which is not another mistake.
        if !self.document.is_dropped(path) {
            self.problems.push(self.document.problem(path, message));
        }
    }

    fn refuse_if(&mut self, wrong: bool, path: &[Step], message: &str) {
        if wrong {
            self.wrong(path, message);
        }
    }

    /// Who writes a timeout wants it kept.
    fn refuse_timeouts(&mut self, name: &str, database: &Database) {
        let cluster = self.config.clusters.get(&database.cluster);
        let dsql = cluster.is_none_or(|cluster| cluster.kind == ClusterKind::Dsql);
        let keeps = dsql && database.dialect != Dialect::Off;
        let set = [
            ("statement_timeout", database.statement_timeout.is_some()),
            (
                "idle_in_transaction_timeout",
                database.idle_in_transaction_timeout.is_some(),
            ),
            (
                "transaction_timeout",
                database.transaction_timeout.is_some(),
            ),
            ("ddl_in_transaction", database.ddl_in_transaction.is_some()),
            ("large_dml", database.large_dml.is_some()),
            ("table_rebuild", database.table_rebuild.is_some()),
            ("unstorable_columns", database.unstorable_columns.is_some()),
            ("shown_isolation", database.shown_isolation.is_some()),
        ];
        for (key, is_set) in set {
            self.refuse_if(
                is_set && !keeps,
                path!["databases", name, key],
                "only for a dsql cluster with dialect: compat or strict; set it at the server",
            );
        }
    }

    fn listen(&mut self) {
        let config = self.config;
        let listen = &config.listen;
        if let Some(admin) = &config.admin {
            let same = collide(listen.address, admin.address);
            self.refuse_if(
                same,
                path!["admin", "address"],
                "the same address as listen.address",
            );
            for (position, name) in admin.names.iter().enumerate() {
                let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
                self.refuse_if(
                    name.is_empty() || !name.chars().all(part),
                    path!["admin", "names", position],
                    "expected a host name without scheme and port",
                );
            }
        }
        if let Some(tls) = &listen.tls
            && let Err(error) = pem::certified_key(tls)
        {
            self.wrong(path!["listen", "tls", error.key], error.message);
        }
        let client_ca = listen.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
        if let Some(path) = client_ca
            && let Err(message) = pem::add_roots(&mut RootCertStore::empty(), path)
        {
            self.wrong(path!["listen", "tls", "client_ca"], message);
        }
        self.refuse_if(
            config.auth.cleartext && listen.tls.is_none(),
            path!["auth", "cleartext"],
            "passwords are taken as cleartext inside TLS only; write listen.tls",
        );
        self.refuse_if(
            config.clusters.is_empty(),
            path!["clusters"],
            "write at least one cluster",
        );
        self.refuse_if(
            config.databases.is_empty(),
            path!["databases"],
            "write at least one database",
        );
        let level = EnvFilter::builder().parse(&config.log.level);
        self.refuse_if(
            level.is_err() || config.log.level.trim().is_empty(),
            path!["log", "level"],
            "expected a level (error, warn, info, debug, trace) or a filter such as \
             info,dsql_proxy::pool=debug",
        );
    }

    fn limits(&mut self) {
        let config = self.config;
        let zero = "expected 1 or more";
        self.refuse_if(
            config.workers > 1024,
            path!["workers"],
            "expected 1024 or fewer",
        );
        self.refuse_if(config.limits.clients == 0, path!["limits", "clients"], zero);
        self.refuse_if(
            config.limits.client_statements == 0,
            path!["limits", "client_statements"],
            zero,
        );
        self.refuse_if(
            config.limits.client_statement_bytes == 0,
            path!["limits", "client_statement_bytes"],
            "expected more than 0",
        );
        self.refuse_if(
            config.listen.max_unauthenticated == 0,
            path!["listen", "max_unauthenticated"],
            zero,
        );
        self.refuse_if(
            config.listen.login_timeout.is_zero(),
            path!["listen", "login_timeout"],
            "expected more than 0",
        );
        self.refuse_if(
            config.auth.max_failures == 0,
            path!["auth", "max_failures"],
            zero,
        );
    }

    fn cluster(&mut self, name: &str, cluster: &Cluster) {
        let at = |key: &str| [Step::from("clusters"), name.into(), key.into()];
        let bad_text = |text: &str| text.is_empty() || text.contains('\0');
        self.refuse_if(
            name.is_empty(),
            path!["clusters", name],
            "a name is not empty",
        );
        self.refuse_if(
            bad_text(&cluster.user.0),
            &at("user"),
            "empty, or has a NUL byte",
        );
        if let Some(connect_to) = &cluster.connect_to
            && !matches!(connect_to.0.parse(), Ok(Endpoint::Inet { .. }))
        {
            self.wrong(&at("connect_to"), "expected host, host:port or [IPv6]:port");
        }
        if let Some(file) = &cluster.ca_file
            && let Err(message) = pem::add_roots(&mut RootCertStore::empty(), file)
        {
            self.wrong(&at("ca_file"), message);
        }
        match cluster.kind {
            ClusterKind::Dsql => self.dsql(name, cluster),
            ClusterKind::Postgres => self.postgres(name, cluster),
        }
        self.pool(name, cluster.kind, &cluster.pool);
    }

    fn dsql(&mut self, name: &str, cluster: &Cluster) {
        let at = |key: &str| [Step::from("clusters"), name.into(), key.into()];
        self.refuse_if(
            cluster.password.is_some(),
            &at("password"),
            "a dsql cluster takes IAM tokens, not passwords; remove it",
        );
        self.refuse_if(
            cluster.tls.is_some(),
            &at("tls"),
            "a dsql cluster is always verified; remove it (ca_file adds a root)",
        );
        let region = cluster.region.as_ref().map(|region| region.0.as_str());
        self.refuse_if(
            region == Some(""),
            &at("region"),
            "expected a region such as us-east-1",
        );
        match cluster.endpoint.0.parse() {
            Err(message) => self.wrong(&at("endpoint"), message),
            Ok(Endpoint::Unix { .. }) => self.wrong(
                &at("endpoint"),
                "a dsql cluster is reached by TLS over TCP, not by a unix socket",
            ),
            Ok(Endpoint::Inet { host, .. }) => match (dsql_region(&host), region) {
                (None, None) => self.wrong(
                    &at("endpoint"),
                    "not of the form <id>.dsql.<region>.on.aws; write region beside it",
                ),
                (Some(found), Some(region)) if !region.is_empty() && found != region => {
                    self.wrong(&at("region"), "not the region in endpoint");
                }
                _ => {}
            },
        }
        if let Some(credentials) = &cluster.credentials {
            let empty = "empty";
            let within = |key: &str| {
                let [clusters, name, credentials] = at("credentials");
                [clusters, name, credentials, key.into()]
            };
            let id = credentials.access_key_id.0.is_empty();
            self.refuse_if(id, &within("access_key_id"), empty);
            let secret = credentials.secret_access_key.0.is_empty();
            self.refuse_if(secret, &within("secret_access_key"), empty);
            let token = credentials.session_token.as_ref();
            let token = token.is_some_and(|token| token.0.is_empty());
            self.refuse_if(token, &within("session_token"), empty);
        }
    }

    fn postgres(&mut self, name: &str, cluster: &Cluster) {
        let at = |key: &str| [Step::from("clusters"), name.into(), key.into()];
        let only_dsql = "only a dsql cluster has it; remove it";
        self.refuse_if(cluster.credentials.is_some(), &at("credentials"), only_dsql);
        self.refuse_if(cluster.region.is_some(), &at("region"), only_dsql);
        let tls = cluster.tls.unwrap_or_default();
        if let Some(password) = &cluster.password {
            let bad = password.0.is_empty() || password.0.contains('\0');
            self.refuse_if(bad, &at("password"), "empty, or has a NUL byte");
        }
        match cluster.endpoint.0.parse() {
            Err(message) => self.wrong(&at("endpoint"), message),
            Ok(Endpoint::Unix { .. }) => {
                self.refuse_if(
                    cluster.connect_to.is_some(),
                    &at("connect_to"),
                    "endpoint is a unix socket; remove one of them",
                );
                let demands = matches!(tls, UpstreamTls::Require | UpstreamTls::VerifyFull);
                self.refuse_if(demands, &at("tls"), "there is no TLS on a unix socket");
            }
            Ok(Endpoint::Inet { .. }) => {}
        }
        self.refuse_if(
            cluster.direct_tls && matches!(tls, UpstreamTls::Disable | UpstreamTls::Prefer),
            &at("direct_tls"),
            "needs tls: require or tls: verify-full",
        );
        self.refuse_if(
            cluster.ca_file.is_some() && tls != UpstreamTls::VerifyFull,
            &at("ca_file"),
            "certificates are checked with tls: verify-full only",
        );
    }

    fn pool(&mut self, name: &str, kind: ClusterKind, pool: &Pool) {
        let at = |key: &str| {
            [
                Step::from("clusters"),
                name.into(),
                "pool".into(),
                key.into(),
            ]
        };
        self.refuse_if(pool.size == 0, &at("size"), "expected 1 or more");
        self.refuse_if(pool.min > pool.size, &at("min"), "above size");
        self.refuse_if(
            pool.connect_rate == 0,
            &at("connect_rate"),
            "expected 1 or more",
        );
        self.refuse_if(
            pool.connect_burst == 0,
            &at("connect_burst"),
            "expected 1 or more",
        );
        let durations = [
            ("max_age", pool.max_age),
            ("idle_timeout", pool.idle_timeout),
            ("wait_timeout", pool.wait_timeout),
            ("connect_timeout", pool.connect_timeout),
        ];
        for (key, duration) in durations {
            self.refuse_if(duration.is_zero(), &at(key), "expected more than 0");
        }
        self.refuse_if(
            kind == ClusterKind::Dsql && pool.max_age.as_secs() > 3600,
            &at("max_age"),
            "DSQL ends connections after 60m; expected 60m or less",
        );
    }

    fn database(&mut self, name: &str, database: &Database) {
        let at = |key: &str| [Step::from("databases"), name.into(), key.into()];
        self.refuse_if(
            name.is_empty(),
            path!["databases", name],
            "a name is not empty",
        );
        self.refuse_if(
            name == CONSOLE,
            path!["databases", name],
            "the name of the console; choose another",
        );
        match self.config.clusters.get(&database.cluster) {
            Some(cluster) => self.refuse_if(
                cluster.kind == ClusterKind::Dsql && database.upstream_database.0 != "postgres",
                &at("upstream_database"),
                "a dsql cluster has one database, postgres",
            ),
            None => self.known(&at("cluster"), "clusters", &database.cluster),
        }
        self.refuse_if(
            database.upstream_database.0.is_empty(),
            &at("upstream_database"),
            "empty",
        );
        self.refuse_timeouts(name, database);
        self.refuse_if(
            database.unstorable_columns == Some(UnstorableColumns::Text)
                && (database.tenancy.is_some() || database.dialect != Dialect::Compat),
            &at("unstorable_columns"),
            "only with dialect: compat, and without tenancy",
        );
        let creates = self.config.creates_databases(database);
        self.refuse_if(
            database.created_databases == Some(true) && !creates,
            &at("created_databases"),
            "only for a dsql cluster with dialect: compat, and without tenancy",
        );
        if let Some(policy) = &database.tenancy
            && !self.config.tenancy.contains_key(policy)
        {
            self.known(&at("tenancy"), "tenancy", policy);
        }
        if let Some(retry) = &database.retry {
            let at = |key: &str| path!["databases", name, "retry", key].to_vec();
            self.refuse_if(retry.attempts > 10, &at("attempts"), "expected 10 or less");
            let large = 64 * 1024 * 1024;
            self.refuse_if(retry.hold_bytes > large, &at("hold_bytes"), "above 64MiB");
            self.refuse_if(
                retry.journal_bytes > large,
                &at("journal_bytes"),
                "above 64MiB",
            );
            self.refuse_if(
                retry.budget_percent > 10_000,
                &at("budget_percent"),
                "expected 10000 or less",
            );
        }
    }

    /// Reports a reference to `section` that leads nowhere.
    fn known(&mut self, path: &[Step], section: &str, name: &str) {
        if !self.document.contains(path![section, name]) {
            self.wrong(path, format!("not one of {section}"));
        }
    }

    fn tokens(&mut self) {
        self.refuse_if(
            !self.config.tokens.is_empty() && self.config.listen.tls.is_none(),
            path!["tokens"],
            "tokens are taken inside TLS only; write listen.tls",
        );
        for (name, issuer) in &self.config.tokens {
            let at = |key: &str| [Step::from("tokens"), name.as_str().into(), key.into()];
            if let Err(message) = jwks::read(&issuer.keys_file) {
                self.wrong(&at("keys_file"), message);
            }
            self.refuse_if(issuer.issuer.0.is_empty(), &at("issuer"), "empty");
            self.refuse_if(issuer.audience.0.is_empty(), &at("audience"), "empty");
        }
    }

    fn users(&mut self) {
        let config = self.config;
        let positions = self.document.kept("users");
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (&index, user) in positions.iter().zip(&config.users) {
            match seen.get(user.name.0.as_str()) {
                Some(first) => self.wrong(
                    path!["users", index, "name"],
                    format!("the same name as users[{first}]"),
                ),
                None => {
                    seen.insert(&user.name.0, index);
                }
            }
            self.user(index, user);
        }
    }

    fn user(&mut self, index: usize, user: &User) {
        let at = |key: &str| [Step::from("users"), index.into(), key.into()];
        let bad_name = user.name.0.is_empty() || user.name.0.contains('\0');
        self.refuse_if(bad_name, &at("name"), "empty, or has a NUL byte");
        self.login(index, user);
        for (position, name) in user.databases.iter().enumerate() {
            let path = path!["users", index, "databases", position];
            if name == CONSOLE {
                self.wrong(path, "the console is for users with admin: true; remove it");
            } else {
                self.known(path, "databases", name);
            }
        }
        if let Some(Err(message)) = user.valid_until.as_ref().map(|text| parse_moment(&text.0)) {
            self.wrong(&at("valid_until"), message);
        }
        self.tenant(index, user);
    }

    /// How the user logs in: in one way.
    fn login(&mut self, index: usize, user: &User) {
        let at = |key: &str| [Step::from("users"), index.into(), key.into()];
        // As written: a value that was found wrong is a way too.
        let ways = ["password", "token", "certificate"];
        let given = ways
            .into_iter()
            .filter(|key| self.document.contains(&at(key)));
        let message = match given.count() {
            1 => None,
            0 => Some("needs one of password, token and certificate"),
            _ => Some("has more than one of password, token and certificate"),
        };
        if let Some(message) = message {
            self.wrong(path!["users", index], message);
            return;
        }
        if let Some(Err(message)) = user.password.as_ref().map(|text| password(&text.0)) {
            self.wrong(&at("password"), message);
        }
        let tls = self.config.listen.tls.as_ref();
        if let Some(name) = &user.token {
            self.known(&at("token"), "tokens", &name.0);
        }
        let claimless = user.token.as_ref().is_some_and(|name| {
            let issuer = self.config.tokens.get(&name.0);
            issuer.is_some_and(|issuer| issuer.user_claim.is_none())
        });
        let anybody = user.certificate.as_ref().is_some_and(|name| name.0 == "*");
        // Whoever has a token or certificate of that kind could log in as this user.
        let entitled =
            user.admin || user.unrestricted || user.tenant.is_some() || !user.tenants.is_empty();
        self.refuse_if(
            claimless && entitled,
            &at("token"),
            "its issuer has no user_claim, so that any token is this user's: write tokens.NAME.user_claim, or no \
             admin, unrestricted, tenant and tenants here",
        );
        self.refuse_if(
            anybody && entitled,
            &at("certificate"),
            "any certificate is this user's: write a name, or no admin, unrestricted, tenant and tenants here",
        );
        if let Some(name) = &user.certificate {
            self.refuse_if(name.0.is_empty(), &at("certificate"), "empty");
            self.refuse_if(
                tls.is_none_or(|tls| tls.client_ca.is_none()),
                &at("certificate"),
                "nobody vouches for clients' certificates; write listen.tls.client_ca",
            );
        }
    }

    /// A tenant without a policy would be bound by nothing.
    fn tenant(&mut self, index: usize, user: &User) {
        let at = |key: &str| [Step::from("users"), index.into(), key.into()];
        self.refuse_if(
            user.tenant.is_some() && user.unrestricted,
            &at("unrestricted"),
            "the user is bound to a tenant; remove one of the two",
        );
        self.refuse_if(
            !user.tenants.is_empty() && (user.tenant.is_some() || user.unrestricted),
            &at("tenants"),
            "the user has tenant or unrestricted besides; write one of the three",
        );
        for (position, name) in user.tenants.iter().enumerate() {
            let again = user.tenants[..position].contains(name);
            self.refuse_if(
                name.is_empty() || again,
                path!["users", index, "tenants", position],
                "empty, or there twice",
            );
        }
        self.refuse_if(
            user.tenant.as_ref().is_some_and(|name| name.0.is_empty()),
            &at("tenant"),
            "empty",
        );
        for (position, name) in user.databases.iter().enumerate() {
            let database = self.config.databases.get(name);
            let free = database.is_some_and(|database| database.tenancy.is_none());
            self.refuse_if(
                (user.tenant.is_some() || !user.tenants.is_empty()) && free,
                path!["users", index, "databases", position],
                "this database has no tenancy, which would bind the user to its tenant",
            );
        }
    }
}

fn password(text: &str) -> Result<(), &'static str> {
    let is_md5 = |hash: &str| hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    if text.is_empty() || text.contains('\0') {
        return Err("empty, or has a NUL byte");
    }
    if text.strip_prefix("md5").is_some_and(is_md5) {
        return Err("an md5 hash is no longer safe and not supported; use hash-password");
    }
    match text.starts_with(PREFIX) {
        true => text.parse::<Verifier>().map(drop),
        false => Ok(()),
    }
}

/// Whether two listeners cannot both be there. Port 0 is any free port.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}
