"""RabbitMQ's management API, as far as set-up and checks need it.

Source: https://www.rabbitmq.com/docs/http-api-reference
"""

import base64
import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from shared.errors import BrokerRefused, BrokerUnavailable, WrongInput

_PATIENCE = 20.0
"""Seconds; an answer that counts statistics can take several."""


class Management:
    """A client of the management API. For any thread; it keeps no connection.

    Args:
        url: `http://user:password@host:15672`.

    Raises:
        WrongInput: that is no such URL; the sentence does not repeat it.
    """

    def __init__(self, url: str) -> None:
        parts = _split(url)
        port = parts.port or (443 if parts.scheme == "https" else 15672)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        self._base = f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}/api"
        self.where = f"{host}:{port}"
        who = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        self._authorization = "Basic " + base64.b64encode(who.encode()).decode()
        # No proxy of the environment for a server of our own, and no password sent elsewhere.
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())

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
        body = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        request = Request(url, body, headers, method=method)  # noqa: S310 - http or https only
        what = f"{method} {'/'.join(path)}"
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                return json.loads(answer.read() or b"null")
        except HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                kind = BrokerRefused if error.code < 500 else BrokerUnavailable
                raise kind(self._refusal(error, what)) from None
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise BrokerUnavailable(
                f"the broker's management API at {self.where} does not answer: {reason}"
            ) from error
        except ValueError as error:
            raise BrokerUnavailable(
                f"what answers at {self.where} is not the broker's management API"
            ) from error

    def _refusal(self, error: HTTPError, what: str) -> str:
        if error.code == 401:
            return f"the broker's management API at {self.where} refuses the user or its password"
        try:
            reason = json.loads(error.read())["reason"]
        except (ValueError, LookupError, TypeError, OSError):
            reason = error.reason
        return (
            f"the broker's management API at {self.where} answers {error.code}: {reason} ({what})"
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise WrongInput("the broker's admin URL should look like http://user:password@host:15672")
    return parts


class _NoRedirect(HTTPRedirectHandler):
    """Treats a redirect as the error it is here: the API has none."""

    def redirect_request(self, *_: object) -> None:
        return None
