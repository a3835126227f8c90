"""The worst bodies that fit: what consumers and commands need for them stays below the limit.

Each container of ours has 384 MiB (docker-compose.yml).
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.containers import new_vhost
from tests.security.hostile_messages import MEBIBYTE, event
from tests.support.waiting import eventually

LIMIT = 384 * MEBIBYTE
MARGIN = 96 * MEBIBYTE
"""For the files in /tmp, which count too, and for what a test machine does not show."""

SERVICE = "shipping"
COUNT = 60
"""Messages of each kind: three times as many bytes as a container has memory, all in all."""


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


class Ended(NamedTuple):
    code: int
    peak_bytes: int


def wait(process: "subprocess.Popen[bytes]") -> Ended:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(process.returncode, usage.ru_maxrss * 1024)


def start(*arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "shop.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def flooded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """A shop whose history, and whose queue of one service, hold the worst bodies."""
    with contextmanager(_broker)(request) as urls, settings_override(home=tmp_path, **urls):
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
        yield


def _broker(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    if request.param == "embedded":
        yield {}
        return
    with new_vhost(request.getfixturevalue("rabbitmq_server")) as vhost:
        yield {
            "broker_url": vhost.amqp_url,
            "broker_admin_url": vhost.admin_url,
            "allow_plaintext": True,  # the Docker engine may be on another machine
        }


@pytest.mark.usefixtures("flooded")
def test_consumers_and_commands_stay_below_the_limit_of_their_container() -> None:
    peaks = {"the service": _peak_of_the_service()}
    for command in (
        ("dead", "list", SERVICE),
        ("dead", "retry", SERVICE, "--all"),
        ("events", "history"),
        ("events", "history", "--limit", "10000"),
        ("events", "timeline", "ORD-1"),
        ("events", "replay", "--to", SERVICE, "--yes"),
    ):
        peaks[" ".join(command)] = wait(start(*command)).peak_bytes

    assert {name: peak // MEBIBYTE for name, peak in peaks.items() if peak > LIMIT - MARGIN} == {}


def _peak_of_the_service() -> int:
    broker = broker_at(settings_for(SERVICE).broker_url_of(SERVICE))
    process = start("run", SERVICE)
    eventually(lambda: broker.depth(dead_queue(SERVICE)).ready == 4 * COUNT, within=60)
    process.send_signal(signal.SIGTERM)
    broker.close()
    ended = wait(process)
    assert ended.code == 0
    return ended.peak_bytes
