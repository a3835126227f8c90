"""A Maildir: a folder that holds each email as a file, for use without a mail server.

Guarantees: when `send` returns, the email is on the disk; a second email with the same Message-ID
adds no file, even after a mail client has moved the first one from `new` to `cur`.

Source: https://cr.yp.to/proto/maildir.html
"""

import os
import tempfile
from hashlib import sha256
from pathlib import Path

from services.email.mails import Mail
from shared.errors import DependencyUnavailable
from shared.exhaustion import reason_of
from shared.private_files import create_folder


class Maildir:
    """Emails as files below a folder, which is created when it is first used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tmp, self._new, self._cur = folder / "tmp", folder / "new", folder / "cur"

    @property
    def place(self) -> str:
        """The folder."""
        return f"the folder {self._folder.absolute()}"

    def send(self, mail: Mail) -> None:
        """Write an email into the folder; raises DependencyUnavailable if it cannot be written."""
        # mailbox.Maildir.add puts the time into the file's name, so it would keep both copies.
        name = sha256(str(mail.message["Message-ID"]).encode()).hexdigest()
        try:
            self._create_folders()
            if not self._contains(name):
                self._write(mail.message.as_bytes()).rename(self._new / name)
                _sync(self._new)
        except OSError as error:
            raise self._unavailable(error) from error

    def probe(self) -> None:
        """Write a file and delete it; raises DependencyUnavailable if it cannot be written."""
        try:
            self._create_folders()
            self._write(b"probe\n").unlink()
        except OSError as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _create_folders(self) -> None:
        for folder in (self._tmp, self._new, self._cur):
            create_folder(folder)

    def _contains(self, name: str) -> bool:
        # A mail client that marks an email as read appends flags to its name: `NAME:2,S`.
        return (self._new / name).exists() or any(
            path.name.startswith(name) for path in self._cur.iterdir()
        )

    def _write(self, content: bytes) -> Path:
        descriptor, path = tempfile.mkstemp(dir=self._tmp)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return Path(path)

    def _unavailable(self, error: OSError) -> DependencyUnavailable:
        return DependencyUnavailable(
            f"the mail folder {self._folder} cannot be written ({reason_of(error)})"
        )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
