"""Plain pika and psycopg: one message, one transaction, one acknowledgement.

Source: https://www.rabbitmq.com/tutorials/tutorial-two-python
"""

import os

import pika
import psycopg
from effect import apply
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties


def main() -> None:
    """Consume until the process is ended."""
    database = psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True)
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=200)

    def handle(
        channel: BlockingChannel, method: Basic.Deliver, _: BasicProperties, body: bytes
    ) -> None:
        apply(database, body)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(os.environ["BENCH_QUEUE"], handle)
    channel.start_consuming()


if __name__ == "__main__":
    main()
