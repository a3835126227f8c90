from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from shared.messaging.embedded.wakeup import Wakeup


def test_only_those_who_wait_for_a_queue_that_is_named_wake() -> None:
    wakeup = Wakeup()
    line = Barrier(3, timeout=10)

    def is_woken(queue: str, *, within: float) -> bool:
        with wakeup.of(queue):
            line.wait()
            return wakeup.of(queue).wait(within)

    with ThreadPoolExecutor() as threads:
        woken = threads.submit(is_woken, "inventory", within=10)
        asleep = threads.submit(is_woken, "loyalty", within=0.3)
        line.wait()
        wakeup.notify({"inventory"})

        assert (woken.result(), asleep.result()) == (True, False)
