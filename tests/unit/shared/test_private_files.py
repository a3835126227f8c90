import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.private_files import create_file, create_folder


@pytest.fixture(autouse=True)
def permissive_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_and_its_parents_are_for_their_owner_only(tmp_path: Path) -> None:
    create_folder(tmp_path / "a" / "b")
    create_folder(tmp_path / "a" / "b")

    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_what_exists_keeps_its_permissions_and_content(tmp_path: Path) -> None:
    folder, file = tmp_path / "shared", tmp_path / "shared" / "file"
    folder.mkdir(mode=0o750)
    file.write_text("kept")
    file.chmod(0o640)

    create_folder(folder)
    create_file(file)

    assert (mode(folder), mode(file), file.read_text()) == (0o750, 0o640, "kept")


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FileExistsError):
        create_folder(tmp_path / "file")
