"""How points come and go."""

from services.loyalty.store import LoyaltyStore
from shared.events import OrderCancelled, OrderPlaced
from shared.storage.unit_of_work import UnitOfWork


def award_points(event: OrderPlaced, work: UnitOfWork[LoyaltyStore]) -> None:
    """Award one point for each whole unit of the total, unless the order was cancelled already."""
    award = work.store.awards[event.order_id]
    award.customer_email = event.customer_email
    award.points = int(event.total_amount)
    award.awarded_at = event.occurred_at
    work.note(
        "no points: the order is cancelled already"
        if award.taken_back_at
        else f"{award.points} points awarded"
    )


def take_points_back(event: OrderCancelled, work: UnitOfWork[LoyaltyStore]) -> None:
    """Take back exactly what the order was awarded, or will be."""
    award = work.store.awards[event.order_id]
    award.taken_back_at = event.occurred_at
    work.note(
        "no points to take back" if award.points is None else f"{award.points} points taken back"
    )
