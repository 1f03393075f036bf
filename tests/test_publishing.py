"""Files appear complete or not at all."""

import os

import pytest

from pwlnet.errors import StoreError
from pwlnet.publishing import new_file, publish, reason


def test_a_file_is_published_with_its_content(tmp_path):
    publish(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["file"]


def test_an_existing_file_is_replaced_only_on_demand(tmp_path):
    publish(tmp_path / "file", b"old")
    with pytest.raises(StoreError, match="file exists; give another path, or remove it first"):
        publish(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    publish(tmp_path / "file", b"new", overwrite=True)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_appears_in_the_meantime_is_not_replaced(tmp_path):
    def publish_late():
        with new_file(tmp_path / "file") as temporary:
            temporary.write_bytes(b"mine")
            (tmp_path / "file").write_bytes(b"theirs")

    with pytest.raises(StoreError, match="file exists"):
        publish_late()
    assert (tmp_path / "file").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x"), OSError(28, "full")])
def test_a_block_that_fails_leaves_nothing(tmp_path, error):
    def fail():
        with new_file(tmp_path / "file") as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(StoreError if isinstance(error, OSError) else type(error)):
        fail()
    assert os.listdir(tmp_path) == []


def test_the_temporary_file_of_a_killed_program_is_replaced_if_its_name_is_fixed(tmp_path):
    (tmp_path / ".file.part").write_bytes(b"left by a killed program")
    publish(tmp_path / "file", b"content", temporary_name=".file.part")
    assert os.listdir(tmp_path) == ["file"]


def test_the_reason_of_an_error_is_one_line():
    assert reason(OSError(28, "any text")) == "No space left on device"
    assert reason(ValueError("'first line'\nsecond line")) == "first line"
    assert reason(KeyError()) == "KeyError"
