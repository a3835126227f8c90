"""What all tests share: the servers in containers, and what is said when there are none."""

import os
import signal

import pytest
from xdist.remote import Producer

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

__all__ = ["postgres_server", "postgres_url", "rabbitmq_server", "rabbitmq_vhost"]


def pytest_configure(config: pytest.Config) -> None:
    """Begin the run; let programs under test be interrupted also where it is in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # which they would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _is_worker(config):
        # Python's readline sets it where pytest was started, and a table would be cut to it.
        os.environ.pop("COLUMNS", None)
    else:
        begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run, once all workers have ended."""
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
    """Mark what needs a container, before `-m` selects by marker."""
    for item in items:
        if CONTAINER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("docker")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end how much was not tested for want of Docker."""
    skipped = terminalreporter.stats.get("skipped", [])
    without = sum(NO_DOCKER in str(report.longrepr) for report in skipped)
    if without:
        terminalreporter.write_sep("=", f"{without} container tests skipped: no Docker", red=True)
