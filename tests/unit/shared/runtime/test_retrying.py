import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.runtime import retrying
from shared.runtime.logs import log_to
from shared.runtime.retrying import retry_until_stopped
from shared.runtime.settings import Settings


class RetryCall:
    """A call of `retry_until_stopped`, with its log."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.log_output = io.StringIO()

    def __call__(self, attempt: Callable[[], object]) -> None:
        retry_until_stopped(
            attempt,
            on=(BrokerUnavailable, KeyError),
            never_on=(BrokerRefused,),
            stopping=self.stopping,
            log=log_to(self.log_output, Settings()),
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_output.getvalue().splitlines()]


@pytest.fixture
def retry(monkeypatch: pytest.MonkeyPatch) -> RetryCall:
    monkeypatch.setattr(retrying, "MAX_DELAY", 0.01)
    return RetryCall()


def failing(*errors: Exception) -> Callable[[], object]:
    """An attempt that raises these errors, one for each call, and then succeeds."""
    remaining = iter(errors)

    def attempt() -> None:
        error = next(remaining, None)
        if error is not None:
            raise error

    return attempt


def test_a_failed_attempt_is_repeated_until_it_succeeds(retry: RetryCall) -> None:
    retry(failing(BrokerUnavailable("away"), KeyError("canary")))

    assert [(line["event"], line["error"]) for line in retry.lines()] == [
        ("retrying", "BrokerUnavailable"),
        ("retrying", "KeyError"),
    ]
    assert retry.lines()[0]["reason"] == "away"
    assert "canary" not in retry.log_output.getvalue()


@pytest.mark.parametrize("error", [BrokerRefused(), ValueError()], ids=["never", "other"])
def test_other_errors_are_raised(retry: RetryCall, error: Exception) -> None:
    with pytest.raises(type(error)):
        retry(failing(error))

    assert retry.lines() == []


def test_it_ends_when_it_is_stopped_while_it_waits(retry: RetryCall) -> None:
    attempts: list[int] = []

    def attempt() -> None:
        attempts.append(1)
        retry.stopping.set()
        raise BrokerUnavailable

    retry(attempt)

    assert attempts == [1]


def test_the_delay_doubles_up_to_its_maximum() -> None:
    delays = [retrying.delay_after(number) for number in (0, 1, 2, 3, 1_000)]

    assert delays == [0.0, 0.5, 1.0, 2.0, retrying.MAX_DELAY]
