"""The audit, by pip-audit itself, against an advisory database of the test's own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy.audit import vulnerabilities
from shared.errors import OperationFailed

ADVISORY = {
    "id": "PYSEC-1",
    "affected": [
        {
            "package": {"name": "pika", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.4.5"}]}],
        }
    ],
}


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does: https://google.github.io/osv.dev/post-v1-query/."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = {"vulns": [ADVISORY]} if asked["package"]["name"] == "pika" else {}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name
        """Print nothing."""


@contextmanager
def database() -> Iterator[str]:
    """The URL of a running advisory database."""
    with HTTPServer(("127.0.0.1", 0), Database) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def audit(folder: Path, url: str, *packages: str) -> list[str]:
    lock = folder / "requirements.txt"
    lock.write_text("".join(f"{each} --hash=sha256:{'0' * 64}\n" for each in packages))
    return list(vulnerabilities(lock, ["--vulnerability-service", "osv", "--osv-url", url]))


def test_a_known_vulnerability_is_named_with_the_version_that_fixes_it(tmp_path: Path) -> None:
    with database() as url:
        found = audit(tmp_path, url, "pika==1.4.4", "rich==15.0.0")

    assert found == ["pika 1.4.4: PYSEC-1, fixed in 1.4.5"]


def test_packages_without_a_vulnerability_are_not_named(tmp_path: Path) -> None:
    with database() as url:
        found = audit(tmp_path, url, "rich==15.0.0")

    assert found == []


def test_an_unreachable_database_is_an_error(tmp_path: Path) -> None:
    with database() as url:
        pass

    with pytest.raises(OperationFailed, match="could not audit the packages"):
        audit(tmp_path, url, "pika==1.4.4")
