"""TLS to a real RabbitMQ and a real PostgreSQL, with certificates that the test makes."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from testcontainers.core.docker_client import DockerClient

from services.inventory.service import inventory
from shared.errors import BrokerRefused, BrokerUnavailable, ShopError
from shared.messaging.connect import broker_at
from shared.messaging.ports.consumer import Outcome
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Queue, Topology
from shared.operations.console import database_of
from shared.operations.doctor import check
from shared.runtime.settings import OPERATOR, Settings, settings_for, settings_override
from shared.runtime.setup import ADMIN_SECRETS
from shared.storage import roles
from shared.storage.database import Database
from shared.storage.wakeup import Wakeup
from shop import registry
from tests.acceptance.shop import run_services
from tests.containers import need_docker
from tests.contract.brokers import order_placed, receive, send
from tests.security.certificates import (
    WRONG_CLIENTS,
    WRONG_SERVERS,
    Certificates,
    Pem,
    make_certificates,
)
from tests.security.page import BROKER, DATABASE, make_certificates_of_the_page
from tests.security.tls_servers import (
    PASSWORD,
    TlsServer,
    postgresql,
    rabbitmq,
    use_in_postgresql,
    use_in_rabbitmq,
)
from tests.support.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("tls")]

TOPOLOGY = Topology(queues=(Queue(name="email", topics=frozenset({"order.placed"})),))
ASKS = "asks for a client certificate that it accepts (SHOP_TLS_CERT_FILE)"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    need_docker()
    engine = DockerClient()
    host = engine.host()
    engine.client.close()
    return make_certificates(tmp_path_factory.mktemp("certificates"), host)


@pytest.fixture(scope="module")
def broker_server(certificates: Certificates) -> Iterator[TlsServer]:
    with rabbitmq(certificates) as server:
        urls = settings(certificates, certificates.files, broker=server)
        _wait_for_rabbitmq(urls)
        yield server


@pytest.fixture(scope="module")
def database_server(certificates: Certificates) -> Iterator[TlsServer]:
    with postgresql(certificates) as server:
        yield server


@retry(
    retry=retry_if_exception_type(BrokerUnavailable),
    stop=stop_after_delay(60),
    wait=wait_fixed(0.5),
    reraise=True,
)
def _wait_for_rabbitmq(urls: Settings) -> None:
    Management(urls.broker_admin_url).get("overview")
    probe_broker(urls)


def settings(
    certificates: Certificates,
    files: Mapping[str, Path],
    *,
    broker: TlsServer | None = None,
    database: TlsServer | None = None,
) -> Settings:
    """The settings of a client of these servers that has these files."""
    host, urls = certificates.host, dict[str, str]()
    if broker is not None:
        urls["broker_url"] = f"amqps://admin:{PASSWORD}@{host}:{broker.ports[5671]}/"
        urls["broker_admin_url"] = f"https://admin:{PASSWORD}@{host}:{broker.ports[15671]}"
    if database is not None:
        at = f"postgresql://postgres:{PASSWORD}@{host}:{database.ports[5432]}/postgres"
        # As the settings do by themselves for another machine.
        urls["database_url"] = urls["database_admin_url"] = f"{at}?sslmode=verify-full"
    return Settings.model_validate({**files, **urls})


def probe_broker(urls: Settings) -> None:
    with closing(broker_at(urls.broker_url)) as broker:
        broker.probe()


def publish(urls: Settings) -> None:
    """By the connection that reconnects by itself, until it gives up."""
    with closing(broker_at(urls.broker_url)) as broker:
        broker.publisher().publish([order_placed()])


def ask_management(urls: Settings) -> None:
    Management(urls.broker_admin_url).get("overview")


def probe_database(urls: Settings) -> None:
    with closing(Database(urls.database_url)) as database:
        database.probe()


def listen(urls: Settings) -> None:
    with closing(Database(urls.database_url)) as database, closing(Wakeup()) as wakeup:
        wakeup.listen(database)


def grant(urls: Settings) -> None:
    roles.grant(urls.database_admin_url, urls.database_url.replace("postgres:", "role:", 1))


def command(urls: Settings) -> None:
    with TemporaryDirectory() as keys, settings_override(keys=keys):
        secret = Path(keys, inventory.name, "shop_database_url")
        secret.parent.mkdir()
        secret.write_text(urls.database_url)
        with database_of(inventory):
            pass


BROKER_CLIENTS: tuple[Callable[[Settings], None], ...] = (probe_broker, publish, ask_management)
DATABASE_CLIENTS: tuple[Callable[[Settings], None], ...] = (probe_database, listen, grant, command)


def refusal(client: Callable[[Settings], None], urls: Settings) -> str:
    """The sentence of the error with which a client ends."""
    with pytest.raises(ShopError) as raised:
        client(urls)
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert PASSWORD not in sentence
    return sentence


def test_events_are_published_and_consumed(
    broker_server: TlsServer, certificates: Certificates
) -> None:
    urls = settings(certificates, certificates.files, broker=broker_server)
    with closing(broker_at(urls.broker_url, admin_url=urls.broker_admin_url)) as broker:
        assert broker.set_up(TOPOLOGY) == []
        message = order_placed()

        send(broker, message)

        consumer = broker.consumer("email", prefetch=1)
        (delivery,) = receive(consumer)
        consumer.settle([(delivery, Outcome.DONE)])
        assert delivery.body == message.body
        assert broker.history().end() is not None


@pytest.fixture
def page_folder(tmp_path: Path) -> Path:
    """The files that the commands of the page make."""
    folder = tmp_path / "tls"
    folder.mkdir()
    make_certificates_of_the_page(folder)
    return folder


@pytest.fixture
def names_of_the_page(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the page's servers are resolved to the address of the containers."""
    resolve = socket.getaddrinfo

    def resolving(host: Any, *arguments: Any, **options: Any) -> Any:
        return resolve(
            certificates.host if host in (BROKER, DATABASE) else host, *arguments, **options
        )

    monkeypatch.setattr(socket, "getaddrinfo", resolving)


