"""What all tests share: servers in containers, and a report of what was skipped without them."""

import os
import signal

import pytest
from xdist.remote import Producer

from tests.acceptance.compose import system
from tests.containers import (
    CONTAINER_FIXTURES,
    NO_DOCKER,
    begin_run,
    end_run,
    postgres_server,
    postgres_url,
    rabbitmq_server,
    rabbitmq_vhost,
)
from tests.scheduling import GroupScheduling

__all__ = ["postgres_server", "postgres_url", "rabbitmq_server", "rabbitmq_vhost", "system"]


def pytest_configure(config: pytest.Config) -> None:
    """Begin the run; make SIGINT work in tests when the shell started this in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # child processes would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _is_worker(config):
        # Python's readline sets it in the controlling process; tables would be cut to this width.
        os.environ.pop("COLUMNS", None)
    else:
        begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run after all workers have ended."""
    if not _is_worker(config):
        end_run()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Keep tests that share something on one worker."""
    return GroupScheduling(config, log)


def _is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for another one (pytest-xdist)."""
    return "workerinput" in vars(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a container, before `-m` selects by marker."""
    for item in items:
        if CONTAINER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("docker")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many tests were skipped because there is no Docker engine."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NO_DOCKER in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_sep("=", f"{count} container tests skipped: no Docker", red=True)
