"""What all that publish have in common: where to, what, and how fast it was."""

import json
import os
import time
from pathlib import Path

URL = os.environ["BENCH_AMQP_URL"]
EXCHANGE = "events"
KEY = "order.placed"


def bodies() -> list[bytes]:
    """The bodies to be published."""
    return Path(os.environ["BENCH_BODIES"]).read_bytes().splitlines()


class Clock:
    """Stops once a publisher has had its seconds, so that a slow one does a part."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seconds = float(os.environ["BENCH_SECONDS"])

    def is_up(self) -> bool:
        """Whether it has had them."""
        return time.monotonic() - self._began > self._seconds

    def say(self, number: int) -> None:
        """How many were confirmed, in how many seconds."""
        print(json.dumps({"number": number, "seconds": time.monotonic() - self._began}))
