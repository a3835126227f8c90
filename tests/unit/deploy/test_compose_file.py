import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.keys import make_keys
from shared.errors import InvalidInput
from shared.runtime.settings import Settings, settings_for, settings_override
from shop import registry

COMPOSE = Path(__file__).parents[3] / "docker-compose.yml"
PUBLISHED = {"management": "rabbitmq", "mailbox": "maildev"}
"""The networks for published ports, and the only container on each."""


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text())


def networks(compose: Any, service: str) -> set[str]:
    """The networks that a container is on."""
    return set(compose["services"][service].get("networks", ["default"]))


def on(compose: Any, network: str) -> set[str]:
    """The containers that are on a network."""
    names = compose["services"]
    return {name for name in names if network in networks(compose, name) and name != "keys"}


def test_two_ports_are_published_and_only_on_the_loopback_address(compose: Any) -> None:
    published = {
        name: service["ports"]
        for name, service in compose["services"].items()
        if "ports" in service
    }

    assert published == {
        "rabbitmq": ["127.0.0.1:${RABBITMQ_MANAGEMENT_PORT:-15672}:15672"],
        "maildev": ["127.0.0.1:${MAILDEV_PORT:-1080}:1080"],
    }


@pytest.mark.parametrize("service", registry.names())
def test_a_service_shares_a_network_with_the_servers_and_no_other_service(
    compose: Any, service: str
) -> None:
    needs_mail = {"mail"} if service == "email" else set()

    assert networks(compose, service) == {service} | needs_mail
    assert on(compose, service) == {service, "rabbitmq", "postgres"}


def test_only_email_and_the_operator_reach_the_mail_server(compose: Any) -> None:
    assert networks(compose, "maildev") == {"mail", "mailbox"}
    assert on(compose, "mail") == {"maildev", "email", "operator"}


def test_set_up_and_the_operator_reach_the_servers_alone(compose: Any) -> None:
    for name in ("setup", "operator"):
        assert on(compose, name) == {name, "rabbitmq", "postgres"}
    assert compose["services"]["keys"]["network_mode"] == "none"


def test_a_network_leads_out_only_where_a_port_is_published(compose: Any) -> None:
    declared = compose["networks"]

    open_networks = {name for name, network in declared.items() if not network.get("internal")}
    assert open_networks == PUBLISHED.keys()
    for name, server in PUBLISHED.items():
        assert on(compose, name) == {server}
        options = declared[name]["driver_opts"]
        assert options["com.docker.network.bridge.enable_ip_masquerade"] == "false"


def test_this_machine_has_no_address_on_an_internal_network(compose: Any) -> None:
    for name in compose["networks"].keys() - PUBLISHED.keys():
        options = compose["networks"][name]["driver_opts"]
        assert options == {"com.docker.network.bridge.inhibit_ipv4": "true"}, name


def test_every_network_is_declared(compose: Any) -> None:
    used = set[str]().union(
        *(networks(compose, name) for name in compose["services"] if name != "keys")
    )

    assert used == set(compose["networks"])


@pytest.mark.parametrize(("variables", "seconds"), [({}, 30), ({"SHOP_GRACE": "90"}, 100)])
def test_the_engine_waits_longer_than_the_grace_period(
    compose: Any, variables: dict[str, str], seconds: int
) -> None:
    declared = re.sub(
        r"\$\{(\w+):-(\w+)\}",
        lambda found: variables.get(found[1], found[2]),
        compose["x-service"]["stop_grace_period"],
    )

    assert re.fullmatch(r"(\d+s)+", declared)
    assert sum(map(int, re.findall(r"\d+", declared))) == seconds
    default = Settings.model_fields["grace"].default
    assert seconds == float(variables.get("SHOP_GRACE", default)) + 10


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
