"""The products' names for people, since events name products by SKU.

They repeat the price list of the order service, which email may not read. A product that is not
here is named by its SKU.
"""

import re

NAMES = {"product-1": "Desk lamp", "product-2": "Paper clip", "product-3": "Fountain pen"}

_SKU = re.compile(r"[A-Za-z0-9._-]+")


def name_of(sku: str) -> str:
    """The product's name; its SKU if it has none."""
    return NAMES.get(sku, sku)


def with_names(text: str) -> str:
    """The text with names instead of SKUs, such as a reason that names missing products."""
    return _SKU.sub(lambda word: name_of(word[0]), text)
