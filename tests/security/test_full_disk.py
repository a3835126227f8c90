"""Row 10: a full disk, or no file descriptor left, costs waiting and nothing else.

The whole shop runs on a small file system of its own, in a namespace. A service runs on a
PostgreSQL whose data are on a small file system in its container.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.counting import ThingHappened
from tests.support.postgres_containers import PostgresServer, postgres_container
from tests.support.running_service import RunningService
from tests.support.waiting import eventually

SERVICES = 6
OUTAGE = 8.0
"""Seconds without the resource."""

MAX_LINES = 12 * SERVICES
"""Log lines of the whole shop in that time: delays grow, so each thread tries a few times."""

SHOP = str(Path(sys.executable).with_name("shop"))
NAMESPACE = ("unshare", "--mount", "--user", "--map-root-user")


class Shop:
    """`shop up` on a file system of a few megabytes."""

    def __init__(self, folder: Path, *, size: str) -> None:
        home = folder / "home"
        home.mkdir()
        self._environment = {
            "PATH": os.environ["PATH"],
            "SHOP_HOME": str(home),
            "SHOP_LOG_FORMAT": "json",
            "SHOP_EMAIL_RETRY_DELAY": "0.5",
        }
        self._log = folder / "log"
        mount = f'mount -t tmpfs -o size={size} tmpfs "$SHOP_HOME" && exec {SHOP} up'
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*NAMESPACE, "sh", "-c", mount],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.home = Path(f"/proc/{self.process.pid}/root{home}")
        eventually(lambda: len(self.lines("started")) == SERVICES, within=60)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on the same files."""
        enter = ("nsenter", "--target", str(self.process.pid), "--user", "--mount")
        return subprocess.run(
            [*enter, "--preserve-credentials", SHOP, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def place(self, order_id: str) -> "subprocess.CompletedProcess[str]":
        """Place an order."""
        customer = ("--email", "a@example.com", "--address", "1 Main Street")
        return self.run("orders", "place", "--id", order_id, *customer, "--item", "product-1=1")

    def fill(self, *, leaving_bytes: int = 0) -> None:
        """Fill the disk with a file."""
        with (self.home / "filler").open("ab", buffering=0) as file:
            try:
                while _free_bytes(self.home) > leaving_bytes:
                    file.write(bytes(4_096))
            except OSError:
                assert leaving_bytes == 0

    def make_space(self) -> None:
        """Remove what `fill` wrote."""
        (self.home / "filler").unlink()

    def limit_files(self, number: int | None) -> None:
        """Limit the file descriptors that the process may have; None for what it had."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        limits = (number or most, most)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, limits)

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """The log, or its lines with these event names."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if not events or line["event"] in events]

    def stop(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(40)


def _free_bytes(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_bsize


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    mountable = subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=False
    )
    if mountable.returncode:
        pytest.skip("needs a namespace in which a file system can be mounted")
    shop = Shop(tmp_path, size="4m")
    yield shop
    shop.stop()


def wait_and_count_lines(shop: Shop) -> list[dict[str, Any]]:
    """The log lines of an outage."""
    before = len(shop.lines())
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > OUTAGE, within=OUTAGE + 10)
    return shop.lines()[before:]


def assert_each_order_was_handled_once(shop: Shop, placed: list[str]) -> None:
    """Each service has handled each event of each order once, and no message is dead."""

    def handled() -> Counter[tuple[str, str, str]]:
        return Counter(
            (line["service"], line["event_type"], line["order_id"])
            for line in shop.lines("handled")
        )

    expected = {
        (service, event_type, order_id)
        for order_id in placed
        for service, event_type in (
            ("inventory", "order.placed.v1"),
            ("email", "order.placed.v1"),
            ("shipping", "order.placed.v1"),
            ("loyalty", "order.placed.v1"),
            ("analytics", "order.placed.v1"),
            ("orders", "stock.reserved.v1"),
            ("shipping", "stock.reserved.v1"),
            ("analytics", "stock.reserved.v1"),
        )
    }
    eventually(lambda: handled().keys() >= expected, within=90)
    assert handled() == Counter(expected)
    assert shop.lines("dead") == []


def test_on_a_full_disk_the_shop_waits_says_why_and_continues_by_itself(shop: Shop) -> None:
    placed = ["ORD-0"]
    assert shop.place("ORD-0").returncode == 0
    shop.fill(leaving_bytes=300_000)
    for number in range(1, 40):
        done = shop.place(f"ORD-{number}")
        if done.returncode:
            break
        placed.append(f"ORD-{number}")
    shop.fill()

    lines = wait_and_count_lines(shop)

    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert len(lines) < MAX_LINES
    assert "the disk is full" in shop.lines()[-1]["reason"]
    shop.make_space()
    assert shop.place("ORD-after").returncode == 0
    assert_each_order_was_handled_once(shop, [*placed, "ORD-after"])
    assert shop.process.poll() is None


def test_without_file_descriptors_the_shop_waits_says_why_and_continues(shop: Shop) -> None:
    assert shop.place("ORD-0").returncode == 0
    shop.limit_files(3)
    assert shop.place("ORD-1").returncode == 0

    lines = wait_and_count_lines(shop)

    assert 0 < len(lines) < MAX_LINES
    assert "too many open files" in shop.lines()[-1]["reason"]
    shop.limit_files(None)
    assert shop.place("ORD-2").returncode == 0
    assert_each_order_was_handled_once(shop, ["ORD-0", "ORD-1", "ORD-2"])
    assert shop.process.poll() is None


@pytest.fixture(scope="module")
def small_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server whose disk has 100 MB, of which most are free."""
    command = ["postgres", "-cmax_wal_size=4MB", "-cmin_wal_size=2MB", "-cautovacuum=off"]
    with postgres_container(
        command,
        tmpfs={"/var/lib/postgresql": "size=100m,mode=1777"},
        environment={"POSTGRES_INITDB_ARGS": "--no-sync --wal-segsize=1"},
    ) as server:
        yield server


def test_on_a_full_disk_of_postgresql_a_service_waits_says_why_and_continues(
    small_server: PostgresServer, tmp_path: Path
) -> None:
    service = RunningService(tmp_path, database_url=small_server.admin_url)
    service.runner.start()
    service.send(ThingHappened(name="before"))
    eventually(lambda: service.counts() == {"before": 1})
    small_server.run("dd if=/dev/zero of=/var/lib/postgresql/filler bs=4k")
    names = [f"thing-{number}" for number in range(2_000)]
    service.send(*(ThingHappened(name=name) for name in names))
    eventually(lambda: service.log_lines("consuming paused"), within=60)
    before = len(service.log_lines())
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > OUTAGE, within=OUTAGE + 10)

    lines = service.log_lines()[before:]

    assert len([line for line in lines if line["event"] not in ("handled", "requeued")]) < 30
    assert len(lines) < 200
    paused = service.log_lines("consuming paused")
    assert any("the disk is full" in line["reason"] for line in paused)
    small_server.run("rm /var/lib/postgresql/filler")
    eventually(small_server.answers, within=60)
    eventually(lambda: service.runner.is_consuming, within=60)
    expected = dict.fromkeys(["before", *names], 1)
    eventually(lambda: service.counts() == expected, within=60)
    assert service.dead_letters() == 0
    service.close()
