import re
from pathlib import Path

import pytest

from deploy.keys import make_keys
from shared.errors import InvalidInput
from shared.runtime.settings import settings_for, settings_override
from shop import registry

COMPOSE = Path(__file__).parents[3] / "docker-compose.yml"


def test_two_ports_are_published_and_only_on_the_loopback_address() -> None:
    """RabbitMQ's Prometheus port, for one, needs no login."""
    published = re.findall(r"^ +ports:\s*(.+)$", COMPOSE.read_text(), re.MULTILINE)

    assert [re.sub(r"\$\{\w+:-(\d+)\}", r"\1", each) for each in published] == [
        '["127.0.0.1:15672:15672"]',
        '["127.0.0.1:1080:1080"]',
    ]


def test_its_servers_without_tls_are_permitted_by_its_settings_alone(tmp_path: Path) -> None:
    (settings,) = re.findall(
        r"^x-settings: .*?(?=^x-)", COMPOSE.read_text(), re.MULTILINE | re.DOTALL
    )
    (permission,) = re.findall(r'SHOP_ALLOW_PLAINTEXT: "(\w+)"', settings)
    list(make_keys(tmp_path, registry.names(), chown=lambda *_: None))

    with settings_override(keys=tmp_path), pytest.raises(InvalidInput, match="needs TLS"):
        settings_for("orders")
    with settings_override(keys=tmp_path, allow_plaintext=permission):
        for owners in (*((name,) for name in registry.names()), ("rabbitmq", "postgres")):
            assert settings_for(*owners).broker_url.startswith("amqp://")
