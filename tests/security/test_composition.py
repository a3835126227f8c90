"""What a service that was taken over can reach in the composed system."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.compose import SERVICES, Composition
from tests.acceptance.inside import READABLE_KEYS

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

BROKER, DATABASE, SERVICE = 5672, 5432, 8080
EPMD, DISTRIBUTION, METRICS = 4369, 25672, 15692
DOCUMENTATION_ADDRESS = "192.0.2.1"
"""Belongs to nobody: https://www.rfc-editor.org/rfc/rfc5737."""


def addresses(system: Composition, container: str) -> Iterator[str]:
    """The addresses of a container, one on each network."""
    networks = system.containers()[f"{container}-1"]["NetworkSettings"]["Networks"]
    yield from (network["IPAddress"] for network in networks.values())


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reaches_the_broker_and_its_database(system: Composition, service: str) -> None:
    tried = system.connect(service, [("rabbitmq", BROKER), ("postgres", DATABASE)])

    assert [each.outcome for each in tried] == ["connected", "connected"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reaches_no_other_service_by_name_or_address(
    system: Composition, service: str
) -> None:
    others = [name for name in SERVICES if name != service]

    by_name = system.connect(service, [(name, SERVICE) for name in others])
    by_address = system.connect(
        service,
        [(address, SERVICE) for name in others for address in addresses(system, name)],
    )

    assert [each.outcome for each in by_name] == ["gaierror"] * len(others)
    assert len(by_address) >= len(others)
    assert "connected" not in {each.outcome for each in by_address}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_way_out_of_the_machine(system: Composition, service: str) -> None:
    tried = system.connect(
        service, [(DOCUMENTATION_ADDRESS, 80), (DOCUMENTATION_ADDRESS, 53), ("example.com", 80)]
    )

    to_address, to_address_of_dns, by_name = (each.outcome for each in tried)
    assert {to_address, to_address_of_dns} <= {"OSError", "TimeoutError"}
    assert by_name == "gaierror"
    assert max(each.seconds for each in tried) < 5


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_does_not_reach_the_ports_of_this_machine(
    system: Composition, service: str
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - on purpose, for its time
        port = server.getsockname()[1]
        gateways = [f"{address.rpartition('.')[0]}.1" for address in addresses(system, service)]

        tried = system.connect(service, [(gateway, port) for gateway in gateways])

    assert tried
    assert "connected" not in {each.outcome for each in tried}


@pytest.mark.parametrize("service", SERVICES)
def test_only_email_reaches_the_mail_server(system: Composition, service: str) -> None:
    ports = [("maildev", 1025), ("maildev", 1080)]

    outcomes = {each.outcome for each in system.connect(service, ports)}

    assert outcomes == {"connected" if service == "email" else "gaierror"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reaches_neither_erlangs_ports_nor_the_metrics_of_the_broker(
    system: Composition, service: str
) -> None:
    tried = system.connect(service, [("rabbitmq", port) for port in (EPMD, DISTRIBUTION, METRICS)])

    assert {each.outcome for each in tried} == {"ConnectionRefusedError"}


def test_the_broker_has_a_strong_cookie_that_no_service_can_read(system: Composition) -> None:
    program = "cat ~/.erlang.cookie; stat -c ' %a' ~/.erlang.cookie"
    cookie, mode = system("exec", "-T", "rabbitmq", "sh", "-c", program).stdout.split()

    assert (len(bytes.fromhex(cookie)), mode) == (32, "400")
    for service in SERVICES:
        assert not [key for key in system.python(service, READABLE_KEYS) if cookie in key]


@pytest.mark.parametrize("service", SERVICES)
def test_the_broker_accepts_large_headers_from_no_service(
    system: Composition, service: str
) -> None:
    program = f"""
import json, pika
url = open("/run/keys/{service}/shop_broker_url").read().strip()
connection = pika.BlockingConnection(pika.URLParameters(url))
frame = connection._impl.params.frame_max
channel = connection.channel()
try:
    properties = pika.BasicProperties(headers={{"large": "x" * 20_000}})
    channel.basic_publish("events", "nobody.wants", b"", properties)
    channel.basic_qos(prefetch_count=1)
    print(json.dumps([frame, "accepted"]))
except pika.exceptions.AMQPError as error:
    print(json.dumps([frame, str(error)]))
"""

    frame, answer = system.python(service, program)

    assert frame == 16384
    assert "FRAME_ERROR" in answer or "too large" in answer


def test_the_mail_server_reaches_neither_the_broker_nor_the_databases(system: Composition) -> None:
    targets = [
        (host, port)
        for server, port in (("rabbitmq", BROKER), ("postgres", DATABASE))
        for host in (server, *addresses(system, server))
    ]
    program = f"""
    const outcome = ([host, port]) => new Promise((done) => {{
      const socket = require("net").connect({{host, port, timeout: 3000}});
      socket.on("connect", () => done("connected"));
      socket.on("timeout", () => done("timeout"));
      socket.on("error", (error) => done(error.code));
    }});
    Promise.all({json.dumps(targets)}.map(outcome))
      .then((all) => {{ console.log(JSON.stringify(all)); process.exit(); }});
    """

    outcomes = json.loads(system("exec", "-T", "maildev", "node", "-e", program).stdout)

    assert len(outcomes) == len(targets) > 2
    assert "connected" not in outcomes


def test_the_published_ports_answer_on_this_machine(system: Composition) -> None:
    for server, port in (("rabbitmq", "15672"), ("maildev", "1080")):
        address = system("port", server, port).stdout.strip()
        assert address.startswith("127.0.0.1:")
        assert httpx.get(f"http://{address}/", timeout=10).status_code in {200, 404}


def test_the_image_has_no_installer_and_no_compiler(system: Composition) -> None:
    program = """
import importlib.util, json, shutil, subprocess, sys
modules = ("pip", "setuptools", "ensurepip", "wheel", "pkg_resources")
of_base = ["/usr/bin/python3", "/usr/local/bin/python3"]
check = f"import importlib.util as u; print([n for n in {modules} if u.find_spec(n)])"
found = {
    python: subprocess.run([python, "-c", check], capture_output=True, text=True).stdout.strip()
    for python in (sys.executable, *filter(shutil.which, of_base))
}
programs = [name for name in ("pip", "pip3", "gcc", "cc", "g++", "clang", "make", "ld")
            if shutil.which(name)]
print(json.dumps({"modules": found, "programs": programs}))
"""

    found = system.python("orders", program)

    assert len(found["modules"]) >= 2
    assert set(found["modules"].values()) == {"[]"}
    assert found["programs"] == []
