"""Every command that a message names can be typed where the message is printed."""

import io
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from shared.runtime import hints
from shared.runtime.hints import command
from shared.runtime.logs import log_to
from shared.runtime.settings import Settings
from shared.storage import outbox, service_state
from shared.storage.tables import metadata
from shared.testing import Stage
from shop import registry
from tests.support.commanding import Shop
from tests.support.order_events import placed

ROOT = Path(__file__).parents[4]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

COMMANDS = {
    "run shop setup": "run docker compose run --rm setup",
    "drop them with shop setup --drop-unsubscribed": (
        "drop them with docker compose run --rm setup setup --drop-unsubscribed"
    ),
    "run `shop setup`: no queue": "run `docker compose run --rm setup`: no queue",
    "start it with shop run email": "start it with docker compose up --detach email",
    "to confirm: shop run loyalty --from-history --yes": (
        "to confirm: docker compose run --rm loyalty run loyalty --from-history --yes"
    ),
    "see: shop dead list email": "see: docker compose run --rm operator dead list email",
    "then run shop outbox resend orders": (
        "then run docker compose run --rm operator outbox resend orders"
    ),
    "why with shop failures gifts": "why with docker compose run --rm operator failures gifts",
    "the shop runs; a workshop setup": "the shop runs; a workshop setup",
}


