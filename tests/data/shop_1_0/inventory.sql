BEGIN TRANSACTION;
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
','2026-11-27T20:20:09.760+00:00');
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
INSERT INTO "inbox" VALUES('01a21ea6cd307ec5855b02c5d6e2ac6d','order.placed.v1','ORD-1','handled','2026-11-27T20:16:17.712528+00:00','2026-11-27T20:20:10.482+00:00');
INSERT INTO "inbox" VALUES('01a21ea70a0379cc81c1e789ac6dc80b','order.placed.v1','ORD-2','handled','2026-11-27T20:16:33.283976+00:00','2026-11-27T20:20:12.187+00:00');
INSERT INTO "inbox" VALUES('01a21ea75aea7339821e103c6f2156dc','order.placed.v1','ORD-3','handled','2026-11-27T20:16:53.994840+00:00','2026-11-27T20:20:12.356+00:00');
INSERT INTO "inbox" VALUES('01a21ea80c6175eeb2cea9e2fcc57cc1','order.placed.v1','ORD-4','handled','2026-11-27T20:17:39.425980+00:00','2026-11-27T20:20:13.110+00:00');
INSERT INTO "inbox" VALUES('01a21ea861e178d5b0c8247975dfabee','order.placed.v1','-ORD-5','handled','2026-11-27T20:18:01.313169+00:00','2026-11-27T20:20:13.735+00:00');
INSERT INTO "inbox" VALUES('01a21ea8c96f762d90b5883b4d08b799','order.cancelled.v1','ORD-2','handled','2026-11-27T20:18:27.823280+00:00','2026-11-27T20:20:14.340+00:00');
INSERT INTO "inbox" VALUES('01a21eaa69a2701db2f6a68174f003cf','order.cancelled.v1','ORD-4','handled','2026-11-27T20:20:14.370271+00:00','2026-11-27T20:20:15.148+00:00');
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
INSERT INTO "outbox" VALUES(1,'01a21eaa5b7275c0b39a8d42476e6af6','stock.reserved','stock.reserved.v1','ORD-1','01a21ea6cd307ec5855b02c5d6e2ac6d','2026-11-27T20:20:10.738905+00:00','{"specversion":"1.0","id":"01a21eaa-5b72-75c0-b39a-8d42476e6af6","source":"/inventory","type":"stock.reserved.v1","subject":"ORD-1","time":"2026-11-27T20:20:10.738905Z","datacontenttype":"application/json","correlationid":"01a21ea6-cd30-7ec5-855b-02c5d6e2ac6d","causationid":"01a21ea6-cd30-7ec5-855b-02c5d6e2ac6d","data":{"order_id":"ORD-1","items":{"product-1":2}}}','2026-11-27T20:20:11.118+00:00','2026-11-27T20:20:11.447+00:00',NULL);
INSERT INTO "outbox" VALUES(2,'01a21eaa611c753d93cb52d94da56dad','stock.reserved','stock.reserved.v1','ORD-2','01a21ea70a0379cc81c1e789ac6dc80b','2026-11-27T20:20:12.188376+00:00','{"specversion":"1.0","id":"01a21eaa-611c-753d-93cb-52d94da56dad","source":"/inventory","type":"stock.reserved.v1","subject":"ORD-2","time":"2026-11-27T20:20:12.188376Z","datacontenttype":"application/json","correlationid":"01a21ea7-0a03-79cc-81c1-e789ac6dc80b","causationid":"01a21ea7-0a03-79cc-81c1-e789ac6dc80b","data":{"order_id":"ORD-2","items":{"product-1":2}}}','2026-11-27T20:20:12.269+00:00','2026-11-27T20:20:12.850+00:00',NULL);
INSERT INTO "outbox" VALUES(3,'01a21eaa621b789eb7f8559e2ec3379b','stock.reserved','stock.reserved.v1','ORD-3','01a21ea75aea7339821e103c6f2156dc','2026-11-27T20:20:12.443811+00:00','{"specversion":"1.0","id":"01a21eaa-621b-789e-b7f8-559e2ec3379b","source":"/inventory","type":"stock.reserved.v1","subject":"ORD-3","time":"2026-11-27T20:20:12.443811Z","datacontenttype":"application/json","correlationid":"01a21ea7-5aea-7339-821e-103c6f2156dc","causationid":"01a21ea7-5aea-7339-821e-103c6f2156dc","data":{"order_id":"ORD-3","items":{"product-1":2}}}','2026-11-27T20:20:12.444+00:00','2026-11-27T20:20:13.301+00:00',NULL);
INSERT INTO "outbox" VALUES(4,'01a21eaa64b67c6692b1c6d52aa0c0af','stock.ran_short','stock.ran_short.v1','ORD-4','01a21ea80c6175eeb2cea9e2fcc57cc1','2026-11-27T20:20:13.110786+00:00','{"specversion":"1.0","id":"01a21eaa-64b6-7c66-92b1-c6d52aa0c0af","source":"/inventory","type":"stock.ran_short.v1","subject":"ORD-4","time":"2026-11-27T20:20:13.110786Z","datacontenttype":"application/json","correlationid":"01a21ea8-0c61-75ee-b2ce-a9e2fcc57cc1","causationid":"01a21ea8-0c61-75ee-b2ce-a9e2fcc57cc1","data":{"order_id":"ORD-4","missing":{"product-3":495}}}','2026-11-27T20:20:13.111+00:00','2026-11-27T20:20:14.118+00:00',NULL);
INSERT INTO "outbox" VALUES(5,'01a21eaa67277e51a03a14425df73876','stock.reserved','stock.reserved.v1','-ORD-5','01a21ea861e178d5b0c8247975dfabee','2026-11-27T20:20:13.735973+00:00','{"specversion":"1.0","id":"01a21eaa-6727-7e51-a03a-14425df73876","source":"/inventory","type":"stock.reserved.v1","subject":"-ORD-5","time":"2026-11-27T20:20:13.735973Z","datacontenttype":"application/json","correlationid":"01a21ea8-61e1-78d5-b0c8-247975dfabee","causationid":"01a21ea8-61e1-78d5-b0c8-247975dfabee","data":{"order_id":"-ORD-5","items":{"product-2":1}}}','2026-11-27T20:20:13.736+00:00','2026-11-27T20:20:14.149+00:00',NULL);
CREATE TABLE products (
	sku TEXT NOT NULL, 
	available BIGINT NOT NULL, 
	reserved BIGINT NOT NULL, 
	PRIMARY KEY (sku), 
	CONSTRAINT available_not_negative CHECK (available >= 0), 
	CONSTRAINT reserved_not_negative CHECK (reserved >= 0)
);
INSERT INTO "products" VALUES('product-1',96,4);
INSERT INTO "products" VALUES('product-2',49,1);
INSERT INTO "products" VALUES('product-3',5,0);
CREATE TABLE reservations (
	order_id TEXT NOT NULL, 
	state TEXT DEFAULT 'new' NOT NULL, 
	items JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (order_id)
);
INSERT INTO "reservations" VALUES('ORD-1','reserved','{"product-1": 2}');
INSERT INTO "reservations" VALUES('ORD-2','released','{"product-1": 2}');
INSERT INTO "reservations" VALUES('ORD-3','reserved','{"product-1": 2}');
INSERT INTO "reservations" VALUES('ORD-4','cancelled','{}');
INSERT INTO "reservations" VALUES('-ORD-5','reserved','{"product-2": 1}');
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
COMMIT;
PRAGMA user_version = 0;
