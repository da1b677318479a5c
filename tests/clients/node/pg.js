// node-postgres: clients, its pool, named statements, cursors of its own, COPY streams.
'use strict';
const assert = require('node:assert/strict');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { Client, Pool } = require('pg');
const copy = require('pg-copy-streams');

const login = {
  host: process.env.PGHOST,
  port: Number(process.env.PGPORT),
  user: process.env.PGUSER,
  password: process.env.PGPASSWORD,
  database: process.env.PGDATABASE,
  ssl: false,
  connectionTimeoutMillis: 10000,
};

async function values(client) {
  const sent = [42, '1099511627776', 1.5, 'häßlich', Buffer.from([0, 255]), true, null, ['a', 'b']];
  const { rows } = await client.query({
    text: 'SELECT $1::int4, $2::int8, $3::float8, $4::text, $5::bytea, $6::bool, $7::text, $8::text[]',
    values: sent,
    rowMode: 'array',
  });
  assert.deepEqual(rows[0], sent);
  // Binary results; of the types this driver decodes then, these are decoded rightly.
  const binary = await client.query({ text: 'SELECT $1::int4 AS a, $2::bool AS b', values: [7, true], binary: true });
  assert.deepEqual(binary.rows[0], { a: 7, b: true });
}

async function preparedFollowsTheConnection(one, two) {
  const pids = new Set();
  for (let turn = 0; turn < 24; turn += 1) {
    if (turn % 2) {
      await two.query('BEGIN');
      await two.query('SELECT 1');
    }
    const { rows } = await one.query({ name: 'double', text: 'SELECT $1::int4 * 2 AS n, pg_backend_pid() AS pid', values: [turn] });
    assert.equal(rows[0].n, turn * 2);
    pids.add(rows[0].pid);
    if (turn % 2) await two.query('ROLLBACK');
  }
  assert.equal(pids.size, 2, 'the pool has two connections');
}

async function transactions(client) {
  await client.query('DROP TABLE IF EXISTS node_pg');
  await client.query('CREATE TABLE node_pg (id int PRIMARY KEY, note text)');
  await client.query('BEGIN');
  await client.query('INSERT INTO node_pg VALUES ($1, $2)', [1, 'stays']);
  await client.query('COMMIT');
  await client.query('BEGIN');
  await client.query('INSERT INTO node_pg VALUES ($1, $2)', [2, 'goes']);
  await client.query('ROLLBACK');
  await client.query('BEGIN');
  await assert.rejects(client.query({ name: 'insert', text: 'INSERT INTO node_pg VALUES ($1, $2)', values: [1, 'twice'] }), {
    code: '23505',
    constraint: 'node_pg_pkey',
  });
  await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
  await client.query('ROLLBACK');
  await client.query({ name: 'insert', text: 'INSERT INTO node_pg VALUES ($1, $2)', values: [3, 'after'] });
  const { rows } = await client.query('SELECT id FROM node_pg ORDER BY id');
  assert.deepEqual(rows, [{ id: 1 }, { id: 3 }]);
}

async function errors(client) {
  for (let turn = 0; turn < 3; turn += 1) {
    await assert.rejects(client.query('SELECT 1 / $1::int4', [0]), { code: '22012' });
    await assert.rejects(client.query({ name: `wrong${turn}`, text: 'SELEKT 1' }), { code: '42601' });
    assert.equal((await client.query('SELECT 1 AS n')).rows[0].n, 1);
  }
  const results = await client.query('SELECT 1 AS n; SELECT 2 AS n');
  assert.deepEqual(results.map((result) => result.rows[0].n), [1, 2]);
}

async function copies(client) {
  const lines = Array.from({ length: 2000 }, (_, n) => `${n + 100}\tcopied ${n}\n`);
  await pipeline(Readable.from(lines), client.query(copy.from('COPY node_pg FROM STDIN')));
  let out = '';
  const stream = client.query(copy.to("COPY (SELECT id, note FROM node_pg WHERE id >= 100 ORDER BY id) TO STDOUT"));
  for await (const chunk of stream) out += chunk;
  assert.equal(out, lines.join(''));
}

async function settings(one, two) {
  await one.query("SET TIME ZONE 'Asia/Tokyo'");
  await two.query("SET application_name TO 'the other'");
  for (let turn = 0; turn < 8; turn += 1) {
    const [zone, name, zoneOfTwo] = await Promise.all([
      one.query('SHOW TimeZone'),
      two.query('SHOW application_name'),
      two.query('SHOW TimeZone'),
    ]);
    assert.equal(zone.rows[0].TimeZone, 'Asia/Tokyo');
    assert.equal(name.rows[0].application_name, 'the other');
    assert.notEqual(zoneOfTwo.rows[0].TimeZone, 'Asia/Tokyo');
  }
}

async function pooled() {
  const pool = new Pool({ ...login, max: 8 });
  const work = async (number) => {
    for (let turn = 0; turn < 15; turn += 1) {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        const { rows } = await client.query({ name: 'sum', text: 'SELECT $1::int4 + $2::int4 AS n', values: [number, turn] });
        assert.equal(rows[0].n, number + turn);
        await client.query('COMMIT');
      } finally {
        client.release();
      }
    }
  };
  await Promise.all(Array.from({ length: 12 }, (_, number) => work(number)));
  await pool.end();
}

async function main() {
  const one = new Client(login);
  const two = new Client(login);
  await Promise.all([one.connect(), two.connect()]);
  await values(one);
  await preparedFollowsTheConnection(one, two);
  await transactions(one);
  await errors(one);
  await copies(one);
  await settings(one, two);
  await pooled();
  await one.query('DROP TABLE node_pg');
  await Promise.all([one.end(), two.end()]);
  console.log(`pg ${require('pg/package.json').version}, node ${process.versions.node}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
