from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic_core import from_json

from shared.history.reading import HistoryEvent
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.embedded.history import EmbeddedHistory
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.history import HistoryRecord
from shared.operations.history.rendering import as_cloud_event, as_line
from shared.runtime.settings import settings_override
from tests.support.commanding import Shop
from tests.support.embedded_shop import drop, publish, set_up_all, spoil
from tests.support.order_events import ADDRESS, CUSTOMER, paid, placed, shipped
from tests.support.tape import garbage, recorded

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("history", "--type", "order.eaten"), "there is no type of event 'order.eaten'"),
        (("tail", "--type", "order.eaten"), "there is no type of event 'order.eaten'"),
        (("history", "--since", "yesterday"), "'yesterday' is not a time"),
        (("history", "--order", "no order"), "an order's id should be"),
        (("history", "--order", "ORD-404"), "the history has no event of the order 'ORD-404'"),
        (("history", "--limit", "0"), "--limit"),
        (("timeline", "ORD-404"), "there is no event of an order 'ORD-404'"),
        (("timeline", "Ω"), "an order's id should be"),
        (("replay", "--to", "nobody"), "there is no service 'nobody'"),
        (
            ("replay", "--to", "loyalty", "--type", "order.shipped"),
            "loyalty does not subscribe to order.shipped; it subscribes to order.cancelled",
        ),
        (("replay", "--to", "loyalty", "--since", "2w"), "'2w' is not a time"),
        (("rebuild", "nobody"), "there is no service 'nobody'"),
        (("rebuild", "orders"), "orders publishes order.cancelled"),
        (("rebuild", "email"), "email acts outside its database"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_invalid_options_are_refused_in_a_sentence(
    shop: Shop, arguments: tuple[str, ...], sentence: str
) -> None:
    result = shop("events", *arguments)

    assert result.code == 2
    assert sentence in result.err
    assert "Traceback" not in result.err


def test_a_service_that_publishes_does_not_catch_up_without_consent(shop: Shop) -> None:
    result = shop("run", "orders", "--from-history")

    assert result.code == 2
    assert "as if each happened now" in result.err


def test_a_setting_is_not_consent_to_a_catch_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_INVENTORY_FROM_HISTORY", "true")

    result = shop("run", "inventory")

    assert result.code == 2
    assert "shop run inventory --from-history --yes" in result.err


def test_an_unreadable_event_in_the_middle_is_named_skipped_and_counted(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    events = [placed("ORD-1"), paid("ORD-1"), shipped("ORD-1")]
    publish(broker, *events)
    spoil(broker, 2)

    result = shop("events", "history")

    assert result.code == 0
    assert len(result.out.splitlines()) == 2
    assert f"{events[1].event_id} at offset 1: the message is not JSON" in result.err
    assert "skipped 1 unreadable message" in result.err


def test_a_tail_ends_with_the_number_of_unreadable_messages(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> Iterator[HistoryRecord]:
        yield garbage("7f")
        yield recorded(placed("ORD-1"))
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedHistory, "read", read)

    result = shop("events", "tail")

    assert result.code == 0
    assert "ORD-1" in result.out
    assert result.err.splitlines()[-2:] == [
        "shop: stopped",
        "shop: skipped 1 unreadable message",
    ]


def test_a_truncated_history_says_since_when_it_is_kept(shop: Shop, broker: EmbeddedBroker) -> None:
    publish(broker, *[placed(f"ORD-{number}") for number in range(5)])
    drop(broker, 2)

    everything = shop("events", "history", "--since", "2d")
    recent = shop("events", "history", "--since", "0s")

    assert "the history begins at" in everything.err
    assert "SHOP_HISTORY_DAYS" in everything.err
    assert len(everything.out.splitlines()) == 3
    assert "the history begins at" not in recent.err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("history",), id="history"),
        pytest.param(("history", "--since", "0s"), id="history-since"),
        pytest.param(("replay", "--to", "loyalty", "--dry-run"), id="replay"),
    ],
)
def test_a_history_of_which_no_event_is_kept_says_so(
    shop: Shop, broker: EmbeddedBroker, arguments: tuple[str, ...]
) -> None:
    publish(broker, placed("ORD-1"))
    drop(broker, 1)

    result = shop("events", *arguments)

    assert result.code == 0
    assert "no event is kept any more (SHOP_HISTORY_DAYS, SHOP_HISTORY_MAX_BYTES)" in result.err


def test_an_order_may_exist_while_the_history_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path):
        set_up_all()
    with settings_override(home=tmp_path, broker_url="amqp://nobody:nothing@127.0.0.1:1/x"):
        result = Shop(monkeypatch, capsys)("events", "timeline", "ORD-1")

    assert (result.code, result.out) == (1, "")
    assert "the history cannot be read: the broker at 127.0.0.1:1 cannot be reached" in result.err
    assert "order 'ORD-1' may exist: not everything could be read" in result.err


