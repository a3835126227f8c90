BEGIN TRANSACTION;
CREATE TABLE customers (
	order_id TEXT NOT NULL, 
	address TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	PRIMARY KEY (order_id)
);
INSERT INTO "customers" VALUES('ORD-1','Ann@Example.COM','EUR');
INSERT INTO "customers" VALUES('ORD-2','Ann@Example.COM','EUR');
INSERT INTO "customers" VALUES('ORD-3','Ann@Example.COM','EUR');
INSERT INTO "customers" VALUES('ORD-4','bob@example.org','EUR');
INSERT INTO "customers" VALUES('-ORD-5','bob@example.org','EUR');
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
','2026-11-27T20:20:09.693+00:00');
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
INSERT INTO "inbox" VALUES('01a21ea6cd307ec5855b02c5d6e2ac6d','order.placed.v1','ORD-1','handled','2026-11-27T20:16:17.712528+00:00','2026-11-27T20:20:10.633+00:00');
INSERT INTO "inbox" VALUES('01a21ea70a0379cc81c1e789ac6dc80b','order.placed.v1','ORD-2','handled','2026-11-27T20:16:33.283976+00:00','2026-11-27T20:20:12.485+00:00');
INSERT INTO "inbox" VALUES('01a21ea75aea7339821e103c6f2156dc','order.placed.v1','ORD-3','handled','2026-11-27T20:16:53.994840+00:00','2026-11-27T20:20:13.460+00:00');
INSERT INTO "inbox" VALUES('01a21ea80c6175eeb2cea9e2fcc57cc1','order.placed.v1','ORD-4','handled','2026-11-27T20:17:39.425980+00:00','2026-11-27T20:20:14.075+00:00');
INSERT INTO "inbox" VALUES('01a21ea861e178d5b0c8247975dfabee','order.placed.v1','-ORD-5','handled','2026-11-27T20:18:01.313169+00:00','2026-11-27T20:20:14.358+00:00');
INSERT INTO "inbox" VALUES('01a21ea8c96f762d90b5883b4d08b799','order.cancelled.v1','ORD-2','handled','2026-11-27T20:18:27.823280+00:00','2026-11-27T20:20:14.395+00:00');
INSERT INTO "inbox" VALUES('01a21eaa5f7775559a86cfb6470fd49f','order.shipped.v1','ORD-1','handled','2026-11-27T20:20:11.767964+00:00','2026-11-27T20:20:16.138+00:00');
INSERT INTO "inbox" VALUES('01a21eaa69a2701db2f6a68174f003cf','order.cancelled.v1','ORD-4','handled','2026-11-27T20:20:14.370271+00:00','2026-11-27T20:20:17.122+00:00');
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
CREATE TABLE sent_mails (
	message_id TEXT NOT NULL, 
	order_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	"to" TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	sent_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (message_id)
);
INSERT INTO "sent_mails" VALUES('<01a21ea6-cd30-7ec5-855b-02c5d6e2ac6d.confirmation@shop.example>','ORD-1','confirmation','Ann@Example.COM','Your order ORD-1 is confirmed','2026-11-27T20:20:11.679184+00:00');
INSERT INTO "sent_mails" VALUES('<01a21ea7-0a03-79cc-81c1-e789ac6dc80b.confirmation@shop.example>','ORD-2','confirmation','Ann@Example.COM','Your order ORD-2 is confirmed','2026-11-27T20:20:12.817731+00:00');
INSERT INTO "sent_mails" VALUES('<01a21ea7-5aea-7339-821e-103c6f2156dc.confirmation@shop.example>','ORD-3','confirmation','Ann@Example.COM','Your order ORD-3 is confirmed','2026-11-27T20:20:14.001295+00:00');
INSERT INTO "sent_mails" VALUES('<01a21ea8-0c61-75ee-b2ce-a9e2fcc57cc1.confirmation@shop.example>','ORD-4','confirmation','bob@example.org','Your order ORD-4 is confirmed','2026-11-27T20:20:14.123073+00:00');
INSERT INTO "sent_mails" VALUES('<01a21ea8-61e1-78d5-b0c8-247975dfabee.confirmation@shop.example>','-ORD-5','confirmation','bob@example.org','Your order -ORD-5 is confirmed','2026-11-27T20:20:14.368204+00:00');
INSERT INTO "sent_mails" VALUES('<01a21ea8-c96f-762d-90b5-883b4d08b799.cancellation@shop.example>','ORD-2','cancellation','Ann@Example.COM','Your order ORD-2 has been cancelled','2026-11-27T20:20:14.495127+00:00');
INSERT INTO "sent_mails" VALUES('<01a21eaa-5f77-7555-9a86-cfb6470fd49f.shipping@shop.example>','ORD-1','shipping','Ann@Example.COM','Your order ORD-1 is on its way','2026-11-27T20:20:16.587271+00:00');
INSERT INTO "sent_mails" VALUES('<01a21eaa-69a2-701d-b2f6-a68174f003cf.cancellation@shop.example>','ORD-4','cancellation','bob@example.org','Your order ORD-4 has been cancelled','2026-11-27T20:20:17.176501+00:00');
CREATE TABLE service_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT service_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "service_version" VALUES('0001');
CREATE INDEX outbox_waiting ON outbox (number) WHERE sent_at IS NULL AND refused IS NULL;
CREATE INDEX outbox_by_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX failures_by_event ON failures (event_id);
CREATE INDEX failures_by_time ON failures (failed_at);
CREATE INDEX sent_mails_by_order ON sent_mails (order_id);
CREATE INDEX sent_mails_by_time ON sent_mails (sent_at, message_id);
COMMIT;
PRAGMA user_version = 0;
