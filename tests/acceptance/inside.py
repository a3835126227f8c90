"""Programs that a test has run inside a container, as its user; each prints JSON."""

KEYS_IN_REACH = """
import json, pathlib
found = []
for path in sorted(pathlib.Path("/run/keys").rglob("*")):
    try:
        if path.is_file():
            found.append(path.read_text())
    except PermissionError:
        pass
print(json.dumps(found))
"""

# What email may not do, tried with email's own credentials.
TRESPASS = """
import json, pathlib, pika, psycopg
def refused(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "allowed"
def channel():
    opened = pika.BlockingConnection(pika.URLParameters(broker)).channel()
    opened.confirm_delivery()
    return opened
keys = pathlib.Path("/run/keys")
broker = (keys / "email/shop_broker_url").read_text()
database = (keys / "email/shop_database_url").read_text()
print(json.dumps({
    "its own queue": refused(lambda: channel().basic_get("email.dead")),
    "its own database": refused(lambda: psycopg.connect(database)),
    "secret": refused((keys / "orders/shop_database_url").read_text),
    "database": refused(lambda: psycopg.connect(database.removesuffix("email") + "orders")),
    "queue": refused(lambda: channel().basic_get("orders")),
    "event": refused(lambda: channel().basic_publish("events", "order.placed", b"{}")),
}))
"""
