import threading
from collections.abc import Callable

import pytest

from shared.runtime.hands import Hands


def test_tasks_are_done_side_by_side() -> None:
    met = threading.Barrier(3)
    threads: set[int] = set()

    def meet() -> None:
        met.wait(timeout=20)
        threads.add(threading.get_ident())

    hands = Hands(3, name="test")
    for _ in range(2):
        hands.do([meet] * 3)

    assert len(threads) == 3
    assert threading.get_ident() in threads


def test_more_tasks_than_hands_are_all_done() -> None:
    done: list[int] = []

    Hands(2, name="test").do([lambda: done.append(1)] * 10)

    assert len(done) == 10


def test_no_tasks_are_done_at_once() -> None:
    Hands(2, name="test").do([])


@pytest.mark.parametrize("failing", [0, 1], ids=["own", "another's"])
def test_what_a_task_raised_is_raised_once_all_have_ended(failing: int) -> None:
    done: list[str] = []

    def fail() -> None:
        raise LookupError("lost it")

    def work() -> None:
        done.append("worked")

    tasks: list[Callable[[], None]] = [work, work]
    tasks.insert(failing, fail)

    with pytest.raises(LookupError, match="lost it"):
        Hands(3, name="test").do(tasks)

    assert done == ["worked"] * 2
