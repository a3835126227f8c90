"""Mail addresses as people write them, and as events have them."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from shared.events.fields import EmailAddress, lower_domain


def to_ascii(address: str) -> str:
    """The address with its domain in ASCII, as the domain name system has it.

    Raises:
        ValueError: the part before @ is not in ASCII, or the domain cannot be one (IDNA 2008).
    """
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    if not local.isascii():
        # It needs SMTPUTF8 (RFC 6531) of every server on the way, and has no other form.
        raise ValueError(
            "should have only ASCII characters before the @: few mail servers take others"
        )
    # Imported here: few addresses need its tables, and every command would load them.
    import idna  # noqa: PLC0415 - see above

    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        raise ValueError("should have a domain that can exist, such as bücher.example") from None


def is_same_address(one: str, other: str) -> bool:
    """Whether two addresses in ASCII are the same; domains are compared without case."""
    return lower_domain(one) == lower_domain(other)


def _to_ascii(value: Any) -> Any:  # noqa: ANN401 - not validated yet
    return to_ascii(value) if isinstance(value, str) and "@" in value else value


TypedEmailAddress = Annotated[EmailAddress, BeforeValidator(_to_ascii)]
"""An address from a person: an international domain becomes its A-label (`xn--…`)."""
