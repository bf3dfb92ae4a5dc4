"""Files and folders appear whole or not at all."""

from pathlib import Path

import pytest

from backends.mlx.common.files import folder_written_whole, written_whole


def test_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with written_whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_failed_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), None])
def test_errors_name_the_file(tmp_path, error):
    """One while writing, without a name of its own, or one of making the file."""
    path = tmp_path / "file" if error else tmp_path / "missing" / "file"
    with pytest.raises(OSError) as caught, written_whole(path):
        raise error
    assert caught.value.filename == str(path)


def test_errors_of_replacing_name_the_file(tmp_path, monkeypatch):
    """A relative path too, though tempfile's is absolute."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught, written_whole(Path("folder")):
        pass
    assert caught.value.filename == "folder"
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_errors_of_other_files_keep_their_names(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, written_whole(tmp_path / "file"):
        (tmp_path / "other").read_text()
    assert caught.value.filename == str(tmp_path / "other")


def test_folder(tmp_path):
    path = tmp_path / "new" / "folder"
    with folder_written_whole(path) as partial:
        (partial / "file").write_text("text")
        assert not path.exists()
    assert (path / "file").read_text() == "text"
    assert list(path.parent.iterdir()) == [path]


def test_first_of_two_folders_stays(tmp_path):
    path = tmp_path / "folder"
    with folder_written_whole(path) as late:
        (late / "file").write_text("late")
        with folder_written_whole(path) as early:
            (early / "file").write_text("early")
    assert (path / "file").read_text() == "early"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), folder_written_whole(tmp_path / "folder"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
