"""Makes every password of the composed system at its first start: `python -m deploy.keys`.

- What is there is kept; what is missing is made, so a new service gets its own at the next start.
- A file is complete or absent: being killed half-way leaves nothing that could be taken for a key.
- A service's folder is readable by that service's user (see `shop.registry.user_id`) and by
  the group of `setup` and `operator`. The administrators' folders are volumes of their own, which
  only their server, `keys` and `setup` mount; whoever mounts them may read them, since the number
  of a server's user is its image's affair.
"""

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from shared.errors import OperationFailed
from shop import registry

KEYS = Path("/run/keys")
SETUP_GROUP = 10_000
"""The group of `setup` and `operator`, as `user:` in docker-compose.yml says."""

Own = Callable[[Path, int, int], None]

_RABBITMQ_CONF = """\
# Made by deploy/keys.py. With a default user of its own the broker makes no guest account.
default_user = admin
default_pass = {password}
anonymous_login_user = none
# Below the container's limit, so that publishers are held back before the kernel ends the broker.
vm_memory_high_watermark.absolute = 600MiB
disk_free_limit.absolute = 500MB
# Where `shop` sees how many messages wait and are kept back; said, so that it is no warning.
deprecated_features.permit.management_metrics_collection = true
# The image's own conf.d, which says this, is not read: see RABBITMQ_CONFIG_FILES.
log.console = true
log.console.level = warning
log.file = false
"""


def main() -> None:
    """Make what is missing and say what it was, without any secret."""
    for sentence in make_keys(KEYS, registry.names()):
        sys.stdout.write(f"{sentence}\n")


def make_keys(root: Path, services: Sequence[str], *, own: Own = os.chown) -> Iterator[str]:
    """Make the passwords of these services, the operator and both servers.

    Args:
        root: folder with a folder for each of them.
        own: gives a path to a user and a group; needs root.

    Yields:
        What was made, a sentence each.

    Raises:
        OperationFailed: two services would share a user, and with it their secrets.
    """
    if len({registry.user_id(name) for name in services}) < len(services):
        raise OperationFailed("two services' names give the same user: rename the newer one")
    _make_rabbitmq(_Folder(root / "rabbitmq", user=0, group=0, own=own, mode=0o755))
    _make_postgres(_Folder(root / "postgres", user=0, group=0, own=own, mode=0o755))
    for name in services:
        user = registry.user_id(name)
        folder = _Folder(root / name, user=user, group=SETUP_GROUP, own=own)
        made = [
            folder.keep("shop_broker_url", partial(_amqp, name)),
            folder.keep("shop_database_url", partial(_postgresql, name)),
        ]
        yield f"{name}: {'made' if any(made) else 'there'}; its user is {user}"
    operator = _Folder(root / "operator", user=0, group=SETUP_GROUP, own=own)
    made_now = operator.keep("password", _password)
    _put_broker(operator, "operator")
    yield f"operator: {'made' if made_now else 'there'}"


def _make_rabbitmq(folder: "_Folder") -> None:
    folder.keep("password", _password)
    password = folder.read("password")
    folder.put("rabbitmq.conf", _RABBITMQ_CONF.format(password=password))
    _put_broker(folder, "admin")


def _put_broker(folder: "_Folder", user: str) -> None:
    password = folder.read("password")
    folder.put("shop_broker_url", _amqp(user, password))
    folder.put("shop_broker_admin_url", f"http://{user}:{password}@rabbitmq:15672")


def _make_postgres(folder: "_Folder") -> None:
    folder.keep("password", _password)
    folder.put("shop_database_admin_url", _postgresql("postgres", folder.read("password")))


class _Folder:
    """A folder of secrets: who may enter it may read its files, and nobody may write them."""

    def __init__(self, path: Path, *, user: int, group: int, own: Own, mode: int = 0o750) -> None:
        self._path, self._user, self._group, self._own = path, user, group, own
        self._file_mode = mode & 0o444
        path.mkdir(exist_ok=True)
        path.chmod(mode)
        own(path, user, group)

    def read(self, name: str) -> str:
        return (self._path / name).read_text()

    def keep(self, name: str, make: Callable[[], str]) -> bool:
        """Make a file unless it is there; answers whether it was made."""
        if (self._path / name).exists():
            return False
        self._write(name, make())
        return True

    def put(self, name: str, content: str) -> None:
        """Make a file, or make it anew where a newer release would write it otherwise."""
        if not (self._path / name).exists() or self.read(name) != content:
            self._write(name, content)

    def _write(self, name: str, content: str) -> None:
        """Write a file that has its name only once it is whole and on the disk."""
        unfinished = self._path / f".{name}"
        unfinished.unlink(missing_ok=True)
        with unfinished.open("w") as file:
            os.fchmod(file.fileno(), self._file_mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._own(unfinished, self._user, self._group)
        unfinished.rename(self._path / name)


def _amqp(user: str, password: str | None = None) -> str:
    return f"amqp://{user}:{password or _password()}@rabbitmq:5672/"


def _postgresql(user: str, password: str | None = None) -> str:
    return f"postgresql://{user}:{password or _password()}@postgres:5432/{user}"


def _password() -> str:
    return secrets.token_urlsafe(24)


if __name__ == "__main__":
    main()
