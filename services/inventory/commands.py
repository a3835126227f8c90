"""The commands `shop inventory …`."""

from typing import Annotated

import typer

from shared.operations.console import AsJson, command_group, database_of, show

app = command_group("Show and replenish the stock.")

COLUMNS = {"sku": "Product", "available": "Available", "reserved": "Reserved"}


@app.command()
def stock(*, as_json: AsJson = False) -> None:
    """Show the available and reserved pieces of each product.

    Reserved pieces include shipped ones.
    """
    from services.inventory.service import inventory

    with database_of(inventory, looks=True) as database, database.read() as connection:
        products = inventory.store(connection, database).stock()
    show(products, as_json=as_json, columns=COLUMNS)


@app.command()
def restock(
    sku: Annotated[str, typer.Argument(metavar="SKU", help="The product, such as product-1.")],
    pieces: Annotated[
        int, typer.Argument(metavar="N", min=1, max=1_000_000, help="How many pieces to add.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Add pieces to the stock of a product."""
    from services.inventory.service import inventory

    with database_of(inventory) as database, inventory.unit_of_work(database) as work:
        product = work.store.restock(sku, pieces)
    show(product, as_json=as_json)
