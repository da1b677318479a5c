CREATE TABLE parcel (
    id              BIGSERIAL PRIMARY KEY,
    tracking_code   VARCHAR(32) NOT NULL,
    weight_grams    INTEGER NOT NULL,
    sender          TEXT NOT NULL,
    recipient       TEXT NOT NULL,
    created         TIMESTAMP NOT NULL DEFAULT now(),
    CONSTRAINT uq_parcel_tracking_code UNIQUE (tracking_code)
);

CREATE TABLE depot (
    id      SERIAL PRIMARY KEY,
    name    VARCHAR(80) NOT NULL,
    country CHAR(2) NOT NULL
);

CREATE TABLE scan (
    id         BIGSERIAL PRIMARY KEY,
    parcel_id  BIGINT NOT NULL,
    depot_id   INTEGER NOT NULL,
    scanned_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT fk_scan_parcel FOREIGN KEY (parcel_id) REFERENCES parcel (id),
    CONSTRAINT fk_scan_depot FOREIGN KEY (depot_id) REFERENCES depot (id)
);

CREATE INDEX idx_scan_parcel ON scan (parcel_id);

INSERT INTO depot (name, country) VALUES ('North', 'DE'), ('South', 'AT');
INSERT INTO parcel (tracking_code, weight_grams, sender, recipient) VALUES ('A1', 500, 'x', 'y');
