"""Runs the program `shop` in the test's own process."""

import json
import logging
from typing import Any, NamedTuple

import pytest

from shop import cli


class CommandResult(NamedTuple):
    """A command's exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shop:
    """Runs `shop` with arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        # Restores the handlers afterwards: they write to this test's captured output.
        monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])

    def __call__(self, *arguments: str) -> CommandResult:
        self._monkeypatch.setattr("sys.argv", ["shop", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        captured = self._capsys.readouterr()
        return CommandResult(int(exit_info.value.code or 0), captured.out, captured.err)