@pytest.fixture
def container(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shop:
    """The program in the container of orders, which has placed ORD-1."""
    set_up_all()
    whom = ("--email", CUSTOMER, "--address", ADDRESS)
    placing = shop("orders", "place", "--id", "ORD-1", *whom, "--item", "product-1=1")
    assert placing.code == 0, placing.err
    (tmp_path / "keys" / "orders").mkdir(parents=True)
    monkeypatch.setenv("SHOP_KEYS", str(tmp_path / "keys"))
    return shop


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("history",), id="history"),
        pytest.param(("tail",), id="tail"),
        pytest.param(("replay", "--to", "orders", "--yes"), id="replay"),
        pytest.param(("rebuild", "orders", "--yes"), id="rebuild"),
    ],
)
def test_a_services_container_may_not_read_the_history(
    container: Shop, arguments: tuple[str, ...]
) -> None:
    result = container("events", *arguments)

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(
        "shop: the history can be read by the operator only "
        "(docker compose run --rm operator events …): the secrets of operator"
    )
    assert len(result.err.splitlines()) == 1


def test_a_timeline_in_a_services_container_shows_what_its_database_knows(container: Shop) -> None:
    result = container("events", "timeline", "ORD-1", "--json")

    assert result.code == 0
    assert [each["type"] for each in result.json["events"]] == ["order.placed.v1"]
    assert result.json["is_certain"] is False
    assert "the history can be read by the operator only" in result.err
    assert "analytics cannot be read" in result.err


def test_a_timeline_as_json_says_whether_events_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path):
        set_up_all()
        with closing(EmbeddedBroker(tmp_path / "broker.db")) as broker:
            publish(broker, placed("ORD-1"))
        shop = Shop(monkeypatch, capsys)
        certain = shop("events", "timeline", "ORD-1", "--json").json
        shop("events", "rebuild", "loyalty", "--yes")
    with settings_override(home=tmp_path, broker_url="amqp://nobody:nothing@127.0.0.1:1/x"):
        uncertain = shop("events", "timeline", "ORD-1", "--json").json

    assert (certain["is_certain"], uncertain["is_certain"]) == (True, False)
    assert len(uncertain["events"]) == 1


def test_a_timeline_names_a_missing_database_file_and_does_not_create_it(
    shop: Shop, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    publish(broker, placed("ORD-1"))
    (tmp_path / "loyalty.db").unlink()

    result = shop("events", "timeline", "ORD-1")

    assert result.code == 0
    assert f"loyalty cannot be read: its database {tmp_path / 'loyalty.db'} is not" in result.err
    assert "? loyalty" in result.out
    assert not (tmp_path / "loyalty.db").exists()


def test_a_timeline_before_set_up_creates_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path / "new"):
        result = Shop(monkeypatch, capsys)("events", "timeline", "ORD-1")

    assert (result.code, result.out) == (1, "")
    assert "broker.db is not there" in result.err
    assert not (tmp_path / "new").exists()


def test_the_timeline_of_an_old_event_says_for_which_service_nothing_waits(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    publish(broker, placed("ORD-1", occurred_at=LONG_AGO))
    consumer = broker.consumer("loyalty", prefetch=1)
    consumer.settle([(each, Outcome.DONE) for each in consumer.take(1, wait=1)])
    consumer.close()

    result = shop("events", "timeline", "ORD-1")

    assert "· loyalty    unknown: it subscribed later, or its inbox was pruned" in result.out
    assert "… email      waiting" in result.out


def test_a_line_has_no_personal_data_and_a_cloud_event_is_the_message_as_sent() -> None:
    event = placed("ORD-1")
    item = HistoryEvent(recorded(event), event)

    assert CUSTOMER not in as_line(item)
    assert ADDRESS not in as_line(item)
    assert as_cloud_event(item).encode() == item.record.body


def test_a_cloud_event_of_several_lines_is_printed_on_one() -> None:
    event = placed("ORD-1")
    record = recorded(event)
    item = HistoryEvent(replace(record, body=record.body.replace(b',"', b',\r\n"')), event)

    assert len(as_cloud_event(item).splitlines()) == 1
    assert from_json(as_cloud_event(item)) == from_json(record.body)


def test_a_cloud_event_is_printed_without_control_characters() -> None:
    event = placed("ORD-1")
    record = recorded(event)
    body = record.body.replace(ADDRESS.encode(), "\x9b2J\u202e".encode()).replace(b",", b",\t")

    line = as_cloud_event(HistoryEvent(replace(record, body=body), event))

    assert line.isprintable()
    assert from_json(line) == from_json(body)


def test_an_embedded_shop_before_set_up_has_an_empty_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path / "new"):
        result = Shop(monkeypatch, capsys)("events", "history")

    assert (result.code, result.out) == (0, "")
    assert "the history has no such event" in result.err
