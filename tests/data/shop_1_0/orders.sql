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
INSERT INTO "inbox" VALUES('01a21eaa5b7275c0b39a8d42476e6af6','stock.reserved.v1','ORD-1','handled','2026-11-27T20:20:10.738905+00:00','2026-11-27T20:20:11.705+00:00');
INSERT INTO "inbox" VALUES('01a21eaa611c753d93cb52d94da56dad','stock.reserved.v1','ORD-2','handled','2026-11-27T20:20:12.188376+00:00','2026-11-27T20:20:13.247+00:00');
INSERT INTO "inbox" VALUES('01a21eaa621b789eb7f8559e2ec3379b','stock.reserved.v1','ORD-3','handled','2026-11-27T20:20:12.443811+00:00','2026-11-27T20:20:14.056+00:00');
INSERT INTO "inbox" VALUES('01a21eaa5f7775559a86cfb6470fd49f','order.shipped.v1','ORD-1','handled','2026-11-27T20:20:11.767964+00:00','2026-11-27T20:20:14.347+00:00');
INSERT INTO "inbox" VALUES('01a21eaa64b67c6692b1c6d52aa0c0af','stock.ran_short.v1','ORD-4','handled','2026-11-27T20:20:13.110786+00:00','2026-11-27T20:20:14.369+00:00');
INSERT INTO "inbox" VALUES('01a21eaa67277e51a03a14425df73876','stock.reserved.v1','-ORD-5','handled','2026-11-27T20:20:13.735973+00:00','2026-11-27T20:20:14.383+00:00');
CREATE TABLE order_lines (
	order_id TEXT NOT NULL, 
	sku TEXT NOT NULL, 
	quantity INTEGER NOT NULL, 
	unit_price INTEGER NOT NULL, 
	PRIMARY KEY (order_id, sku), 
	FOREIGN KEY(order_id) REFERENCES orders (order_id), 
	FOREIGN KEY(sku) REFERENCES products (sku)
);
INSERT INTO "order_lines" VALUES('ORD-1','product-1',2,4999);
INSERT INTO "order_lines" VALUES('ORD-2','product-1',2,4999);
INSERT INTO "order_lines" VALUES('ORD-3','product-1',2,4999);
INSERT INTO "order_lines" VALUES('ORD-4','product-3',500,2450);
INSERT INTO "order_lines" VALUES('-ORD-5','product-2',1,1);
CREATE TABLE orders (
	order_id TEXT NOT NULL, 
	customer_email TEXT NOT NULL, 
	shipping_address TEXT NOT NULL, 
	total_amount INTEGER NOT NULL, 
	currency TEXT NOT NULL, 
	correlation_id CHAR(32) NOT NULL, 
	payment_method TEXT, 
	refunded_amount INTEGER, 
	cancel_reason TEXT, 
	carrier TEXT, 
	tracking_number TEXT, 
	placed_at VARCHAR(32) NOT NULL, 
	reserved_at VARCHAR(32), 
	paid_at VARCHAR(32), 
	shipped_at VARCHAR(32), 
	cancelled_at VARCHAR(32), 
	PRIMARY KEY (order_id)
);
INSERT INTO "orders" VALUES('ORD-1','Ann@Example.COM','1 Main St',9998,'EUR','01a21ea6cd307ec5855b02c5d6e2ac6d','card',NULL,NULL,'Pigeon Post','PP-F7F8BFA06D24D43C','2026-11-27T20:16:17.712528+00:00','2026-11-27T20:20:10.738905+00:00','2026-11-27T20:18:16.266589+00:00','2026-11-27T20:20:11.767964+00:00',NULL);
INSERT INTO "orders" VALUES('ORD-2','Ann@Example.COM','1 Main St',9998,'EUR','01a21ea70a0379cc81c1e789ac6dc80b',NULL,0,'changed my mind',NULL,NULL,'2026-11-27T20:16:33.283976+00:00','2026-11-27T20:20:12.188376+00:00',NULL,NULL,'2026-11-27T20:18:27.823280+00:00');
INSERT INTO "orders" VALUES('ORD-3','Ann@Example.COM','1 Main St',9998,'EUR','01a21ea75aea7339821e103c6f2156dc',NULL,NULL,NULL,NULL,NULL,'2026-11-27T20:16:53.994840+00:00','2026-11-27T20:20:12.443811+00:00',NULL,NULL,NULL);
INSERT INTO "orders" VALUES('ORD-4','bob@example.org','2 Main St',1225000,'EUR','01a21ea80c6175eeb2cea9e2fcc57cc1',NULL,0,'out of stock: 495 × product-3',NULL,NULL,'2026-11-27T20:17:39.425980+00:00',NULL,NULL,NULL,'2026-11-27T20:20:14.370271+00:00');
INSERT INTO "orders" VALUES('-ORD-5','bob@example.org','2 Main St',1,'EUR','01a21ea861e178d5b0c8247975dfabee',NULL,NULL,NULL,NULL,NULL,'2026-11-27T20:18:01.313169+00:00','2026-11-27T20:20:13.735973+00:00',NULL,NULL,NULL);
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
INSERT INTO "outbox" VALUES(1,'01a21ea6cd307ec5855b02c5d6e2ac6d','order.placed','order.placed.v1','ORD-1','01a21ea6cd307ec5855b02c5d6e2ac6d','2026-11-27T20:16:17.712528+00:00','{"specversion":"1.0","id":"01a21ea6-cd30-7ec5-855b-02c5d6e2ac6d","source":"/orders","type":"order.placed.v1","subject":"ORD-1","time":"2026-11-27T20:16:17.712528Z","datacontenttype":"application/json","correlationid":"01a21ea6-cd30-7ec5-855b-02c5d6e2ac6d","data":{"order_id":"ORD-1","customer_email":"Ann@Example.COM","items":{"product-1":2},"shipping_address":"1 Main St","total_amount":"99.98","currency":"EUR"}}','2026-11-27T20:16:17.809+00:00','2026-11-27T20:20:07.611+00:00',NULL);
INSERT INTO "outbox" VALUES(2,'01a21ea70a0379cc81c1e789ac6dc80b','order.placed','order.placed.v1','ORD-2','01a21ea70a0379cc81c1e789ac6dc80b','2026-11-27T20:16:33.283976+00:00','{"specversion":"1.0","id":"01a21ea7-0a03-79cc-81c1-e789ac6dc80b","source":"/orders","type":"order.placed.v1","subject":"ORD-2","time":"2026-11-27T20:16:33.283976Z","datacontenttype":"application/json","correlationid":"01a21ea7-0a03-79cc-81c1-e789ac6dc80b","data":{"order_id":"ORD-2","customer_email":"Ann@Example.COM","items":{"product-1":2},"shipping_address":"1 Main St","total_amount":"99.98","currency":"EUR"}}','2026-11-27T20:16:33.376+00:00','2026-11-27T20:20:07.611+00:00',NULL);
INSERT INTO "outbox" VALUES(3,'01a21ea75aea7339821e103c6f2156dc','order.placed','order.placed.v1','ORD-3','01a21ea75aea7339821e103c6f2156dc','2026-11-27T20:16:53.994840+00:00','{"specversion":"1.0","id":"01a21ea7-5aea-7339-821e-103c6f2156dc","source":"/orders","type":"order.placed.v1","subject":"ORD-3","time":"2026-11-27T20:16:53.994840Z","datacontenttype":"application/json","correlationid":"01a21ea7-5aea-7339-821e-103c6f2156dc","data":{"order_id":"ORD-3","customer_email":"Ann@Example.COM","items":{"product-1":2},"shipping_address":"1 Main St","total_amount":"99.98","currency":"EUR"}}','2026-11-27T20:16:54.007+00:00','2026-11-27T20:20:07.611+00:00',NULL);
INSERT INTO "outbox" VALUES(4,'01a21ea80c6175eeb2cea9e2fcc57cc1','order.placed','order.placed.v1','ORD-4','01a21ea80c6175eeb2cea9e2fcc57cc1','2026-11-27T20:17:39.425980+00:00','{"specversion":"1.0","id":"01a21ea8-0c61-75ee-b2ce-a9e2fcc57cc1","source":"/orders","type":"order.placed.v1","subject":"ORD-4","time":"2026-11-27T20:17:39.425980Z","datacontenttype":"application/json","correlationid":"01a21ea8-0c61-75ee-b2ce-a9e2fcc57cc1","data":{"order_id":"ORD-4","customer_email":"bob@example.org","items":{"product-3":500},"shipping_address":"2 Main St","total_amount":"12250.00","currency":"EUR"}}','2026-11-27T20:17:39.433+00:00','2026-11-27T20:20:07.611+00:00',NULL);
INSERT INTO "outbox" VALUES(5,'01a21ea861e178d5b0c8247975dfabee','order.placed','order.placed.v1','-ORD-5','01a21ea861e178d5b0c8247975dfabee','2026-11-27T20:18:01.313169+00:00','{"specversion":"1.0","id":"01a21ea8-61e1-78d5-b0c8-247975dfabee","source":"/orders","type":"order.placed.v1","subject":"-ORD-5","time":"2026-11-27T20:18:01.313169Z","datacontenttype":"application/json","correlationid":"01a21ea8-61e1-78d5-b0c8-247975dfabee","data":{"order_id":"-ORD-5","customer_email":"bob@example.org","items":{"product-2":1},"shipping_address":"2 Main St","total_amount":"0.01","currency":"EUR"}}','2026-11-27T20:18:01.329+00:00','2026-11-27T20:20:07.611+00:00',NULL);
INSERT INTO "outbox" VALUES(6,'01a21ea89c4877cab7bef7494e9fa2c6','payment.received','payment.received.v1','ORD-1','01a21ea6cd307ec5855b02c5d6e2ac6d','2026-11-27T20:18:16.266589+00:00','{"specversion":"1.0","id":"01a21ea8-9c48-77ca-b7be-f7494e9fa2c6","source":"/orders","type":"payment.received.v1","subject":"ORD-1","time":"2026-11-27T20:18:16.266589Z","datacontenttype":"application/json","correlationid":"01a21ea6-cd30-7ec5-855b-02c5d6e2ac6d","data":{"order_id":"ORD-1","amount":"99.98","payment_method":"card"}}','2026-11-27T20:18:16.280+00:00','2026-11-27T20:20:07.611+00:00',NULL);
INSERT INTO "outbox" VALUES(7,'01a21ea8c96f762d90b5883b4d08b799','order.cancelled','order.cancelled.v1','ORD-2','01a21ea70a0379cc81c1e789ac6dc80b','2026-11-27T20:18:27.823280+00:00','{"specversion":"1.0","id":"01a21ea8-c96f-762d-90b5-883b4d08b799","source":"/orders","type":"order.cancelled.v1","subject":"ORD-2","time":"2026-11-27T20:18:27.823280Z","datacontenttype":"application/json","correlationid":"01a21ea7-0a03-79cc-81c1-e789ac6dc80b","data":{"order_id":"ORD-2","reason":"changed my mind","refunded_amount":"0.00"}}','2026-11-27T20:18:27.828+00:00','2026-11-27T20:20:07.611+00:00',NULL);
INSERT INTO "outbox" VALUES(8,'01a21eaa69a2701db2f6a68174f003cf','order.cancelled','order.cancelled.v1','ORD-4','01a21ea80c6175eeb2cea9e2fcc57cc1','2026-11-27T20:20:14.370271+00:00','{"specversion":"1.0","id":"01a21eaa-69a2-701d-b2f6-a68174f003cf","source":"/orders","type":"order.cancelled.v1","subject":"ORD-4","time":"2026-11-27T20:20:14.370271Z","datacontenttype":"application/json","correlationid":"01a21ea8-0c61-75ee-b2ce-a9e2fcc57cc1","causationid":"01a21eaa-64b6-7c66-92b1-c6d52aa0c0af","data":{"order_id":"ORD-4","reason":"out of stock: 495 × product-3","refunded_amount":"0.00"}}','2026-11-27T20:20:14.371+00:00','2026-11-27T20:20:14.402+00:00',NULL);
CREATE TABLE products (
	sku TEXT NOT NULL, 
	name TEXT NOT NULL, 
	unit_price INTEGER NOT NULL, 
	PRIMARY KEY (sku)
);
INSERT INTO "products" VALUES('product-1','Desk lamp',4999);
INSERT INTO "products" VALUES('product-2','Paper clip',1);
INSERT INTO "products" VALUES('product-3','Fountain pen',2450);
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
CREATE INDEX orders_by_time ON orders (placed_at, order_id);
COMMIT;
PRAGMA user_version = 0;
