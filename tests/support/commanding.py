"""The program `shop`, run as a person would, within the test's process."""

import json
import logging
from typing import Any, NamedTuple

import pytest

from shop import cli


class Said(NamedTuple):
    """What the program answered."""

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
        # Logs of a later test must not go where this one's were captured.
        monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])

    def __call__(self, *arguments: str) -> Said:
        self._monkeypatch.setattr("sys.argv", ["shop", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = self._capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)
