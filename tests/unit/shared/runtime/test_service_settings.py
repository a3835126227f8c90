import pytest

from shared.errors import WrongInput
from shared.messaging.topology import History, Retry
from shared.runtime.service_settings import queue_of, topology, tuning_of
from shared.runtime.settings import only, settings_for
from tests.support.counting import counting

WRONG = [
    ("retry_step", "0"),
    ("retry_step", "nan"),
    ("retry_step", "hunter2"),
    ("retry_longest", "-1"),
    ("retry_longest", "inf"),
    ("retry_limit", "-1"),
    ("retry_limit", "1.5"),
    ("batch_size", "0"),
    ("batch_size", "2001"),
    ("deadline", "0"),
    ("deadline", "hunter2"),
]

SERVICE = counting(retry=Retry(step=2, longest=8, limit=3), batch_size=7, deadline=9)


def test_without_a_variable_it_is_what_the_service_declares() -> None:
    with only():
        tuning = tuning_of(SERVICE)

    assert tuning.retry == Retry(step=2, longest=8, limit=3)
    assert (tuning.batch_size, tuning.deadline) == (7, 9)


def test_a_variable_changes_one_number_of_one_service() -> None:
    with only(counting_retry_limit=5, email_retry_step=4, counting_deadline=0.5):
        queue = queue_of(SERVICE)

    assert queue.retry == Retry(step=2, longest=8, limit=5)
    assert queue.deadline == 0.5


def test_a_variable_that_is_nobodys_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "3")
    monkeypatch.setenv("DEADLINE", "nonsense")

    with only():
        assert tuning_of(SERVICE).batch_size == 7


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_number_is_told_by_its_variable_and_not_repeated(name: str, value: str) -> None:
    with only(**{f"counting_{name}": value}), pytest.raises(WrongInput) as refused:
        tuning_of(SERVICE)

    assert str(refused.value).startswith(f"SHOP_COUNTING_{name.upper()}: ")
    assert "hunter2" not in str(refused.value)


def test_the_topology_has_the_numbers_of_the_settings() -> None:
    with only(history_days=3, counting_retry_limit=5):
        found = topology([SERVICE], settings_for())

    assert found.history == History(days=3)
    assert [each.retry.limit for each in found.queues] == [5]
