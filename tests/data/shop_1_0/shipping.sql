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
','2026-11-27T20:20:09.511+00:00');
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
INSERT INTO "inbox" VALUES('01a21ea6cd307ec5855b02c5d6e2ac6d','order.placed.v1','ORD-1','handled','2026-11-27T20:16:17.712528+00:00','2026-11-27T20:20:09.914+00:00');
INSERT INTO "inbox" VALUES('01a21ea70a0379cc81c1e789ac6dc80b','order.placed.v1','ORD-2','handled','2026-11-27T20:16:33.283976+00:00','2026-11-27T20:20:10.360+00:00');
INSERT INTO "inbox" VALUES('01a21ea75aea7339821e103c6f2156dc','order.placed.v1','ORD-3','handled','2026-11-27T20:16:53.994840+00:00','2026-11-27T20:20:11.271+00:00');
INSERT INTO "inbox" VALUES('01a21ea80c6175eeb2cea9e2fcc57cc1','order.placed.v1','ORD-4','handled','2026-11-27T20:17:39.425980+00:00','2026-11-27T20:20:11.294+00:00');
INSERT INTO "inbox" VALUES('01a21ea861e178d5b0c8247975dfabee','order.placed.v1','-ORD-5','handled','2026-11-27T20:18:01.313169+00:00','2026-11-27T20:20:11.510+00:00');
INSERT INTO "inbox" VALUES('01a21ea89c4877cab7bef7494e9fa2c6','payment.received.v1','ORD-1','handled','2026-11-27T20:18:16.266589+00:00','2026-11-27T20:20:11.766+00:00');
INSERT INTO "inbox" VALUES('01a21ea8c96f762d90b5883b4d08b799','order.cancelled.v1','ORD-2','handled','2026-11-27T20:18:27.823280+00:00','2026-11-27T20:20:11.766+00:00');
INSERT INTO "inbox" VALUES('01a21eaa5b7275c0b39a8d42476e6af6','stock.reserved.v1','ORD-1','handled','2026-11-27T20:20:10.738905+00:00','2026-11-27T20:20:11.766+00:00');
INSERT INTO "inbox" VALUES('01a21eaa611c753d93cb52d94da56dad','stock.reserved.v1','ORD-2','handled','2026-11-27T20:20:12.188376+00:00','2026-11-27T20:20:13.261+00:00');
INSERT INTO "inbox" VALUES('01a21eaa621b789eb7f8559e2ec3379b','stock.reserved.v1','ORD-3','handled','2026-11-27T20:20:12.443811+00:00','2026-11-27T20:20:14.344+00:00');
INSERT INTO "inbox" VALUES('01a21eaa67277e51a03a14425df73876','stock.reserved.v1','-ORD-5','handled','2026-11-27T20:20:13.735973+00:00','2026-11-27T20:20:14.344+00:00');
INSERT INTO "inbox" VALUES('01a21eaa69a2701db2f6a68174f003cf','order.cancelled.v1','ORD-4','handled','2026-11-27T20:20:14.370271+00:00','2026-11-27T20:20:14.421+00:00');
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
INSERT INTO "outbox" VALUES(1,'01a21eaa5f7775559a86cfb6470fd49f','order.shipped','order.shipped.v1','ORD-1','01a21ea6cd307ec5855b02c5d6e2ac6d','2026-11-27T20:20:11.767964+00:00','{"specversion":"1.0","id":"01a21eaa-5f77-7555-9a86-cfb6470fd49f","source":"/shipping","type":"order.shipped.v1","subject":"ORD-1","time":"2026-11-27T20:20:11.767964Z","datacontenttype":"application/json","correlationid":"01a21ea6-cd30-7ec5-855b-02c5d6e2ac6d","causationid":"01a21eaa-5b72-75c0-b39a-8d42476e6af6","data":{"order_id":"ORD-1","tracking_number":"PP-F7F8BFA06D24D43C","carrier":"Pigeon Post"}}','2026-11-27T20:20:12.011+00:00','2026-11-27T20:20:13.410+00:00',NULL);
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
CREATE TABLE shipments (
	order_id TEXT NOT NULL, 
	address TEXT, 
	opened_at VARCHAR(32), 
	paid_at VARCHAR(32), 
	reserved_at VARCHAR(32), 
	voided_at VARCHAR(32), 
	carrier TEXT, 
	tracking_number TEXT, 
	shipped_at VARCHAR(32), 
	PRIMARY KEY (order_id)
);
INSERT INTO "shipments" VALUES('ORD-1','1 Main St','2026-11-27T20:16:17.712528+00:00','2026-11-27T20:18:16.266589+00:00','2026-11-27T20:20:10.738905+00:00',NULL,'Pigeon Post','PP-F7F8BFA06D24D43C','2026-11-27T20:20:11.767964+00:00');
INSERT INTO "shipments" VALUES('ORD-2',NULL,'2026-11-27T20:16:33.283976+00:00',NULL,'2026-11-27T20:20:12.188376+00:00','2026-11-27T20:18:27.823280+00:00',NULL,NULL,NULL);
INSERT INTO "shipments" VALUES('ORD-3','1 Main St','2026-11-27T20:16:53.994840+00:00',NULL,'2026-11-27T20:20:12.443811+00:00',NULL,NULL,NULL,NULL);
INSERT INTO "shipments" VALUES('ORD-4',NULL,'2026-11-27T20:17:39.425980+00:00',NULL,NULL,'2026-11-27T20:20:14.370271+00:00',NULL,NULL,NULL);
INSERT INTO "shipments" VALUES('-ORD-5','2 Main St','2026-11-27T20:18:01.313169+00:00',NULL,'2026-11-27T20:20:13.735973+00:00',NULL,NULL,NULL,NULL);
CREATE INDEX outbox_waiting ON outbox (number) WHERE sent_at IS NULL AND refused IS NULL;
CREATE INDEX outbox_by_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX failures_by_event ON failures (event_id);
CREATE INDEX failures_by_time ON failures (failed_at);
COMMIT;
PRAGMA user_version = 0;
