"""The chaos run in short: one fault of each family, under load, and then the laws."""

import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import BEGIN, END, renew
from tests.chaos.crew import Crew, Member
from tests.chaos.faults import PROCESSES, SERVERS
from tests.chaos.run import breakdowns, chaos, short_of
from tests.containers import need_docker


@pytest.mark.docker
@pytest.mark.timeout(400)
def test_the_laws_hold_after_one_fault_of_each_family(tmp_path: Path) -> None:
    need_docker()

    report = chaos(tmp_path, seed=1, seconds=None, say=lambda line: print(line, file=sys.stderr))  # noqa: T201 - the timeline, shown when it fails

    assert report.problems == []
    assert len(report.strikes) == len(short_of(SERVERS)) + len(short_of(PROCESSES))
    assert report.evidence is not None
    assert len(report.evidence.orders) > 100


def test_the_short_run_has_a_fault_of_each_family() -> None:
    everything = [*SERVERS, *PROCESSES]

    families = {each.family for each in short_of(everything)}

    assert families == {each.family for each in everything}


@pytest.mark.parametrize(
    ("codes", "said", "told"),
    [
        pytest.param([0, -9, 70], "stopped", [], id="as planted"),
        pytest.param([1], "did not stop within the grace period", [], id="late"),
        pytest.param([1], "", ["email ended with [1], 0 times past its grace"], id="by itself"),
        pytest.param([-11], "", ["email ended with [-11], 0 times past its grace"], id="crashed"),
        pytest.param(
            [0],
            "unexpected error\nunexpected error",
            ["email: 2 × unexpected error"],
            id="broke down",
        ),
        pytest.param([0], "cannot continue", ["email: 1 × cannot continue"], id="gave up"),
    ],
)
def test_a_process_that_ends_by_itself_is_told(
    tmp_path: Path, codes: list[int], said: str, told: list[str]
) -> None:
    (tmp_path / "log").write_text(said)
    email = Member(
        name="email",
        service="email",
        command=(),
        environment={},
        log=tmp_path / "log",
        codes=codes,
    )

    assert list(breakdowns(Crew([email]))) == told


def test_a_report_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}old\n{END}after\n")

    renew(document, "new")
    renew(document, "newer")

    assert document.read_text() == f"before\n{BEGIN}\nnewer\n\n{END}after\n"
