"""PostgreSQL servers of one test each, in containers."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import docker
import psycopg

from tests.containers import need_docker, run_label
from tests.support.waiting import eventually

ADMIN_CREDENTIAL = "of-the-administrator"


class PostgresServer:
    """A running server.

    Attributes:
        container: Docker's.
    """

    def __init__(self, container: Any) -> None:
        self.container = container
        container.reload()
        self._port = container.ports["5432/tcp"][0]["HostPort"]

    def url(self, user: str, credential: str, database: str) -> str:
        """A URL for psycopg."""
        return f"postgresql://{user}:{credential}@127.0.0.1:{self._port}/{database}"

    @property
    def admin_url(self) -> str:
        """The administrator's URL."""
        return self.url("postgres", ADMIN_CREDENTIAL, "postgres")

    def log(self) -> str:
        """What the server has logged."""
        logged: bytes = self.container.logs()
        return logged.decode()

    def run(self, command: str) -> str:
        """Run a shell command in the container; returns its output."""
        output: bytes = self.container.exec_run(["sh", "-c", command]).output
        return output.decode()

    def answers(self) -> bool:
        """Whether it accepts connections by TCP, which it does not while it initialises."""
        try:
            psycopg.connect(self.admin_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres_container(command: Sequence[str], **options: Any) -> Iterator[PostgresServer]:
    """Start a server, and remove it at the end.

    Args:
        options: Docker's, such as `tmpfs`.
    """
    need_docker()
    environment = {"POSTGRES_PASSWORD": ADMIN_CREDENTIAL} | options.pop("environment", {})
    with closing(docker.from_env()) as client:
        container = client.containers.run(
            "postgres:18",
            list(command),
            detach=True,
            environment=environment,
            labels=run_label(),
            ports={"5432/tcp": ("127.0.0.1", 0)},
            **options,
        )
        try:
            eventually(lambda: _has_port(container))
            server = PostgresServer(container)
            eventually(server.answers, within=90)
            yield server
        finally:
            container.remove(force=True, v=True)


def _has_port(container: Any) -> bool:
    container.reload()
    return bool(container.ports.get("5432/tcp"))
