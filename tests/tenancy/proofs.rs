//! The verifier by itself, and the names of tenants.

use dsql_proxy::policy::tenancy::verifier::verify;
use dsql_proxy::sql::Statement;

use crate::cases;
use crate::ground;

#[test]
fn what_was_made_for_one_tenant_is_proven_for_no_other() {
    let ground = ground::open();
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
            let prove = |tenant| verify(&isolated.tree, &ground.policy, &ground.catalog, tenant);
            assert!(prove(&ground.tenant).is_ok(), "{}", isolated.text);
            assert!(prove(&other).is_err(), "{}", isolated.text);
            proven += 1;
        }
    }
    assert!(proven > 200, "{proven}");
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
        let proof = verify(node, &ground.policy, &ground.catalog, &ground.tenant);
        assert!(proof.is_err(), "{text}");
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
