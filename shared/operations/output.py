"""Standard output and standard error of a command, whatever their encoding is.

A character that the terminal or the pipe cannot express costs a `?`, or in JSON an escape, and not
the rest of the output. An error of standard output names it, so that it is told from other errors.
"""

import io
import json
import os
import sys
from typing import TYPE_CHECKING, TextIO

import typer

from shared.errors import InvalidInput

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

OUTPUT = "standard output"
"""The `filename` of an OSError of standard output."""


def prepare_output() -> None:
    """Make standard output and standard error accept every character, and name their errors."""
    sys.stdout = _prepared(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def arguments() -> list[str]:
    """The command's arguments, decoded as UTF-8 where the locale's encoding cannot decode them.

    Raises:
        InvalidInput: an argument is neither.
    """
    try:
        return [each if _is_text(each) else os.fsencode(each).decode() for each in sys.argv[1:]]
    except UnicodeDecodeError:
        raise InvalidInput("an argument is not text in UTF-8") from None


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a line on standard output, or on standard error.

    `typer.echo` without a file would write UTF-8 to a terminal or pipe that takes ASCII.
    """
    stream = sys.stderr if err else sys.stdout
    if stream is not None:
        typer.echo(text, file=stream)


def expressible(json_text: str) -> str:
    """JSON that standard output can express; other characters are written as escapes."""
    if is_expressible(json_text):
        return json_text
    return "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in json_text)


def is_expressible(text: str) -> bool:
    """Whether standard output has all characters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _Output(io.FileIO):
    """The file of standard output, whose errors name it."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = OUTPUT
            raise


def _prepared(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        file = _Output(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError):  # a test's capture, or it is closed
        return stream
    is_unbuffered = isinstance(stream.buffer, io.RawIOBase)
    return io.TextIOWrapper(
        file if is_unbuffered else io.BufferedWriter(file),
        encoding=stream.encoding,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
