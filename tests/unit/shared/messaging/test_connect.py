import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.messaging.connect import broker_at
from shared.messaging.embedded import EmbeddedBroker


@pytest.mark.parametrize(
    "url",
    ["", "embedded:", "embedded", "http://host", "amqp", "amqp+ssl://x", "user:secret@host:5672"],
)
def test_an_invalid_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"should (be|look like) amqp://") as refused:
        broker_at(url)

    assert "secret" not in str(refused.value)


def test_an_embedded_url_names_a_file_that_is_not_created_yet(tmp_path: Path) -> None:
    broker = broker_at(f"embedded:{tmp_path / 'var' / 'broker'}")

    assert isinstance(broker, EmbeddedBroker)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
def test_an_amqp_url_creates_a_rabbitmq_broker(scheme: str) -> None:
    broker = broker_at(f"{scheme}://user:secret@localhost/shop", app="orders")

    assert type(broker).__name__ == "RabbitBroker"


def test_the_embedded_broker_does_not_load_pika(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from shared.messaging.connect import broker_at\n"
        "print(broker_at(sys.argv[1]).probe(), 'pika' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, f"embedded:{tmp_path / 'broker'}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith("embedded broker")
    assert done.stdout.endswith("False\n")
