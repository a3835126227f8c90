"""Celery with eight threads, acknowledging late, on a quorum queue.

Source: https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html#using-quorum-queues
"""

import os
import threading

import psycopg
from celery import Celery
from effect import apply
from kombu import Exchange, Queue

NAME = os.environ["BENCH_QUEUE"]

app = Celery("bench", broker=os.environ["BENCH_AMQP_URL"])
app.conf.update(
    task_default_queue=NAME,
    task_default_queue_type="quorum",
    task_queues=[
        Queue(NAME, Exchange(NAME), routing_key=NAME, queue_arguments={"x-queue-type": "quorum"})
    ],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_detect_quorum_queues=True,
    broker_transport_options={"confirm_publish": True},
)
local = threading.local()


@app.task(name="reserve_stock")
def reserve_stock(body: str) -> None:
    """Apply one order exactly once; acknowledged when this returns."""
    if not hasattr(local, "database"):
        local.database = psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True)
    apply(local.database, body)
