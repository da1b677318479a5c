//! The databases of the tests: their tables, tenants and policies.
//!
//! Data of tenants is asymmetric: their tables have other sizes and other values, keys are shared where
//! the schema permits. Values that only one tenant has are recognised wherever they turn up.

use std::sync::OnceLock;

use regex::Regex;

/// One schema with its tenants.
pub struct World {
    /// Its name, of which those of its databases are made.
    pub name: &'static str,
    /// Its databases: of an owner of all rows, under row-level security, and with other rows of others.
    pub databases: [&'static str; 3],
    /// Makes tables and rows.
    pub fixture: &'static str,
    /// Changes rows of tenants that are not `tenants[1]`.
    pub disturbance: &'static str,
    /// The policy.
    pub policy: &'static str,
    /// Schemas in the order in which tables are looked for.
    pub path: &'static str,
    /// Its tenants with user names `tenant_1` to `tenant_3`, as the policy names them.
    pub tenants: [&'static str; 3],
    /// Values of tenants: `{n}` stands for numbers of the others.
    foreign: &'static str,
}

/// The first one is that of the cases.
pub static WORLDS: [World; 4] = [
    World {
        name: "app",
        databases: ["bare", "guarded", "disturbed"],
        fixture: include_str!("fixture.sql"),
        disturbance: include_str!("worlds/app_disturbed.sql"),
        policy: crate::ground::POLICY,
        path: "app",
        tenants: ["1", "2", "3"],
        foreign: r"note-[{n}]-|\bc[{n}]_|@t[{n}]|acme[{n}]|-00000000000[{n}]\b|\bu[{n}][1-4]\b|\bt[{n}][1-4]\b|\bQ[{n}][1-3]\b|\bn[{n}][1-9]\b",
    },
    World {
        name: "shop",
        databases: ["shop_bare", "shop_guarded", "shop_disturbed"],
        fixture: include_str!("worlds/shop.sql"),
        disturbance: include_str!("worlds/shop_disturbed.sql"),
        policy: "
version: 1
search_path: [shop, crm]
tenant: {type: uuid, column: org}
tables: {shop.product: {}, shop.purchase: {}, crm.buyer: {}, crm.product: {}}
shared: {shop.currency: {access: read}}
views: {shop.paid: {mode: inline}, shop.stocked: {mode: inline}}
settings: {allow: [timezone]}
",
        path: "shop, crm",
        tenants: [
            "00000000-0000-4000-8000-000000000001",
            "00000000-0000-4000-8000-000000000002",
            "00000000-0000-4000-8000-000000000003",
        ],
        foreign: r"(?i)zq[{n}]x|-00000000000[{n}]\b",
    },
    World {
        name: "bank",
        databases: ["bank_bare", "bank_guarded", "bank_disturbed"],
        fixture: include_str!("worlds/bank.sql"),
        disturbance: include_str!("worlds/bank_disturbed.sql"),
        policy: "
version: 1
search_path: [bank]
tenant: {type: bigint, column: tenant}
tables: {bank.account: {}, bank.entry: {}, bank.mandate: {}, bank.token: {existence_oracle: accept}}
shared: {bank.country: {access: read}}
views: {bank.live: {mode: inline}}
settings: {allow: [timezone]}
",
        path: "bank",
        tenants: ["9000000001", "9000000002", "9000000003"],
        foreign: r"(?i)zq[{n}]x|\b900000000[{n}]\b",
    },
    World {
        name: "desk",
        databases: ["desk_bare", "desk_guarded", "desk_disturbed"],
        fixture: include_str!("worlds/desk.sql"),
        disturbance: include_str!("worlds/desk_disturbed.sql"),
        policy: "
version: 1
search_path: [desk]
tenant: {type: text, column: Tenant}
tables: {desk.Ticket: {}, desk.agent: {}, desk.select: {}, desk.tag: {}}
shared: {desk.status: {access: read}}
views: {desk.open_ticket: {mode: inline}, desk.load: {mode: inline}}
settings: {allow: [timezone]}
",
        path: "desk",
        tenants: ["org-1", "org-2", "org-3"],
        foreign: r"(?i)zq[{n}]x|\borg-[{n}]\b",
    },
];

impl World {
    /// A value in the text that only tenants other than number `own` (from 0) have.
    pub fn tainted(&self, own: usize, text: &str) -> Option<String> {
        static FOREIGN: OnceLock<Vec<Regex>> = OnceLock::new();
        let all = FOREIGN.get_or_init(|| {
            let each = WORLDS.iter().flat_map(|world| {
                ["234", "134", "124"]
                    .map(|others| Regex::new(&world.foreign.replace("{n}", others)).unwrap())
            });
            each.collect()
        });
        let at = WORLDS.iter().position(|world| world.name == self.name)?;
        let found = all[at * 3 + own].find(text)?;
        Some(found.as_str().to_lowercase())
    }
}
