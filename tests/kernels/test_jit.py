"""Where compiled kernels are kept: beside the sources, in the cache folder, or nowhere."""

import os
from pathlib import Path

import numba
import pytest

from pwlnet.kernels import _jit


def test_the_cache_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("PWLNET_NUMBA_CACHE", "0")
    assert _jit._cache_folder() is None


def test_numbas_own_setting_decides_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("PWLNET_NUMBA_CACHE", "1")
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path))
    assert Path(_jit._cache_folder()).parent == tmp_path


def test_where_the_sources_can_not_be_written_to_the_cache_is_in_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PWLNET_NUMBA_CACHE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_jit.config, "CACHE_DIR", "")
    monkeypatch.setattr(os, "access", lambda path, mode: str(tmp_path) in str(path))
    assert Path(_jit._cache_folder()).parent == tmp_path / "pwlnet"


def test_where_nothing_can_be_written_kernels_are_not_kept(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PWLNET_NUMBA_CACHE", "1")
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert _jit._cache_folder() is None


def test_the_folder_is_named_after_the_sources(monkeypatch, tmp_path):
    (tmp_path / "kernel.py").write_text("x = 1\n")
    monkeypatch.setenv("PWLNET_NUMBA_CACHE", "1")
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_jit, "_HERE", tmp_path)
    first = _jit._cache_folder()
    (tmp_path / "kernel.py").write_text("x = 2\n")
    assert _jit._cache_folder() != first


@pytest.mark.parametrize("folder", [None, "cache"])
def test_decorating_a_kernel_leaves_numbas_settings_as_they_are(monkeypatch, tmp_path, folder):
    monkeypatch.setattr(_jit, "CACHE_FOLDER", folder and str(tmp_path / folder))
    before = numba.config.CACHE_DIR
    kernel = _jit.kernel(_double)
    assert before == numba.config.CACHE_DIR
    assert kernel(2) == 4


def _double(x):
    return 2 * x
