"""RabbitMQ and PostgreSQL in containers, with TLS as docs/security.md configures it.

A test can exchange their certificates.
"""

import io
import socket
import ssl
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from docker.models.containers import Container
from tenacity import retry, stop_after_delay, wait_fixed
from testcontainers.core.container import DockerContainer

from shared.storage import postgresql_tls
from tests.containers import IDLE_SCHEDULERS_SLEEP, run_label
from tests.security.certificates import Certificates
from tests.security.page import BROKER, DATABASE, blocks
from tests.support.waiting import eventually

_TLS_FOLDERS = {BROKER: "/etc/rabbitmq/tls", DATABASE: "/etc/postgresql/tls"}
"""Where the page puts the files of its servers."""

PASSWORD = "hush"  # noqa: S105 - nobody's

_RABBITMQ_CONF = f"""\
default_user = admin
default_pass = {PASSWORD}
deprecated_features.permit.management_metrics_collection = true
log.console.level = warning
"""

_PG_HBA = "local all all trust\n"


class TlsServer:
    """A server in a container.

    Args:
        user: the server's, who alone may read its files.
        name: the server's name on the page, which is in the names of its files.

    Attributes:
        ports: the ports on the host, by those of the container.
    """

    def __init__(self, container: DockerContainer, *, user: str, name: str) -> None:
        self._name = name
        self._container: Container = container.get_wrapped_container()
        self._user = int(self.run("id", "-u", user))
        self.ports = {int(port): container.get_exposed_port(int(port)) for port in container.ports}

    def put(self, certificates: Certificates, kind: str) -> None:
        """Replace the server's certificate by another kind."""
        files = _files(self._name, certificates, kind)
        self._container.put_archive("/", _archive(files, self._user))

    def run(self, *command: str) -> bytes:
        """Run a command in the container, which must succeed; returns what it prints."""
        code, output = self._container.exec_run(list(command))
        assert code == 0, output
        assert isinstance(output, bytes)
        return output


@contextmanager
def rabbitmq(certificates: Certificates) -> Iterator[TlsServer]:
    """RabbitMQ with TLS alone, which asks for a client certificate at every port."""
    container = DockerContainer("rabbitmq:4.3-management").with_exposed_ports(5671, 15671)
    container.with_env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", IDLE_SCHEDULERS_SLEEP)
    for path, content in _files(BROKER, certificates, "right").items():
        container.with_copy_into_container(content, path)
    (of_the_page,) = blocks(2, "ini")
    conf = f"{_RABBITMQ_CONF}{of_the_page}".encode()
    container.with_copy_into_container(conf, "/etc/rabbitmq/conf.d/20-tls.conf")
    with container.with_kwargs(labels=run_label()):
        yield TlsServer(container, user="rabbitmq", name=BROKER)


def use_in_rabbitmq(server: TlsServer, certificates: Certificates, kind: str) -> None:
    """Exchange the certificate, and make RabbitMQ forget the one that it has read."""
    server.put(certificates, kind)
    server.run("rabbitmqctl", "eval", "ssl:clear_pem_cache().")


@contextmanager
def postgresql(certificates: Certificates) -> Iterator[TlsServer]:
    """PostgreSQL with TLS alone, which asks for a client certificate."""
    container = DockerContainer("postgres:18").with_exposed_ports(5432)
    container.with_env("POSTGRES_PASSWORD", PASSWORD).with_env("POSTGRES_INITDB_ARGS", "--no-sync")
    (conf,), (hba,) = blocks(3, "ini"), blocks(3, "")
    container.with_copy_into_container(conf.encode(), "/page/postgresql.conf")
    container.with_copy_into_container(f"{_PG_HBA}{hba}".encode(), "/page/pg_hba.conf")
    container.with_command("postgres -c fsync=off -c hba_file=/page/pg_hba.conf")
    with container.with_kwargs(labels=run_label()):
        server = TlsServer(container, user="postgres", name=DATABASE)
        _wait_for_postgresql(server)
        server.run("sh", "-c", "cat /page/postgresql.conf >> $PGDATA/postgresql.conf")
        use_in_postgresql(server, certificates, "right")
        yield server


def use_in_postgresql(server: TlsServer, certificates: Certificates, kind: str) -> None:
    """Exchange the certificate, and wait until PostgreSQL has read it."""
    server.put(certificates, kind)
    server.run("psql", "-U", "postgres", "-c", "SELECT pg_reload_conf()")
    wanted = ssl.PEM_cert_to_DER_cert(certificates.servers[kind].cert.decode())
    address = certificates.host, server.ports[5432]
    eventually(lambda: _certificate_of_postgresql(address) == wanted)


def _certificate_of_postgresql(address: tuple[str, int]) -> bytes | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, 5) as connection:
        connection.sendall(postgresql_tls.SSL_REQUEST)
        if connection.recv(1) != b"S":
            return None
        with context.wrap_socket(connection) as encrypted:
            return encrypted.getpeercert(binary_form=True)


@retry(stop=stop_after_delay(60), wait=wait_fixed(0.5), reraise=True)
def _wait_for_postgresql(server: TlsServer) -> None:
    # Over TCP, since the socket answers during the initialisation.
    server.run("pg_isready", "-q", "-h", "127.0.0.1")


def _files(name: str, certificates: Certificates, kind: str) -> dict[str, bytes]:
    """The files of a server, by their path."""
    folder, server = _TLS_FOLDERS[name], certificates.servers[kind]
    return {
        f"{folder}/ca.pem": certificates.ca,
        f"{folder}/{name}.pem": server.cert,
        f"{folder}/{name}.key": server.key,
    }


def _archive(files: Mapping[str, bytes], user: int) -> bytes:
    """A tar archive of files, by their path, that only this user can read."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.uid = len(content), 0o600, user
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
