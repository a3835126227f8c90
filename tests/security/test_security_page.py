"""The commands in docs/security.md make certificates that work."""

import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from shared.runtime.settings import Settings
from shared.tls import client_context
from shop import registry

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands of the page were run."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl")
    folder = tmp_path_factory.mktemp("page")
    (commands,) = re.findall(r"### 1\. .*?```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    subprocess.run(["sh", "-euc", commands], cwd=folder, check=True, capture_output=True)
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


@pytest.mark.parametrize("server", ["broker.example", "database.example"])
def test_each_service_and_server_accept_each_other(folder: Path, server: str) -> None:
    for client in (*registry.names(), "operator", "setup"):
        handshake(client_of(folder, client), server_of(folder, server), server)


def test_a_server_is_not_accepted_under_another_s_name(folder: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(
            client_of(folder, "orders"), server_of(folder, "database.example"), "broker.example"
        )


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
