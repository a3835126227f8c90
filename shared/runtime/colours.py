"""The colour of each service: the same in logs, tables, timelines and the demo, in any process."""

import zlib

_PALETTE = (73, 110, 37, 139, 109, 170, 66, 144, 105, 180, 71, 133, 245, 68, 172, 101, 67)
"""Numbers of the 256 colours of a terminal that are legible on black and on white.

Red, green and yellow are left out: they mark what failed, what is well and what waits."""


def colour_number(service: str) -> int:
    """The number of a service's colour among the 256 colours; it depends on the name alone."""
    return _PALETTE[zlib.crc32(service.encode()) % len(_PALETTE)]


def ansi_colour(service: str) -> str:
    """The escape sequence that begins a service's colour."""
    return f"\x1b[38;5;{colour_number(service)}m"


def style_of(service: str) -> str:
    """A service's colour as a style of Rich."""
    return f"color({colour_number(service)})"
