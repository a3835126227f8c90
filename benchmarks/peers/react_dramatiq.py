"""Dramatiq with its default of eight threads, on quorum queues, the virtual host's default type.

Source: https://dramatiq.io/guide.html, https://www.rabbitmq.com/docs/vhosts#default-queue-type
"""

import os
import threading

import dramatiq
import psycopg
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from effect import apply

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BENCH_AMQP_URL"], confirm_delivery=True))
local = threading.local()


@dramatiq.actor(queue_name=os.environ["BENCH_QUEUE"], actor_name="reserve_stock")
def reserve_stock(body: str) -> None:
    """Apply one order exactly once; acknowledged when this returns."""
    if not hasattr(local, "database"):
        local.database = psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True)
    apply(local.database, body)
