"""The declaration of the loyalty service.

It publishes nothing and has no gateway, so `shop events rebuild` can rebuild its database.
"""

from services.loyalty.handlers import award_points, take_points_back
from services.loyalty.store import LoyaltyStore
from shared.events import OrderCancelled, OrderPlaced
from shared.runtime.service import Service

loyalty = Service("loyalty", store=LoyaltyStore)
loyalty.on(OrderPlaced, award_points)
loyalty.on(OrderCancelled, take_points_back)
