"""FastStream, each publish awaited; confirms are its default.

Source: https://faststream.ag2.ai/latest/rabbit/publishing/
"""

import asyncio

from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange
from publishing import EXCHANGE, KEY, URL, Timer, bodies


async def main() -> None:
    """Publish all bodies."""
    messages, number = bodies(), 0
    exchange = RabbitExchange(EXCHANGE, ExchangeType.TOPIC, durable=True, declare=False)
    async with RabbitBroker(URL, logger=None) as broker:
        timer = Timer()
        for body in messages:
            if timer.is_over():
                break
            await broker.publish(body, routing_key=KEY, exchange=exchange, persist=True)
            number += 1
        timer.print_result(number)


if __name__ == "__main__":
    asyncio.run(main())
