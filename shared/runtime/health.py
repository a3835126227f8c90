"""/healthz, /readyz and /metrics for whoever watches the process.

/healthz answers 200 while the process's threads live; /readyz while the database answers and the
broker has the consumer registered; otherwise 503 and a line for each thing that is wrong.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared.errors import InvalidInput

Problems = Callable[[], list[str]]


def serve(
    host: str, port: int, *, health: Problems, readiness: Problems, registry: CollectorRegistry
) -> ThreadingHTTPServer:
    """Answer on a port, from a thread of its own, until `shutdown` is called.

    Args:
        port: 0 for any that is free.
        health: what is wrong with the process itself.
        readiness: what keeps it from doing its work.

    Raises:
        InvalidInput: the port cannot be used.
    """

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif self.path in ("/healthz", "/readyz"):
                problems = health() if self.path == "/healthz" else readiness()
                told = "\n".join(problems or ["ok"])
                self._answer(503 if problems else 200, told.encode() + b"\n", "text/plain")
            else:
                self._answer(404, b"there are /healthz, /readyz and /metrics\n", "text/plain")

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A scrape every few seconds is no news."""

    try:
        server = ThreadingHTTPServer((host, port), Answering)
    except OSError as error:
        raise InvalidInput(
            f"SHOP_HTTP_PORT: {host}:{port} cannot be used ({error.strerror}); choose another"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
