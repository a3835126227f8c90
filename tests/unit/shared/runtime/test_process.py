import io
import json
import os
import queue
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.consumer import Delivery
from shared.runtime import process
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup, Signals, _asked_to_stop, _on_signals
from shared.runtime.settings import settings_for, settings_override
from shared.runtime.setup import set_up_embedded
from shared.runtime.watchdog import Overrun, Watchdog
from tests.support.counting import counting
from tests.support.waiting import eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    stopping: Signals = queue.SimpleQueue()

    with _on_signals(stopping):
        signal.raise_signal(number)

        assert _asked_to_stop(stopping)


def test_without_a_signal_the_process_is_not_asked_to_stop() -> None:
    assert not _asked_to_stop(queue.SimpleQueue())


def test_a_signal_at_any_line_of_the_wait_is_received_and_does_not_deadlock() -> None:
    stopping: Signals = queue.SimpleQueue()
    raised: list[int] = []

    def interrupt(frame: FrameType, event: str, argument: object) -> object:
        del argument
        if event == "line" and frame.f_code.co_name in ("_asked_to_stop", "wait", "get"):
            raised.append(frame.f_lineno)
            signal.raise_signal(signal.SIGTERM)
        return interrupt

    before = sys.gettrace()
    with _on_signals(stopping):
        sys.settrace(interrupt)  # type: ignore[arg-type]
        try:
            asked = _asked_to_stop(stopping)
        finally:
            sys.settrace(before)

    assert raised
    assert asked


def test_the_previous_signal_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with _on_signals(queue.SimpleQueue()):
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_on_the_embedded_broker_a_service_with_a_gateway_prefetches_for_its_concurrency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefetches = []
    consumer = EmbeddedBroker.consumer

    def recording_consumer(
        broker: EmbeddedBroker, name: str, *, prefetch: int, **options: Any
    ) -> Any:
        prefetches.append(prefetch)
        return consumer(broker, name, prefetch=prefetch, **options)

    monkeypatch.setattr(EmbeddedBroker, "consumer", recording_consumer)
    service = counting(gateway=object, concurrency=3)
    with settings_override(home=tmp_path):
        set_up_embedded([service], settings_for())
        group = ServiceGroup(
            [service], log_to(io.StringIO(), settings_for()), gateway={service.name: None}
        )
        group.start()
        eventually(lambda: prefetches)
        group.stop(20)

    assert set(prefetches) == {6}


HANGING = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from shared.runtime import process
from shared.runtime.settings import settings_for

class HangingGroup(process.ServiceGroup):
    def start(self):
        ThreadPoolExecutor(1).submit(threading.Event().wait)

    def stop(self, grace):
        return False

process.ServiceGroup = HangingGroup
process._supervise = lambda group, stopping: 0
sys.exit(process.run([], settings_for(), everyone=list))
"""


def test_a_hung_thread_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGING],
        env={"SHOP_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    events = [json.loads(line)["event"] for line in ended.stdout.splitlines()]
    assert events == ["made a new shop", "did not stop within the grace period", "stopped"]
    assert ended.returncode == 1


class SlowRunner:
    """A runner whose handler ends, and the next begins, while its process ends."""

    name, deadline, failed = "counting", 0.0, None

    def __init__(self) -> None:
        self.watchdog = Watchdog()
        self.watchdog.step(self.delivery("slow"))
        self.blamed: list[Delivery | None] = []

    def delivery(self, event_id: str) -> Delivery:
        return Delivery(
            queue=self.name,
            body=b"",
            event_id=event_id,
            type="thing.happened.v1",
            attempt=1,
            replays=0,
            token=event_id,
        )

    def error(self, *_: object, **__: object) -> None:
        """As a log: the handler ends just now."""
        self.watchdog.step(self.delivery("next"))

    def abandon(self, overrun: Overrun) -> None:
        self.blamed.append(overrun.delivery)


def test_the_next_delivery_is_not_blamed_when_the_slow_handler_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = SlowRunner()
    group: Any = SimpleNamespace(runners=[runner], log=runner)
    monkeypatch.setattr(os, "_exit", sys.exit)

    with pytest.raises(SystemExit) as ended:
        process._supervise(group, queue.SimpleQueue())

    assert ended.value.code == process.EXIT_HUNG
    assert runner.blamed == [runner.delivery("slow")]


def test_the_http_server_is_loaded_only_where_it_is_used() -> None:
    program = "import sys; from shared.runtime import process; print('waitress' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
