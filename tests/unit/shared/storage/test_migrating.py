import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from shared.errors import OperationFailed
from shared.storage import migrating
from shared.storage.database import Database
from shared.storage.migrating import RUNTIME, Chain, is_current, migrate
from shared.storage.tables import metadata
from shop import registry
from tests.support.counting import counting

PROCESSES = 7

MIGRATE = """
import sys
from pathlib import Path
from shared.storage.database import Database
from shared.storage.migrating import migrate
print(migrate(Database(sys.argv[1]), Path(sys.argv[2])), "alembic" in sys.modules)
"""

MIGRATIONS = counting().migrations
RUNTIME_TABLES = {*metadata.tables, RUNTIME.version_table}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'new' / 'counting.db'}")
    yield database
    database.close()


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def migrate_in_process(database: Database) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MIGRATE, f"sqlite:///{database.path}", str(MIGRATIONS)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_services_tables_are_created_beside_the_runtimes(empty: Database) -> None:
    assert not is_current(empty, MIGRATIONS)

    assert migrate(empty, MIGRATIONS)

    assert is_current(empty, MIGRATIONS)
    assert tables(empty) == RUNTIME_TABLES | {"counts", "service_version"}


def test_a_second_migration_does_nothing(empty: Database) -> None:
    migrate(empty, MIGRATIONS)

    assert not migrate(empty, MIGRATIONS)


def test_a_service_without_tables_has_the_runtimes_tables(empty: Database, tmp_path: Path) -> None:
    assert migrate(empty, tmp_path / "none")

    assert tables(empty) == RUNTIME_TABLES
    assert not migrate(empty, tmp_path / "none")


def test_alembic_is_not_imported_for_a_current_database(empty: Database) -> None:
    migrate(empty, MIGRATIONS)

    with migrate_in_process(empty) as process:
        output, _ = process.communicate(timeout=60)

    assert output.split() == ["False", "False"]


def test_one_of_seven_concurrent_processes_migrates(empty: Database) -> None:
    processes = [migrate_in_process(empty) for _ in range(PROCESSES)]
    results = [process.communicate(timeout=60)[0].split()[0] for process in processes]

    assert sorted(results) == ["False"] * (PROCESSES - 1) + ["True"]
    assert is_current(empty, MIGRATIONS)


def test_threads_can_migrate_different_databases_concurrently(tmp_path: Path) -> None:
    services = registry.all_services()
    databases = [Database(f"sqlite:///{tmp_path / each.name}.db") for each in services]

    with ThreadPoolExecutor(len(services)) as pool:
        migrated = list(pool.map(migrate, databases, [each.migrations for each in services]))

    assert all(migrated)
    for database, service in zip(databases, services, strict=True):
        assert is_current(database, service.migrations)
        database.close()


def test_only_a_services_new_migration_is_applied(empty: Database, tmp_path: Path) -> None:
    migrate(empty, MIGRATIONS)
    grown = tmp_path / "migrations"
    grown.mkdir()
    for each in MIGRATIONS.glob("0*.py"):
        (grown / each.name).write_text(each.read_text())
    (grown / "0002_colours.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        "revision, down_revision = '0002', '0001'\n"
        "def upgrade():\n    op.create_table('colours', sa.Column('name', sa.Text))\n"
    )

    assert migrate(empty, grown)

    assert "colours" in tables(empty)


def test_a_database_from_before_the_probe_is_upgraded(
    empty: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tmp_path / "before"
    shutil.copytree(RUNTIME.versions.parent, before)
    for each in (before / "versions").glob("[0-9]*.py"):
        if each.name >= "0005":
            each.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "RUNTIME", Chain(before / "versions", RUNTIME.version_table))
        migrate(empty, MIGRATIONS)
    assert "probe" not in tables(empty)

    assert migrate(empty, MIGRATIONS)

    empty.probe()


def test_a_migration_that_fails_is_rolled_back(empty: Database, tmp_path: Path) -> None:
    broken = tmp_path / "migrations"
    broken.mkdir()
    (broken / "0001_broken.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        "revision, down_revision = '0001', None\n"
        "def upgrade():\n    op.create_table('half', sa.Column('name', sa.Text))\n"
        "    op.execute('no SQL')\n"
    )

    with pytest.raises(OperationFailed, match="cannot be migrated: "):
        migrate(empty, broken)

    assert tables(empty) == set()


def test_a_database_of_a_newer_version_is_rejected_in_a_sentence(empty: Database) -> None:
    migrate(empty, MIGRATIONS)
    with empty.begin() as connection:
        connection.execute(text("UPDATE service_version SET version_num = '0999'"))

    with pytest.raises(OperationFailed, match=r"service_version .* is at 0999, .* knows 0001"):
        migrate(empty, MIGRATIONS)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite:///{tmp_path / 'file' / 'counting.db'}")

    with pytest.raises(OperationFailed, match="/file cannot be written: "):
        migrate(database, MIGRATIONS)


def test_a_file_that_is_no_database_is_named_and_not_changed(tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("Dear diary" * 100)

    with pytest.raises(OperationFailed, match=r"diary\.txt cannot be used: file is not a da"):
        migrate(Database(f"sqlite:///{diary}"), MIGRATIONS)

    assert diary.read_text().startswith("Dear diary")


def test_the_head_is_the_highest_revision(tmp_path: Path) -> None:
    for name in ("0001_first.py", "0010_tenth.py", "0009_ninth.py", "notes.py", "0011_x.pyc"):
        (tmp_path / name).touch()

    assert Chain(tmp_path, "service_version").head == "0010"
    assert Chain(tmp_path / "none", "service_version").head is None
