import subprocess
import sys
from pathlib import Path

import pytest

SERVERS = {
    "SHOP_BROKER_URL": "amqp://nobody:x@broker.invalid/shop",
    "SHOP_DATABASE_URL": "postgresql://nobody:x@server.invalid/{service}",
    "SHOP_ALLOW_PLAINTEXT": "true",
}
_PRINT_MODULES_OF_A_SERVICE = """
import sys
from pathlib import Path
from shop.cli import app
from shared.runtime import process

class FakeGroup(process.ServiceGroup):
    def start(self):
        print(*sys.modules)

process.ServiceGroup = FakeGroup
process._supervise = lambda group, stopping: 0
FakeGroup.stop = lambda self, grace: True
app(["run", "inventory"], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules that a service imports when it uses RabbitMQ and PostgreSQL."""
    completed = subprocess.run(
        [sys.executable, "-c", _PRINT_MODULES_OF_A_SERVICE],
        env=SERVERS,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(completed.stdout.split())


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
def test_a_service_on_servers_does_not_import(loaded: set[str], module: str) -> None:
    assert "services.inventory.service" in loaded
    assert "shared.messaging.rabbitmq" in loaded
    assert module not in loaded


def test_a_command_on_files_does_not_import_what_servers_need(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from shop.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(*sys.modules)\n"
    )
    place = ["orders", "place", "--email", "c@example.com", "--address", "here"]

    for _ in range(2):  # the first run creates the database
        completed = subprocess.run(
            [sys.executable, "-c", program, *place, "--item", "product-1=1"],
            env={"SHOP_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )

    loaded = set(completed.stdout.split())
    assert "shared.storage.sqlite" in loaded
    assert loaded.isdisjoint({"psycopg", "sqlalchemy.dialects.postgresql", "pika"})
