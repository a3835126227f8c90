"""The broker and the database server of one run, in containers that are removed at its end.

Each measurement gets its own virtual host and databases. Both servers have their default, durable
configuration: `fsync` and `synchronous_commit` are on. PostgreSQL also records the times of
commits, for `latency`. The servers are reached at the addresses of their containers or, where this
machine has no route to these, at published ports on the loopback address.
"""

import os
import secrets
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

import docker
import psycopg
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.errors import BrokerUnavailable
from shared.messaging.connect import broker_at
from shared.messaging.rabbitmq.management import Management
from shared.runtime.service_settings import topology
from shared.runtime.settings import settings_for, settings_override
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shop import registry

RABBITMQ = "rabbitmq:4.3-management"
POSTGRES = "postgres:18"
KEEPING_COMMIT_TIMES = ("postgres", "-c", "track_commit_timestamp=on")
LABEL = "past-tense.benchmark"

_START = 120
"""Seconds until a server must respond."""


class NoDocker(Exception):
    """The servers cannot be started; the message says why."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A measurement's own virtual host and databases.

    Attributes:
        environment: the SHOP_ variables with which a service uses them.
        databases: URLs for psycopg, by service or by the requested name.
    """

    amqp_url: str
    environment: Mapping[str, str]
    databases: Mapping[str, str]


