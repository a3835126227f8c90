import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from prometheus_client import CollectorRegistry

from shared.errors import InvalidInput
from shared.runtime.health import MAX_CONNECTIONS, THREADS, HealthServer
from tests.support.waiting import eventually

HALF_OPEN = 500


class Served:
    """A server whose answer about readiness can be held back."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.waiting = 0
        self.server = HealthServer(
            "127.0.0.1", 0, health=list, readiness=self._readiness, registry=CollectorRegistry()
        )

    def _readiness(self) -> list[str]:
        self.waiting += 1
        self.go_on.wait(60)
        return ["not now"]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=5)

    def request(self, method: str, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
        with closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            return answer


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.go_on.set()
    served.server.close()


@pytest.fixture
def half_open(served: Served) -> Iterator[list[socket.socket]]:
    """Connections that have sent the beginning of a request."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(served.connect())) for _ in range(HALF_OPEN)]
        for each in sockets:
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        yield sockets


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/healthz", 200, id="healthy"),
        pytest.param("HEAD", "/healthz", 200, id="HEAD"),
        pytest.param("GET", "/readyz", 503, id="not ready"),
        pytest.param("GET", "/metrics", 200, id="metrics"),
        pytest.param("GET", "/elsewhere", 404, id="another path"),
        pytest.param("POST", "/healthz", 405, id="another method"),
    ],
)
def test_the_status_says_the_result(served: Served, method: str, path: str, status: int) -> None:
    answer = served.request(method, path)

    assert answer.status == status
    assert answer.headers["Server"] is None


def test_half_open_connections_delay_no_answer_and_take_no_threads(
    served: Served, half_open: list[socket.socket]
) -> None:
    threads = threading.active_count()
    began = time.monotonic()

    assert served.request("GET", "/healthz").status == 200

    assert time.monotonic() - began < 2
    assert threading.active_count() == threads
    open_connections = served.server._server._channels
    eventually(lambda: len(open_connections) <= MAX_CONNECTIONS)
    assert sum(map(_is_closed, half_open)) >= HALF_OPEN - MAX_CONNECTIONS


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_half_open_connections_do_not_delay_closing(
    served: Served, half_open: list[socket.socket]
) -> None:
    began = time.monotonic()

    served.server.close()

    assert time.monotonic() - began < 2
    assert not served.server._thread.is_alive()
    assert all(map(_is_closed, half_open))


def test_a_request_that_is_never_finished_ends_by_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.server._server.adj, "channel_timeout", 0.1)

    with closing(served.connect()) as slow:
        slow.sendall(b"GET /healthz HT")

        assert slow.recv(1) == b""


def test_checks_that_hang_leave_a_thread_for_the_health(served: Served) -> None:
    served.go_on.clear()
    with ExitStack() as stack:
        for _ in range(THREADS - 1):
            hanging = stack.enter_context(closing(served.connect()))
            hanging.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: served.waiting == THREADS - 1)

        assert served.request("GET", "/healthz").status == 200
        assert served.request("GET", "/readyz").status == 503
        served.go_on.set()


def test_a_check_that_hangs_does_not_delay_closing(served: Served) -> None:
    served.go_on.clear()
    with closing(served.connect()) as hanging:
        hanging.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: served.waiting)
        began = time.monotonic()

        served.server.close()

        assert time.monotonic() - began < 3
        served.go_on.set()
        eventually(lambda: not served.server._server.task_dispatcher.threads)
    served.server.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 8_000, id="headers"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n", id="body"),
    ],
)
def test_a_request_that_is_too_large_is_refused(served: Served, request_bytes: bytes) -> None:
    with closing(served.connect()) as large:
        large.sendall(request_bytes)

        assert large.recv(100).split()[1] in (b"431", b"413")


def test_without_file_descriptors_the_oldest_client_is_closed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = served.server._server
    listening = server.socket
    assert listening is not None
    failures = iter([OSError(24, "Too many open files")])

    def accept_later() -> object:
        for error in failures:
            raise error
        return listening.accept()

    with closing(served.connect()) as waiting:
        waiting.sendall(b"GET /healthz HT")
        eventually(lambda: server._channels)
        monkeypatch.setattr(server, "socket", _Socket(listening, accept_later))

        assert served.request("GET", "/healthz").status == 200
        eventually(lambda: _is_closed(waiting))


class _Socket:
    """A socket with another `accept`."""

    def __init__(self, real: socket.socket, accept: Callable[[], object]) -> None:
        self._real = real
        self.accept = accept

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


def test_a_port_that_is_in_use_is_invalid_input(served: Served) -> None:
    with pytest.raises(InvalidInput, match=r"SHOP_HTTP_PORT: .* cannot be used .*in use"):
        HealthServer(
            "127.0.0.1",
            served.server.port,
            health=list,
            readiness=list,
            registry=CollectorRegistry(),
        )
