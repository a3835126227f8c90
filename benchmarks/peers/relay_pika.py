"""pika's BlockingConnection, each message confirmed before the next.

Source: https://pika.readthedocs.io/en/stable/examples/blocking_publish_mandatory.html
"""

import pika
from publishing import EXCHANGE, KEY, URL, Timer, bodies


def main() -> None:
    """Publish all bodies."""
    messages, number = bodies(), 0
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
    timer = Timer()
    for body in messages:
        if timer.is_over():
            break
        channel.basic_publish(EXCHANGE, KEY, body, properties, mandatory=True)
        number += 1
    timer.print_result(number)
    connection.close()


if __name__ == "__main__":
    main()
