"""The processor time of the composed system while nothing happens, health checks included.

It is what Docker counts for the containers; the engine's own share, which starts each health check,
is not included.
"""

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import NamedTuple

import docker

from benchmarks.comparison import (
    Bench,
    Comparison,
    Contestant,
    Figure,
    Measurement,
    MeasurementFailed,
    Role,
)
from benchmarks.processes import ROOT, clean_environment
from benchmarks.result import Target
from benchmarks.servers import Servers

PROJECT = "past-tense-benchmark"
SECONDS = 300
_SETTLING = 20.0
"""Seconds after all containers are healthy, for what the servers do once."""
_START = 180

_SERVERS = {"rabbitmq": "broker", "postgres": "database", "maildev": "mail server"}

IDLE = Target("≤ 7 % of a core", lambda result: result.ours.median <= 7)


class _Container(NamedTuple):
    name: str
    service: str


def measure(bench: Bench, servers: Servers) -> None:
    """Compose the system and measure it while nothing happens, once."""
    del servers
    bench.compare(
        Comparison(
            name="idle",
            unit="% of a core",
            target=IDLE,
            contestants=[
                Contestant("composed system", Role.OURS, partial(_idle, bench.size(SECONDS)))
            ],
            less_is_better=True,
            rounds=1,
        )
    )


def processor_use(project: str, *, seconds: float) -> Measurement:
    """How much of one core the containers of a Compose project use, in percent.

    Returns:
        The sum, and as figures the shares of the services and of each server.
    """
    with closing(docker.from_env()) as client:
        before, began = _used(client, project), time.monotonic()
        time.sleep(seconds)
        after, took = _used(client, project), time.monotonic() - began
    shares: Counter[str] = Counter()
    for container, nanoseconds in (after - before).items():
        shares[_SERVERS.get(container.service, "services")] += nanoseconds
    percent = {name: used / took / 1e7 for name, used in shares.items()}
    figures = {name: Figure(share, "% of a core") for name, share in percent.items()}
    return Measurement(sum(percent.values()), figures)


def _idle(seconds: int) -> Measurement:
    with _composed():
        time.sleep(_SETTLING)
        return processor_use(PROJECT, seconds=seconds)


def _used(client: docker.DockerClient, project: str) -> Counter[_Container]:
    """Nanoseconds of processor time that each running container has used."""
    used: Counter[_Container] = Counter()
    label = "com.docker.compose"
    for each in client.containers.list(filters={"label": f"{label}.project={project}"}):
        statistics = client.api.stats(str(each.id), stream=False)
        container = _Container(str(each.name), each.labels[f"{label}.service"])
        used[container] = statistics["cpu_stats"]["cpu_usage"]["total_usage"]
    return used


@contextmanager
def _composed() -> Iterator[None]:
    try:
        _compose("up", "--detach", "--wait", "--wait-timeout", str(_START), "--build")
        yield
    finally:
        _compose("--profile", "tools", "down", "--volumes", "--timeout", "20")


def _compose(*arguments: str) -> None:
    command = ["docker", "compose", "--project-name", PROJECT, *arguments]
    ports = {"RABBITMQ_MANAGEMENT_PORT": "0", "MAILDEV_PORT": "0"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment() | ports,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * _START,
    )
    if done.returncode:
        raise MeasurementFailed(f"{' '.join(command)} failed: {done.stderr[-300:].strip()}")
