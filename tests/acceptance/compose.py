"""The real docker-compose.yml under a name, ports and an image tag of its own."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run
from typing import IO, Any, NamedTuple
from urllib.request import urlopen
from uuid import uuid4

ROOT = Path(__file__).parents[2]
SERVICES = ("orders", "inventory", "email", "shipping", "analytics", "loyalty")


class Watched(NamedTuple):
    """A command that goes on, and what it says."""

    out: IO[str]
    err: IO[str]


class Composition:
    """A running composition.

    Args:
        checkout: where the compose file and all that the image is made of are.
        settings: what whoever starts it has in the environment.
    """

    def __init__(self, project: str, checkout: Path = ROOT, **settings: str) -> None:
        self.project = project
        self.image = f"past-tense:{project}"
        self._checkout = checkout
        theirs = {name: value for name, value in os.environ.items() if not _is_ours(name)}
        # Port 0 is one that is free.
        self._environment = theirs | {
            "SHOP_IMAGE": self.image,
            "RABBITMQ_MANAGEMENT_PORT": "0",
            "MAILDEV_PORT": "0",
            **settings,
        }

    def elsewhere(self, checkout: Path, **settings: str) -> "Composition":
        """The same one, from another checkout."""
        return Composition(self.project, checkout, **settings)

    def __call__(
        self, *arguments: str, given: str | None = None, check: bool = True
    ) -> "CompletedProcess[str]":
        """Run `docker compose` and answer what it said.

        Args:
            given: its standard input.
            check: whether failing is a failure of the test.
        """
        command = self._command(*arguments)
        done = run(
            command,
            cwd=self._checkout,
            env=self._environment,
            input=given or "",
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
    def watching(self, service: str, *arguments: str) -> Iterator[Watched]:
        """A command of `shop` at work in that service's container."""
        command = self._command("exec", "-T", service, "shop", *arguments)
        with Popen(
            command, cwd=self._checkout, env=self._environment, stdout=PIPE, stderr=PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                yield Watched(process.stdout, process.stderr)
            finally:
                process.terminate()

    def _command(self, *arguments: str) -> list[str]:
        # A `.env` of whoever runs the tests is not theirs.
        return ["docker", "compose", "--env-file", os.devnull, "-p", self.project, *arguments]

    def up(self, *arguments: str) -> None:
        """Start it, or change it, and wait until it is healthy."""
        self("up", "--detach", "--wait", "--wait-timeout", "120", *arguments)

    def shop(self, service: str, *arguments: str) -> Any:
        """What a command says in that service's container."""
        return json.loads(self("exec", "-T", service, "shop", *arguments, "--json").stdout)

    def python(self, service: str, program: str) -> Any:
        """What a program prints, as JSON, in that service's container and as its user."""
        return json.loads(self("exec", "-T", service, "python", "-", given=program).stdout)

    def containers(self) -> dict[str, Any]:
        """What Docker tells of each container, by its name without the project's."""
        ids = self("ps", "--all", "--quiet").stdout.split()
        found = json.loads(_docker("inspect", *ids)) if ids else []
        return {each["Name"].removeprefix(f"/{self.project}-"): each for each in found}

    def mails(self) -> list[Any]:
        """What MailDev got."""
        address = self("port", "maildev", "1080").stdout.strip()
        with urlopen(f"http://{address}/api/email", timeout=10) as answer:
            found: list[Any] = json.load(answer)
        return found

    def left(self) -> list[str]:
        """Containers, volumes and networks of this project that are there."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            name
            for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
            for name in _docker(*kind, "--quiet", "--filter", label).split()
        ]


@contextmanager
def composed() -> Iterator[Composition]:
    """The system up and healthy; gone in the end, whatever happens, or it is a failure."""
    composition = Composition(f"past-tense-test-{uuid4().hex[:8]}")
    try:
        composition.up()
        yield composition
    finally:
        composition("down", "--volumes", "--timeout", "20", check=False)
        run(["docker", "image", "rm", composition.image], capture_output=True, check=False)
    assert composition.left() == []


def _docker(*arguments: str) -> str:
    return run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def _is_ours(name: str) -> bool:
    return name.startswith(("SHOP_", "COMPOSE_"))
