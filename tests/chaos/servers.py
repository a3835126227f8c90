"""A broker and a database server that tests may kill: containers with fixed ports."""

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import docker
import psycopg
from docker.models.containers import Container

from shared.errors import BrokerUnavailable
from shared.messaging.rabbitmq.management import Management
from tests.containers import IDLE_SCHEDULERS_SLEEP, run_label
from tests.support.waiting import eventually

ADMIN = "chaos"
"""The broker's administrator."""

PASSWORD = "hush"  # noqa: S105 - of servers that exist for minutes on this machine
BOOT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class ServerContainer:
    """A container, and its host port by container port."""

    container: Container
    ports: Mapping[int, int]

    def kill(self) -> None:
        self.container.kill()

    def start(self) -> None:
        self.container.start()

    def restart(self) -> None:
        self.container.restart(timeout=20)

    def pause_container(self) -> None:
        self.container.pause()

    def resume_container(self) -> None:
        self.container.unpause()

    def run(self, *command: str) -> str:
        code, output = self.container.exec_run(list(command))
        assert code == 0, output
        assert isinstance(output, bytes)
        return output.decode()


@contextlib.contextmanager
def rabbitmq() -> Iterator[ServerContainer]:
    """A broker with statistics every half second, which retries dead-lettering after 3 seconds.

    By default it retries a dead letter without a dead queue after 3 minutes:
    https://www.rabbitmq.com/docs/quorum-queues#dead-lettering
    """
    arguments = {
        "collect_statistics_interval": 500,
        "quorum_tick_interval": 500,
        "dead_letter_worker_publisher_confirm_timeout": 3000,
    }
    environment = {
        "RABBITMQ_DEFAULT_USER": ADMIN,
        "RABBITMQ_DEFAULT_PASS": PASSWORD,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(
            [
                IDLE_SCHEDULERS_SLEEP,
                *(f"-rabbit {name} {value}" for name, value in arguments.items()),
            ]
        ),
    }
    with _running("rabbitmq:4.3-management", environment, (5672, 15672)) as server:
        eventually(lambda: broker_answers(server), within=BOOT_SECONDS)
        yield server


@contextlib.contextmanager
def postgres() -> Iterator[ServerContainer]:
    """A database server."""
    environment = {"POSTGRES_PASSWORD": PASSWORD, "POSTGRES_INITDB_ARGS": "--no-sync"}
    # A killed process loses nothing that is in the operating system's cache.
    command = ["postgres", "-c", "max_connections=200", "-c", "fsync=off"]
    with _running("postgres:18", environment, (5432,), command) as server:
        eventually(lambda: database_answers(server), within=BOOT_SECONDS)
        yield server


def broker_answers(server: ServerContainer) -> bool:
    try:
        return Management(admin_url(server)).get("overview") is not None
    except BrokerUnavailable:
        return False


def database_answers(server: ServerContainer) -> bool:
    try:
        with psycopg.connect(database_url(server), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def admin_url(server: ServerContainer) -> str:
    return f"http://{ADMIN}:{PASSWORD}@127.0.0.1:{server.ports[15672]}"


def amqp_url(port: int, user: str = ADMIN) -> str:
    return f"amqp://{user}:{PASSWORD}@127.0.0.1:{port}/%2F"


def database_url(
    server: ServerContainer, database: str = "postgres", *, role: str = "postgres"
) -> str:
    """The URL of a role, by default the administrator's."""
    return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{server.ports[5432]}/{database}"


@contextlib.contextmanager
def _running(
    image: str,
    environment: Mapping[str, str],
    ports: Sequence[int],
    command: Sequence[str] = (),
) -> Iterator[ServerContainer]:
    """A running container; ports are chosen here, since Docker's change at a restart."""
    client = docker.from_env()
    chosen = {port: free_port() for port in ports}
    container = client.containers.run(
        image,
        list(command),
        detach=True,
        environment=dict(environment),
        ports={f"{port}/tcp": ("127.0.0.1", host_port) for port, host_port in chosen.items()},
        labels=run_label(),
    )
    try:
        yield ServerContainer(container, chosen)
    finally:
        container.remove(force=True, v=True)
        client.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