class Servers:
    """Both servers, running.

    Args:
        amqp: the broker's URL without a virtual host, its administrator's.
        admin_url: of the management API.
        postgres: the database server's URL without a database, its administrator's.
    """

    def __init__(self, *, amqp: str, admin_url: str, postgres: str) -> None:
        self._amqp = amqp
        self._admin_url = admin_url
        self._postgres = postgres

    def wait(self) -> None:
        """Wait until both servers are ready."""
        _answering(self._admin_url, f"{self._amqp}/%2F", f"{self._postgres}/postgres")

    def versions(self) -> dict[str, str]:
        """The versions of both servers."""
        overview = Management(self._admin_url).get("overview")
        with psycopg.connect(f"{self._postgres}/postgres") as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return {
            "RabbitMQ": overview["rabbitmq_version"],
            "PostgreSQL": str(row[0]).split()[0] if row else "",
        }

    @contextmanager
    def workspace(self, *names: str) -> Iterator[Workspace]:
        """A virtual host whose queues are quorum queues, and an empty database for each name."""
        tag = secrets.token_hex(4)
        vhost = f"bench-{tag}"
        management = Management(self._admin_url)
        management.put("vhosts", vhost, content={"default_queue_type": "quorum"})
        try:
            databases = {name: self._database(f"{name}_{tag}") for name in names}
            amqp_url = f"{self._amqp}/{quote(vhost, safe='')}"
            yield Workspace(
                amqp_url,
                {
                    "SHOP_BROKER_URL": amqp_url,
                    "SHOP_BROKER_ADMIN_URL": self._admin_url,
                    "SHOP_ALLOW_PLAINTEXT": "true",  # the servers are in containers
                    "SHOP_DATABASE_URL": f"{self._postgres}/{{service}}_{tag}",
                },
                databases,
            )
        finally:
            management.delete("vhosts", vhost)
            for name in names:
                self._drop(f"{name}_{tag}")

    @contextmanager
    def shop(self, *services: str) -> Iterator[Workspace]:
        """The same with the whole topology and the tables of these services."""
        with self.workspace(*services) as workspace:
            values = {
                name.removeprefix("SHOP_").lower(): value
                for name, value in workspace.environment.items()
            }
            with settings_override(**values):
                _set_up(services)
            yield workspace

    def _database(self, name: str) -> str:
        with psycopg.connect(f"{self._postgres}/postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"{self._postgres}/{name}"

    def _drop(self, name: str) -> None:
        with psycopg.connect(f"{self._postgres}/postgres", autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


def _set_up(services: Sequence[str]) -> None:
    settings = settings_for()
    broker = broker_at(settings.broker_url, admin_url=settings.broker_admin_url)
    try:
        broker.set_up(topology(registry.all_services(), settings))
    finally:
        broker.close()
    for name in services:
        database = Database(settings.database_url_of(name))
        try:
            migrate(database, registry.service(name).migrations)
        finally:
            database.close()


@contextmanager
def running() -> Iterator[Servers]:
    """Start both servers; remove them at the end.

    Raises:
        NoDocker: there is no engine, or it has no such image and cannot get it.
    """
    try:
        client = docker.from_env()
        client.ping()
    except (DockerException, OSError):
        raise NoDocker("this needs a Docker engine, and none answers") from None
    containers: list[Container] = []
    password = secrets.token_hex(12)
    try:
        _remove_orphans(client)
        rabbitmq = {"RABBITMQ_DEFAULT_USER": "admin", "RABBITMQ_DEFAULT_PASS": password}
        for image in (RABBITMQ, POSTGRES):
            _have(client, image)
        with _uninterrupted():
            containers.append(_start(client, RABBITMQ, [5672, 15672], rabbitmq))
        with _uninterrupted():
            postgres = {"POSTGRES_PASSWORD": password}
            containers.append(_start(client, POSTGRES, [5432], postgres, KEEPING_COMMIT_TIMES))
        servers = _servers(*containers, password=password)
        servers.wait()
        yield servers
    finally:
        for container in containers:
            container.remove(force=True, v=True)
        client.close()


def _servers(rabbitmq: Container, postgres: Container, *, password: str) -> Servers:
    who = f"admin:{password}"
    return Servers(
        amqp=f"amqp://{who}@{_reached(rabbitmq, 5672)}",
        admin_url=f"http://{who}@{_reached(rabbitmq, 15672)}",
        postgres=f"postgresql://postgres:{password}@{_reached(postgres, 5432)}",
    )


def _reached(container: Container, port: int) -> str:
    """The address of a server, without the proxy of published ports if possible."""
    networks = container.attrs["NetworkSettings"]["Networks"].values()
    for address in (each["IPAddress"] for each in networks if each["IPAddress"]):
        if _has_route_to(address):
            return f"{address}:{port}"
    return f"127.0.0.1:{_port(container, port)}"


def _has_route_to(address: str) -> bool:
    """Whether a machine responds there, even by refusing the connection."""
    try:
        socket.create_connection((address, 9), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def _have(client: docker.DockerClient, image: str) -> None:
    try:
        client.images.get(image)
    except ImageNotFound:
        try:
            client.images.pull(image)
        except DockerException as error:
            raise NoDocker(f"there is no image {image}, and it cannot be pulled") from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay signals while a container is created, or it might not be removed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    client: docker.DockerClient,
    image: str,
    ports: Sequence[int],
    environment: Mapping[str, str],
    command: Sequence[str] = (),
) -> Container:
    try:
        container = client.containers.run(
            image,
            list(command) or None,
            detach=True,
            environment=dict(environment),
            # Docker chooses the port; the type stubs allow only explicit ones.
            ports=dict.fromkeys(
                (f"{port}/tcp" for port in ports), cast("int", ("127.0.0.1", None))
            ),
            labels={LABEL: str(os.getpid())},
        )
    except DockerException as error:
        raise NoDocker(f"the Docker engine cannot run {image}: {error}") from error
    container.reload()
    return container


def _remove_orphans(client: docker.DockerClient) -> None:
    """Remove the containers of runs that were killed before they could."""
    for container in client.containers.list(
        all=True, filters={"label": LABEL}, ignore_removed=True
    ):
        if not os.path.exists(f"/proc/{container.labels[LABEL]}"):  # noqa: PTH110 - not a file
            container.remove(force=True, v=True)


def _port(container: Container, inside: int) -> int:
    bound = container.ports[f"{inside}/tcp"]
    if not bound:
        raise NoDocker(f"the Docker engine published no port {inside}")
    return int(bound[0]["HostPort"])


@retry(
    retry=retry_if_exception_type((BrokerUnavailable, psycopg.OperationalError)),
    stop=stop_after_delay(_START),
    wait=wait_fixed(0.5),
    reraise=True,
)
def _answering(admin_url: str, amqp_url: str, postgres_url: str) -> None:
    Management(admin_url).get("overview")
    broker = broker_at(amqp_url)
    try:
        broker.probe()
    finally:
        broker.close()
    psycopg.connect(postgres_url, connect_timeout=5).close()
