import subprocess
import sys
from pathlib import Path

import pytest

SERVERS = {
    "SHOP_BROKER_URL": "amqp://nobody:x@broker.invalid/shop",
    "SHOP_DATABASE_URL": "postgresql://nobody:x@server.invalid/{service}",
}
_LOADED = """
import sys
from pathlib import Path
from shop.cli import app
from shared.runtime import process

class Group(process.ServiceGroup):
    def start(self):
        print(*sys.modules)

process.ServiceGroup = Group
process._supervise = lambda group, stopping: 0
Group.stop = lambda self, grace: True
app(["run", "inventory"], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules of a service that runs on servers."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADED], env=SERVERS, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "alembic",
        "jinja2",
        "services.email.service",
        "shared.messaging.embedded",
        "sqlalchemy.dialects.sqlite",
    ],
)
def test_a_service_on_servers_does_not_load(loaded: set[str], module: str) -> None:
    assert "services.inventory.service" in loaded
    assert "shared.messaging.rabbitmq" in loaded
    assert module not in loaded


def test_a_command_on_files_does_not_load_what_servers_need(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from shop.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(*sys.modules)\n"
    )
    place = ["orders", "place", "--email", "c@example.com", "--address", "here"]

    for _ in range(2):  # the first makes the database
        done = subprocess.run(
            [sys.executable, "-c", program, *place, "--item", "product-1=1"],
            env={"SHOP_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )

    loaded = set(done.stdout.split())
    assert "shared.storage.sqlite" in loaded
    assert loaded.isdisjoint({"psycopg", "sqlalchemy.dialects.postgresql", "pika"})
