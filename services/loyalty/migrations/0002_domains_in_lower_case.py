"""Writes the domains of mail addresses in lower case, so that a customer has one balance.

A process of the version before, which runs beside this one during a release, still adds awards as
the address was typed; `shop events rebuild loyalty` rewrites those too.
"""

from alembic import op
from sqlalchemy import column, func, table

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    awards = table("awards", column("customer_email"))
    address = awards.c.customer_email
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    at = (func.instr if is_sqlite else func.strpos)(address, "@")
    domain = func.lower(func.substr(address, at + 1))
    lowered = func.substr(address, 1, at).concat(domain)
    op.execute(awards.update().values(customer_email=lowered).where(address != lowered))