@pytest.mark.parametrize(("sentence", "expected"), COMMANDS.items(), ids=COMMANDS)
def test_a_command_is_named_as_it_can_be_typed_before_the_composition(
    sentence: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hints.fitting(sentence) == sentence

    monkeypatch.setenv("SHOP_COMPOSED", "true")

    assert hints.fitting(sentence) == expected


@pytest.mark.parametrize(
    ("words", "options", "expected"),
    [
        (("orders", "show", "ORD-1"), {}, "shop orders show ORD-1"),
        (("orders", "show", "-x"), {}, "shop orders show -- -x"),
        (
            ("orders", "pay", "-rf", "a"),
            {"amount": "9.99"},
            "shop orders pay --amount 9.99 -- -rf a",
        ),
        (("run", "gifts"), {"from_history": "", "yes": ""}, "shop run gifts --from-history --yes"),
        (
            ("x", "a b; rm $HOME"),
            {"reason": "it's"},
            "shop x 'a b; rm $HOME' --reason 'it'\"'\"'s'",
        ),
        (("x",), {"id": "-1"}, "shop x --id=-1"),
    ],
)
def test_a_command_is_quoted_for_a_shell(
    words: tuple[str, ...], options: dict[str, str], expected: str
) -> None:
    assert command(*words, **options) == expected


def test_a_shell_passes_on_what_was_given() -> None:
    words = ("a b", "$(id)", "`id`", '"', "'", "*", "東京")
    line = command(*words).removeprefix("shop ")

    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == list(words) == shlex.split(line)


@pytest.mark.parametrize(
    ("words", "options", "expected"),
    [
        (("setup",), {}, "run --rm setup"),
        (("setup",), {"drop_unsubscribed": ""}, "run --rm setup setup --drop-unsubscribed"),
        (("run", "gifts"), {}, "up --detach gifts"),
        (("run",), {"help": ""}, "run --rm operator run --help"),
        (
            ("run", "gifts"),
            {"from_history": "", "yes": ""},
            "run --rm gifts run gifts --from-history --yes",
        ),
        (("orders", "show", "-x"), {}, "run --rm operator orders show -- -x"),
        (("orders", "show", "a b"), {}, "run --rm operator orders show 'a b'"),
    ],
)
def test_a_command_is_quoted_and_fits_the_composition(
    words: tuple[str, ...],
    options: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_COMPOSED", "true")

    said = command(*words, **options)

    assert said == f"docker compose {expected}"
    assert hints.fitting(f"run {said}") == f"run {said}"


def test_a_log_in_a_container_names_commands_of_the_composition() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(composed=True)).error("retrying", reason="missing, run `shop setup`")

    assert json.loads(stream.getvalue())["reason"] == "missing, run `docker compose run --rm setup`"


@pytest.fixture
def troubled(tmp_path: Path) -> Iterator[Stage]:
    """A shop in which what the doctor can find is wrong."""
    stage = Stage(tmp_path, registry.all_services())
    stage.publish(placed())
    stage.react("loyalty")
    stage.react("email", errors="collect")  # it has no gateway, so the event fails
    with stage.databases["orders"].begin() as connection:
        outbox.write(connection, [outbox.Outgoing(placed("ORD-2"), b"{}")])
        connection.execute(text("UPDATE outbox SET refused = 'no permission'"))
    with stage.databases["analytics"].begin() as connection:
        service_state.note_pause(connection, stage.databases["analytics"], "away")
        connection.execute(text("UPDATE service_state SET seen_at = '2026-01-01T00:00:00+00:00'"))
    with stage.databases["shipping"].begin() as connection:
        connection.execute(text("DELETE FROM runtime_version"))
        for table in metadata.sorted_tables:
            connection.execute(text(f"DROP TABLE {table.name}"))
    with stage.broker._file.opened() as connection:
        connection.execute("DELETE FROM bindings WHERE queue = 'orders'")
        connection.execute("UPDATE messages SET queue = 'inventory.dead' WHERE queue = 'inventory'")
    yield stage
    stage.close()


EMBEDDED = r"shop (setup|run \w+|dead list \w+|failures \w+|outbox resend \w+)"
COMPOSED = (
    r"docker compose (run --rm setup|up --detach \w+|run --rm operator dead list \w+"
    r"|run --rm operator failures \w+|run --rm operator outbox resend \w+)"
)


def said_by_the_doctor(shop: Shop) -> str:
    return "\n".join(each["says"] for each in shop("doctor", "--json").json if not each["ok"])


@pytest.mark.usefixtures("troubled")
def test_every_command_that_the_doctor_names_runs_embedded(shop: Shop) -> None:
    said = said_by_the_doctor(shop)

    named = re.findall(EMBEDDED, said)

    assert len(named) == len(re.findall("shop", said))
    assert {each.split()[0] for each in named} == {"setup", "run", "dead", "failures", "outbox"}
    for each in sorted(set(named), key=lambda words: not words.startswith("setup")):
        # A service runs until it is stopped, so its start alone is checked.
        words = [*each.split(), "--help"] if each.startswith("run") else each.split()
        assert shop(*words).code == 0, each


@pytest.mark.usefixtures("troubled")
def test_every_command_that_the_doctor_names_exists_in_the_composition(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_COMPOSED", "true")
    said = said_by_the_doctor(shop)
    monkeypatch.delenv("SHOP_COMPOSED")

    named = re.findall(COMPOSED, said)

    assert re.findall(r"(?<!operator )\bshop\b", said) == []
    assert len(named) == len(re.findall("docker compose", said))
    for each in map(str.split, named):
        if each[0] == "up":
            assert SERVICES[each[-1]]["command"] == ["run", each[-1]]
        elif each[2] == "setup":
            assert SERVICES["setup"]["command"] == ["setup"]
        else:
            assert "command" not in SERVICES["operator"]
            assert shop(*each[3:], "--help").code == 0


@pytest.mark.parametrize("folders", [["rabbitmq", "postgres"], []], ids=["empty", "missing"])
def test_set_up_outside_its_container_names_the_command_that_runs_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folders: list[str]
) -> None:
    for each in folders:
        (tmp_path / "keys" / each).mkdir(parents=True)
    monkeypatch.setenv("SHOP_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("SHOP_COMPOSED", "true")

    result = shop("setup")

    assert (result.code, result.out) == (1, "")
    assert "its own container alone can read: docker compose run --rm setup" in result.err


def test_a_usage_error_in_a_container_names_the_help_that_can_be_typed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_COMPOSED", "true")

    refused = shop("orders", "place", "--nothing")

    assert refused.code == 2
    assert refused.err.endswith("see docker compose run --rm operator orders place --help\n")


def test_an_order_that_was_placed_in_a_container_names_what_can_be_typed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "orders", "place", "--email", "jane@example.com", "--address", "12 Main St"
    monkeypatch.setenv("SHOP_COMPOSED", "true")

    shown = shop(*place, "--item", "product-1=2", "--id", "ORD-1").out

    assert "docker compose run --rm operator orders pay ORD-1 --amount 99.98" in shown
    assert SERVICES["operator"]["environment"]["SHOP_COMPOSED"] == "true"
