"""The upper limit: hand-written, set-based batches of 200 in psycopg's pipeline mode.

It applies the effect and nothing else: no validation, no retry, no record of failures, no outgoing
event.
Source: https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html
"""

import json
import os
from collections import Counter

import pika
import psycopg

MOST = 200
ENTER = """
    INSERT INTO inbox (event_id) SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING RETURNING event_id
"""
LOCK = "SELECT 1 FROM products WHERE sku = ANY(%s) ORDER BY sku FOR UPDATE"
RESERVE = """
    UPDATE products SET available = available - pieces, reserved = reserved + pieces
    FROM unnest(%s::text[], %s::bigint[]) AS wanted (wanted_sku, pieces) WHERE sku = wanted_sku
"""


def main() -> None:
    """Consume until the process is ended."""
    database = psycopg.connect(os.environ["BENCH_DATABASE_URL"])
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=2 * MOST)
    waiting: list[tuple[int, bytes]] = []
    channel.basic_consume(
        os.environ["BENCH_QUEUE"],
        lambda _channel, method, _properties, body: waiting.append((method.delivery_tag, body)),
    )
    while True:
        connection.process_data_events(time_limit=None if not waiting else 0)
        batch, waiting[:] = waiting[:MOST], waiting[MOST:]
        if batch:
            apply(database, [body for _, body in batch])
            channel.basic_ack(batch[-1][0], multiple=True)


def apply(database: psycopg.Connection, bodies: list[bytes]) -> None:
    """Apply all orders in one transaction."""
    events = {event["id"]: event["data"]["items"] for event in map(json.loads, bodies)}
    new = database.execute(ENTER, (sorted(events),)).fetchall()
    wanted: Counter[str] = Counter()
    for (event_id,) in new:
        wanted.update(events[str(event_id)])
    with database.pipeline():
        if wanted:
            database.execute(LOCK, (list(wanted),))
            database.execute(RESERVE, (list(wanted), list(wanted.values())))
        database.commit()


if __name__ == "__main__":
    main()
