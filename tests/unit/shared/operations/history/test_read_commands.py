from collections.abc import Iterator
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
from tests.support.histories import ADDRESS, CUSTOMER, paid, placed, shipped
from tests.support.tape import garbage, recorded

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("history", "--type", "order.eaten"), "there is no type of event 'order.eaten'"),
        (("tail", "--type", "order.eaten"), "there is no type of event 'order.eaten'"),
        (("history", "--since", "yesterday"), "'yesterday' is no time"),
        (("history", "--order", "no order"), "an order's id should be"),
        (("history", "--order", "ORD-404"), "the history has no event of the order 'ORD-404'"),
        (("history", "--limit", "0"), "--limit"),
        (("timeline", "ORD-404"), "nobody has heard of an order 'ORD-404'"),
        (("timeline", "Ω"), "an order's id should be"),
        (("replay", "--to", "nobody"), "there is no service 'nobody'"),
        (
            ("replay", "--to", "loyalty", "--type", "order.shipped"),
            "loyalty did not subscribe to order.shipped; it subscribes to order.cancelled",
        ),
        (("replay", "--to", "loyalty", "--since", "2w"), "'2w' is no time"),
        (("rebuild", "nobody"), "there is no service 'nobody'"),
        (("rebuild", "orders"), "orders publishes order.cancelled"),
        (("rebuild", "email"), "email acts outside its database"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(
    shop: Shop, arguments: tuple[str, ...], sentence: str
) -> None:
    said = shop("events", *arguments)

    assert said.code == 2
    assert sentence in said.err
    assert "Traceback" not in said.err


def test_a_late_start_of_a_service_that_publishes_must_be_meant(shop: Shop) -> None:
    said = shop("run", "orders", "--from-history")

    assert said.code == 2
    assert "as if each happened now" in said.err


def test_the_same_by_a_setting_is_refused_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_INVENTORY_FROM_HISTORY", "true")

    said = shop("run", "inventory")

    assert said.code == 2
    assert "shop run inventory --from-history --yes" in said.err


def test_an_unreadable_event_in_the_middle_is_named_skipped_and_counted(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    events = [placed("ORD-1"), paid("ORD-1"), shipped("ORD-1")]
    publish(broker, *events)
    spoil(broker, 2)

    said = shop("events", "history")

    assert said.code == 0
    assert len(said.out.splitlines()) == 2
    assert f"{events[1].event_id} at place 1: the message is not JSON" in said.err
    assert "1 unreadable message was skipped" in said.err


def test_the_end_of_a_tail_says_how_many_messages_were_unreadable(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> Iterator[HistoryRecord]:
        yield garbage("7f")
        yield recorded(placed("ORD-1"))
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedHistory, "read", read)

    said = shop("events", "tail")

    assert said.code == 0
    assert "ORD-1" in said.out
    assert said.err.splitlines()[-2:] == ["shop: ended", "shop: 1 unreadable message was skipped"]


def test_a_history_that_was_shortened_says_since_when_it_is_kept(
    shop: Shop, broker: EmbeddedBroker
) -> None:
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
def test_a_history_of_which_nothing_is_kept_says_so(
    shop: Shop, broker: EmbeddedBroker, arguments: tuple[str, ...]
) -> None:
    publish(broker, placed("ORD-1"))
    drop(broker, 1)

    said = shop("events", *arguments)

    assert said.code == 0
    assert "no event is kept any more (SHOP_HISTORY_DAYS, SHOP_HISTORY_MAX_BYTES)" in said.err


def test_an_order_that_may_be_in_a_history_out_of_reach_is_not_denied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path):
        set_up_all()
    with settings_override(home=tmp_path, broker_url="amqp://nobody:nothing@127.0.0.1:1/x"):
        said = Shop(monkeypatch, capsys)("events", "timeline", "ORD-1")

    assert (said.code, said.out) == (1, "")
    assert "the history cannot be read: the broker at 127.0.0.1:1 cannot be reached" in said.err
    assert "whether there is an order 'ORD-1' cannot be told now" in said.err


def test_a_timeline_says_to_programs_too_whether_there_may_be_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path):
        set_up_all()
        publish(EmbeddedBroker(tmp_path / "broker.db"), placed("ORD-1"))
        shop = Shop(monkeypatch, capsys)
        certain = shop("events", "timeline", "ORD-1", "--json").json
        shop("events", "rebuild", "loyalty", "--yes")
    with settings_override(home=tmp_path, broker_url="amqp://nobody:nothing@127.0.0.1:1/x"):
        uncertain = shop("events", "timeline", "ORD-1", "--json").json

    assert (certain["is_certain"], uncertain["is_certain"]) == (True, False)
    assert len(uncertain["events"]) == 1


def test_a_timeline_names_a_database_file_that_is_missing_and_makes_none(
    shop: Shop, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    publish(broker, placed("ORD-1"))
    (tmp_path / "loyalty.db").unlink()

    said = shop("events", "timeline", "ORD-1")

    assert said.code == 0
    assert f"loyalty cannot be seen: its database {tmp_path / 'loyalty.db'} is not" in said.err
    assert "? loyalty" in said.out
    assert not (tmp_path / "loyalty.db").exists()


def test_a_timeline_where_nothing_was_set_up_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path / "new"):
        said = Shop(monkeypatch, capsys)("events", "timeline", "ORD-1")

    assert (said.code, said.out) == (1, "")
    assert "broker.db is not there" in said.err
    assert not (tmp_path / "new").exists()


def test_the_timeline_of_an_old_event_says_who_has_no_longer_anything_to_handle(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    publish(broker, placed("ORD-1", occurred_at=LONG_AGO))
    consumer = broker.consumer("loyalty", prefetch=1)
    consumer.settle([(each, Outcome.DONE) for each in consumer.take(1, wait=1)])
    consumer.close()

    said = shop("events", "timeline", "ORD-1")

    assert "· loyalty    unknown to it: it joined later, or has forgotten" in said.out
    assert "… email      waiting" in said.out


def test_a_line_holds_no_personal_data_and_a_cloud_event_is_what_was_sent() -> None:
    event = placed("ORD-1")
    told = HistoryEvent(recorded(event), event)

    assert CUSTOMER not in as_line(told)
    assert ADDRESS not in as_line(told)
    assert as_cloud_event(told).encode() == told.record.body


def test_a_cloud_event_that_was_sent_over_several_lines_is_printed_on_one() -> None:
    event = placed("ORD-1")
    record = recorded(event)
    told = HistoryEvent(replace(record, body=record.body.replace(b',"', b',\r\n"')), event)

    assert len(as_cloud_event(told).splitlines()) == 1
    assert from_json(as_cloud_event(told)) == from_json(record.body)


def test_a_cloud_event_moves_no_cursor() -> None:
    event = placed("ORD-1")
    record = recorded(event)
    body = record.body.replace(ADDRESS.encode(), "\x9b2J\u202e".encode()).replace(b",", b",\t")

    line = as_cloud_event(HistoryEvent(replace(record, body=body), event))

    assert line.isprintable()
    assert from_json(line) == from_json(body)


def test_an_embedded_shop_that_nobody_set_up_has_no_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with settings_override(home=tmp_path / "new"):
        said = Shop(monkeypatch, capsys)("events", "history")

    assert (said.code, said.out) == (0, "")
    assert "the history has nothing of that kind" in said.err
