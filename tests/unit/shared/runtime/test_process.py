import io
import queue
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from shared.messaging.embedded import EmbeddedBroker
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup, Signals, _asked_to_stop, _on_signals
from shared.runtime.settings import only, settings_for
from shared.runtime.setup import set_up_embedded
from tests.support.counting import counting
from tests.support.waiting import eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    stopping: Signals = queue.SimpleQueue()

    with _on_signals(stopping):
        signal.raise_signal(number)

        assert _asked_to_stop(stopping)


def test_without_a_signal_nobody_asks_to_stop() -> None:
    assert not _asked_to_stop(queue.SimpleQueue())


def test_a_signal_at_any_line_of_the_waiting_is_heard_and_locks_nothing() -> None:
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


def test_afterwards_signals_are_whose_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with _on_signals(queue.SimpleQueue()):
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_on_files_a_service_that_acts_gateway_holds_more_than_it_handles_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefetches = []
    consumer = EmbeddedBroker.consumer

    def noting(broker: EmbeddedBroker, name: str, *, prefetch: int, **more: Any) -> Any:
        prefetches.append(prefetch)
        return consumer(broker, name, prefetch=prefetch, **more)

    monkeypatch.setattr(EmbeddedBroker, "consumer", noting)
    service = counting(gateway=object, concurrency=3)
    with only(home=tmp_path):
        set_up_embedded([service], settings_for())
        group = ServiceGroup(
            [service], log_to(io.StringIO(), settings_for()), gateway={service.name: None}
        )
        group.start()
        eventually(lambda: prefetches)
        group.stop(20)

    assert set(prefetches) == {6}
