from pathlib import Path
from typing import Any

import pytest

from shared.errors import ForgedEvent, MalformedEvent, TransientFailure
from shared.events import UnknownEvent
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.runtime.metrics import Metrics
from shared.runtime.reactor import BatchResult, DeliveryResult
from shared.storage.database import Database
from tests.support.counting import ThingHappened

DELIVERY = Delivery(
    queue="counting", body=b"", event_id="1", type="x", attempt=1, replays=0, token=None
)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"service": "counting"} | labels)


def result(**fields: Any) -> DeliveryResult:
    defaults: dict[str, Any] = {
        "delivery": DELIVERY,
        "outcome": Outcome.DONE,
        "event": ThingHappened(name="a"),
    }
    return DeliveryResult(**(defaults | fields))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        pytest.param({}, "handled", id="handled"),
        pytest.param({"duplicate": True}, "duplicate", id="duplicate"),
        pytest.param({"outcome": Outcome.RETRY}, "retried", id="failed"),
        pytest.param(
            {"outcome": Outcome.RETRY, "is_last_attempt": True}, "dead", id="last attempt failed"
        ),
        pytest.param({"outcome": Outcome.DEAD}, "dead", id="not retryable"),
        pytest.param({"outcome": Outcome.REQUEUE}, None, id="requeued"),
    ],
)
def test_each_outcome_increments_exactly_one_counter(
    fields: dict[str, Any], name: str | None
) -> None:
    metrics = Metrics()

    metrics.count_delivery("counting", result(**fields))

    names = ("handled", "duplicate", "retried", "dead")
    values = {
        each: value(metrics, f"shop_events_{each}_total", event_type="thing.happened.v1")
        for each in names
    }
    assert values == {each: 1.0 if each == name else None for each in names}


def test_unknown_types_share_one_label() -> None:
    metrics = Metrics()
    for number in range(3):
        event = UnknownEvent(unknown_type=f"made.up{number}.v1")
        metrics.count_delivery("counting", result(event=event))
    metrics.count_delivery("counting", result(event=None))

    assert value(metrics, "shop_events_handled_total", event_type="unknown") == 4


def test_batches_are_counted_and_timed() -> None:
    metrics = Metrics()

    metrics.count_batch("counting", BatchResult([result()] * 3, 0.02))

    assert value(metrics, "shop_batch_size_sum") == 3
    assert value(metrics, "shop_handling_seconds_bucket", le="0.01") == 0
    assert value(metrics, "shop_handling_seconds_bucket", le="0.025") == 1


def test_the_outbox_is_read_at_each_scrape(database: Database) -> None:
    metrics = Metrics()
    metrics.watch_outbox("counting", database)

    assert value(metrics, "shop_outbox_depth") == 0
    assert value(metrics, "shop_outbox_age_seconds") == 0
    assert value(metrics, "shop_outbox_rejected") == 0


def test_an_outbox_that_cannot_be_read_has_no_value_and_affects_no_other_metric(
    tmp_path: Path,
) -> None:
    metrics = Metrics()
    metrics.watch_outbox("counting", Database(f"sqlite:///{tmp_path}/nowhere/x.db"))
    metrics.watch_consumer("counting", lambda: True)

    assert value(metrics, "shop_outbox_depth") is None
    assert value(metrics, "shop_consuming") == 1


def test_two_services_in_one_process_have_metrics_of_their_own(database: Database) -> None:
    metrics = Metrics()
    for name in ("counting", "other"):
        metrics.watch_outbox(name, database)
        metrics.watch_consumer(name, lambda name=name: name == "other")  # type: ignore[misc]

    assert value(metrics, "shop_outbox_depth", service="other") == 0
    assert value(metrics, "shop_consuming") == 0
    assert value(metrics, "shop_consuming", service="other") == 1


def test_no_label_contains_the_message_of_an_error() -> None:
    metrics = Metrics()
    error = TransientFailure("123 Canary Street")

    metrics.count_delivery("counting", result(outcome=Outcome.RETRY, error=error))

    labels = [str(sample) for family in metrics.registry.collect() for sample in family.samples]
    assert not any("Canary" in label for label in labels)


def test_forged_events_are_counted_by_service() -> None:
    metrics = Metrics()
    for error in (ForgedEvent(), MalformedEvent()):
        metrics.count_delivery("counting", result(outcome=Outcome.DEAD, event=None, error=error))

    assert value(metrics, "shop_events_forged_total") == 1
    assert value(metrics, "shop_events_dead_total", event_type="unknown") == 2
