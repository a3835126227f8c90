"""The invariants hold after a kill at each step of placing, relaying and reacting."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from shared.messaging.rabbitmq.management import Management
from shop import registry
from tests.chaos import broker_contents
from tests.containers import ALLOW_PLAINTEXT, Vhost
from tests.support.waiting import eventually

SHORT_RETRIES = {
    f"SHOP_{name.upper()}_RETRY_{what}": str(seconds)
    for name in registry.names()
    for what, seconds in (("DELAY", 0.02), ("MAX_DELAY", 0.1))
}

PLACING = ["orders places: begin", "orders places: commit", "orders places: committed"]
RELAYING = ["begin", "publish", "confirmed", "commit", "committed"]
REACTING = ["taken", "begin", "commit", "committed", "settled"]
EACH_STEP = [
    *PLACING,
    *(f"orders is paid: {call}" for call in ("begin", "commit", "committed")),
    *(
        f"{service.name} relays: {call}"
        for service in registry.all_services()
        if service.publishes
        for call in RELAYING
    ),
    *(f"{name} reacts: {call}" for name in registry.names() for call in REACTING),
]


def crash_at(names: list[str], settings: dict[str, str]) -> dict[str, list[str]]:
    """Kill at these steps, or at every one; return the violated invariants by step."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crash_run", *names],
        env=ours | SHORT_RETRIES | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, list[str]] = {}
    for line in map(json.loads, done.stdout.splitlines()):
        seen.setdefault(line["step"], []).extend(line["broken"])
    return seen


@pytest.mark.timeout(600)
def test_the_embedded_shop_keeps_the_invariants_when_killed_at_any_step(tmp_path: Path) -> None:
    seen = crash_at([], {"SHOP_HOME": str(tmp_path)})

    assert {step: broken for step, broken in seen.items() if broken} == {}
    # On SQLite a relay reads without a transaction, and begins one to mark.
    assert set(EACH_STEP) <= seen.keys()


@pytest.fixture
def databases(postgres_server: str) -> Iterator[dict[str, str]]:
    """Settings for a database and a role for each service."""
    mine = f"crash_{uuid4().hex[:8]}_"
    server = postgres_server.rpartition("@")[2].rpartition("/")[0]
    yield {
        "SHOP_DATABASE_URL": f"postgresql://{mine}{{service}}:hush@{server}/{mine}{{service}}",
        "SHOP_DATABASE_ADMIN_URL": postgres_server,
    }
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for name in (sql.Identifier(f"{mine}{each}") for each in registry.names()):
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name)
            connection.execute(drop)
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))


@pytest.mark.timeout(600)
def test_the_shop_on_servers_keeps_the_invariants_when_killed_at_each_step(
    tmp_path: Path, rabbitmq_vhost: Vhost, databases: dict[str, str]
) -> None:
    broker = {
        "SHOP_BROKER_URL": rabbitmq_vhost.amqp_url,
        "SHOP_BROKER_ADMIN_URL": rabbitmq_vhost.admin_url,
        "SHOP_ALLOW_PLAINTEXT": str(ALLOW_PLAINTEXT),
    }

    seen = crash_at(EACH_STEP, {"SHOP_HOME": str(tmp_path)} | databases | broker)

    assert seen == {step: [] for step in EACH_STEP}
    management = Management(rabbitmq_vhost.admin_url)
    eventually(
        lambda: (
            broker_contents.remaining_messages(management.get("queues", rabbitmq_vhost.name) or [])
            == []
        )
    )
