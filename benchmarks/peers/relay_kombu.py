"""kombu, which Celery publishes with, each message confirmed before the next.

Source: https://docs.celeryq.dev/projects/kombu/en/stable/reference/kombu.transport.pyamqp.html
"""

from kombu import Connection, Exchange
from publishing import EXCHANGE, KEY, URL, Timer, bodies


def main() -> None:
    """Publish all bodies."""
    messages, number = bodies(), 0
    exchange = Exchange(EXCHANGE, "topic", durable=True, no_declare=True)
    with Connection(URL, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer(exchange=exchange, routing_key=KEY)
        timer = Timer()
        for body in messages:
            if timer.is_over():
                break
            producer.publish(body, content_type="application/json", content_encoding="binary")
            number += 1
        timer.print_result(number)


if __name__ == "__main__":
    main()
