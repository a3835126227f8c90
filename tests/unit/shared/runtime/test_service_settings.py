import pytest

from shared.errors import InvalidInput
from shared.messaging.topology import History, Retry
from shared.runtime.service_settings import queue_of, service_settings_of, topology
from shared.runtime.settings import settings_for, settings_override
from tests.support.counting import counting

WRONG = [
    ("retry_delay", "0"),
    ("retry_delay", "nan"),
    ("retry_delay", "hunter2"),
    ("retry_max_delay", "-1"),
    ("retry_max_delay", "inf"),
    ("max_retries", "-1"),
    ("max_retries", "1.5"),
    ("batch_size", "0"),
    ("batch_size", "2001"),
    ("deadline", "0"),
    ("deadline", "hunter2"),
]

SERVICE = counting(retry=Retry(delay=2, max_delay=8, max_retries=3), batch_size=7, deadline=9)


def test_without_variables_the_settings_are_those_that_the_service_declares() -> None:
    with settings_override():
        settings = service_settings_of(SERVICE)

    assert settings.retry == Retry(delay=2, max_delay=8, max_retries=3)
    assert (settings.batch_size, settings.deadline) == (7, 9)


def test_a_variable_changes_one_setting_of_one_service() -> None:
    with settings_override(counting_max_retries=5, email_retry_delay=4, counting_deadline=0.5):
        queue = queue_of(SERVICE)

    assert queue.retry == Retry(delay=2, max_delay=8, max_retries=5)
    assert queue.deadline == 0.5


def test_a_variable_without_the_services_prefix_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCH_SIZE", "3")
    monkeypatch.setenv("DEADLINE", "nonsense")

    with settings_override():
        assert service_settings_of(SERVICE).batch_size == 7


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_the_sentence_about_a_wrong_value_names_its_variable_and_not_the_value(
    name: str, value: str
) -> None:
    with settings_override(**{f"counting_{name}": value}), pytest.raises(InvalidInput) as error:
        service_settings_of(SERVICE)

    assert str(error.value).startswith(f"SHOP_COUNTING_{name.upper()}: ")
    assert "hunter2" not in str(error.value)


def test_the_topology_has_the_values_of_the_settings() -> None:
    with settings_override(history_days=3, counting_max_retries=5):
        desired = topology([SERVICE], settings_for())

    assert desired.history == History(days=3)
    assert [each.retry.max_retries for each in desired.queues] == [5]
