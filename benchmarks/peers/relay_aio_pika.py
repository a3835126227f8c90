"""aio-pika, each publish awaited; confirms are its default.

Source: https://docs.aio-pika.com/quick-start.html
"""

import asyncio

import aio_pika
from publishing import EXCHANGE, KEY, URL, Timer, bodies


async def main() -> None:
    """Publish all bodies."""
    messages, number = bodies(), 0
    connection = await aio_pika.connect_robust(URL)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EXCHANGE)
        timer = Timer()
        for body in messages:
            if timer.is_over():
                break
            message = aio_pika.Message(
                body,
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await exchange.publish(message, KEY)
            number += 1
        timer.print_result(number)


if __name__ == "__main__":
    asyncio.run(main())
