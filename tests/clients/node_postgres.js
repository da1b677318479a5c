// node-postgres: simple and extended queries, named statements, transactions, pool, errors.
const assert = require("node:assert");
const { Client, Pool } = require("pg");

async function main() {
  const client = new Client({ application_name: "node-postgres", connectionTimeoutMillis: 10000 });
  const notices = [];
  client.on("notice", (notice) => notices.push(notice.message));
  await client.connect();
  await client.query("drop table if exists client_node; create table client_node (id int primary key, name text)");
  await client.query("begin");
  for (let i = 0; i < 100; i++) {
    await client.query("insert into client_node values ($1, $2)", [i, `it's ${i}`]);
  }
  await client.query("commit");
  for (let i = 0; i < 30; i++) {
    const found = await client.query({ name: `by-id-${i % 7}`, text: `select name, ${i % 7} as n from client_node where id = $1`, values: [i] });
    assert.deepStrictEqual(found.rows, [{ name: `it's ${i}`, n: i % 7 }]);
  }
  await assert.rejects(client.query("insert into client_node values (1, 'again')"), { code: "23505" });
  await assert.rejects(client.query("select $1::int", ["abc"]), { code: "22P02" });
  const several = await client.query("select 1 as a; select 2 as a");
  assert.deepStrictEqual(several.map((result) => result.rows[0].a), [1, 2]);
  // Queued without waiting.
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => client.query("select $1::int as n", [i])));
  assert.deepStrictEqual(answers.map((answer) => answer.rows[0].n), Array.from({ length: 50 }, (_, i) => i));
  await client.query("do $$ begin raise notice 'noticed'; end $$");
  assert.deepStrictEqual(notices.slice(-1), ["noticed"]);
  await client.query("begin");
  await assert.rejects(client.query("select 1/0"), { code: "22012" });
  await assert.rejects(client.query("select 1"), { code: "25P02" });
  await client.query("rollback");
  await client.end();

  const pool = new Pool({ max: 10 });
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const own = await pool.connect();
      try {
        await own.query("begin");
        const found = await own.query({ name: "sum", text: "select $1::int + 1 as n", values: [i] });
        assert.strictEqual(found.rows[0].n, i + 1);
        await own.query("commit");
      } finally {
        own.release();
      }
    }),
  );
  await pool.end();
  console.log("pg", require("pg/package.json").version);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
