-- The rows of fixture.sql again. Without triggers: the emulator's own are for its sessions.
SET session_replication_role = replica;
DELETE FROM u; DELETE FROM e; DELETE FROM k; DELETE FROM n; DELETE FROM other.t; DELETE FROM t;
INSERT INTO t (id, value, amount) VALUES (1, 'one', 1.50), (2, 'two', 2.25), (3, 'three', NULL);
INSERT INTO u VALUES (10, 1, 'a', 5), (20, 2, 'b', 6);
INSERT INTO other.t VALUES (1, 'elsewhere');
SELECT setval('n_id_seq', 1, false);
SELECT setval('s', 1, false);
INSERT INTO n (name, data) VALUES ('x', '{"a": 1}');
