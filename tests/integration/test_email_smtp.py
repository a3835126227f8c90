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
from services.email.mailer import Mailer
from services.email.refusals import MailRefused, MailRefusedForNow
from services.email.service import email
from services.email.smtp import MailServer
from shared.errors import DependencyUnavailable, ShopError
from shared.events import OrderPlaced
from shared.messaging.ports.consumer import Outcome
from shared.runtime.settings import Settings
from shared.storage.failures import describe
from shared.testing import Stage

# What is tested is the login; there is no TLS on a loopback port without a certificate.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

CUSTOMER = "jane.canary@example.com"


class Postmaster:
    """What the server does with mails: keeps them, or answers as it is told to."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.greetings = 0
        self.logins = 0
        self.signs_of_life = 0
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
        self.signs_of_life += 1
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
def postmaster() -> Postmaster:
    return Postmaster()


@pytest.fixture
def server(postmaster: Postmaster) -> Iterator[Controller]:
    controller = _controller(postmaster, port=_free_port())
    controller.start()
    yield controller
    if controller.loop.is_running():
        controller.stop()


@pytest.fixture
def mailer(server: Controller, tmp_path: Path) -> Iterator[Mailer]:
    mailer = _mailer(f"smtp://127.0.0.1:{server.port}", tmp_path)
    yield mailer
    mailer.close()


def _controller(postmaster: Postmaster, *, port: int, **options: Any) -> Controller:
    return Controller(postmaster, hostname="127.0.0.1", port=port, **options)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _mailer(url: str, home: Path) -> Mailer:
    return Mailer.opened(Settings(home=home, smtp_url=url))


def mail(to: str = CUSTOMER) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Past Tense <orders@shop.example>"
    message["To"] = to
    message["Message-ID"] = "<1.confirmation@shop.example>"
    message.set_content(".\nA line that is a dot must arrive too.\n")
    return message


def error_of(mailer: Mailer) -> ShopError:
    with pytest.raises(ShopError) as raised:
        mailer.send(mail())
    return raised.value


def hang_up_on(postmaster: Postmaster, server: Controller) -> None:
    """Let the server close its connection, as it does with one that is idle."""

    async def hang_up() -> None:
        transport = postmaster.servers[-1].transport
        assert transport is not None
        transport.close()

    asyncio.run_coroutine_threadsafe(hang_up(), server.loop).result(timeout=10)


def test_a_mail_is_delivered_whole(mailer: Mailer, postmaster: Postmaster) -> None:
    mailer.send(mail())

    (envelope,) = postmaster.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("orders@shop.example", [CUSTOMER])
    assert isinstance(envelope.content, bytes)
    received = message_from_bytes(envelope.content, policy=default)
    assert received["Message-ID"] == "<1.confirmation@shop.example>"
    assert received.get_payload() == ".\r\nA line that is a dot must arrive too.\r\n"


@pytest.mark.parametrize("to", ["a..b.@example.com", "o'neil+x@example.com"])
def test_an_odd_address_reaches_the_server_as_it_is(
    mailer: Mailer, postmaster: Postmaster, to: str
) -> None:
    mailer.send(mail(to))

    assert postmaster.envelopes[0].rcpt_tos == [to]


def test_one_connection_serves_many_mails(mailer: Mailer, postmaster: Postmaster) -> None:
    mailer.probe()
    for _ in range(5):
        mailer.send(mail())
    mailer.probe()

    assert len(postmaster.envelopes) == 5
    assert postmaster.greetings == 1


def test_threads_send_over_connections_of_their_own(mailer: Mailer, postmaster: Postmaster) -> None:
    together = Barrier(2)

    def send() -> None:
        for _ in range(5):
            together.wait(timeout=20)
            mailer.send(mail())

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(send) for _ in range(2)]:
            done.result()

    assert len(postmaster.envelopes) == 10
    assert postmaster.greetings == 2


def test_a_connection_just_used_is_not_asked_for_a_sign_of_life(
    mailer: Mailer, postmaster: Postmaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trusted in (60.0, 60.0, 0.0):
        monkeypatch.setattr(smtp, "TRUSTED_SECONDS", trusted)
        mailer.send(mail())

    assert postmaster.signs_of_life == 1


def test_a_connection_that_the_server_closed_while_idle_is_made_anew(
    mailer: Mailer, postmaster: Postmaster, server: Controller
) -> None:
    mailer.send(mail())
    hang_up_on(postmaster, server)

    mailer.send(mail())

    assert len(postmaster.envelopes) == 2
    assert postmaster.greetings == 2


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
def test_an_answer_decides_what_becomes_of_the_mail_and_the_next_one_is_taken(
    mailer: Mailer, postmaster: Postmaster, stage: str, answer: str, expected: type[ShopError]
) -> None:
    setattr(postmaster, stage, [answer])

    error = error_of(mailer)
    mailer.send(mail())

    assert type(error) is expected
    assert answer in str(error)
    assert len(postmaster.envelopes) == 1


@pytest.mark.parametrize("answer", ["450", "550", "421"])
@pytest.mark.parametrize("stage", ["on_recipient", "on_data"])
def test_no_error_holds_the_address_that_the_server_repeated(
    mailer: Mailer, postmaster: Postmaster, stage: str, answer: str
) -> None:
    setattr(postmaster, stage, [answer])

    error = error_of(mailer)

    assert error.__cause__ is None
    assert error.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(error))
    assert "canary" not in repr(describe(error))


def test_a_server_that_is_away_is_the_environment_s_failure_and_comes_back(
    mailer: Mailer, postmaster: Postmaster, server: Controller
) -> None:
    mailer.send(mail())
    server.stop()

    assert type(error_of(mailer)) is DependencyUnavailable
    with pytest.raises(DependencyUnavailable, match="cannot be reached") as away:
        mailer.probe()
    assert "canary" not in "".join(traceback.format_exception(away.value))

    again = _controller(postmaster, port=server.port)
    again.start()
    try:
        mailer.probe()
        mailer.send(mail())
    finally:
        again.stop()
    assert len(postmaster.envelopes) == 2


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = MailServer(f"smtp://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)

        with pytest.raises(DependencyUnavailable, match="cannot be reached"):
            server.probe()


def _check(
    server: SMTP, session: Any, envelope: Envelope, mechanism: str, login: Any
) -> AuthResult:
    del session, envelope, mechanism
    server.event_handler.logins += 1
    ours = LoginPassword(b"shop", b"p@ss/word")
    return AuthResult(success=login == ours, handled=False)


@pytest.fixture
def guarded(postmaster: Postmaster) -> Iterator[Controller]:
    options = {"authenticator": _check, "auth_required": True, "auth_require_tls": False}
    controller = _controller(postmaster, port=_free_port(), **options)
    controller.start()
    yield controller
    controller.stop()


def test_a_user_logs_in(guarded: Controller, postmaster: Postmaster, tmp_path: Path) -> None:
    mailer = _mailer(f"smtp://shop:p%40ss%2Fword@127.0.0.1:{guarded.port}", tmp_path)

    mailer.send(mail())
    mailer.close()

    assert len(postmaster.envelopes) == 1
    assert postmaster.logins == 1


def test_a_password_is_not_sent_in_the_clear_to_another_machine(
    guarded: Controller, postmaster: Postmaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "_is_on_this_machine", lambda _: False)
    mailer = _mailer(f"smtp://shop:p%40ss%2Fword@127.0.0.1:{guarded.port}", tmp_path)

    with pytest.raises(DependencyUnavailable, match="a password is not sent in the clear"):
        mailer.probe()

    assert postmaster.logins == 0


@pytest.mark.parametrize(
    ("login", "sentence"),
    [("shop:wrong@", r"refuses the user or the password \(535\)"), ("", r"answered 530")],
    ids=["a wrong password", "no password"],
)
def test_a_server_that_wants_another_login_costs_no_mail(
    guarded: Controller, tmp_path: Path, login: str, sentence: str
) -> None:
    mailer = _mailer(f"smtp://{login}127.0.0.1:{guarded.port}", tmp_path)

    with pytest.raises(DependencyUnavailable, match=sentence):
        mailer.send(mail())

    mailer.close()


def test_the_service_mails_once_however_often_the_server_refuses_for_now(
    mailer: Mailer, postmaster: Postmaster, tmp_path: Path
) -> None:
    postmaster.on_recipient = ["450"]
    postmaster.on_data = ["451"]
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
        outcomes += [each.outcome for each in stage.play()]
        stage.clock.now += email.retry.max_delay
    stage.close()

    assert outcomes == [Outcome.RETRY, Outcome.RETRY, Outcome.DONE]
    assert len(postmaster.envelopes) == 1
