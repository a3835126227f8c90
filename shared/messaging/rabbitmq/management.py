"""A client of RabbitMQ's management API, for set-up and checks.

Source: https://www.rabbitmq.com/docs/http-api-reference
"""

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from shared import tls
from shared.clocks import ahead
from shared.errors import BrokerRefused, BrokerUnavailable, InvalidInput
from shared.server_urls import TLS_PARAMETERS

if TYPE_CHECKING:
    import httpx

_TIMEOUT = 20.0
"""Seconds; an answer with statistics can take several."""

_EXPECTED = "the broker's admin URL should look like http://user:password@host:15672"


class Management:
    """The management API; usable from any thread; keeps no connection open.

    Every method raises BrokerUnavailable when the API does not answer, and BrokerRefused when it
    refuses; the messages hold no password.

    Args:
        url: `http://user:password@host:15672`, or `https://…` with the parameters `cacertfile`,
            `certfile` and `keyfile`.

    Raises:
        InvalidInput: the URL is not like `http://user:password@host:15672`; it is not quoted.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            is_valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            is_valid = False
        if not is_valid:
            raise InvalidInput(_EXPECTED)
        port = parts.port or (443 if parts.scheme == "https" else 15672)
        self.address = f"{parts.hostname}:{port}"
        host = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")
        self._base_url = f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}/api"
        self._parameters = parse_qs(parts.query)
        self._user = unquote(parts.username or "guest"), unquote(parts.password or "guest")

    def get(self, *path: str, columns: str = "") -> Any:  # noqa: ANN401 - JSON of any shape
        """The resource, or None if there is none.

        Args:
            columns: of a list, the names of these attributes only; empty for all.
        """
        return self._request("GET", path, parameters={"columns": columns} if columns else None)

    def check(self, name: str) -> dict[str, Any]:
        """The result of a health check; the API answers one that fails with 503."""
        found = self._request("GET", ("health", "checks", name), accepted={503})
        return found if isinstance(found, dict) else {}

    def clock_difference(self) -> float | None:
        """Seconds by which its clock is ahead of this machine's at least; None without a date."""
        asked = datetime.now(UTC)
        date = self._response("GET", ("whoami",)).headers.get("Date")
        if date is None:
            return None
        earliest = parsedate_to_datetime(date)  # without the fraction of its second
        latest = earliest + timedelta(seconds=1)
        return ahead(earliest, latest, asked=asked, answered=datetime.now(UTC))

    def put(self, *path: str, content: Mapping[str, object] | None = None) -> None:
        """Create or replace the resource."""
        self._request("PUT", path, content or {})

    def delete(self, *path: str) -> None:
        """Delete the resource, if there is one."""
        self._request("DELETE", path)

    @cached_property
    def _client(self) -> "httpx.Client":
        # Imported for the first request: a service's process has the URL and makes no request.
        import httpx  # noqa: PLC0415 - see above

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request
        return httpx.Client(
            auth=self._user,
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,  # the broker is not behind the proxy for the internet
            verify=tls.client_context(*(map(self._parameter, TLS_PARAMETERS))),
        )

    def _parameter(self, name: str) -> str | None:
        return self._parameters[name][-1] if name in self._parameters else None

    def _request(
        self,
        method: str,
        path: tuple[str, ...],
        content: Mapping[str, object] | None = None,
        *,
        parameters: Mapping[str, str] | None = None,
        accepted: Collection[int] = (),
    ) -> Any:  # noqa: ANN401 - JSON of any shape
        response = self._response(
            method, path, content, parameters=parameters, accepted={404, *accepted}
        )
        if response.status_code == 404:
            return None
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise BrokerUnavailable(
                f"{self.address} does not answer as the broker's management API"
            ) from error

    def _response(
        self,
        method: str,
        path: tuple[str, ...],
        content: Mapping[str, object] | None = None,
        *,
        parameters: Mapping[str, str] | None = None,
        accepted: Collection[int] = (),
    ) -> "httpx.Response":
        import httpx  # noqa: PLC0415 - see _client

        url = "/".join([self._base_url, *(quote(part, safe="") for part in path)])
        try:
            response = self._client.request(method, url, json=content, params=parameters)
        except httpx.HTTPError as error:
            reason = tls.failure_of(error) or f"does not answer: {error}"
            raise BrokerUnavailable(
                f"the broker's management API at {self.address} {reason}"
            ) from error
        if not response.is_success and response.status_code not in accepted:
            kind = BrokerRefused if response.status_code < 500 else BrokerUnavailable
            raise kind(self._refusal(response, f"{method} {'/'.join(path)}"))
        return response

    def _refusal(self, response: "httpx.Response", request: str) -> str:
        api = f"the broker's management API at {self.address}"
        if response.status_code == 401:
            return f"{api} refuses the user or its password"
        try:
            reason = response.json()["reason"]
        except (ValueError, LookupError, TypeError):
            reason = "no reason given"
        return f"{api} answers {response.status_code}: {reason} ({request})"
