import mailbox
import stat
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import pytest

from services.email.maildir import Maildir
from services.email.mailer import Mailer
from services.email.smtp import Server
from shared.errors import DependencyUnavailable, InvalidInput
from shared.runtime.settings import Settings


def mail(message_id: str = "<1.confirmation@shop.example>") -> EmailMessage:
    message = EmailMessage()
    message["Message-ID"] = message_id
    message["To"] = "jane@example.com"
    message.set_content("Thank you")
    return message


def test_without_a_mail_server_a_mail_is_a_file_that_mail_readers_open(tmp_path: Path) -> None:
    mailer = Mailer.opened(Settings(home=tmp_path / "var"))
    mailer.probe()

    mailer.send(mail())

    (read,) = mailbox.Maildir(tmp_path / "var" / "mail", create=False)
    assert read["To"] == "jane@example.com"
    assert list((tmp_path / "var" / "mail" / "tmp").iterdir()) == []


def test_the_folder_s_mails_are_for_its_owner_only(tmp_path: Path) -> None:
    Maildir(tmp_path).send(mail())

    (file,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "jane" not in file.name


def test_a_second_copy_of_a_mail_leaves_one_file(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)

    maildir.send(mail())
    maildir.send(mail())
    maildir.send(mail("<2.shipping@shop.example>"))

    assert len(mailbox.Maildir(tmp_path, create=False)) == 2


def test_a_copy_of_a_mail_that_was_read_already_does_not_come_back(tmp_path: Path) -> None:
    maildir = Maildir(tmp_path)
    maildir.send(mail())
    (unread,) = (tmp_path / "new").iterdir()
    unread.rename(tmp_path / "cur" / f"{unread.name}:2,S")

    maildir.send(mail())

    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_the_environment_s_failure(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file, where the folder should be")
    mailer = Mailer.opened(Settings(home=tmp_path))

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
def test_a_url_says_where_the_mail_server_is(  # noqa: PLR0913, PLR0917 - a table's columns
    url: str,
    host: str,
    port: int,
    user: str | None,
    password: str,
    is_tls: bool,  # noqa: FBT001 - a table's column
) -> None:
    assert Server.of(url) == Server(
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
def test_another_url_is_refused_with_a_sentence_that_repeats_none_of_it(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"^SHOP_SMTP_URL should be smtp://HOST:PORT") as refused:
        Mailer.opened(Settings(home=tmp_path, smtp_url=url))

    assert "secret" not in str(refused.value)


def test_a_password_is_not_shown_with_its_server() -> None:
    assert "hush" not in repr(Server.of("smtp://user:hush@host"))


@pytest.mark.parametrize(
    ("mail_from", "sender"),
    [
        ("orders@shop.example", Address("", "orders", "shop.example")),
        ("Past Tense <orders@shop.example>", Address("Past Tense", "orders", "shop.example")),
        ('"Shop, Inc." <o@shop.example>', Address("Shop, Inc.", "o", "shop.example")),
        ("Größe <o@shop.example>", Address("Größe", "o", "shop.example")),
    ],
    ids=["plain", "named", "quoted", "umlauts"],
)
def test_mails_come_from_the_sender_that_the_settings_name(
    mail_from: str, sender: Address, tmp_path: Path
) -> None:
    assert Mailer.opened(Settings(home=tmp_path, mail_from=mail_from)).sender == sender


@pytest.mark.parametrize(
    "mail_from", ["", "orders", "orders@", "a@b.example\r\nBcc: c@d.example", "A\nB <a@b.example>"]
)
def test_a_sender_that_is_no_address_is_refused(mail_from: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="SHOP_MAIL_FROM"):
        Mailer.opened(Settings(home=tmp_path, mail_from=mail_from))
