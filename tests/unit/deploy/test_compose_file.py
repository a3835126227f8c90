import re
from pathlib import Path

COMPOSE = Path(__file__).parents[3] / "docker-compose.yml"


def test_two_ports_are_published_and_only_on_the_loopback_address() -> None:
    """RabbitMQ's Prometheus port, for one, needs no login."""
    published = re.findall(r"^ +ports:\s*(.+)$", COMPOSE.read_text(), re.MULTILINE)

    assert [re.sub(r"\$\{\w+:-(\d+)\}", r"\1", each) for each in published] == [
        '["127.0.0.1:15672:15672"]',
        '["127.0.0.1:1080:1080"]',
    ]
