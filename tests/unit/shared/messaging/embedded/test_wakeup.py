from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from shared.messaging.embedded.wakeup import QueueWakeups


def test_only_consumers_of_a_notified_queue_wake_up() -> None:
    wakeups = QueueWakeups()
    all_hold_their_lock = Barrier(3, timeout=10)

    def wakes_up(queue: str, *, within: float) -> bool:
        condition = wakeups.condition_for(queue)
        with condition:
            all_hold_their_lock.wait()
            return condition.wait(within)

    with ThreadPoolExecutor() as threads:
        notified = threads.submit(wakes_up, "inventory", within=10)
        other = threads.submit(wakes_up, "loyalty", within=0.3)
        all_hold_their_lock.wait()
        wakeups.notify({"inventory"})

        assert (notified.result(), other.result()) == (True, False)
