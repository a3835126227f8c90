"""The HTTP server of a process: /healthz, /readyz and /metrics.

/healthz answers 200 while the threads of the process are alive. /readyz answers 200 while the
database answers and the broker has the consumer registered. Otherwise they answer 503, with one
line for each problem.
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
    """Serve on a port, from a thread of its own, until `shutdown` is called.

    Args:
        port: 0 for any free port.
        health: the problems of the process itself.
        readiness: the problems that keep the process from working.

    Raises:
        InvalidInput: the port cannot be used.
    """

    class RequestHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif self.path in ("/healthz", "/readyz"):
                problems = health() if self.path == "/healthz" else readiness()
                body = "\n".join(problems or ["ok"]) + "\n"
                self._answer(503 if problems else 200, body.encode(), "text/plain")
            else:
                self._answer(404, b"there are /healthz, /readyz and /metrics\n", "text/plain")

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: requests come every few seconds."""

    try:
        server = ThreadingHTTPServer((host, port), RequestHandler)
    except OSError as error:
        raise InvalidInput(
            f"SHOP_HTTP_PORT: {host}:{port} cannot be used ({error.strerror}); choose another"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
