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


def test_the_longest_step_of_all_threads_is_told() -> None:
    watch = Watchdog()
    watch.step(delivery("first"))
    other = threading.Thread(target=lambda: watch.step(delivery("second")))
    other.start()
    other.join()

    first = watch.longest
    watch.step(delivery("third"))
    second = watch.longest
    watch.idle()

    assert first is not None
    assert first.delivery == delivery("first")
    assert second is not None
    assert second.delivery == delivery("second")
    assert watch.longest == second


def test_who_is_idle_takes_no_time() -> None:
    watch = Watchdog()
    watch.step()

    watch.idle()
    watch.idle()

    assert watch.longest is None
