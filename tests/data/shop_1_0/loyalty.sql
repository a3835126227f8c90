BEGIN TRANSACTION;
CREATE TABLE awards (
	order_id TEXT NOT NULL, 
	customer_email TEXT, 
	points BIGINT, 
	awarded_at VARCHAR(32), 
	taken_back_at VARCHAR(32), 
	PRIMARY KEY (order_id)
);
INSERT INTO "awards" VALUES('ORD-1','Ann@Example.COM',99,'2026-11-27T20:16:17.712528+00:00',NULL);
INSERT INTO "awards" VALUES('ORD-2','Ann@Example.COM',99,'2026-11-27T20:16:33.283976+00:00','2026-11-27T20:18:27.823280+00:00');
INSERT INTO "awards" VALUES('ORD-3','Ann@Example.COM',99,'2026-11-27T20:16:53.994840+00:00',NULL);
INSERT INTO "awards" VALUES('ORD-4','bob@example.org',12250,'2026-11-27T20:17:39.425980+00:00','2026-11-27T20:20:14.370271+00:00');
INSERT INTO "awards" VALUES('-ORD-5','bob@example.org',0,'2026-11-27T20:18:01.313169+00:00',NULL);
CREATE TABLE discards (
	letter_id TEXT NOT NULL, 
	event_type TEXT NOT NULL, 
	subject TEXT, 
	reason TEXT NOT NULL, 
	discarded_by TEXT NOT NULL, 
	discarded_at VARCHAR(32) DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) NOT NULL, 
	PRIMARY KEY (letter_id)
);
CREATE TABLE failures (
	number INTEGER NOT NULL, 
	event_id TEXT NOT NULL, 
	event_type TEXT NOT NULL, 
	subject TEXT, 
	attempt INTEGER NOT NULL, 
	replays INTEGER NOT NULL, 
	outcome TEXT NOT NULL, 
	error TEXT NOT NULL, 
	message TEXT NOT NULL, 
	traceback TEXT NOT NULL, 
	failed_at VARCHAR(32) DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "failures" VALUES(1,'broken','order.placed.v1',NULL,1,0,'dead','MalformedEvent','not a CloudEvent: specversion: Field required','  File "/tmp/w/base/shared/runtime/reactor.py", line 163, in _react
    accepted.append(self._accept(delivery))
                    ^^^^^^^^^^^^^^^^^^^^^^
  File "/tmp/w/base/shared/runtime/reactor.py", line 172, in _accept
    event = decode(delivery.body, self.service.contracts)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/tmp/w/base/shared/messaging/codec.py", line 112, in decode
    envelope = read(body)
               ^^^^^^^^^^
  File "/tmp/w/base/shared/messaging/codec.py", line 159, in read
    raise MalformedEvent(f"not a CloudEvent: {first_error(error, Envelope)}") from None
','2026-11-27T20:20:09.390+00:00');
CREATE TABLE history_place (
	number INTEGER NOT NULL, 
	place BIGINT NOT NULL, 
	until BIGINT NOT NULL, 
	caught_up_at VARCHAR(32), 
	PRIMARY KEY (number)
);
CREATE TABLE inbox (
	event_id CHAR(32) NOT NULL, 
	event_type TEXT NOT NULL, 
	subject TEXT, 
	outcome TEXT NOT NULL, 
	occurred_at VARCHAR(32) NOT NULL, 
	handled_at VARCHAR(32) DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) NOT NULL, 
	PRIMARY KEY (event_id)
);
INSERT INTO "inbox" VALUES('01a21ea6cd307ec5855b02c5d6e2ac6d','order.placed.v1','ORD-1','handled','2026-11-27T20:16:17.712528+00:00','2026-11-27T20:20:10.067+00:00');
INSERT INTO "inbox" VALUES('01a21ea70a0379cc81c1e789ac6dc80b','order.placed.v1','ORD-2','handled','2026-11-27T20:16:33.283976+00:00','2026-11-27T20:20:11.834+00:00');
INSERT INTO "inbox" VALUES('01a21ea75aea7339821e103c6f2156dc','order.placed.v1','ORD-3','handled','2026-11-27T20:16:53.994840+00:00','2026-11-27T20:20:12.277+00:00');
INSERT INTO "inbox" VALUES('01a21ea80c6175eeb2cea9e2fcc57cc1','order.placed.v1','ORD-4','handled','2026-11-27T20:17:39.425980+00:00','2026-11-27T20:20:12.888+00:00');
INSERT INTO "inbox" VALUES('01a21ea861e178d5b0c8247975dfabee','order.placed.v1','-ORD-5','handled','2026-11-27T20:18:01.313169+00:00','2026-11-27T20:20:14.113+00:00');
INSERT INTO "inbox" VALUES('01a21ea8c96f762d90b5883b4d08b799','order.cancelled.v1','ORD-2','handled','2026-11-27T20:18:27.823280+00:00','2026-11-27T20:20:14.349+00:00');
INSERT INTO "inbox" VALUES('01a21eaa69a2701db2f6a68174f003cf','order.cancelled.v1','ORD-4','handled','2026-11-27T20:20:14.370271+00:00','2026-11-27T20:20:14.821+00:00');
CREATE TABLE outbox (
	number INTEGER NOT NULL, 
	event_id CHAR(32) NOT NULL, 
	topic TEXT NOT NULL, 
	event_type TEXT NOT NULL, 
	subject TEXT, 
	correlation_id CHAR(32), 
	occurred_at VARCHAR(32) NOT NULL, 
	body TEXT NOT NULL, 
	created_at VARCHAR(32) DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) NOT NULL, 
	sent_at VARCHAR(32), 
	refused TEXT, 
	PRIMARY KEY (number), 
	UNIQUE (event_id)
);
CREATE TABLE runtime_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT runtime_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "runtime_version" VALUES('0003');
CREATE TABLE service_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT service_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "service_version" VALUES('0001');
CREATE INDEX outbox_waiting ON outbox (number) WHERE sent_at IS NULL AND refused IS NULL;
CREATE INDEX outbox_by_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX failures_by_event ON failures (event_id);
CREATE INDEX failures_by_time ON failures (failed_at);
CREATE INDEX awards_by_customer ON awards (customer_email);
COMMIT;
PRAGMA user_version = 0;
