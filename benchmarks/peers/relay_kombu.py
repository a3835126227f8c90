"""kombu, which Celery publishes with, each message confirmed before the next.

Source: https://docs.celeryq.dev/projects/kombu/en/stable/reference/kombu.transport.pyamqp.html
"""

from kombu import Connection, Exchange
from publishing import EXCHANGE, KEY, URL, Clock, bodies


def main() -> None:
    """Publish all."""
    todo, number = bodies(), 0
    exchange = Exchange(EXCHANGE, "topic", durable=True, no_declare=True)
    with Connection(URL, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer(exchange=exchange, routing_key=KEY)
        clock = Clock()
        for body in todo:
            if clock.is_up():
                break
            producer.publish(body, content_type="application/json", content_encoding="binary")
            number += 1
        clock.say(number)


if __name__ == "__main__":
    main()