@pytest.fixture
def servers_of_the_page(
    broker_server: TlsServer,
    database_server: TlsServer,
    certificates: Certificates,
    page_folder: Path,
    names_of_the_page: None,
) -> Iterator[dict[str, dict[str, object]]]:
    """The servers with the page's certificates; yields the secrets of each user of them."""
    del names_of_the_page
    use_in_rabbitmq(broker_server, certificates_of_the_page(page_folder, BROKER), "right")
    use_in_postgresql(database_server, certificates_of_the_page(page_folder, DATABASE), "right")
    broker = f"{BROKER}:{broker_server.ports[5671]}/"
    management = f"{PASSWORD}@{BROKER}:{broker_server.ports[15671]}"
    database = f"{PASSWORD}@{DATABASE}:{database_server.ports[5432]}"
    yield {
        **{
            name: {
                "broker_url": f"amqps://{name}:{PASSWORD}@{broker}",
                "database_url": f"postgresql://{name}:{database}/page_{name}",
            }
            for name in registry.names()
        },
        OPERATOR: {
            "broker_url": f"amqps://{OPERATOR}:{PASSWORD}@{broker}",
            "broker_admin_url": f"https://{OPERATOR}:{management}",
        },
        "rabbitmq": {
            "broker_url": f"amqps://admin:{PASSWORD}@{broker}",
            "broker_admin_url": f"https://admin:{management}",
        },
        "postgres": {"database_admin_url": f"postgresql://postgres:{database}/postgres"},
    }
    use_in_rabbitmq(broker_server, certificates, "right")
    use_in_postgresql(database_server, certificates, "right")


def certificates_of_the_page(folder: Path, server: str) -> Certificates:
    pem = Pem((folder / f"{server}.pem").read_bytes(), (folder / f"{server}.key").read_bytes())
    ca = (folder / "ca.pem").read_bytes()
    return Certificates(folder=folder, host=server, ca=ca, servers={"right": pem})


