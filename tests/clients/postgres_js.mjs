// postgres.js: pipelines everything, prepares everything, transactions, cursors, COPY, cancel.
import assert from "node:assert";
import postgres from "postgres";

const sql = postgres({ max: 4, connect_timeout: 10, onnotice: () => {} });

await sql`drop table if exists client_postgres_js`;
await sql`create table client_postgres_js (id int primary key, name text, data jsonb)`;
const rows = Array.from({ length: 200 }, (_, id) => ({ id, name: `n${id}`, data: { id } }));
await sql`insert into client_postgres_js ${sql(rows, "id", "name", "data")}`;
const found = await sql`select * from client_postgres_js where id = ${17}`;
assert.deepStrictEqual({ ...found[0] }, { id: 17, name: "n17", data: { id: 17 } });

// Many at once on few connections: pipelined.
const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => sql`select ${i}::int as n`));
assert.deepStrictEqual(answers.map((answer) => answer[0].n), Array.from({ length: 300 }, (_, i) => i));

const mixed = await Promise.allSettled(
  Array.from({ length: 60 }, (_, i) => (i % 3 ? sql`select ${i}::int as n` : sql`select 1 / ${0}::int`)),
);
mixed.forEach((result, i) => {
  if (i % 3) assert.strictEqual(result.value[0].n, i);
  else assert.strictEqual(result.reason.code, "22012");
});

await sql.begin(async (transaction) => {
  await transaction`update client_postgres_js set name = 'changed' where id = 1`;
  await transaction.savepoint(async (inner) => {
    await inner`select 1/0`;
  }).catch((error) => assert.strictEqual(error.code, "22012"));
  const [row] = await transaction`select name from client_postgres_js where id = 1`;
  assert.strictEqual(row.name, "changed");
});
await assert.rejects(
  sql.begin(async (transaction) => {
    await transaction`delete from client_postgres_js`;
    throw new Error("no");
  }),
  /no/,
);
const [{ count }] = await sql`select count(*)::int from client_postgres_js`;
assert.strictEqual(count, 200);

let seen = 0;
await sql`select generate_series(1, 100) as i`.cursor(7, (part) => {
  seen += part.length;
});
assert.strictEqual(seen, 100);

const { pipeline } = await import("node:stream/promises");
const { Readable } = await import("node:stream");
const writable = await sql`copy client_postgres_js (id, name) from stdin`.writable();
await pipeline(Readable.from(Array.from({ length: 500 }, (_, i) => `${i + 1000}\tcopied\n`)), writable);
const readable = await sql`copy (select id from client_postgres_js) to stdout`.readable();
let text = "";
for await (const part of readable) text += part;
assert.strictEqual(text.trim().split("\n").length, 700);

const slow = sql`select pg_sleep(30)`;
setTimeout(() => slow.cancel(), 200);
await assert.rejects(slow, { code: "57014" });
assert.strictEqual((await sql`select 1 as n`)[0].n, 1);
const several = await sql`select 1 as a; select 2 as a`.simple();
assert.deepStrictEqual(several.map((result) => result[0].a), [1, 2]);
await sql.end();
console.log("postgres.js done");
