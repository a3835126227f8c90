import pytest
import typer

from shared.messaging.embedded import EmbeddedBroker
from tests.support.commanding import Shop
from tests.support.embedded_shop import drop, publish
from tests.support.order_events import CUSTOMER, cancelled, placed


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that a person was asked, who answers no to each."""
    asked: list[str] = []

    def refuse(question: str, **_: object) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("typer.confirm", refuse)
    return asked


def test_a_rebuild_asks_first_and_changes_nothing_if_the_answer_is_no(
    shop: Shop, broker: EmbeddedBroker, questions: list[str]
) -> None:
    publish(broker, placed("ORD-1"))

    result = shop("events", "rebuild", "loyalty")

    assert result.code == 1
    assert result.err == "shop: nothing was changed; --yes answers the question beforehand\n"
    assert questions == ["Empty the tables of loyalty and rebuild them from the history?"]
    assert shop("loyalty", "balance", CUSTOMER, "--json").json["points"] == 0


def test_a_rebuild_without_an_answer_changes_nothing(
    shop: Shop, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def abort(_question: str, **_: object) -> bool:
        raise typer.Abort

    monkeypatch.setattr("typer.confirm", abort)
    publish(broker, placed("ORD-1"))

    result = shop("events", "rebuild", "loyalty")

    assert (result.code, result.err) == (
        1,
        "\nshop: nothing was changed; --yes answers the question beforehand\n",
    )


def test_a_rebuild_reports_what_differs(shop: Shop, broker: EmbeddedBroker) -> None:
    publish(broker, placed("ORD-1"), cancelled("ORD-1"), placed("ORD-2"))

    result = shop("events", "rebuild", "loyalty", "--yes")

    assert result.code == 0
    assert "loyalty was rebuilt from 3 events." in result.out
    assert "Different: awards: 0 rows before, 2 rows now." in result.out
    assert shop("loyalty", "balance", CUSTOMER, "--json").json["points"] == 99


def test_a_rebuild_from_a_truncated_history_says_what_is_missing(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    publish(broker, *[placed(f"ORD-{number}") for number in range(3)])
    drop(broker, 1)

    result = shop("events", "rebuild", "loyalty", "--yes")

    assert "loyalty will be rebuilt without them" in result.err


def test_a_rebuild_from_an_empty_history_is_refused_and_changes_nothing(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    publish(broker, placed("ORD-1"))
    shop("events", "rebuild", "loyalty", "--yes")
    drop(broker, 1)

    result = shop("events", "rebuild", "loyalty", "--yes")

    assert result.code == 1
    assert "the history holds no event, so loyalty would be emptied" in result.err
    assert shop("loyalty", "balance", CUSTOMER, "--json").json["points"] == 99


def replay(shop: Shop, service: str, *options: str) -> int:
    return shop("events", "replay", "--to", service, *options).code


@pytest.mark.parametrize(
    ("service", "side_effects"),
    [
        pytest.param("email", "email acts outside its database", id="mails"),
        pytest.param(
            "inventory", "inventory publishes stock.ran_short, stock.reserved", id="events"
        ),
    ],
)
def test_a_replay_to_a_service_with_side_effects_asks_first(
    shop: Shop, broker: EmbeddedBroker, questions: list[str], service: str, side_effects: str
) -> None:
    publish(broker, placed("ORD-1"))

    code = replay(shop, service)

    assert code == 1
    [question] = questions
    assert question.startswith(f"{side_effects}, and will do so for every old event")
    assert broker.depth(service).ready == 1


@pytest.mark.parametrize(
    ("arguments", "waiting"),
    [
        pytest.param(["email", "--yes"], 2, id="with-consent"),
        pytest.param(["email", "--dry-run"], 1, id="dry-run"),
        pytest.param(["loyalty"], 2, id="no-side-effects"),
    ],
)
def test_a_replay_does_not_ask_with_consent_or_without_side_effects(
    shop: Shop, broker: EmbeddedBroker, questions: list[str], arguments: list[str], waiting: int
) -> None:
    publish(broker, placed("ORD-1"))

    code = replay(shop, *arguments)

    assert (code, questions) == (0, [])
    assert broker.depth(arguments[0]).ready == waiting
