"""What all tests share: the servers in containers, and what is said when there are none."""

import signal

import pytest

from tests.containers import (
    CONTAINER_FIXTURES,
    NO_DOCKER,
    postgres_server,
    postgres_url,
    rabbitmq_server,
    rabbitmq_vhost,
)

__all__ = ["postgres_server", "postgres_url", "rabbitmq_server", "rabbitmq_vhost"]


def pytest_configure() -> None:
    """Let programs under test be interrupted also where a shell runs this in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # which they would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
