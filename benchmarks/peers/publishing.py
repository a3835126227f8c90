"""What all publishers share: the exchange, the bodies, and the time measurement."""

import json
import os
import time
from pathlib import Path

URL = os.environ["BENCH_AMQP_URL"]
EXCHANGE = "events"
KEY = "order.placed"


def bodies() -> list[bytes]:
    """The bodies to publish."""
    return Path(os.environ["BENCH_BODIES"]).read_bytes().splitlines()


class Timer:
    """Limits the time of a publisher, so that a slow one publishes only a part."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seconds = float(os.environ["BENCH_SECONDS"])

    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self._began > self._seconds

    def print_result(self, number: int) -> None:
        """Print how many were confirmed, and in how many seconds."""
        print(json.dumps({"number": number, "seconds": time.monotonic() - self._began}))
