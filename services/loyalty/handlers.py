"""The handlers of the loyalty service: they award points and take them back."""

from services.loyalty.store import LoyaltyStore
from shared.events import OrderCancelled, OrderPlaced
from shared.storage.unit_of_work import UnitOfWork

Work = UnitOfWork[LoyaltyStore]


def award_points(event: OrderPlaced, work: Work) -> None:
    """Award one point for each whole unit of the total, unless the order is already cancelled."""
    award = work.store.awards[event.order_id]
    award.customer_email = event.customer_email
    award.points = int(event.total_amount)
    award.awarded_at = event.occurred_at
    if award.taken_back_at:
        work.note("no points: the order is already cancelled")
    else:
        work.note(f"{award.points} points awarded")


def take_points_back(event: OrderCancelled, work: Work) -> None:
    """Take back the order's points, including those that a later OrderPlaced would award."""
    award = work.store.awards[event.order_id]
    award.taken_back_at = event.occurred_at
    if award.points is None:
        work.note("no points to take back")
    else:
        work.note(f"{award.points} points taken back")
