from pathlib import Path

import pytest

from shared.storage.database import Database


def test_the_clock_of_a_database_server_is_compared_and_that_of_a_file_is_this_machines(
    postgres_url: str, tmp_path: Path
) -> None:
    server, file = Database(postgres_url), Database(f"sqlite:///{tmp_path / 'file.db'}")

    difference, none = server.clock_difference(), file.clock_difference()

    server.close()
    assert difference == pytest.approx(0, abs=1)
    assert none is None
