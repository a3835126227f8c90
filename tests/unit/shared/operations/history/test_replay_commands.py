import pytest
import typer

from shared.messaging.embedded import EmbeddedBroker
from tests.support.commanding import Shop
from tests.support.embedded_shop import drop, publish
from tests.support.histories import CUSTOMER, cancelled, placed


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person was asked, who says no."""
    questions: list[str] = []

    def refuse(question: str, **_: object) -> bool:
        questions.append(question)
        return False

    monkeypatch.setattr("typer.confirm", refuse)
    return questions


def test_a_rebuild_asks_and_nothing_happens_without_a_yes(
    shop: Shop, broker: EmbeddedBroker, asked: list[str]
) -> None:
    publish(broker, placed("ORD-1"))

    said = shop("events", "rebuild", "loyalty")

    assert said.code == 1
    assert said.err == "shop: nothing was changed; --yes answers the question beforehand\n"
    assert asked == ["Empty the tables of loyalty and make them anew from the history?"]
    assert shop("loyalty", "balance", CUSTOMER, "--json").json["points"] == 0


def test_where_nobody_is_there_to_answer_nothing_happens(
    shop: Shop, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_question: str, **_: object) -> bool:
        raise typer.Abort

    monkeypatch.setattr("typer.confirm", nobody)
    publish(broker, placed("ORD-1"))

    said = shop("events", "rebuild", "loyalty")

    assert (said.code, said.err) == (
        1,
        "\nshop: nothing was changed; --yes answers the question beforehand\n",
    )


def test_a_rebuild_says_what_differs(shop: Shop, broker: EmbeddedBroker) -> None:
    publish(broker, placed("ORD-1"), cancelled("ORD-1"), placed("ORD-2"))

    said = shop("events", "rebuild", "loyalty", "--yes")

    assert said.code == 0
    assert "loyalty is rebuilt from 3 events." in said.out
    assert "It differs: awards: 0 rows before, 2 rows now." in said.out
    assert shop("loyalty", "balance", CUSTOMER, "--json").json["points"] == 99


def test_a_rebuild_from_a_shortened_history_says_what_will_be_forgotten(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    publish(broker, *[placed(f"ORD-{number}") for number in range(3)])
    drop(broker, 1)

    said = shop("events", "rebuild", "loyalty", "--yes")

    assert "loyalty will no longer know of it" in said.err


def test_a_rebuild_from_a_history_of_which_nothing_is_kept_is_refused_and_empties_nothing(
    shop: Shop, broker: EmbeddedBroker
) -> None:
    publish(broker, placed("ORD-1"))
    shop("events", "rebuild", "loyalty", "--yes")
    drop(broker, 1)

    said = shop("events", "rebuild", "loyalty", "--yes")

    assert said.code == 1
    assert "the history holds no event, so loyalty would be emptied" in said.err
    assert shop("loyalty", "balance", CUSTOMER, "--json").json["points"] == 99


def replay(shop: Shop, service: str, *options: str) -> int:
    return shop("events", "replay", "--to", service, *options).code


@pytest.mark.parametrize(
    ("service", "does"),
    [
        pytest.param("email", "email acts outside its database", id="mails"),
        pytest.param("inventory", "inventory publishes stock.ran_short, stock.reserved", id="says"),
    ],
)
def test_a_replay_to_a_service_that_does_more_than_keep_what_it_hears_asks_first(
    shop: Shop, broker: EmbeddedBroker, asked: list[str], service: str, does: str
) -> None:
    publish(broker, placed("ORD-1"))

    code = replay(shop, service)

    assert code == 1
    [question] = asked
    assert question.startswith(f"{does}, and will do so for every old event")
    assert broker.depth(service).ready == 1


@pytest.mark.parametrize(
    ("arguments", "waiting"),
    [
        pytest.param(["email", "--yes"], 2, id="it-is-meant"),
        pytest.param(["email", "--dry-run"], 1, id="only-counted"),
        pytest.param(["loyalty"], 2, id="it-only-keeps"),
    ],
)
def test_a_replay_asks_nobody_where_it_is_meant_or_harms_nothing(
    shop: Shop, broker: EmbeddedBroker, asked: list[str], arguments: list[str], waiting: int
) -> None:
    publish(broker, placed("ORD-1"))

    code = replay(shop, *arguments)

    assert (code, asked) == (0, [])
    assert broker.depth(arguments[0]).ready == waiting
