"""Commands of `shop` in sentences for people, so that each can be pasted into a shell."""

import shlex
from itertools import takewhile


def command(*words: str, **options: str) -> str:
    """A command with its arguments, quoted for a shell.

    `--` stands before an argument that begins with a hyphen, which is otherwise read as an option.

    Args:
        words: the command and its arguments, without `shop`.
        options: values by the option's name, such as `amount="9.99"`; empty for `--yes`.
    """
    named = [part for name, value in options.items() for part in _option(name, value)]
    before = list(takewhile(lambda word: not word.startswith("-"), words))
    after = words[len(before) :]
    return shlex.join(("shop", *before, *named, *(("--", *after) if after else ())))


def _option(name: str, value: str) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if value.startswith("-"):
        return [f"{option}={value}"]
    return [option, value] if value else [option]
