from pathlib import Path
from typing import Any

import pytest

from shared.errors import TransientFailure
from shared.events import UnknownEvent
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.runtime.metrics import Metrics
from shared.runtime.reactor import BatchResult, DeliveryResult
from shared.storage.database import Database
from tests.support.counting import ThingHappened

DELIVERY = Delivery(
    queue="counting", body=b"", event_id="1", type="x", attempt=1, replays=0, token=None
)


def counted(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"service": "counting"} | labels)


def reacted(**parts: Any) -> DeliveryResult:
    usual: dict[str, Any] = {
        "delivery": DELIVERY,
        "outcome": Outcome.DONE,
        "event": ThingHappened(name="a"),
    }
    return DeliveryResult(**(usual | parts))


@pytest.mark.parametrize(
    ("parts", "dies", "name"),
    [
        pytest.param({}, False, "handled", id="handled"),
        pytest.param({"duplicate": True}, False, "duplicate", id="a copy"),
        pytest.param({"outcome": Outcome.RETRY}, False, "retried", id="failed"),
        pytest.param({"outcome": Outcome.RETRY}, True, "dead", id="failed for the last time"),
        pytest.param({"outcome": Outcome.DEAD}, False, "dead", id="hopeless"),
        pytest.param({"outcome": Outcome.REQUEUE}, False, None, id="handed back"),
    ],
)
def test_each_outcome_counts_once_and_under_one_name(
    parts: dict[str, Any], *, dies: bool, name: str | None
) -> None:
    metrics = Metrics()

    metrics.reacted("counting", reacted(**parts), dies=dies)

    names = ("handled", "duplicate", "retried", "dead")
    found = {
        each: counted(metrics, f"shop_events_{each}_total", event_type="thing.happened.v1")
        for each in names
    }
    assert found == {each: 1.0 if each == name else None for each in names}


def test_types_that_strangers_make_up_share_one_label() -> None:
    metrics = Metrics()
    for number in range(3):
        event = UnknownEvent(unknown_type=f"made.up{number}.v1")
        metrics.reacted("counting", reacted(event=event), dies=False)
    metrics.reacted("counting", reacted(event=None), dies=False)

    assert counted(metrics, "shop_events_handled_total", event_type="unknown") == 4


def test_batches_are_counted_and_timed() -> None:
    metrics = Metrics()

    metrics.reaction("counting", BatchResult([reacted()] * 3, 0.02))

    assert counted(metrics, "shop_batch_size_sum") == 3
    assert counted(metrics, "shop_handling_seconds_bucket", le="0.01") == 0
    assert counted(metrics, "shop_handling_seconds_bucket", le="0.025") == 1


def test_the_outbox_is_looked_at_when_somebody_asks(database: Database) -> None:
    metrics = Metrics()
    metrics.watch_outbox("counting", database)

    assert counted(metrics, "shop_outbox_depth") == 0
    assert counted(metrics, "shop_outbox_age_seconds") == 0
    assert counted(metrics, "shop_outbox_refused") == 0


def test_an_outbox_that_cannot_be_seen_has_no_figure_and_spoils_no_other(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.watch_outbox("counting", Database(f"sqlite:///{tmp_path}/nowhere/x.db"))
    metrics.watch_consumer("counting", lambda: True)

    assert counted(metrics, "shop_outbox_depth") is None
    assert counted(metrics, "shop_consuming") == 1


def test_two_services_in_one_process_are_told_apart(database: Database) -> None:
    metrics = Metrics()
    for name in ("counting", "other"):
        metrics.watch_outbox(name, database)
        metrics.watch_consumer(name, lambda name=name: name == "other")  # type: ignore[misc]

    assert counted(metrics, "shop_outbox_depth", service="other") == 0
    assert counted(metrics, "shop_consuming") == 0
    assert counted(metrics, "shop_consuming", service="other") == 1


def test_nothing_counted_tells_of_an_error() -> None:
    metrics = Metrics()
    error = TransientFailure("123 Canary Street")

    metrics.reacted("counting", reacted(outcome=Outcome.RETRY, error=error), dies=False)

    labels = [str(sample) for family in metrics.registry.collect() for sample in family.samples]
    assert not any("Canary" in label for label in labels)
