import threading

from shared.messaging.ports.consumer import Delivery
from shared.runtime.watchdog import Watchdog


def delivery(event_id: str) -> Delivery:
    return Delivery(
        queue="counting",
        body=b"",
        event_id=event_id,
        type="thing.happened.v1",
        attempt=1,
        replays=0,
        token=None,
    )


def test_the_longest_is_the_oldest_current_step_of_all_threads() -> None:
    watchdog = Watchdog()
    watchdog.step(delivery("first"))
    other = threading.Thread(target=lambda: watchdog.step(delivery("second")))
    other.start()
    other.join()

    first = watchdog.longest
    watchdog.step(delivery("third"))
    second = watchdog.longest
    watchdog.idle()

    assert first is not None
    assert first.delivery == delivery("first")
    assert second is not None
    assert second.delivery == delivery("second")
    assert watchdog.longest == second


def test_an_idle_thread_has_no_step() -> None:
    watchdog = Watchdog()
    watchdog.step()

    watchdog.idle()
    watchdog.idle()

    assert watchdog.longest is None
