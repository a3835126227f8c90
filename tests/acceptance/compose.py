"""Runs docker-compose.yml with its own project name, ports and image tag."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run
from typing import IO, Any, NamedTuple
from urllib.request import urlopen
from uuid import uuid4

import pytest

from tests.acceptance.inside import CONNECTIONS
from tests.containers import need_docker

ROOT = Path(__file__).parents[2]
SERVICES = ("orders", "inventory", "email", "shipping", "analytics", "loyalty")


class Attempt(NamedTuple):
    """What became of an attempt to connect: "connected", or the name of the error."""

    outcome: str
    seconds: float


class RunningCommand(NamedTuple):
    """The output of a command that is running."""

    out: IO[str]
    err: IO[str]


class Composition:
    """A running composition.

    Args:
        checkout: the folder with the compose file and everything that the image is built from.
        settings: environment variables of `docker compose`.
    """

    def __init__(self, project: str, checkout: Path = ROOT, **settings: str) -> None:
        self.project = project
        self.image = f"past-tense:{project}"
        self._checkout = checkout
        inherited = {name: value for name, value in os.environ.items() if not _is_setting(name)}
        # Docker chooses a free port for port 0.
        self._environment = inherited | {
            "SHOP_IMAGE": self.image,
            "RABBITMQ_MANAGEMENT_PORT": "0",
            "MAILDEV_PORT": "0",
            **settings,
        }

    def with_checkout(self, checkout: Path, **settings: str) -> "Composition":
        """The same project, started from another checkout."""
        return Composition(self.project, checkout, **settings)

    def __call__(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> "CompletedProcess[str]":
        """Run `docker compose`.

        Args:
            stdin: its standard input.
            check: whether a non-zero exit code fails the test.
        """
        command = self._command(*arguments)
        done = run(
            command,
            cwd=self._checkout,
            env=self._environment,
            input=stdin or "",
            text=True,
            capture_output=True,
            timeout=150,
            check=False,
        )
        if check and done.returncode:
            logs = "" if "logs" in arguments else self("logs", "--tail", "30", check=False).stdout
            raise AssertionError(f"{' '.join(command)}: {done.stderr[-4000:]}\n{logs}")
        return done

    @contextmanager
    def operating(self, *arguments: str) -> Iterator[RunningCommand]:
        """Run a `shop` command in a container of the operator during the block."""
        container = f"{self.project}-{uuid4().hex[:8]}"
        command = self._command("run", "--name", container, "-T", "operator", *arguments)
        with Popen(
            command, cwd=self._checkout, env=self._environment, stdout=PIPE, stderr=PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                yield RunningCommand(process.stdout, process.stderr)
            finally:
                process.terminate()  # does not end the container
                _docker("rm", "--force", container)

    def _command(self, *arguments: str) -> list[str]:
        # Ignore the `.env` file of the checkout.
        return ["docker", "compose", "--env-file", os.devnull, "-p", self.project, *arguments]

    def up(self, *arguments: str) -> None:
        """Start or update the system, and wait until it is healthy."""
        self("up", "--detach", "--wait", "--wait-timeout", "120", *arguments)

    def shop(self, service: str, *arguments: str) -> Any:
        """The JSON output of a `shop` command in a service's container."""
        return json.loads(self("exec", "-T", service, "shop", *arguments, "--json").stdout)

    def python(self, service: str, program: str) -> Any:
        """The JSON output of a Python program in a service's container, run as its user."""
        return json.loads(self("exec", "-T", service, "python", "-", stdin=program).stdout)

    def connect(self, service: str, targets: Iterable[tuple[str, int]]) -> list[Attempt]:
        """Try to connect from a service's container to each host and port."""
        program = f"targets = {list(targets)}{CONNECTIONS}"
        return [Attempt(*each) for each in self.python(service, program)]

    def containers(self) -> dict[str, Any]:
        """Docker's description of each container, by its name without the project's name."""
        ids = self("ps", "--all", "--quiet").stdout.split()
        found = json.loads(_docker("inspect", *ids)) if ids else []
        return {each["Name"].removeprefix(f"/{self.project}-"): each for each in found}

    def mails(self) -> list[Any]:
        """The mails that MailDev received."""
        address = self("port", "maildev", "1080").stdout.strip()
        with urlopen(f"http://{address}/api/email", timeout=10) as answer:
            found: list[Any] = json.load(answer)
        return found

    def remaining(self) -> list[str]:
        """The containers, volumes and networks of this project."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            name
            for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
            for name in _docker(*kind, "--quiet", "--filter", label).split()
        ]


@pytest.fixture(scope="session")
def system() -> Iterator[Composition]:
    """The composed system, started once for all tests that use it: see `tests.scheduling`."""
    need_docker()
    with composed() as composition:
        yield composition


@contextmanager
def composed() -> Iterator[Composition]:
    """Start the system and wait until it is healthy; remove it at the end."""
    composition = Composition(f"past-tense-test-{uuid4().hex[:8]}")
    try:
        composition.up()
        yield composition
    finally:
        # Without the compose file, so that what a test added is removed too.
        composition.with_checkout(Path("/"))("down", "--volumes", "--timeout", "20", check=False)
        run(["docker", "image", "rm", composition.image], capture_output=True, check=False)
    assert composition.remaining() == []


def _docker(*arguments: str) -> str:
    return run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def _is_setting(name: str) -> bool:
    return name.startswith(("SHOP_", "COMPOSE_"))
