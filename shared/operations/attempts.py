"""Prints the recorded attempts to handle one event, and each of their stacks once."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from shared.operations.console import Record, show
from shared.operations.output import echo

_COLUMNS = {
    "failed_at": "Failed at",
    "replays": "Replay",
    "attempt": "Attempt",
    "error": "Error",
    "message": "Message",
}


def print_attempts(attempts: Sequence[Record], *, with_stacks: bool) -> None:
    """Print a table of attempts, and below it their stacks.

    Args:
        attempts: as `failures.find` returns them.
    """
    rows = [dict(each) | {"message": _message(each)} for each in attempts]
    show(rows, as_json=False, columns=_COLUMNS, empty="No attempt is recorded.")
    if with_stacks:
        _print_stacks(attempts)


def _message(attempt: Record) -> str:
    """The message of the error, or where it was raised if its message is withheld."""
    from shared.stack_frames import origin_in  # noqa: PLC0415 - only where it is needed
    from shared.storage.failures import WITHHELD  # noqa: PLC0415 - the same

    message: str = attempt["message"]
    return f"at {origin_in(attempt['traceback'])}" if message == WITHHELD else message


def _print_stacks(attempts: Iterable[Record]) -> None:
    """Print each different stack with the attempts that it belongs to."""
    by_stack: dict[tuple[str, str], list[Record]] = {}
    for attempt in attempts:
        if attempt.get("traceback"):
            by_stack.setdefault((attempt["error"], attempt["traceback"]), []).append(attempt)
    for (error, stack), same in by_stack.items():
        echo(f"\n{_label(same)}: {error}")
        echo(stack.rstrip("\n"))


def _label(attempts: Sequence[Record]) -> str:
    """Such as `attempts 1-3, 5; replay 1, attempt 1`."""
    labels = []
    for replays, group in groupby(attempts, key=lambda each: each["replays"]):
        numbers = [each["attempt"] for each in group]
        noun = "attempt" if len(numbers) == 1 else "attempts"
        replay = f"replay {replays}, " if replays else ""
        labels.append(f"{replay}{noun} {', '.join(_ranges(numbers))}")
    return "; ".join(labels)


def _ranges(numbers: Iterable[int]) -> Iterable[str]:
    """Numbers in a row as `1-3`."""

    def offset(pair: tuple[int, Any]) -> int:
        return int(pair[1]) - pair[0]

    for _, run in groupby(enumerate(sorted(set(numbers))), key=offset):
        values = [number for _, number in run]
        yield str(values[0]) if len(values) == 1 else f"{values[0]}-{values[-1]}"
