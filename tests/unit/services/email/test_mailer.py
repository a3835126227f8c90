import mailbox
import stat
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import pytest

from services.email.maildir import Maildir
from services.email.mailer import Mailer
from services.email.mails import Mail
from services.email.smtp_url import SmtpUrl
from shared.errors import DependencyUnavailable, InvalidInput
from shared.runtime.settings import Settings


def mail(message_id: str = "<1.confirmation@shop.example>") -> Mail:
    message = EmailMessage()
    message["Message-ID"] = message_id
    message["To"] = "jane@example.com"
    message.set_content("Thank you")
    return Mail(
        order_id="ORD-1",
        kind="confirmation",
        sender="orders@shop.example",
        to="jane@example.com",
        message=message,
    )


def test_without_a_mail_server_an_email_is_a_file_that_mail_clients_open(tmp_path: Path) -> None:
    mailer = Mailer.from_settings(Settings(home=tmp_path / "var"))
    mailer.probe()

    mailer.send(mail())

    (stored,) = mailbox.Maildir(tmp_path / "var" / "mail", create=False)
    assert stored["To"] == "jane@example.com"
    assert list((tmp_path / "var" / "mail" / "tmp").iterdir()) == []


def test_only_the_folder_s_owner_can_read_its_emails(tmp_path: Path) -> None:
    Maildir(tmp_path).send(mail())

    (file,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "jane" not in file.name


def test_a_second_copy_of_an_email_adds_no_file(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)

    maildir.send(mail())
    maildir.send(mail())
    maildir.send(mail("<2.shipping@shop.example>"))

    assert len(mailbox.Maildir(tmp_path, create=False)) == 2


def test_a_copy_of_an_email_that_was_read_is_not_stored_again(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)
    maildir.send(mail())
    (unread,) = (tmp_path / "new").iterdir()
    unread.rename(tmp_path / "cur" / f"{unread.name}:2,S")

    maildir.send(mail())

    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_unavailable_dependency(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("not a folder")
    mailer = Mailer.from_settings(Settings(home=tmp_path))

    with pytest.raises(DependencyUnavailable, match="cannot be written"):
        mailer.probe()
    with pytest.raises(DependencyUnavailable, match="cannot be written"):
        mailer.send(mail())


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "password", "is_tls"),
    [
        ("smtp://maildev:1025", "maildev", 1025, None, "", False),
        ("smtp://relay.example/", "relay.example", 25, None, "", False),
        ("smtp://user:p%40ss%2F@host.example:587", "host.example", 587, "user", "p@ss/", False),
        ("smtps://a%40b:pw@host.example", "host.example", 465, "a@b", "pw", True),
        ("smtp://[::1]:2525", "::1", 2525, None, "", False),
    ],
    ids=["plain", "default port", "with a login", "tls", "IPv6"],
)
def test_a_url_is_parsed_into_address_and_login(  # noqa: PLR0913, PLR0917 - a table's columns
    url: str,
    host: str,
    port: int,
    user: str | None,
    password: str,
    is_tls: bool,  # noqa: FBT001 - a table's column
) -> None:
    assert SmtpUrl.parse(url) == SmtpUrl(
        host=host, port=port, user=user, password=password, is_tls=is_tls
    )


@pytest.mark.parametrize(
    "url",
    [
        "maildev:1025",
        "http://maildev:1025",
        "smtp://",
        "smtp://host:notaport",
        "smtp://host:0",
        "smtp://host:99999",
        "smtp://secret@host",
        "smtp://user:@host",
        "smtp://host/secret",
        "smtp://host?secret=1",
        "smtp://a..b",
        "smtp://[::1",
    ],
)
def test_an_invalid_url_is_refused_by_a_message_that_repeats_none_of_it(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"^SHOP_SMTP_URL should be smtp://HOST:PORT") as refused:
        Mailer.from_settings(Settings(home=tmp_path, smtp_url=url))

    assert "secret" not in str(refused.value)


def test_the_representation_of_a_url_does_not_show_the_password() -> None:
    assert "hush" not in repr(SmtpUrl.parse("smtp://user:hush@host"))


@pytest.mark.parametrize(
    ("mail_from", "sender"),
    [
        (
            "東京　Shop <orders@bücher.example>",
            Address("東京 Shop", "orders", "xn--bcher-kva.example"),
        ),
        ("orders@shop.example", Address("", "orders", "shop.example")),
        ("Past Tense <orders@shop.example>", Address("Past Tense", "orders", "shop.example")),
        ('"Shop, Inc." <o@shop.example>', Address("Shop, Inc.", "o", "shop.example")),
        ("Größe <o@shop.example>", Address("Größe", "o", "shop.example")),
    ],
    ids=["any script", "plain", "named", "quoted", "umlauts"],
)
def test_the_settings_name_the_sender(mail_from: str, sender: Address, tmp_path: Path) -> None:
    assert Mailer.from_settings(Settings(home=tmp_path, mail_from=mail_from)).sender == sender


@pytest.mark.parametrize(
    "mail_from",
    [
        "",
        "orders",
        "orders@",
        "a@b.example\r\nBcc: c@d.example",
        "A\nB <a@b.example>",
        "A\u202eB <a@b.example>",
    ],
)
def test_a_sender_that_is_not_an_address_is_refused(mail_from: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="SHOP_MAIL_FROM"):
        Mailer.from_settings(Settings(home=tmp_path, mail_from=mail_from))
