"""What all tests share: the servers in containers, and what is said when there are none."""

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
