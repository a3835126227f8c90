import shlex
import subprocess

import pytest

from shared.command_line import command


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
