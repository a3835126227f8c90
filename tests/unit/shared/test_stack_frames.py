"""Which line of code a log and a listing name for an error."""

import traceback
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from shared import stack_frames
from shared.events import OrderPlaced
from shared.stack_frames import origin_in, origin_of
from shared.testing import example

ROOT = Path(stack_frames.__file__).parents[1]
HERE = Path(__file__).relative_to(ROOT)


def frame(path: str, line: int) -> str:
    return f'  File "{path}", line {line}, in anything\n    code()\n'


def misspell_a_field() -> None:
    example(OrderPlaced).custmer_email  # type: ignore[attr-defined]  # noqa: B018


def misspell_a_table() -> None:
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("SELECT * FROM nothing"))


def pass_text_for_a_number() -> None:
    int("four")


@pytest.mark.parametrize("mistake", [misspell_a_field, misspell_a_table, pass_text_for_a_number])
def test_the_origin_is_the_line_of_ones_own_code_and_not_of_the_library(mistake: object) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any error
        mistake()  # type: ignore[operator]

    origin = origin_of(raised.value)

    path, _, number = origin.partition(":")
    assert path == str(HERE)
    line = Path(__file__).read_text().splitlines()[int(number) - 1]
    assert "custmer_email" in line or "nothing" in line or "four" in line
    assert origin_in("".join(traceback.format_tb(raised.value.__traceback__))) == origin


@pytest.mark.parametrize(
    ("stack", "origin"),
    [
        pytest.param(
            frame(f"{ROOT}/shared/runtime/reactor.py", 3)
            + frame(f"{ROOT}/services/gifts/handlers.py", 14)
            + frame(f"{ROOT}/shared/storage/unit_of_work.py", 9)
            + frame(f"{ROOT}/.venv/lib/python3.11/site-packages/pydantic/main.py", 1110),
            "services/gifts/handlers.py:14",
            id="a-handler",
        ),
        pytest.param(
            frame(f"{ROOT}/services/gifts/handlers.py", 14)
            + frame(f"{ROOT}/services/gifts/store.py", 5),
            "services/gifts/store.py:5",
            id="the-deepest",
        ),
        pytest.param(
            frame(f"{ROOT}/shared/runtime/reactor.py", 3)
            + frame("/usr/lib/python3.11/site-packages/sqlalchemy/base.py", 7),
            "shared/runtime/reactor.py:3",
            id="the-runtime",
        ),
        pytest.param(frame("/usr/lib/python3.11/json/decoder.py", 7), "decoder.py:7", id="foreign"),
        pytest.param("", "an unknown place", id="none"),
    ],
)
def test_a_services_code_comes_before_the_runtime_and_libraries(stack: str, origin: str) -> None:
    assert origin_in(stack) == origin
