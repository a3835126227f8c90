"""Certificates for tests: those of the shop's own authority, and every kind of wrong one."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
import trustme


class Pem(NamedTuple):
    """A certificate and its key."""

    cert: bytes
    key: bytes


WRONG_SERVERS = MappingProxyType(
    {
        "self-signed": "self-signed certificate",
        "unknown authority": "unable to get local issuer certificate",
        "wrong host": "certificate is not valid for",
        "expired": "certificate has expired",
    }
)
"""Certificates of servers that a client must refuse, and what its sentence must say."""

WRONG_CLIENTS = (
    pytest.param("trusted", id="none"),
    pytest.param("strange_files", id="of a stranger"),
    pytest.param("expired_files", id="expired"),
)
"""The files of clients that a server must refuse: properties of `Certificates`."""


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """An authority, what it has issued, and where a client has its files.

    Attributes:
        servers: by what is wrong with it; `right` is not wrong.
        host: the name in the servers' certificates.
    """

    folder: Path
    host: str
    ca: bytes
    servers: Mapping[str, Pem]

    @property
    def trusted(self) -> dict[str, Path]:
        """The settings of a client that trusts the authority, and has no certificate."""
        return {"tls_ca_file": self.folder / "ca.pem"}

    @property
    def files(self) -> dict[str, Path]:
        """The settings of a client with a certificate of the authority."""
        return self.trusted | self._client("client")

    @property
    def strange_files(self) -> dict[str, Path]:
        """The settings of a client with a certificate of another authority."""
        return self.trusted | self._client("stranger")

    @property
    def expired_files(self) -> dict[str, Path]:
        """The settings of a client whose certificate has expired."""
        return self.trusted | self._client("expired")

    def _client(self, name: str) -> dict[str, Path]:
        return {
            "tls_cert_file": self.folder / f"{name}.pem",
            "tls_key_file": self.folder / f"{name}.key",
        }

    def server_context(self, kind: str) -> ssl.SSLContext:
        """The TLS settings of a server in Python."""
        pair = self.folder / "server.pem"
        pair.write_bytes(self.servers[kind].key + self.servers[kind].cert)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair)
        return context


def make_certificates(folder: Path, host: str) -> Certificates:
    """Make all of them for servers on that host; the client's files are in the folder."""
    ca, other = trustme.CA(), trustme.CA()
    servers = {
        "right": _pem(ca.issue_cert(host)),
        "self-signed": Pem(other.cert_pem.bytes(), other.private_key_pem.bytes()),
        "unknown authority": _pem(other.issue_cert(host)),
        "wrong host": _pem(ca.issue_cert("elsewhere.example")),
        "expired": _pem(_expired(ca, host)),
    }
    (folder / "ca.pem").write_bytes(ca.cert_pem.bytes())
    clients = {
        "client": ca.issue_cert("shop"),
        "stranger": other.issue_cert("shop"),
        "expired": _expired(ca, "shop"),
    }
    for name, issued in clients.items():
        client = _pem(issued)
        (folder / f"{name}.pem").write_bytes(client.cert)
        (folder / f"{name}.key").write_bytes(client.key)
        (folder / f"{name}.key").chmod(0o600)  # libpq refuses a key that others can read
    return Certificates(folder=folder, host=host, ca=ca.cert_pem.bytes(), servers=servers)


def _expired(ca: trustme.CA, name: str) -> trustme.LeafCert:
    now, days = datetime.now(UTC), timedelta(days=1)
    return ca.issue_cert(name, not_before=now - 9 * days, not_after=now - days)


def _pem(issued: trustme.LeafCert) -> Pem:
    (cert,) = issued.cert_chain_pems
    return Pem(cert.bytes(), issued.private_key_pem.bytes())
