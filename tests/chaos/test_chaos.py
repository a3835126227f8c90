"""The chaos run in short: one fault of each family, under load, and then the invariants."""

import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import BEGIN, END, renew
from tests.chaos.faults import NEIGHBOURS, PROCESSES, SERVERS
from tests.chaos.run import EMBEDDED, chaos, short_run, unexpected_exits
from tests.chaos.supervisor import SupervisedProcess, Supervisor
from tests.containers import need_docker


@pytest.mark.docker
@pytest.mark.timeout(900)
def test_the_invariants_hold_after_one_fault_of_each_family(tmp_path: Path) -> None:
    need_docker()

    report = chaos(tmp_path, seed=1, seconds=None, say=lambda line: print(line, file=sys.stderr))  # noqa: T201 - the timeline, shown when it fails

    assert report.problems == []
    assert len(report.injections) == len(short_run(SERVERS)) + len(short_run(PROCESSES))
    assert report.state is not None
    assert len(report.state.orders) > 100


@pytest.mark.timeout(900)
def test_the_invariants_hold_beside_a_lying_and_a_greedy_service_of_the_embedded_shop(
    tmp_path: Path,
) -> None:
    report = chaos(
        tmp_path,
        seed=1,
        seconds=None,
        say=lambda line: print(line, file=sys.stderr),  # noqa: T201 - the timeline, shown when it fails
        setting=EMBEDDED,
    )

    assert report.problems == []
    assert len(report.injections) == len(NEIGHBOURS)
    assert report.state is not None
    assert report.state.context.lies


def test_the_short_run_has_a_fault_of_each_family() -> None:
    everything = [*SERVERS, *PROCESSES]

    families = {each.family for each in short_run(everything)}

    assert families == {each.family for each in everything}


@pytest.mark.parametrize(
    ("exit_codes", "log", "found"),
    [
        pytest.param([0, -9, 70], "stopped", [], id="as planted"),
        pytest.param([1], "did not stop within the grace period", [], id="late"),
        pytest.param(
            [1], "", ["email ended with [1], 0 times past its grace period"], id="by itself"
        ),
        pytest.param(
            [-11], "", ["email ended with [-11], 0 times past its grace period"], id="crashed"
        ),
        pytest.param(
            [0],
            "unexpected error\nunexpected error",
            ["email: 2 × unexpected error"],
            id="unexpected error",
        ),
        pytest.param([0], "cannot continue", ["email: 1 × cannot continue"], id="gave up"),
    ],
)
def test_a_process_that_ends_unexpectedly_is_reported(
    tmp_path: Path, exit_codes: list[int], log: str, found: list[str]
) -> None:
    (tmp_path / "log").write_text(log)
    email = SupervisedProcess(
        name="email",
        service="email",
        command=(),
        environment={},
        log=tmp_path / "log",
        exit_codes=exit_codes,
    )

    assert list(unexpected_exits(Supervisor([email]))) == found


def test_a_report_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}old\n{END}after\n")

    renew(document, "new")
    renew(document, "newer")

    assert document.read_text() == f"before\n{BEGIN}\nnewer\n\n{END}after\n"
