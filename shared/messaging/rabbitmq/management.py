"""RabbitMQ's management API, as far as set-up and checks need it.

Source: https://www.rabbitmq.com/docs/http-api-reference
"""

import base64
import json
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from shared.errors import BrokerRefused, BrokerUnavailable, InvalidInput

_PATIENCE = 20.0
"""Seconds; an answer that counts statistics can take several."""


class Management:
    """A client of the management API. For any thread; it keeps no connection.

    Args:
        url: `http://user:password@host:15672`.

    Raises:
        InvalidInput: that is no such URL; the sentence does not repeat it.
    """

    def __init__(self, url: str) -> None:
        parts = _split(url)
        is_secure = parts.scheme == "https"
        kind = HTTPSConnection if is_secure else HTTPConnection
        host, port = parts.hostname or "", parts.port or (443 if is_secure else 15672)
        self._connect = partial(kind, host, port, timeout=_PATIENCE)
        self._base = f"{parts.path.rstrip('/')}/api"
        self.where = f"{host}:{port}"
        who = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        authorization = "Basic " + base64.b64encode(who.encode()).decode()
        self._headers = {"Authorization": authorization, "Content-Type": "application/json"}

    def get(self, *path: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """What stands there, or None if nothing does."""
        return self._call("GET", path)

    def put(self, *path: str, content: Mapping[str, object] | None = None) -> None:
        """Make it so."""
        self._call("PUT", path, content or {})

    def post(self, *path: str, content: Mapping[str, object]) -> None:
        """Add it."""
        self._call("POST", path, content)

    def delete(self, *path: str) -> None:
        """Remove it, if it is there."""
        self._call("DELETE", path)

    def _call(
        self, method: str, path: tuple[str, ...], content: Mapping[str, object] | None = None
    ) -> Any:  # noqa: ANN401 - JSON of any shape
        url = "/".join([self._base, *(quote(each, safe="") for each in path)])
        body = None if content is None else json.dumps(content)
        status, answer = self._ask(method, url, body)
        if status == 404:
            return None
        if status >= 300:
            kind = BrokerRefused if status < 500 else BrokerUnavailable
            raise kind(self._refusal(status, answer, f"{method} {'/'.join(path)}"))
        try:
            return json.loads(answer or b"null")
        except ValueError as error:
            raise BrokerUnavailable(
                f"what answers at {self.where} is not the broker's management API"
            ) from error

    def _ask(self, method: str, url: str, body: str | None) -> tuple[int, bytes]:
        # Not urllib: it leaves a socket open when the broker, starting, hangs up on a request.
        connection = self._connect()
        try:
            connection.request(method, url, body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (HTTPException, OSError) as error:
            raise BrokerUnavailable(
                f"the broker's management API at {self.where} does not answer: {error}"
            ) from error
        finally:
            connection.close()

    def _refusal(self, status: int, answer: bytes, what: str) -> str:
        if status == 401:
            return f"the broker's management API at {self.where} refuses the user or its password"
        try:
            reason = json.loads(answer)["reason"]
        except (ValueError, LookupError, TypeError):
            reason = "it does not say why"
        return f"the broker's management API at {self.where} answers {status}: {reason} ({what})"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput(
            "the broker's admin URL should look like http://user:password@host:15672"
        )
    return parts
