"""Applies an order exactly once: inbox row and stock of its products in one transaction.

Products are updated in the order of their names, so that threads do not deadlock.
"""

import json
from typing import Any

import psycopg

ENTER = "INSERT INTO inbox (event_id) VALUES (%s) ON CONFLICT DO NOTHING"
RESERVE = """
    UPDATE products SET available = available - %s, reserved = reserved + %s
    WHERE sku = %s AND available >= %s
"""


def apply(connection: psycopg.Connection[Any], body: bytes | str) -> None:
    """Apply an order unless it was applied before; committed when this returns."""
    event = json.loads(body)
    with connection.transaction():
        if connection.execute(ENTER, (event["id"],)).rowcount == 0:
            return
        for sku, pieces in sorted(event["data"]["items"].items()):
            done = connection.execute(RESERVE, (pieces, pieces, sku, pieces)).rowcount
            if done != 1:
                raise LookupError(f"{sku} ran short")
