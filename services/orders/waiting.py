"""Waits until an order reaches a status, as `shop orders show --wait` does."""

import time
from collections.abc import Callable
from typing import Literal

from services.orders.order import Order, OrderConflict
from shared.errors import OperationFailed
from shared.runtime.hints import command

Status = Literal["placed", "reserved", "paid", "shipped", "cancelled"]

_INTERVAL = 0.1
"""Seconds between two looks at the order."""

_LAST = {"shipped", "cancelled"}
"""After one of them an order reaches no other status."""


def wait_for(status: Status, find: Callable[[], Order], *, timeout: float) -> Order:
    """Wait until an order has reached a status.

    Args:
        find: reads the order anew.
        timeout: seconds.

    Raises:
        OrderConflict: the order can no longer reach it.
        OperationFailed: it has not reached it in time.
    """
    until = time.monotonic() + timeout
    while True:
        order = find()
        if getattr(order, f"{status}_at") is not None:
            return order
        if order.status in _LAST:
            raise OrderConflict(f"{order.order_id} is {order.status}, so it will not be {status}")
        if (left := until - time.monotonic()) <= 0:
            raise OperationFailed(
                f"{order.order_id} is {order.status}, and not {status} after {timeout:g} s: "
                f"see {command('events', 'timeline', order.order_id)}"
            )
        time.sleep(min(_INTERVAL, left))
