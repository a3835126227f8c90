"""docs/security.md: its commands make certificates that work, and its limits are the code's."""

import re
import ssl
from pathlib import Path

import pytest

from deploy import keys
from shared.messaging.parsing import MAX_SEPARATORS
from shared.messaging.rabbitmq import field_tables, user_limits
from shared.runtime.settings import Settings
from shared.storage import roles
from shared.tls import client_context
from shop import registry
from tests.security.page import BROKER, DATABASE, PAGE, make_certificates_of_the_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands of the page were run."""
    folder = tmp_path_factory.mktemp("page")
    make_certificates_of_the_page(folder)
    return folder


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """Connect a client and a server in memory.

    Raises:
        ssl.SSLError: one refuses the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(side.version() == "TLSv1.3" for side in sides)


def server_of(folder: Path, name: str) -> ssl.SSLContext:
    """A server that asks for client certificates of the authority."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 and newer do
    server.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return server


def client_of(folder: Path, name: str) -> ssl.SSLContext:
    client = client_context(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return client


@pytest.mark.parametrize("server", [BROKER, DATABASE])
def test_each_service_and_server_accept_each_other(folder: Path, server: str) -> None:
    for client in (*registry.names(), "operator", "setup"):
        handshake(client_of(folder, client), server_of(folder, server), server)


def test_a_server_is_not_accepted_under_another_s_name(folder: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(client_of(folder, "orders"), server_of(folder, DATABASE), BROKER)


def test_a_service_s_certificate_is_not_one_for_a_server(folder: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate purpose"):
        handshake(client_of(folder, "orders"), server_of(folder, "email"), "email")


def test_only_the_owner_can_read_a_key(folder: Path) -> None:
    assert {path.stat().st_mode & 0o077 for path in folder.glob("*.key")} == {0}


def test_the_page_names_every_setting_and_sentence_of_tls() -> None:
    page = PAGE.read_text()

    names = [name for name in Settings.model_fields if name.startswith(("tls_", "allow_"))]
    assert len(names) == 4
    assert all(f"`SHOP_{name.upper()}" in page for name in names)


def test_the_limits_on_the_page_are_those_of_the_code_and_of_the_composition() -> None:
    page, root = PAGE.read_text(), PAGE.parents[1]
    composition = (root / "docker-compose.yml").read_text()
    [session_kilobytes] = map(int, re.findall(r"ulimit -d (\d+);", composition))
    configuration = Path(keys.__file__).read_text()
    [message_bytes] = map(int, re.findall(r"max_message_size = (\d+)", configuration))
    [frame_bytes] = map(int, re.findall(r"frame_max = (\d+)", configuration))

    for sentence in (
        f"| {user_limits.MAX_CONNECTIONS} and {user_limits.MAX_CHANNELS} |",
        f"| `SHOP_DATABASE_CONNECTIONS`, {roles.CONNECTIONS} |",
        f"| {roles.ROLE_SETTINGS['temp_file_limit'].replace('MB', ' MB')} |",
        f"| {session_kilobytes // 1024} MiB; ",
        f"| {message_bytes / 1024**2:g} MiB |",
        f"| {frame_bytes // 1024} KiB |",
        f"a depth of {field_tables.MAX_DEPTH} and {field_tables.MAX_NESTED_VALUES:,} nested values",
        f"more than {MAX_SEPARATORS:,} of the characters",
    ):
        assert sentence in page


def test_the_readme_leads_to_the_page() -> None:
    readme = " ".join((PAGE.parents[1] / "README.md").read_text().split())

    assert "may do there what it does and nothing else" in readme
    assert "[docs/security.md](docs/security.md) says how that is enforced" in readme
