"""A folder of mails, for who runs without a mail server; any mail reader can open it.

Guarantees: a mail is on the disk once `send` has returned; a second one of the same Message-ID
leaves one file, also after a reader has moved it from `new` to `cur`.
Source: https://cr.yp.to/proto/maildir.html
"""

import os
import tempfile
from email.message import Message
from hashlib import sha256
from pathlib import Path

from shared.errors import DependencyUnavailable


class Maildir:
    """Mails as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tmp, self._new, self._cur = folder / "tmp", folder / "new", folder / "cur"

    def send(self, message: Message) -> None:
        """Put a mail into the folder.

        Raises:
            DependencyUnavailable: the folder cannot be written, or the disk is full.
        """
        # Not mailbox.Maildir.add: its names hold the time, so a second copy would be a second file.
        name = sha256(str(message["Message-ID"]).encode()).hexdigest()
        try:
            self._make()
            if self._has(name):
                return
            written = self._written(message.as_bytes())
            written.rename(self._new / name)
            _sync(self._new)
        except OSError as error:
            raise self._unusable(error) from error

    def probe(self) -> None:
        """Write, and take away again, a file.

        Raises:
            DependencyUnavailable: the folder cannot be written, or the disk is full.
        """
        try:
            self._make()
            self._written(b"a sign of life\n").unlink()
        except OSError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Nothing is held open."""

    def _make(self) -> None:
        for part in (self._tmp, self._new, self._cur):
            part.mkdir(parents=True, exist_ok=True)

    def _has(self, name: str) -> bool:
        # A reader that marks a mail as read appends to its name: `NAME:2,S`.
        return (self._new / name).exists() or any(
            each.name.startswith(name) for each in self._cur.iterdir()
        )

    def _written(self, body: bytes) -> Path:
        descriptor, path = tempfile.mkstemp(dir=self._tmp)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        return Path(path)

    def _unusable(self, error: OSError) -> DependencyUnavailable:
        reason = error.strerror or type(error).__name__
        return DependencyUnavailable(f"the mail folder {self._folder} cannot be written ({reason})")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
