"""The servers that tests use, in containers: one of each for a whole run.

The workers of a run (pytest-xdist) share them: the first that needs a server starts it. Each test
gets its own virtual host of the broker and its own database of the server.
"""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import docker
import psycopg
import pytest
from docker.errors import DockerException
from filelock import FileLock
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.rabbitmq import RabbitMqContainer
from testcontainers.core.config import testcontainers_config

from shared.errors import BrokerUnavailable
from shared.messaging.rabbitmq.management import Management

NO_DOCKER = "needs a Docker engine, and none answers"
CONTAINER_FIXTURES = frozenset({"rabbitmq_server", "postgres_server"})

RUN_FOLDER = "PAST_TENSE_TEST_RUN"
"""Environment variable: the folder that the workers of one run share."""

LABEL = "past-tense.test-run"
"""Label of all containers of a run; its value is the run's folder."""

# Ryuk, the container that removes what a process leaves behind, would remove a shared server as
# soon as the worker that started it ends. `end_run` removes them instead.
testcontainers_config.ryuk_disabled = True

ALLOW_PLAINTEXT = True
"""The setting with which a process may use these servers: the engine may be on another machine."""

IDLE_SCHEDULERS_SLEEP = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""For the Erlang machine: https://www.rabbitmq.com/docs/runtime#busy-waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitServer:
    """The address of the shared broker, and its administrator's login."""

    host: str
    port: int
    admin_port: int
    user: str
    password: str

    def amqp_url(self, vhost: str = "/") -> str:
        """The administrator's URL of a virtual host."""
        return f"amqp://{self._login}@{self.host}:{self.port}/{quote(vhost, safe='')}"

    @property
    def admin_url(self) -> str:
        """The URL of the management API."""
        return f"http://{self._login}@{self.host}:{self.admin_port}"

    @property
    def _login(self) -> str:
        return f"{self.user}:{quote(self.password, safe='')}"


class Vhost(NamedTuple):
    """A test's own virtual host; both URLs are the administrator's."""

    amqp_url: str
    admin_url: str
    name: str

    @property
    def settings(self) -> dict[str, object]:
        """The settings of a process that uses it as the administrator."""
        return {
            "broker_url": self.amqp_url,
            "broker_admin_url": self.admin_url,
            "allow_plaintext": ALLOW_PLAINTEXT,
        }

    def as_user(self, user: str, password: str) -> str:
        """The AMQP URL for another user."""
        server = self.amqp_url.rpartition("@")[2]
        return f"amqp://{user}:{quote(password, safe='')}@{server}"


def need_docker() -> None:
    """Skip the test if there is no Docker engine; with CI=true fail it."""
    if _docker_answers():
        return
    if os.environ.get("CI") == "true":
        pytest.fail(NO_DOCKER, pytrace=False)
    pytest.skip(NO_DOCKER)


@pytest.fixture(scope="session")
def rabbitmq_server() -> RabbitServer:
    """The shared broker; use `rabbitmq_vhost` unless a test needs the server itself."""
    need_docker()
    return RabbitServer(**_shared("rabbitmq", _start_rabbitmq))


@pytest.fixture
def rabbitmq_vhost(rabbitmq_server: RabbitServer) -> Iterator[Vhost]:
    """A new, empty virtual host."""
    with new_vhost(rabbitmq_server) as vhost:
        yield vhost


@contextmanager
def new_vhost(server: RabbitServer) -> Iterator[Vhost]:
    """A new, empty virtual host during the block."""
    name = f"test/{uuid4().hex[:12]}"
    management = Management(server.admin_url)
    management.put("vhosts", name)
    yield Vhost(server.amqp_url(name), server.admin_url, name)
    management.delete("vhosts", name)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The administrator's URL, for psycopg, of the shared database server."""
    need_docker()
    return str(_shared("postgres", _start_postgres)["url"])


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The SQLAlchemy URL of a new, empty database."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    server = postgres_server.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://")
    yield f"{server}/{name}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def begin_run() -> None:
    """Make the folder that the workers of this run share."""
    os.environ[RUN_FOLDER] = tempfile.mkdtemp(prefix="past-tense-tests-")


def end_run() -> None:
    """Remove the containers of this run that are left, and its folder."""
    label = f"{LABEL}={os.environ[RUN_FOLDER]}"
    if _docker_answers():
        with closing(docker.from_env()) as client:
            for each in client.containers.list(
                all=True, filters={"label": label}, ignore_removed=True
            ):
                each.remove(force=True, v=True)
    shutil.rmtree(os.environ.pop(RUN_FOLDER))


def run_label() -> dict[str, str]:
    """The label of containers that `end_run` removes if their test has not."""
    return {LABEL: os.environ.get(RUN_FOLDER, "")}


def _shared(name: str, start: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `start` returned to the first worker of this run that asked for that server."""
    address = Path(os.environ[RUN_FOLDER], f"{name}.json")
    with FileLock(address.with_suffix(".lock")):
        if not address.exists():
            address.write_text(json.dumps(start()))
        found: dict[str, Any] = json.loads(address.read_text())
    return found


def _start_rabbitmq() -> dict[str, Any]:
    # A password that must be quoted in a URL.
    password = f"a/b@c:{secrets.token_hex(8)}%"
    container = RabbitMqContainer("rabbitmq:4.3-management", username="admin", password=password)
    container.with_exposed_ports(5672, 15672)
    container.with_env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", IDLE_SCHEDULERS_SLEEP)
    container.with_kwargs(labels=run_label()).start()
    server = RabbitServer(
        host=container.get_container_host_ip(),
        port=container.get_exposed_port(5672),
        admin_port=container.get_exposed_port(15672),
        user="admin",
        password=password,
    )
    container.get_docker_client().client.close()
    _wait_for_the_management_api(server.admin_url)
    return asdict(server)


def _start_postgres() -> dict[str, Any]:
    # No test needs the data after a crash. The benchmarks read the times of commits.
    unsafe_but_fast = "postgres -c fsync=off -c max_connections=200 -c track_commit_timestamp=on"
    container = PostgresContainer("postgres:18", driver=None).with_command(unsafe_but_fast)
    container.with_env("POSTGRES_INITDB_ARGS", "--no-sync")
    container.with_kwargs(labels=run_label()).start()
    url = container.get_connection_url()
    container.get_docker_client().client.close()
    return {"url": url}


def _docker_answers() -> bool:
    try:
        client = docker.from_env()
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


@retry(
    retry=retry_if_exception_type(BrokerUnavailable),
    stop=stop_after_delay(60),
    wait=wait_fixed(0.5),
    reraise=True,
)
def _wait_for_the_management_api(admin_url: str) -> None:
    Management(admin_url).get("overview")
