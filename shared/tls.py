"""TLS connections to servers: which certificates are accepted, and why a connection failed."""

import ssl
from pathlib import Path

from shared.errors import InvalidInput

REFUSES_CLIENT = "asks for a client certificate that it accepts (SHOP_TLS_CERT_FILE)"

_REFUSALS_OF_CLIENT = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
    }
)
"""Alerts of a server that got no certificate, or one that it does not accept."""

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})


def client_context(
    ca_file: Path | str | None = None,
    cert_file: Path | str | None = None,
    key_file: Path | str | None = None,
) -> ssl.SSLContext:
    """The TLS settings of a client: 1.2 or newer; certificate and host name are verified.

    Args:
        ca_file: the only authorities that are trusted; None for those of the operating system.
        cert_file: the certificate of this client, for servers that ask for one.
        key_file: its key; None if `cert_file` contains it.

    Raises:
        InvalidInput: a file cannot be used.
    """
    file = ca_file
    try:
        context = ssl.create_default_context(cafile=ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert_file is not None:
            file = f"{cert_file} with its key"
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
    except OSError as error:
        unusable = "not valid PEM, or protected by a password, or not the right key"
        reason = unusable if isinstance(error, ssl.SSLError) else error.strerror
        raise InvalidInput(f"the TLS file {file} cannot be used: {reason}") from None
    return context


def is_refusal(error: BaseException) -> bool:
    """Whether one side does not accept the other's certificate, so that retrying hardly helps."""
    return isinstance(error, ssl.SSLCertVerificationError) or is_refusal_of_client(str(error))


def is_refusal_of_client(text: str) -> bool:
    """Whether an error's text quotes a server's alert that it does not accept this client."""
    return any(alert in text for alert in _REFUSALS_OF_CLIENT)


def failure_of(error: BaseException) -> str | None:
    """Why TLS failed, in words that follow the name of the server; None for other reasons.

    Args:
        error: a client's; the one of TLS may be its cause.
    """
    while not isinstance(error, ssl.SSLError):
        cause = error.__cause__ or error.__context__
        if cause is None:
            return None
        error = cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not accepted: {error.verify_message.rstrip('.')}"
    if is_refusal_of_client(str(error)):
        return REFUSES_CLIENT
    if error.reason in _NOT_TLS:
        return "does not answer with TLS"
    return f"cannot be reached with TLS ({error.reason or type(error).__name__})"
