"""How the program reports errors of the operating system, and reads its arguments."""

import errno
import os
from collections.abc import Sequence
from typing import Any

import pytest

from shop import cli
from tests.support.commanding import Shop


def failing_with(error: BaseException) -> Any:
    def app(_arguments: Sequence[str], **_options: object) -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
        (TimeoutError(), "TimeoutError"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "Broken pipe"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_without_a_file_has_its_real_reason(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: OSError, sentence: str
) -> None:
    monkeypatch.setattr(cli, "app", failing_with(error))

    result = shop("orders", "list")

    assert result.err == f"shop: the operating system reports: {sentence}\n"
    assert result.code == 1


def test_an_error_of_a_file_names_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    error = PermissionError(errno.EACCES, "Permission denied", "/nowhere")
    monkeypatch.setattr(cli, "app", failing_with(error))

    assert shop("orders", "list").err == "shop: /nowhere: Permission denied\n"


def test_an_argument_that_is_no_text_is_refused(shop: Shop) -> None:
    result = shop("orders", "show", "\udcff")

    assert (result.code, result.err) == (2, "shop: an argument is not text in UTF-8\n")


def test_an_argument_in_utf_8_is_read_whatever_the_locale_is(shop: Shop) -> None:
    result = shop("orders", "show", "東".encode().decode("ascii", "surrogateescape"))

    assert "an order's id should be" in result.err
