"""Terminals and pipes that are not UTF-8: a character costs a `?`, never the answer."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.events import OrderPlaced
from shared.messaging.codec import message_of
from shared.messaging.embedded import EmbeddedBroker
from shared.testing import example

SHOP = Path(sys.executable).with_name("shop")
ADDRESS = "Zoë 東京 1 👩‍💻"
PLACE = ("orders", "place", "--email", "jane@example.com", "--address", ADDRESS)
COMMANDS = {
    "a sentence": (*PLACE, "--item", "product-1=2", "--id", "ORD-1"),
    "a record": ("orders", "show", "ORD-1"),
    "a table": ("orders", "list"),
    "json": ("orders", "list", "--json"),
    "events as json": ("events", "history", "--json"),
    "the doctor": ("doctor",),
    "help": ("--help",),
    "an error": ("orders", "show", "東京"),
}


class Answer:
    """What a command wrote, decoded strictly with the encoding that was asked for."""

    def __init__(self, home: Path, encoding: str, *arguments: str, **variables: str) -> None:
        settings = {"SHOP_HOME": str(home), "PYTHONIOENCODING": encoding} | variables
        others = {name: text for name, text in os.environ.items() if not name.startswith("SHOP_")}
        done = subprocess.run(
            [SHOP, *arguments], env=others | settings, capture_output=True, timeout=60, check=False
        )
        self.code = done.returncode
        self.out = done.stdout.decode(encoding or "ascii")
        self.err = done.stderr.decode(encoding or "ascii")


@pytest.fixture(scope="module", params=["ascii", "cp1252"])
def answers(tmp_path_factory: pytest.TempPathFactory, request: Any) -> dict[str, Answer]:
    """The answer to each command in one encoding, of which none has 東 or 京."""
    home = tmp_path_factory.mktemp("home")
    Answer(home, "utf-8", "setup")
    broker = EmbeddedBroker(home / "broker.db")
    event = example(OrderPlaced, shipping_address=ADDRESS)
    broker.publisher().publish([message_of(event, source="orders")])
    broker.close()
    return {name: Answer(home, request.param, *command) for name, command in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_ends_with_a_traceback(answers: dict[str, Answer], name: str) -> None:
    assert answers[name].code in ({2} if name == "an error" else {0, 1})
    assert "Traceback" not in answers[name].err


def test_a_character_that_the_encoding_lacks_is_a_question_mark(
    answers: dict[str, Answer],
) -> None:
    assert "?? 1" in answers["a record"].out
    assert "ORD-1: 2" in answers["a sentence"].out
    assert "99.98" in answers["a table"].out


@pytest.mark.parametrize("name", ["json", "events as json"])
def test_json_keeps_every_character(answers: dict[str, Answer], name: str) -> None:
    (record,) = [json.loads(line) for line in answers[name].out.splitlines()]

    order = record[0] if isinstance(record, list) else record["data"]
    assert order["shipping_address"] == ADDRESS


def test_the_doctor_tells_well_from_wrong(answers: dict[str, Answer]) -> None:
    table = answers["the doctor"].out

    assert re.search(r"\bok\b.*database of orders", table)
    assert re.search(r"\bno\b.*queue of email", table)


def test_arguments_are_read_as_utf_8_in_the_locale_c(tmp_path: Path) -> None:
    strict = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    placed = Answer(tmp_path, "", *PLACE, "--item", "product-1=1", "--json", **strict)

    assert placed.code == 0, placed.err
    assert json.loads(placed.out)["shipping_address"] == ADDRESS
