"""The declaration of the inventory service."""

from services.inventory.handlers import release_stock, reserve_stock
from services.inventory.store import InventoryStore
from shared.events import OrderCancelled, OrderPlaced, StockRanShort, StockReserved
from shared.runtime.service import Service

inventory = Service("inventory", store=InventoryStore, publishes=(StockReserved, StockRanShort))
inventory.on(OrderPlaced, reserve_stock)
inventory.on(OrderCancelled, release_stock)
