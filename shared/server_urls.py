"""The rule for servers on other machines: with TLS, or not at all unless plaintext is permitted."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlsplit

PERMISSION = "SHOP_ALLOW_PLAINTEXT=true permits connections without it"

_WITH_TLS = {"amqp": "amqps", "http": "https"}


TLS_PARAMETERS = ("cacertfile", "certfile", "keyfile")
"""The parameters of an `amqps` or `https` URL that name TLS files, in the order of `TlsFiles`.

RabbitMQ's own names: https://www.rabbitmq.com/docs/uri-query-parameters
"""


class TlsFiles(NamedTuple):
    """Files in PEM form; None for what is not set.

    Attributes:
        ca: certificates of the authorities that are trusted.
        cert: the certificate of this client.
        key: the key of this client; None if `cert` contains it.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def is_this_machine(host: str) -> bool:
    """Whether a host name or address is the loopback interface, which no other machine reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def secured(url: str, files: TlsFiles, *, allow_plaintext: bool) -> str:
    """A URL of a broker or of its management API, with the TLS files as parameters.

    A URL that cannot be parsed is returned unchanged: the code that uses it reports that.

    Raises:
        ValueError: the server is on another machine, and the URL is one without TLS. The message
            repeats nothing of it.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return url
    secure = _WITH_TLS.get(parts.scheme)
    if secure and not (allow_plaintext or is_this_machine(host)):
        raise ValueError(f"a server on another machine needs TLS, {secure}://…; {PERMISSION}")
    if parts.scheme not in _WITH_TLS.values():
        return url
    wanted = dict(zip(TLS_PARAMETERS, files, strict=True))
    return with_parameters(url, wanted, given=parse_qs(parts.query))


def with_parameters(
    url: str, wanted: Mapping[str, Path | str | None], *, given: Collection[str]
) -> str:
    """The URL with these parameters, except those that it has already and those that are None."""
    added = {
        name: str(value)
        for name, value in wanted.items()
        if value is not None and name not in given
    }
    if not added:
        return url
    return f"{url}{'&' if given else '?'}{urlencode(added, quote_via=quote)}"
