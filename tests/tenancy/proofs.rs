//! The verifier by itself, and the names of tenants.

use dsql_proxy::policy::tenancy::catalog::RelationName;
use dsql_proxy::policy::tenancy::rules::TenantValue;
use dsql_proxy::policy::tenancy::verifier::{Expected, verify};
use dsql_proxy::policy::tenancy::{TenantParameter, TenantType};
use dsql_proxy::sql::Statement;

use crate::cases;
use crate::ground;

#[test]
fn what_was_made_for_one_tenant_is_proven_for_no_other() {
    let mut ground = ground::open();
    ground.policy.tenant_value = TenantValue::Literal;
    let other = ground.policy.tenant_named("1").unwrap();
    let mut proven = 0;
    for case in cases::read().into_iter().chain(cases::attacks()) {
        if Statement::read(&case.text).is_err() {
            continue;
        }
        for isolated in ground.isolate(&case.text).into_iter().flatten() {
            let bound = isolated.text.contains("OPERATOR(pg_catalog.=)");
            if !bound {
                continue;
            }
            let prove = |tenant| {
                let expected = Expected::Tenant(tenant);
                verify(&isolated.tree, &ground.policy, &ground.catalog, expected)
            };
            assert!(prove(&ground.tenant).is_ok(), "{}", isolated.text);
            assert!(prove(&other).is_err(), "{}", isolated.text);
            proven += 1;
        }
    }
    assert!(proven > 200, "{proven}");
}

#[test]
fn a_text_for_all_tenants_holds_none_and_is_proven_for_one_parameter_alone() {
    let mut ground = ground::open();
    let mut proven = 0;
    for case in cases::read().into_iter().chain(cases::attacks()) {
        if Statement::read(&case.text).is_err() {
            continue;
        }
        ground.policy.tenant_value = TenantValue::Parameter;
        let shared = ground.isolate(&case.text);
        ground.policy.tenant_value = TenantValue::Literal;
        let literal = ground.isolate(&case.text);
        assert_eq!(shared.is_ok(), literal.is_ok(), "{}", case.text);
        let (Ok(shared), Ok(literal)) = (shared, literal) else {
            continue;
        };
        let ([shared], [literal]) = (shared.as_slice(), literal.as_slice()) else {
            continue;
        };
        let Some(parameter) = shared.parameter else {
            assert_eq!(shared.text, literal.text);
            continue;
        };
        let TenantParameter { number, kind } = parameter;
        let of_parameter = shared.text.replace(&format!("${number}::"), "¤::");
        let value = ground.tenant.value(kind).unwrap();
        assert_eq!(
            of_parameter,
            literal.text.replace(&format!("'{value}'::"), "¤::")
        );
        let prove = |expected| verify(&shared.tree, &ground.policy, &ground.catalog, expected);
        assert_eq!(prove(Expected::Parameter(Some(parameter))), Ok(()));
        let others = [
            Expected::Tenant(&ground.tenant),
            Expected::Parameter(None),
            Expected::Parameter(Some(TenantParameter {
                number: number + 1,
                kind,
            })),
            Expected::Parameter(Some(TenantParameter {
                number: number - 1,
                kind,
            })),
            Expected::Parameter(Some(TenantParameter {
                number,
                kind: TenantType::Bigint,
            })),
        ];
        for other in others {
            assert!(prove(other).is_err(), "{other:?} {}", shared.text);
        }
        proven += 1;
    }
    assert!(proven > 150, "{proven}");
}

#[test]
fn what_was_not_rewritten_is_not_proven() {
    let ground = ground::open();
    let texts = [
        "SELECT id FROM app.orders",
        "UPDATE app.orders SET note = 'x'",
        "UPDATE app.orders SET note = 'x' WHERE id = 1",
        "UPDATE app.tree t SET label = 'x' WHERE t.id = 1 OR t.tenant_id OPERATOR(pg_catalog.=) CAST('2' AS pg_catalog.int4)",
        "UPDATE app.tree t SET label = 'x' WHERE NOT (t.tenant_id OPERATOR(pg_catalog.=) CAST('2' AS pg_catalog.int4))",
        "DELETE FROM app.orders",
        "DELETE FROM app.orders USING app.countries",
        "INSERT INTO app.orders (id) VALUES (1)",
        "INSERT INTO app.orders (id, tenant_id) VALUES (1, 1)",
        "SELECT id FROM (SELECT __t1.* FROM app.orders __t1) o",
        "SELECT id FROM app.audit_log",
        "SELECT pg_catalog.pg_read_file('x')",
    ];
    for text in texts {
        let statement = Statement::read(text).unwrap().remove(0);
        let node = statement.node().unwrap();
        let tenant = Expected::Tenant(&ground.tenant);
        let proof = verify(node, &ground.policy, &ground.catalog, tenant);
        assert!(proof.is_err(), "{text}");
    }
}

