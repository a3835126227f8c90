"""The HTTP server of a process: /healthz, /readyz and /metrics.

/healthz answers 200 while the threads of the process are alive. /readyz answers 200 while the
database answers and the broker has the consumer registered. Otherwise they answer 503, with one
line for each problem.

Clients are not trusted. They cannot take more than `THREADS` threads and about `MAX_CONNECTIONS`
connections, whatever they send or do not send, and one thread is always left for /healthz.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

from shared.errors import InvalidInput
from shared.exhaustion import reason_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Problems = Callable[[], list[str]]

THREADS = 4
MAX_CONNECTIONS = 50
"""Above this, the oldest connection without a complete request is closed for each new one."""

IDLE_SECONDS = 10
_MAX_REQUEST_BYTES = 4_096
_BACKLOG = 1_024
_ACCEPT_PAUSE = 0.1
"""Seconds until a connection is accepted again after it failed, for lack of file descriptors."""

_OK, _UNAVAILABLE = "200 OK", "503 Service Unavailable"


class HealthServer:
    """Answers on a port, from threads of its own, until it is closed.

    Args:
        port: 0 for any free port.
        health: the problems of the process itself.
        readiness: the problems that keep the process from working.

    Attributes:
        port: the port that it listens on.

    Raises:
        InvalidInput: the port cannot be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        health: Problems,
        readiness: Problems,
        registry: CollectorRegistry,
    ) -> None:
        # It warns for each connection above a limit, which clients could use to fill the log.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        listening = _listen(host, port)
        self.port: int = listening.getsockname()[1]
        self._server = _Server(
            _Application(health, readiness, registry),
            _sock=listening,
            sockinfo=(listening.family, listening.type, None, listening.getsockname()),
            bind_socket=False,
            threads=THREADS,
            # Here the server stops accepting; it is reached only while requests are answered.
            connection_limit=2 * MAX_CONNECTIONS,
            backlog=_BACKLOG,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=1,
            max_request_header_size=_MAX_REQUEST_BYTES,
            max_request_body_size=_MAX_REQUEST_BYTES,
            log_socket_errors=False,
            asyncore_use_poll=True,  # select() fails above 1,024 file descriptors
            ident=None,
        )
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and close all connections; a request that hangs is left behind."""
        dispatcher = self._server.task_dispatcher
        dispatcher.shutdown(timeout=1)
        # A thread that is left uses the server's file descriptors, so they stay open for it.
        if not dispatcher.threads and self._thread.is_alive():
            self._server.end()
            self._thread.join()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=_BACKLOG)
    except OSError as error:
        raise InvalidInput(
            f"SHOP_HTTP_PORT: {host}:{port} cannot be used ({reason_of(error)}); choose another"
        ) from error


class _Application:
    """The WSGI application."""

    def __init__(self, health: Problems, readiness: Problems, registry: CollectorRegistry) -> None:
        self._health = health
        self._readiness = readiness
        self._registry = registry
        # These read the database, which may hang.
        self._slow = threading.BoundedSemaphore(THREADS - 1)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        status, content_type, body = self._answer(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    def _answer(self, method: str, path: str) -> tuple[str, str, bytes]:
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", "text/plain", b"there is only GET\n"
        if path == "/healthz":
            return _answer_problems(self._health())
        if path not in ("/readyz", "/metrics"):
            return "404 Not Found", "text/plain", b"there are /healthz, /readyz and /metrics\n"
        if not self._slow.acquire(blocking=False):
            return _answer_problems(["too many requests are being answered"])
        try:
            if path == "/metrics":
                return _OK, CONTENT_TYPE_LATEST, generate_latest(self._registry)
            return _answer_problems(self._readiness())
        finally:
            self._slow.release()


def _answer_problems(problems: list[str]) -> tuple[str, str, bytes]:
    body = "\n".join(problems or ["ok"]) + "\n"
    return _UNAVAILABLE if problems else _OK, "text/plain", body.encode()


class _Server(TcpWSGIServer):
    """Waitress, which at its connection limit would accept no client until others are idle."""

    def accept(self) -> Any:  # noqa: ANN401 - what Waitress expects
        """Accept a client; without a file descriptor for it, close the one that waited longest."""
        try:
            return super().accept()
        except OSError:
            # The client stays in the backlog, so the next poll() returns at once.
            if not self._close_oldest():
                time.sleep(_ACCEPT_PAUSE)
            raise

    def handle_accept(self) -> None:
        """Accept a client; above `MAX_CONNECTIONS` close the one that waited longest."""
        super().handle_accept()
        if len(self._channels) > MAX_CONNECTIONS:
            self._close_oldest()

    def end(self) -> None:
        """Make `run` return, once all requests are answered; callable from any thread."""
        wakeup: Any = self.trigger  # the stubs call it an int
        wakeup.pull_trigger(self._close_all)

    def _close_oldest(self) -> bool:
        """Close the oldest connection without a complete request, if there is one."""
        waiting = [each for each in self._channels.values() if not each.requests]
        if waiting:
            min(waiting, key=lambda channel: channel.creation_time).handle_close()
        return bool(waiting)

    def _close_all(self) -> None:
        for channel in list(self._channels.values()):
            channel.handle_close()
        self.close()

    @property
    def _channels(self) -> dict[int, HTTPChannel]:
        return cast("dict[int, HTTPChannel]", self.active_channels)  # the stubs are wrong
