"""The folder of the embedded shop, `SHOP_HOME`: which one is used, and whether there is one."""

from shared.errors import OperationFailed
from shared.runtime.settings import Settings


def require_home(settings: Settings, url: str) -> None:
    """Raise OperationFailed if there is no embedded shop; for commands that only read.

    Args:
        url: of the server that is used instead of a file in the home; empty for the file.
    """
    if not url and settings.home_is_empty:
        raise OperationFailed(
            f"there is no shop in {settings.home.absolute()} (SHOP_HOME): change to the folder "
            "that has yours, or make one with shop up"
        )


def new_home(settings: Settings, url: str) -> str | None:
    """A sentence about the folder in which an embedded shop is now made; None if there is one."""
    if url or not settings.home_is_empty:
        return None
    return f"made a new shop in {settings.home.absolute()} (SHOP_HOME)"