def test_a_shop_that_follows_the_page_runs_with_a_certificate_for_each_service(
    servers_of_the_page: dict[str, dict[str, object]], page_folder: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    for owner, secrets in servers_of_the_page.items():
        name = "setup" if owner in ADMIN_SECRETS else owner
        secrets["tls_cert_file"] = page_folder / f"{name}.pem"
        secrets["tls_key_file"] = page_folder / f"{name}.key"
        for setting, value in secrets.items():
            (keys / owner).mkdir(parents=True, exist_ok=True)
            (keys / owner / f"shop_{setting}").write_text(str(value))
    services = registry.all_services()
    with (
        settings_override(home=tmp_path, keys=keys, tls_ca_file=page_folder / "ca.pem"),
        run_services(services, tmp_path / "log") as shop,
    ):
        shop.place("ORD-1")

        eventually(lambda: "order.placed.v1" in shop.handled("inventory"))
        findings = check(services, services, settings_for(OPERATOR))
        assert [each for each in findings if each.is_wrong] == []


def test_the_whole_shop_is_set_up_and_runs_with_tls(
    broker_server: TlsServer,
    database_server: TlsServer,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    urls = settings(
        certificates, certificates.files, broker=broker_server, database=database_server
    )
    role = urls.database_url.replace("/postgres?", "/{service}?").replace("postgres:", "{service}:")
    with (
        settings_override(
            home=tmp_path,
            broker_url=urls.broker_url,
            broker_admin_url=urls.broker_admin_url,
            database_url=role,
            database_admin_url=urls.database_admin_url,
            **certificates.files,
        ),
        run_services(registry.all_services(), tmp_path / "log") as shop,
    ):
        shop.place("ORD-1")

        eventually(lambda: "order.placed.v1" in shop.handled("inventory"))


@pytest.mark.parametrize("client", BROKER_CLIENTS)
@pytest.mark.parametrize("kind", WRONG_SERVERS)
def test_a_broker_with_a_wrong_certificate_is_refused_with_the_reason(
    broker_server: TlsServer,
    certificates: Certificates,
    kind: str,
    client: Callable[[Settings], None],
) -> None:
    use_in_rabbitmq(broker_server, certificates, kind)
    urls = settings(certificates, certificates.files, broker=broker_server)
    try:
        sentence = refusal(client, urls)
    finally:
        use_in_rabbitmq(broker_server, certificates, "right")

    assert "has a certificate that is not accepted: " in sentence
    assert WRONG_SERVERS[kind] in sentence


@pytest.mark.parametrize("client", DATABASE_CLIENTS)
@pytest.mark.parametrize("kind", WRONG_SERVERS)
def test_a_database_with_a_wrong_certificate_is_refused_with_the_reason(
    database_server: TlsServer,
    certificates: Certificates,
    kind: str,
    client: Callable[[Settings], None],
) -> None:
    use_in_postgresql(database_server, certificates, kind)
    urls = settings(certificates, certificates.files, database=database_server)
    try:
        sentence = refusal(client, urls)
    finally:
        use_in_postgresql(database_server, certificates, "right")

    assert "has a certificate that is not accepted: " in sentence
    assert WRONG_SERVERS[kind] in sentence


@pytest.mark.parametrize("files", WRONG_CLIENTS)
@pytest.mark.parametrize("client", BROKER_CLIENTS)
def test_a_broker_that_asks_refuses_a_client_without_a_right_certificate(
    broker_server: TlsServer,
    certificates: Certificates,
    client: Callable[[Settings], None],
    files: str,
) -> None:
    urls = settings(certificates, getattr(certificates, files), broker=broker_server)

    assert ASKS in refusal(client, urls)


@pytest.mark.parametrize("files", WRONG_CLIENTS)
@pytest.mark.parametrize("client", DATABASE_CLIENTS)
def test_a_database_that_asks_refuses_a_client_without_a_right_certificate(
    database_server: TlsServer,
    certificates: Certificates,
    client: Callable[[Settings], None],
    files: str,
) -> None:
    urls = settings(certificates, getattr(certificates, files), database=database_server)

    assert ASKS in refusal(client, urls)


def test_a_refused_certificate_ends_a_service_so_that_it_starts_with_new_files(
    broker_server: TlsServer, certificates: Certificates
) -> None:
    urls = settings(certificates, certificates.trusted, broker=broker_server)

    with pytest.raises(BrokerRefused):
        probe_broker(urls)
