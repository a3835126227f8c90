"""Which thread waits for which at the buffer between a connection and its consumer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.messaging import budget
from shared.messaging.ports.consumer import Delivery
from shared.messaging.rabbitmq import buffer
from shared.messaging.rabbitmq.buffer import DeliveryBuffer

BODY = b"x" * 10
DELIVERY = Delivery(queue="q", body=BODY, event_id="", type="", attempt=1, replays=0, token=None)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> DeliveryBuffer:
    """A buffer with three deliveries, in which the next one has no room."""
    monkeypatch.setattr(budget, "MAX_WAITING_BYTES", 2 * len(BODY))
    monkeypatch.setattr(buffer, "_MAX_BLOCK", 60)
    full = DeliveryBuffer()
    for _ in range(3):
        assert put(full)
    return full


def put(into: DeliveryBuffer, *, is_required: bool = False) -> bool:
    return into.put(DELIVERY, is_required=is_required)


@contextmanager
def on_a_thread(call: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run it on a thread, which must have ended after the block."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def test_a_full_buffer_blocks_until_a_delivery_is_taken(full: DeliveryBuffer) -> None:
    with on_a_thread(lambda: put(full)) as putting:
        putting.join(0.2)
        assert putting.is_alive()

        assert len(full.take(1, wait=0)) == 1

    assert len(full.take(10, wait=0)) == 3


def test_after_waiting_in_vain_it_takes_no_more_until_there_is_room(
    full: DeliveryBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, "_MAX_BLOCK", 0.01)
    assert not put(full)
    monkeypatch.setattr(buffer, "_MAX_BLOCK", 60)

    assert not put(full)

    assert len(full.take(10, wait=0)) == 3
    assert put(full)


def test_what_cannot_be_requeued_is_added_after_the_wait(
    full: DeliveryBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffer, "_MAX_BLOCK", 0.01)

    assert put(full, is_required=True)

    assert len(full.take(10, wait=0)) == 4


@pytest.mark.parametrize("release", [DeliveryBuffer.unblock, DeliveryBuffer.close])
def test_a_blocked_connection_is_released(
    full: DeliveryBuffer, release: Callable[[DeliveryBuffer], None]
) -> None:
    with on_a_thread(lambda: put(full)) as putting:
        putting.join(0.1)

        release(full)


def test_a_closed_buffer_never_blocks(full: DeliveryBuffer) -> None:
    full.close()
    full.clear()

    def put_more_than_fits() -> None:
        for _ in range(5):
            put(full)

    with on_a_thread(put_more_than_fits):
        pass

    assert len(full.take(10, wait=0)) == 3


def test_a_waiting_take_returns_when_it_is_woken() -> None:
    empty = DeliveryBuffer()

    with on_a_thread(lambda: empty.take(1, wait=60)):
        empty.wake()


def test_a_cleared_buffer_has_nothing_to_take(full: DeliveryBuffer) -> None:
    full.clear()

    assert full.take(10, wait=0) == []
