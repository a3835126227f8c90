"""Reads what a broker holds: dead letters, the history, and messages left in queues."""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared.messaging.topology import HISTORY, dead_queue
from tests.chaos.state import BrokerContents

_IDLE = 2.0
"""Seconds without a message after which reading a stream ends."""


def embedded(file: Path, services: Iterable[str]) -> BrokerContents:
    """Read the embedded broker's file."""
    with closing(sqlite3.connect(file)) as connection:
        dead = {
            name: _column(connection, "SELECT event_id FROM messages WHERE queue = ?", name)
            for name in map(dead_queue, services)
        }
        history = _column(connection, "SELECT event_id FROM history")
        left = connection.execute(
            "SELECT queue, count(*), count(holder) FROM messages WHERE reason IS NULL GROUP BY 1"
        ).fetchall()
    return BrokerContents(
        dead=_by_service(dead),
        history=frozenset(history),
        left=[f"{queue}: {count}, of which {held} held" for queue, count, held in left],
    )


def _column(connection: sqlite3.Connection, query: str, *parameters: str) -> list[str]:
    return [value for (value,) in connection.execute(query, parameters)]


def rabbitmq(
    url: str, services: Iterable[str], *, expected: set[str], left: list[str]
) -> BrokerContents:
    """Read what RabbitMQ holds, without changing it.

    Args:
        expected: event ids that the history should have; reading stops when all are found.
        left: messages left in the queues, from the management API.
    """
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        dead = {name: _dead_letters(connection.channel(), name) for name in services}
        found = _in_history(connection.channel(), expected)
    finally:
        connection.close()
    return BrokerContents(dead=dead, history=frozenset(found), left=left)


def _dead_letters(channel: BlockingChannel, service: str) -> list[str]:
    """Get every dead letter without settling it, then requeue all."""
    queue = dead_queue(service)
    count = channel.queue_declare(queue, passive=True).method.message_count
    found = []
    for _ in range(count):
        _, properties, _ = channel.basic_get(queue)
        found.append((properties and properties.message_id) or "")
    channel.basic_nack(0, multiple=True, requeue=True)  # closing the channel would count an attempt
    channel.close()
    return found


def _in_history(channel: BlockingChannel, expected: set[str]) -> set[str]:
    found: set[str] = set()
    channel.basic_qos(prefetch_count=1000)
    began = time.monotonic()
    for method, properties, _ in channel.consume(
        HISTORY, arguments={"x-stream-offset": "first"}, inactivity_timeout=_IDLE
    ):
        if method is None or properties is None or time.monotonic() - began > 60:
            break
        found.add(properties.message_id or "")
        channel.basic_ack(method.delivery_tag)
        if expected <= found:
            break
    channel.close()
    return found


def remaining_messages(queues: Iterable[Mapping[str, object]]) -> list[str]:
    """The messages left in the live queues, from the queues that the management API lists."""
    kinds = ("messages_ready", "messages_unacknowledged", "messages_delayed")
    return [
        f"{each['name']}: {each[kind]} {kind.removeprefix('messages_')}"
        for each in queues
        if not str(each["name"]).endswith(dead_queue("")) and each["name"] != HISTORY
        for kind in kinds
        if each.get(kind)
    ]


def _by_service(dead: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {queue.removesuffix(dead_queue("")): ids for queue, ids in dead.items()}
