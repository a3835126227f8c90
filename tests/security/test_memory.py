"""The worst bodies that fit: what consumers and commands need for them stays below the limit.

Each container of ours has 384 MiB (docker-compose.yml).
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.messaging.connect import broker_at
from shared.messaging.parsing import MAX_SEPARATORS
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import dead_queue
from shared.runtime.settings import settings_for, settings_override
from shared.runtime.setup import set_up
from shop import registry
from tests.containers import MAX_MESSAGE_BYTES
from tests.security.hostile_messages import MEBIBYTE, HostileMessage, encode_properties, event
from tests.security.hostile_shop import broker_settings
from tests.security.publishing import RawPublisher
from tests.support.waiting import eventually

LIMIT = 384 * MEBIBYTE
MARGIN = 96 * MEBIBYTE
"""For the files in /tmp, which count too, and for what a test machine does not show."""

SERVICE = "shipping"
COUNT = 60
"""Messages of each kind: a process that held all of them would exceed the limit."""


def refused(name: str, value: str) -> bytes:
    """A body of 1 MiB of small values, in an event without data for its type."""
    body = json.dumps(event(name, data={"x": "?"})).encode()
    count = (MEBIBYTE - len(body)) // (len(value) + 1)
    return body.replace(b'"?"', b"[" + ",".join([value] * count).encode() + b"]")


def parsed(name: str) -> bytes:
    """A body of 1 MiB that is parsed, and takes most: wide text, and all containers allowed."""
    containers = ",".join(['{"":{}}'] * (MAX_SEPARATORS // 5))
    text = "x" * 900_000 + "\U0001f600"
    body = json.dumps(event(name, data={"x": "?"})).encode()
    return body.replace(b'"?"', f'["{text}",{containers}]'.encode())


def bodies() -> Iterator[bytes]:
    """In turns, so that each batch has each kind."""
    for number in range(COUNT):
        yield parsed(f"parsed {number}")
        yield refused(f"lists {number}", "[]")
        yield refused(f"objects {number}", "{}")
        yield refused(f"nested {number}", "[[[[]]]]")


def oversized() -> Iterator[HostileMessage]:
    """Bodies above our limit and as large as the broker's, with headers that fill a frame."""
    array = b"A" + (100_000).to_bytes(4) + b"V" * 100_000
    properties = encode_properties(headers=b"\x01h" + array)
    for number in range(COUNT):
        body = f"oversized {number} ".encode().ljust(MAX_MESSAGE_BYTES, b"[")
        yield HostileMessage(
            name=f"oversized {number}", topic="order.placed", body=body, properties=properties
        )


class Ended(NamedTuple):
    code: int
    peak_bytes: int


MEASURED = """
import runpy, sys
try:
    runpy.run_module("shop.cli", run_name="__main__", alter_sys=True)
finally:
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM:"))
    sys.stderr.write(peak)
"""
"""Prints the peak of its memory at last; what wait4 tells includes the memory of the parent."""


class Command:
    """A process of `shop`, from its start on."""

    def __init__(self, *arguments: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `wait` closes it
        command = [sys.executable, "-c", MEASURED, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._log)

    def wait(self) -> Ended:
        code = self.process.wait()
        with self._log:
            self._log.seek(0)
            *_, (name, peak, unit) = (line.split() for line in self._log)
        assert (name, unit) == (b"VmHWM:", b"kB")
        return Ended(code, int(peak) * 1024)


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def flooded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """A shop whose history, and whose queue of one service, hold so many of the worst bodies."""
    with (
        broker_settings(request, request.param) as broker_values,
        settings_override(home=tmp_path, **broker_values),
    ):
        for _ in set_up([registry.service(SERVICE)]):
            pass
        broker = broker_at(settings_for(SERVICE).broker_url_of(SERVICE))
        publisher = broker.publisher()
        for number, body in enumerate(bodies()):
            message = Message(
                event_id=f"flood {number}", topic="order.placed", type="", body=body, source=""
            )
            assert publisher.publish([message]) == [None]
        broker.close()
        if request.param == "embedded":  # it accepts nothing above our limit
            yield 4 * COUNT
            return
        raw = RawPublisher(settings_for().broker_url)
        for each in oversized():
            assert raw.publish([each]) == {}
        raw.close()
        yield 5 * COUNT


def test_consumers_and_commands_stay_below_the_limit_of_their_container(flooded: int) -> None:
    ended = {"the service": _run_the_service(flooded)}
    for command in (
        ("dead", "list", SERVICE),
        ("dead", "retry", SERVICE, "--all"),
        ("events", "history"),
        ("events", "history", "--limit", "10000"),
        ("events", "timeline", "ORD-1"),
        ("events", "replay", "--to", SERVICE, "--yes"),
    ):
        ended[" ".join(command)] = Command(*command).wait()

    peaks = {name: each.peak_bytes // MEBIBYTE for name, each in ended.items()}
    codes = {name: each.code for name, each in ended.items() if each.code}
    assert codes == {"events timeline ORD-1": 2}, "only what nobody can find may fail"
    assert {name: peak for name, peak in peaks.items() if peak > (LIMIT - MARGIN) // MEBIBYTE} == {}
    assert min(peaks.values()) > 10


def _run_the_service(count: int) -> Ended:
    broker = broker_at(settings_for(SERVICE).broker_url_of(SERVICE))
    command = Command("run", SERVICE)
    eventually(lambda: broker.depth(dead_queue(SERVICE)).ready == count, within=120)
    command.process.send_signal(signal.SIGTERM)
    broker.close()
    return command.wait()
