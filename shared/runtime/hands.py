"""Several threads for work that waits more than it computes, such as sending a mail."""

import queue
import threading
from collections.abc import Callable, Sequence

Task = Callable[[], None]


class Hands:
    """Threads that work side by side; who asks them works along.

    Args:
        number: of threads, the caller's among them.
    """

    def __init__(self, number: int, *, name: str) -> None:
        self._tasks: queue.SimpleQueue[tuple[Task, queue.SimpleQueue[BaseException | None]]]
        self._tasks = queue.SimpleQueue()
        # Daemons: one that hangs must not keep its process from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"{name} hand {each}", daemon=True)
            for each in range(2, number + 1)
        ]
        self._started = False

    def do(self, tasks: Sequence[Task]) -> None:
        """Do all; for one thread at a time.

        Raises:
            BaseException: what the first task that failed raised, once all have ended.
        """
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        for task in tasks[1:]:
            self._tasks.put((task, ended))
        failures = [_error_of(task) for task in tasks[:1]] + [ended.get() for _ in tasks[1:]]
        for failure in failures:
            if failure is not None:
                raise failure

    def _work(self) -> None:
        while True:
            task, ended = self._tasks.get()
            ended.put(_error_of(task))


def _error_of(task: Task) -> BaseException | None:
    try:
        task()
    except BaseException as error:  # noqa: BLE001 - it is raised where all are waited for
        return error
    return None
