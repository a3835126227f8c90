"""The mailer against a real mail server on a port of this machine."""

import asyncio
import socket
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from services.email import smtp
from services.email.errors import MailRefused, MailRefusedForNow
from services.email.mailer import Mailer
from services.email.mails import Mail
from services.email.service import email
from services.email.smtp import MailServer
from shared.errors import DependencyUnavailable, ShopError
from shared.events import OrderPlaced
from shared.messaging.ports.consumer import Outcome
from shared.runtime.settings import Settings
from shared.storage.failures import describe
from shared.testing import Stage
from shared.tls import client_context

# The login is tested without TLS, which would need a certificate for the loopback port.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

CUSTOMER = "jane.canary@example.com"


class SmtpHandler:
    """Keeps the emails, or answers with the codes in `on_recipient` and `on_data`."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.greetings = 0
        self.logins = 0
        self.noops = 0
        self.on_recipient: list[str] = []
        self.on_data: list[str] = []
        self.servers: list[SMTP] = []

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        del envelope
        self.greetings += 1
        self.servers.append(server)
        session.host_name = hostname
        return responses

    async def handle_NOOP(  # noqa: N802 - aiosmtpd's name and arguments
        self, server: SMTP, session: Any, envelope: Envelope, arg: str
    ) -> str:
        del server, session, envelope, arg
        self.noops += 1
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and arguments
        self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if self.on_recipient:
            return f"{self.on_recipient.pop(0)} <{address}>: no"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        del server, session
        if self.on_data:
            return f"{self.on_data.pop(0)} not to {envelope.rcpt_tos[0]}"
        self.envelopes.append(envelope)
        return "250 OK"


@pytest.fixture
def handler() -> SmtpHandler:
    return SmtpHandler()


@pytest.fixture
def server(handler: SmtpHandler) -> Iterator[Controller]:
    controller = _controller(handler, port=_free_port())
    controller.start()
    yield controller
    if controller.loop.is_running():
        controller.stop()


@pytest.fixture
def mailer(server: Controller, tmp_path: Path) -> Iterator[Mailer]:
    mailer = _mailer(f"smtp://127.0.0.1:{server.port}", tmp_path)
    yield mailer
    mailer.close()


def _controller(handler: SmtpHandler, *, port: int, **options: Any) -> Controller:
    return Controller(handler, hostname="127.0.0.1", port=port, **options)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _mailer(url: str, home: Path) -> Mailer:
    return Mailer.from_settings(Settings(home=home, smtp_url=url))


def mail(to: str = CUSTOMER) -> Mail:
    message = EmailMessage()
    message["From"] = "Past Tense <orders@shop.example>"
    message["To"] = to
    message["Message-ID"] = "<1.confirmation@shop.example>"
    message.set_content(".\nThe line above is a single dot.\n")
    return Mail(
        order_id="ORD-1",
        kind="confirmation",
        sender="orders@shop.example",
        to=to,
        message=message,
    )


def error_of(mailer: Mailer) -> ShopError:
    with pytest.raises(ShopError) as raised:
        mailer.send(mail())
    return raised.value


def close_connection_of(handler: SmtpHandler, server: Controller) -> None:
    """Make the server close the connection, as it does with idle ones."""

    async def close() -> None:
        transport = handler.servers[-1].transport
        assert transport is not None
        transport.close()

    asyncio.run_coroutine_threadsafe(close(), server.loop).result(timeout=10)


def test_an_email_is_delivered_unchanged(mailer: Mailer, handler: SmtpHandler) -> None:
    mailer.send(mail())

    (envelope,) = handler.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("orders@shop.example", [CUSTOMER])
    assert isinstance(envelope.content, bytes)
    received = message_from_bytes(envelope.content, policy=default)
    assert received["Message-ID"] == "<1.confirmation@shop.example>"
    assert received.get_payload() == ".\r\nThe line above is a single dot.\r\n"


@pytest.mark.parametrize("to", ["a..b.@example.com", "o'neil+x@example.com"])
def test_an_unusual_address_reaches_the_server_unchanged(
    mailer: Mailer, handler: SmtpHandler, to: str
) -> None:
    mailer.send(mail(to))

    assert handler.envelopes[0].rcpt_tos == [to]


def test_one_connection_is_used_for_many_emails(mailer: Mailer, handler: SmtpHandler) -> None:
    mailer.probe()
    for _ in range(5):
        mailer.send(mail())
    mailer.probe()

    assert len(handler.envelopes) == 5
    assert handler.greetings == 1


def test_each_thread_has_a_connection_to_itself(mailer: Mailer, handler: SmtpHandler) -> None:
    together = Barrier(2)

    def send() -> None:
        for _ in range(5):
            together.wait(timeout=20)
            mailer.send(mail())

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(send) for _ in range(2)]:
            done.result()

    assert len(handler.envelopes) == 10
    assert handler.greetings == 2


def test_a_connection_that_was_just_used_is_not_probed(
    mailer: Mailer, handler: SmtpHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trusted in (60.0, 60.0, 0.0):
        monkeypatch.setattr(smtp, "TRUSTED_SECONDS", trusted)
        mailer.send(mail())

    assert handler.noops == 1


def test_a_connection_that_the_server_closed_while_idle_is_replaced(
    mailer: Mailer, handler: SmtpHandler, server: Controller
) -> None:
    mailer.send(mail())
    close_connection_of(handler, server)

    mailer.send(mail())

    assert len(handler.envelopes) == 2
    assert handler.greetings == 2


@pytest.mark.parametrize(
    ("stage", "answer", "expected"),
    [
        ("on_recipient", "450", MailRefusedForNow),
        ("on_recipient", "550", MailRefused),
        ("on_data", "451", MailRefusedForNow),
        ("on_data", "554", MailRefused),
        ("on_recipient", "421", DependencyUnavailable),
        ("on_recipient", "530", DependencyUnavailable),
        ("on_data", "421", DependencyUnavailable),
    ],
)
def test_a_reply_code_decides_the_error_and_the_next_email_is_sent(
    mailer: Mailer, handler: SmtpHandler, stage: str, answer: str, expected: type[ShopError]
) -> None:
    setattr(handler, stage, [answer])

    error = error_of(mailer)
    mailer.send(mail())

    assert type(error) is expected
    assert answer in str(error)
    assert len(handler.envelopes) == 1


@pytest.mark.parametrize("answer", ["450", "550", "421"])
@pytest.mark.parametrize("stage", ["on_recipient", "on_data"])
def test_no_error_holds_the_address_that_the_server_repeats(
    mailer: Mailer, handler: SmtpHandler, stage: str, answer: str
) -> None:
    setattr(handler, stage, [answer])

    error = error_of(mailer)

    assert error.__cause__ is None
    assert error.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(error))
    assert "canary" not in repr(describe(error))


def test_a_stopped_server_is_an_unavailable_dependency_until_it_restarts(
    mailer: Mailer, handler: SmtpHandler, server: Controller
) -> None:
    mailer.send(mail())
    server.stop()

    assert type(error_of(mailer)) is DependencyUnavailable
    with pytest.raises(DependencyUnavailable, match="cannot be reached") as raised:
        mailer.probe()
    assert "canary" not in "".join(traceback.format_exception(raised.value))

    restarted = _controller(handler, port=server.port)
    restarted.start()
    try:
        mailer.probe()
        mailer.send(mail())
    finally:
        restarted.stop()
    assert len(handler.envelopes) == 2


def test_a_server_that_does_not_answer_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        server = MailServer(url, context=client_context(), timeout=0.2)

        with pytest.raises(DependencyUnavailable, match="cannot be reached"):
            server.probe()


def _check(
    server: SMTP, session: Any, envelope: Envelope, mechanism: str, login: Any
) -> AuthResult:
    del session, envelope, mechanism
    server.event_handler.logins += 1
    expected = LoginPassword(b"shop", b"p@ss/word")
    return AuthResult(success=login == expected, handled=False)


@pytest.fixture
def server_with_login(handler: SmtpHandler) -> Iterator[Controller]:
    options = {"authenticator": _check, "auth_required": True, "auth_require_tls": False}
    controller = _controller(handler, port=_free_port(), **options)
    controller.start()
    yield controller
    controller.stop()


def test_a_user_logs_in(
    server_with_login: Controller, handler: SmtpHandler, tmp_path: Path
) -> None:
    mailer = _mailer(f"smtp://shop:p%40ss%2Fword@127.0.0.1:{server_with_login.port}", tmp_path)

    mailer.send(mail())
    mailer.close()

    assert len(handler.envelopes) == 1
    assert handler.logins == 1


def test_a_password_is_not_sent_unencrypted_to_another_machine(
    server_with_login: Controller,
    handler: SmtpHandler,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smtp, "_is_on_this_machine", lambda _: False)
    mailer = _mailer(f"smtp://shop:p%40ss%2Fword@127.0.0.1:{server_with_login.port}", tmp_path)

    with pytest.raises(DependencyUnavailable, match="a password is not sent unencrypted"):
        mailer.probe()

    assert handler.logins == 0


@pytest.mark.parametrize(
    ("login", "sentence"),
    [("shop:wrong@", r"refuses the user or the password \(535\)"), ("", r"answered 530")],
    ids=["a wrong password", "no password"],
)
def test_a_refused_login_is_an_unavailable_dependency(
    server_with_login: Controller, tmp_path: Path, login: str, sentence: str
) -> None:
    mailer = _mailer(f"smtp://{login}127.0.0.1:{server_with_login.port}", tmp_path)

    with pytest.raises(DependencyUnavailable, match=sentence):
        mailer.send(mail())

    mailer.close()


def test_an_email_is_sent_once_however_often_it_was_refused_temporarily(
    mailer: Mailer, handler: SmtpHandler, tmp_path: Path
) -> None:
    handler.on_recipient = ["450"]
    handler.on_data = ["451"]
    stage = Stage(tmp_path, [email], gateway={"email": mailer})
    stage.publish(
        OrderPlaced.model_validate(
            {
                "order_id": "ORD-1",
                "customer_email": CUSTOMER,
                "items": {"product-1": 1},
                "shipping_address": "123 Main St",
                "total_amount": "49.99",
                "currency": "EUR",
            }
        )
    )

    outcomes = []
    for _ in range(3):
        outcomes += [each.outcome for each in stage.play(errors="collect")]
        stage.clock.now += email.retry.max_delay
    stage.close()

    assert outcomes == [Outcome.RETRY, Outcome.RETRY, Outcome.DONE]
    (envelope,) = handler.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("orders@shop.example", [CUSTOMER])
