"""The client of the management API, against an HTTP server with the answer of each test."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from shared.errors import BrokerRefused, BrokerUnavailable, InvalidInput
from shared.messaging.rabbitmq.management import Management

PASSWORD = "hush%2Fhush%40%25"  # noqa: S105 - nobody's


class Api(HTTPServer):
    """Attributes: the answer to give, and the requests that came."""

    status = 200
    body = b"[]"
    ahead = 0.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://admin:{PASSWORD}@127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        content = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append((str(self.command), self.path, content))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(int((timestamp or time.time()) + self.server.ahead))

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - as http.server names them

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as api:
        threading.Thread(target=api.serve_forever, args=(0.01,), daemon=True).start()
        yield api
        api.shutdown()


def test_a_path_is_quoted_part_by_part(api: Api) -> None:
    management = Management(api.url)

    management.put("policies", "/", "shop-email", content={"priority": 10})
    management.put("vhosts", "a b")
    management.delete("queues", "/", "ä")

    assert api.requests == [
        ("PUT", "/api/policies/%2F/shop-email", {"priority": 10}),
        ("PUT", "/api/vhosts/a%20b", {}),
        ("DELETE", "/api/queues/%2F/%C3%A4", None),
    ]


def test_what_does_not_exist_is_none(api: Api) -> None:
    api.status, api.body = 404, b'{"reason":"Not Found"}'

    assert Management(api.url).get("queues", "/", "email") is None


def test_an_answer_without_content_is_none(api: Api) -> None:
    api.status, api.body = 204, b""

    assert Management(api.url).get("queues") is None


def test_a_health_check_that_fails_is_an_answer(api: Api) -> None:
    api.status, api.body = 503, b'{"status": "failed", "alarms": [{"resource": "disk"}]}'

    assert Management(api.url).check("alarms")["alarms"] == [{"resource": "disk"}]
    assert api.requests == [("GET", "/api/health/checks/alarms", None)]


def test_columns_reduce_a_list(api: Api) -> None:
    assert Management(api.url).get("connections", columns="user,state") == []

    assert [path for _, path, _ in api.requests] == ["/api/connections?columns=user%2Cstate"]


@pytest.mark.parametrize(
    ("status", "body", "error", "reason"),
    [
        pytest.param(401, b"", BrokerRefused, "refuses the user or its password$", id="password"),
        pytest.param(
            400, b'{"reason":"bad"}', BrokerRefused, "answers 400: bad .GET queues", id="reason"
        ),
        pytest.param(403, b"[]", BrokerRefused, "answers 403: no reason given", id="no-reason"),
        pytest.param(503, b"", BrokerUnavailable, "answers 503: no reason", id="not-available"),
        pytest.param(200, b"<html>", BrokerUnavailable, "not answer as the broker's", id="no-json"),
        pytest.param(302, b"", BrokerRefused, "answers 302", id="redirect"),
    ],
)
def test_a_refusal_is_one_sentence_without_the_password(
    api: Api, status: int, body: bytes, error: type[BrokerUnavailable], reason: str
) -> None:
    api.status, api.body = status, body

    with pytest.raises(BrokerUnavailable, match=reason) as raised:
        Management(api.url).get("queues")

    assert type(raised.value) is error
    assert "hush" not in str(raised.value)


def test_an_api_that_is_away_is_unavailable() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 does not answer") as raised:
        Management(f"http://admin:{PASSWORD}@127.0.0.1:1").get("queues")

    assert not isinstance(raised.value, BrokerRefused)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["", "http", "amqp://a:hush@b", "http://:hush@", "http://a:hush@b:port"]
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInput, match="should look like http://") as raised:
        Management(url)

    assert "hush" not in str(raised.value)


def test_a_process_that_makes_no_request_does_not_load_httpx() -> None:
    program = (
        "import sys\n"
        "from shared.messaging.connect import broker_at\n"
        "broker = broker_at('amqp://a:b@nowhere.invalid', admin_url='http://a:b@nowhere.invalid')\n"
        "broker.consumer('email', prefetch=1), broker.publisher(), broker.history()\n"
        "print('pika' in sys.modules, 'httpx' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "True False\n"


@pytest.mark.parametrize(("ahead", "least", "most"), [(0, 0, 0), (60, 55, 60), (-60, -60, -55)])
def test_the_clock_of_the_api_is_compared(
    api: Api, ahead: float, least: float, most: float
) -> None:
    api.ahead = ahead

    difference = Management(api.url).clock_difference()

    assert difference is not None
    assert least <= difference <= most
