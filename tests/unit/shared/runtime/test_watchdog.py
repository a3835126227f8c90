import threading

from shared.messaging.ports.consumer import Delivery
from shared.runtime.watchdog import Overrun, Watchdog


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


def test_the_overrun_is_the_oldest_current_step_of_all_threads() -> None:
    watchdog = Watchdog()
    watchdog.step(delivery("first"))
    other = threading.Thread(target=lambda: watchdog.step(delivery("second")))
    other.start()
    other.join()

    first = watchdog.overrun(0)
    watchdog.step(delivery("third"))
    second = watchdog.overrun(0)

    assert first is not None
    assert first.delivery == delivery("first")
    assert second is not None
    assert second.delivery == delivery("second")


def test_a_step_within_its_deadline_is_no_overrun() -> None:
    watchdog = Watchdog()
    watchdog.step(delivery("first"))

    assert watchdog.overrun(60) is None


def test_an_overrun_keeps_the_stack_of_the_moment() -> None:
    watchdog = Watchdog()

    def slow_handler() -> Overrun | None:
        watchdog.step(delivery("slow"))
        return watchdog.overrun(0)

    overrun = slow_handler()
    watchdog.step(delivery("next"))

    assert overrun is not None
    assert "in slow_handler" in overrun.stack


def test_an_idle_thread_has_no_step() -> None:
    watchdog = Watchdog()
    watchdog.step()

    watchdog.idle()
    watchdog.idle()

    assert watchdog.overrun(0) is None