/// A loud condition of a table as it is waits for the tenant's only where it is the one table of what the client reads.
#[test]
fn a_guard_is_proven_for_one_table_alone() {
    let ground = ground::open();
    let own = "t.tenant_id OPERATOR(pg_catalog.=) CAST('2' AS pg_catalog.int4)";
    let guard = format!("CASE WHEN {own} THEN 1 / t.id > 0 ELSE false END");
    let wrap = "(SELECT __t1.* FROM app.orders __t1 \
                WHERE __t1.tenant_id OPERATOR(pg_catalog.=) CAST('2' AS pg_catalog.int4) OFFSET 0) o";
    let cases = [
        (
            format!("SELECT 1 FROM app.tree t WHERE {own} AND {guard}"),
            true,
        ),
        (
            format!("SELECT 1 / t.id FROM app.tree t WHERE {own} AND {guard} ORDER BY 1 LIMIT 1"),
            true,
        ),
        (
            format!("SELECT 1 FROM app.tree t WHERE {own} AND 1 / t.id > 0"),
            false,
        ),
        (format!("SELECT 1 FROM app.tree t WHERE {guard}"), false),
        (
            format!("SELECT 1 FROM app.tree t WHERE {own} AND NOT ({guard})"),
            false,
        ),
        (
            format!("SELECT 1 FROM app.tree t WHERE {own} AND {guard} HAVING 1 / max(t.id) > 0"),
            false,
        ),
        (
            format!("SELECT 1 FROM app.tree t WHERE {own} AND {guard} FOR UPDATE"),
            false,
        ),
        (
            format!("SELECT 1 FROM app.tree t, {wrap} WHERE {own} AND {guard}"),
            false,
        ),
        (
            format!("SELECT 1 FROM app.tree t, {wrap} WHERE {own}"),
            true,
        ),
        (
            format!("SELECT 1 FROM (SELECT 1 FROM app.tree t WHERE {own} AND {guard}) x"),
            false,
        ),
        (
            format!(
                "SELECT 1 FROM {wrap} WHERE EXISTS (SELECT 1 FROM app.tree t WHERE {own} AND {guard})"
            ),
            false,
        ),
        (
            format!("WITH x AS (SELECT 1 FROM app.tree t WHERE {own} AND {guard}) SELECT 1 FROM x"),
            false,
        ),
        (
            format!(
                "SELECT 1 FROM app.tree t WHERE {own} AND CASE WHEN {own} THEN 1 / (SELECT 1) > 0 ELSE false END"
            ),
            false,
        ),
        (
            format!(
                "SELECT 1 FROM app.tree t WHERE {own} AND CASE WHEN {own} THEN 1 / t.id > 0 ELSE 1 / t.id > 0 END"
            ),
            false,
        ),
        (
            format!(
                "SELECT 1 FROM app.tree t WHERE {own} AND CASE WHEN true THEN 1 / t.id > 0 ELSE false END"
            ),
            false,
        ),
    ];
    for (text, proven) in cases {
        let statement = Statement::read(&text).unwrap().remove(0);
        let node = statement.node().unwrap();
        let tenant = Expected::Tenant(&ground.tenant);
        let proof = verify(node, &ground.policy, &ground.catalog, tenant);
        assert_eq!(proof.is_ok(), proven, "{text}: {proof:?}");
    }
}

/// The server casts a number of any size to a parameter's type, and fails where no condition says so.
#[test]
fn what_the_server_casts_by_itself_is_fenced() {
    let mut ground = ground::open();
    let name = RelationName::new("app", "orders");
    let orders = ground.catalog.relations.get_mut(&name).unwrap();
    let amount = orders
        .columns
        .iter_mut()
        .find(|column| column.name == "amount");
    "numeric".clone_into(&mut amount.unwrap().type_name);
    for (text, fenced) in [
        ("SELECT id FROM orders WHERE amount = $1", true),
        (
            "SELECT id FROM orders WHERE amount = $1 AND 1 / id > 0",
            true,
        ),
        ("SELECT id FROM orders WHERE 1 / id > 0", false),
    ] {
        let isolated = ground.isolate(text).unwrap().remove(0);
        assert_eq!(
            isolated.text.contains("OFFSET 0"),
            fenced,
            "{}",
            isolated.text
        );
    }
}

#[test]
fn a_tenant_has_one_spelling() {
    let ground = ground::open();
    for name in [
        "02",
        "+2",
        "2 ",
        " 2",
        "",
        "-0",
        "2147483648",
        "two",
        "2;",
        "NULL",
    ] {
        assert!(ground.policy.tenant_named(name).is_err(), "{name:?}");
    }
}
