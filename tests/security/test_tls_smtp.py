"""Emails over TLS, to a mail server with certificates that the test makes."""

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope

from services.email import smtp
from services.email.mailer import Mailer
from services.email.mails import Mail
from shared.errors import DependencyUnavailable
from shared.runtime.settings import Settings
from tests.security.certificates import (
    WRONG_CLIENTS,
    WRONG_SERVERS,
    Certificates,
    make_certificates,
)


class Mailbox:
    """Keeps the envelopes."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        del server, session
        self.envelopes.append(envelope)
        return "250 OK"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"), "127.0.0.1")


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mail server is taken for one on another machine."""
    monkeypatch.setattr(smtp, "_is_on_this_machine", lambda _: False)


@contextmanager
def serving(mailbox: Mailbox, **options: Any) -> Iterator[str]:
    """Run a mail server; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        controller.stop()


def send(url: str, home: Path, **settings: Any) -> None:
    """Send an email, and close the connection."""
    mailer = Mailer.from_settings(Settings(home=home, smtp_url=url, **settings))
    message = EmailMessage()
    message["Message-ID"] = "<1@shop.example>"
    message.set_content("Thank you")
    try:
        mailer.send(
            Mail(
                order_id="ORD-1",
                kind="confirmation",
                sender="orders@shop.example",
                to="jane@example.com",
                message=message,
            )
        )
    finally:
        mailer.close()


def test_a_server_with_a_certificate_of_the_authority_gets_emails(
    certificates: Certificates, mailbox: Mailbox, tmp_path: Path
) -> None:
    with serving(mailbox, ssl_context=certificates.server_context("right")) as at:
        send(f"smtps://{at}", tmp_path, **certificates.trusted)

    assert len(mailbox.envelopes) == 1


@pytest.mark.usefixtures("elsewhere")
def test_a_server_on_another_machine_gets_emails_after_starttls(
    certificates: Certificates, mailbox: Mailbox, tmp_path: Path
) -> None:
    context = certificates.server_context("right")
    with serving(mailbox, tls_context=context, require_starttls=True) as at:
        send(f"smtp://{at}", tmp_path, **certificates.trusted)

    assert len(mailbox.envelopes) == 1


@pytest.mark.usefixtures("elsewhere")
def test_a_server_on_another_machine_without_tls_gets_emails_only_if_that_is_permitted(
    mailbox: Mailbox, tmp_path: Path
) -> None:
    with serving(mailbox) as at:
        with pytest.raises(DependencyUnavailable, match=r"no STARTTLS.*SHOP_ALLOW_PLAINTEXT=true"):
            send(f"smtp://{at}", tmp_path)
        assert mailbox.envelopes == []

        send(f"smtp://{at}", tmp_path, allow_plaintext=True)

    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("kind", WRONG_SERVERS)
@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
@pytest.mark.usefixtures("elsewhere")
def test_a_server_with_a_wrong_certificate_is_refused_with_the_reason(
    certificates: Certificates, mailbox: Mailbox, tmp_path: Path, kind: str, scheme: str
) -> None:
    option = {"smtps": "ssl_context", "smtp": "tls_context"}[scheme]
    with (
        serving(mailbox, **{option: certificates.server_context(kind)}) as at,
        pytest.raises(DependencyUnavailable, match=WRONG_SERVERS[kind]) as refused,
    ):
        send(f"{scheme}://{at}", tmp_path, **certificates.trusted)

    assert str(refused.value).startswith(f"the mail server {at} has a certificate that is not")
    assert "\n" not in str(refused.value)
    assert mailbox.envelopes == []


def test_a_server_without_tls_is_refused_by_an_smtps_url(mailbox: Mailbox, tmp_path: Path) -> None:
    with serving(mailbox) as at, pytest.raises(DependencyUnavailable, match="does not answer with"):
        send(f"smtps://{at}", tmp_path)


@pytest.fixture
def asking(certificates: Certificates) -> ssl.SSLContext:
    """The settings of a server that asks for client certificates of the authority."""
    context = certificates.server_context("right")
    context.load_verify_locations(certificates.folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_client_with_a_certificate_is_accepted_where_one_is_asked_for(
    certificates: Certificates, asking: ssl.SSLContext, mailbox: Mailbox, tmp_path: Path
) -> None:
    with serving(mailbox, ssl_context=asking) as at:
        send(f"smtps://{at}", tmp_path, **certificates.files)

    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("files", WRONG_CLIENTS)
def test_a_client_without_a_right_certificate_learns_that_one_is_asked_for(
    certificates: Certificates, asking: ssl.SSLContext, tmp_path: Path, files: str
) -> None:
    # Not aiosmtpd: asyncio closes the connection without the alert that says why.
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        asking.wrap_socket(listener, server_side=True) as server,
        ThreadPoolExecutor() as pool,
    ):
        accepted = pool.submit(server.accept)

        with pytest.raises(DependencyUnavailable, match="asks for a client certificate"):
            send(
                f"smtps://127.0.0.1:{listener_port(server)}",
                tmp_path,
                **getattr(certificates, files),
            )

        assert isinstance(accepted.exception(), ssl.SSLError)


def listener_port(server: ssl.SSLSocket) -> int:
    port: int = server.getsockname()[1]
    return port
