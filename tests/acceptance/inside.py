"""Programs that a test runs inside a container as its user; each prints JSON."""

READABLE_KEYS = """
import json, pathlib
contents = []
for path in sorted(pathlib.Path("/run/keys").rglob("*")):
    try:
        if path.is_file():
            contents.append(path.read_text())
    except PermissionError:
        pass
print(json.dumps(contents))
"""

# `targets` is set before: pairs of host and port.
CONNECTIONS = """
import concurrent.futures, json, socket, time
def attempt(target):
    began = time.monotonic()
    try:
        socket.create_connection(target, timeout=3).close()
        outcome = "connected"
    except OSError as error:
        outcome = type(error).__name__
    return [outcome, time.monotonic() - began]
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(attempt, targets))))
"""

# Attempts with the credentials of email; only the first two are allowed.
PERMISSION_CHECKS = """
import json, pathlib, pika, psycopg
def attempt(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "allowed"
def channel():
    opened = pika.BlockingConnection(pika.URLParameters(broker)).channel()
    opened.confirm_delivery()
    return opened
def read_history():
    reading = channel()
    reading.basic_qos(prefetch_count=1)
    reading.basic_consume("history", print, arguments={"x-stream-offset": "first"})
keys = pathlib.Path("/run/keys")
broker = (keys / "email/shop_broker_url").read_text()
database = (keys / "email/shop_database_url").read_text()
print(json.dumps({
    "its own queue": attempt(lambda: channel().basic_get("email.dead")),
    "its own database": attempt(lambda: psycopg.connect(database)),
    "secret": attempt((keys / "orders/shop_database_url").read_text),
    "database": attempt(lambda: psycopg.connect(database.removesuffix("email") + "orders")),
    "queue": attempt(lambda: channel().basic_get("orders")),
    "history": attempt(read_history),
    "event": attempt(lambda: channel().basic_publish("events", "order.placed", b"{}")),
}))
"""
