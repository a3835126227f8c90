"""FastStream with asyncpg: handles prefetched messages concurrently on eight connections.

Source: https://faststream.ag2.ai/latest/rabbit/ack/, https://magicstack.github.io/asyncpg/
"""

import asyncio
import os
from typing import Any

import asyncpg
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

CONNECTIONS = 8

broker = RabbitBroker(
    os.environ["BENCH_AMQP_URL"], default_channel=Channel(prefetch_count=200), logger=None
)
app = FastStream(broker, logger=None)
queue = RabbitQueue(
    os.environ["BENCH_QUEUE"], queue_type=QueueType.QUORUM, durable=True, declare=False
)
pools: list[asyncpg.Pool] = []


@app.on_startup
async def _open() -> None:
    pools.append(
        await asyncpg.create_pool(
            os.environ["BENCH_DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS
        )
    )


@broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)
async def reserve_stock(event: dict[str, Any]) -> None:
    """Apply one order exactly once; acknowledged when this returns."""
    async with pools[0].acquire() as connection, connection.transaction():
        entered = await connection.fetchval(
            "INSERT INTO inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING event_id",
            event["id"],
        )
        if entered is None:
            return
        for sku, pieces in sorted(event["data"]["items"].items()):
            done = await connection.execute(
                "UPDATE products SET available = available - $2, reserved = reserved + $2 "
                "WHERE sku = $1 AND available >= $2",
                sku,
                pieces,
            )
            if done != "UPDATE 1":
                raise LookupError(f"{sku} ran short")


if __name__ == "__main__":
    asyncio.run(app.run())
