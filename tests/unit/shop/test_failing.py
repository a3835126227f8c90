"""How errors of commands are reported."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from shop import cli
from tests.support.commanding import Shop


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["orders", "place"], "missing: --email, --address, --item; see shop orders place --help"),
        (["orders", "pay"], "missing: ORDER, --amount; see shop orders pay --help"),
        (["orders", "pay", "ORD-1"], "missing: --amount; see shop orders pay --help"),
        (["inventory", "restock", "--json"], "missing: SKU, N; see shop inventory restock --help"),
        (["orders", "lst"], "No such command 'lst'. Did you mean 'list'? See shop orders --help"),
        (["orders", "show", "-x"], "No such option: -x; see shop orders show --help"),
        (
            ["orders", "list", "--limit", "0"],
            "Invalid value for '--limit': should be at least 1; see shop orders list --help",
        ),
        (
            ["orders", "simulate", "--rate", "fast"],
            "Invalid value for '--rate': should be a number; see shop orders simulate --help",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_with_the_commands_help(
    shop: Shop, arguments: list[str], sentence: str
) -> None:
    result = shop(*arguments)

    said = json.loads(result.err)["error"]["message"] if "--json" in arguments else result.err
    assert (result.code, result.out) == (2, "")
    assert said.removeprefix("shop: ").strip() == sentence


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (["orders", "show", "ORD-1", "--json"], 2, "InvalidInput"),
        (["orders", "show", "--json"], 2, "InvalidInput"),
        (["dead", "show", "email", "x", "--json"], 2, "InvalidInput"),
        (["events", "rebuild", "loyalty", "--yes", "--json"], 1, "BrokerUnavailable"),
    ],
)
def test_an_error_of_a_command_with_json_is_json(
    shop: Shop, arguments: list[str], code: int, name: str
) -> None:
    result = shop(*arguments)

    error = json.loads(result.err.splitlines()[-1])
    assert (result.code, result.out) == (code, "")
    assert error.keys() == {"error"}
    assert error["error"].keys() == {"code", "message"}
    assert error["error"]["code"] == name


def test_json_as_a_value_does_not_ask_for_json(shop: Shop) -> None:
    assert shop("orders", "show", "--", "--json").err.startswith("shop: ")


def test_a_misspelt_setting_ends_every_command(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_BROKER_ULR", "amqp://broker")

    for arguments in (["orders", "list"], ["run", "email"], ["setup"], ["doctor"]):
        result = shop(*arguments)
        assert result.code == 2
        assert result.err == (
            "shop: SHOP_BROKER_ULR: no such setting; did you mean SHOP_BROKER_URL?\n"
        )


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(_commands(typer.main.get_command(cli.app), "shop"))


def test_the_commands_are_found() -> None:
    assert {"shop run", "shop orders place", "shop dead retry"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_a_short_help_option(shop: Shop, name: str) -> None:
    options = [opt for parameter in COMMANDS[name].params for opt in parameter.opts]

    assert "--json" in options
    assert shop(*name.split()[1:], "-h").code == 0
