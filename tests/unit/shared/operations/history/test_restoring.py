"""A database that is restored from a back-up is completed by a replay, as docs/running.md says."""

import sqlite3
from contextlib import closing
from pathlib import Path

from services.loyalty.service import loyalty
from shared.storage import table_digests
from shared.storage.table_digests import TableDigest
from shared.testing import Stage
from tests.support.commanding import Shop
from tests.support.order_events import cancelled, placed


def tables(stage: Stage) -> dict[str, TableDigest]:
    with stage.databases["loyalty"].read() as connection:
        return dict(table_digests.digests(connection))


def test_an_old_loyalty_database_is_healed_by_a_replay(shop: Shop, tmp_path: Path) -> None:
    file, backup = tmp_path / "loyalty.db", tmp_path / "backup"
    stage = Stage(tmp_path, [loyalty])
    stage.publish(placed("ORD-1"), placed("ORD-2"))
    stage.play()
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    old = tables(stage)
    stage.publish(placed("ORD-3"), cancelled("ORD-1"), cancelled("ORD-2"))
    stage.play()
    before = tables(stage)
    stage.close()

    for suffix in ("", "-wal", "-shm"):
        file.with_name(f"loyalty.db{suffix}").unlink(missing_ok=True)
    backup.rename(file)
    stage = Stage(tmp_path, [loyalty])
    restored = tables(stage)
    result = shop("events", "replay", "--to", "loyalty", "--json")
    stage.play()

    assert restored == old != before
    assert (result.code, result.json["events"]) == (0, 5)
    assert tables(stage) == before
    stage.close()
