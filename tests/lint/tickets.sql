-- A help desk: queues, tickets, messages, working hours.
BEGIN;

DO $$ BEGIN
    CREATE TYPE ticket_priority AS ENUM ('low', 'normal', 'high', 'urgent');
EXCEPTION
    WHEN duplicate_object THEN null;
END $$;

COMMIT;

CREATE DOMAIN email_address AS varchar(254) CHECK (VALUE LIKE '%_@_%');
CREATE DOMAIN hours AS numeric CHECK (VALUE >= 0);

CREATE SEQUENCE ticket_number START WITH 1000;

CREATE TABLE queues (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    answer_within interval NOT NULL DEFAULT '4 hours'
);

CREATE TABLE agents (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email email_address NOT NULL UNIQUE,
    name text NOT NULL,
    shift_begin time NOT NULL DEFAULT '09:00',
    shift_end time NOT NULL DEFAULT '17:00',
    CHECK (shift_begin < shift_end)
);

CREATE TABLE tickets (
    number bigint PRIMARY KEY DEFAULT nextval('ticket_number'),
    queue_id integer NOT NULL REFERENCES queues (id),
    agent_id integer REFERENCES agents (id) ON DELETE SET NULL,
    requester email_address NOT NULL,
    subject varchar(200) NOT NULL,
    priority ticket_priority NOT NULL DEFAULT 'normal',
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    spent hours NOT NULL DEFAULT 0,
    CONSTRAINT closed_later CHECK (closed_at IS NULL OR closed_at >= opened_at)
);
ALTER SEQUENCE ticket_number OWNED BY tickets.number;

CREATE TABLE messages (
    ticket bigint NOT NULL REFERENCES tickets (number) ON DELETE CASCADE,
    position integer NOT NULL,
    sender email_address NOT NULL,
    body text NOT NULL,
    attachment bytea,
    sent_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ticket, position)
);

CREATE TABLE audit (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who name NOT NULL DEFAULT CURRENT_USER,
    what text NOT NULL,
    before xml
);

CREATE INDEX tickets_open ON tickets (queue_id, priority) WHERE closed_at IS NULL;
CREATE INDEX CONCURRENTLY tickets_subject ON tickets (subject text_pattern_ops);
CREATE INDEX messages_body ON messages USING gin (to_tsvector('english', body));

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.closed_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER tickets_touch BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE PROCEDURE touch();
CREATE RULE audit_keeps AS ON DELETE TO audit DO INSTEAD NOTHING;

CREATE FUNCTION open_tickets(queue integer) RETURNS bigint
    LANGUAGE sql STABLE AS $$ SELECT count(*) FROM tickets WHERE queue_id = queue AND closed_at IS NULL $$;

CREATE VIEW late AS
SELECT t.number, t.subject, q.name AS queue
FROM tickets t JOIN queues q ON q.id = t.queue_id
WHERE t.closed_at IS NULL AND t.opened_at + q.answer_within < now();

INSERT INTO queues (name) VALUES ('billing'), ('technical');
INSERT INTO agents (email, name) VALUES ('eve@example.com', 'Eve');
INSERT INTO tickets (queue_id, agent_id, requester, subject, priority) VALUES
    (1, 1, 'joe@example.com', 'My invoice', 'high'),
    (2, NULL, 'sue@example.com', 'It does not start', 'urgent');
INSERT INTO messages (ticket, position, sender, body) VALUES (1000, 1, 'joe@example.com', 'Where is it?');
UPDATE tickets SET closed_at = now(), spent = 0.5 WHERE number = 1000;
SELECT number, priority FROM tickets WHERE closed_at IS NULL FOR UPDATE SKIP LOCKED;
SELECT open_tickets(2);
