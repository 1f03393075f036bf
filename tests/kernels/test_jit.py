"""Where compiled kernels are kept: beside the sources, in the cache folder, or nowhere."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numba
import pytest

from pwlnet.kernels import _jit, _notice
from tests.counts import IN_PYTHON


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


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """Make a folder of kernel sources with a subfolder, which stands for ``pwlnet/kernels``."""
    folder = tmp_path / "kernels"
    (folder / "lines").mkdir(parents=True)
    (folder / "_jit.py").write_text("x = 0\n")
    (folder / "lines" / "scan.py").write_text("x = 1\n")
    monkeypatch.setenv("PWLNET_NUMBA_CACHE", "1")
    monkeypatch.setattr(_jit.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(_jit, "_HERE", folder)
    return folder


@pytest.mark.parametrize("name", ["_jit.py", "lines/scan.py"])
def test_editing_a_kernel_also_in_a_subfolder_changes_the_cache_folder(sources, name):
    before = _jit._cache_folder()
    assert _jit._cache_folder() == before
    (sources / name).write_text("x = 2\n")
    assert _jit._cache_folder() != before


def test_moving_a_kernel_into_a_subfolder_changes_the_cache_folder(sources):
    (sources / "scan.py").write_text("x = 1\n")
    (sources / "lines" / "scan.py").unlink()
    before = _jit._cache_folder()
    (sources / "scan.py").rename(sources / "lines" / "scan.py")
    assert _jit._cache_folder() != before


def test_caches_and_other_files_beside_the_sources_do_not_change_the_cache_folder(sources):
    before = _jit._cache_folder()
    (sources / "lines" / "__pycache__").mkdir()
    (sources / "lines" / "__pycache__" / "scan.cpython-311.pyc").write_bytes(b"code")
    assert _jit._cache_folder() == before


def test_no_kernel_runs_old_machine_code_after_a_callee_in_a_subfolder_was_edited(tmp_path):
    shutil.copytree(Path(_jit.__file__).parent, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kernels" / "inner").mkdir()
    (tmp_path / "kernels" / "inner" / "__init__.py").write_text("")
    (tmp_path / "kernels" / "outer.py").write_text(
        "from ._jit import entry_kernel\nfrom .inner.callee import callee\n\n\n"
        "@entry_kernel\ndef outer(x):\n    return callee(x) + 1\n"
    )
    answers = []
    for factor in (2, 3):
        callee = f"from .._jit import kernel\n\n\n@kernel\ndef callee(x):\n    return {factor} * x\n"
        (tmp_path / "kernels" / "inner" / "callee.py").write_text(callee)
        program = "from kernels.outer import outer; print(outer(10))"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PWLNET_NUMBA_CACHE": "1"}
        environment.pop("NUMBA_CACHE_DIR", None)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
        answers.append(int(done.stdout))
    assert answers == [21, 31]


@pytest.mark.parametrize("folder", [None, "cache"])
def test_decorating_a_kernel_leaves_numbas_settings_as_they_are(monkeypatch, tmp_path, folder):
    monkeypatch.setattr(_jit, "CACHE_FOLDER", folder and str(tmp_path / folder))
    before = numba.config.CACHE_DIR
    kernel = _jit.entry_kernel(_double)
    assert before == numba.config.CACHE_DIR
    assert kernel(2) == 4


@pytest.mark.skipif(IN_PYTHON, reason="nothing is compiled")
def test_kernels_are_saved_by_one_process_at_a_time(monkeypatch, tmp_path):
    held = []

    @contextlib.contextmanager
    def exclusive(folder):
        held.append(folder)
        yield

    monkeypatch.setattr(_jit, "CACHE_FOLDER", str(tmp_path))
    monkeypatch.setattr(_jit, "_exclusive", exclusive)
    kernel = _jit._compiled(_double)
    assert (kernel(2), kernel(2.5)) == (4, 5.0)
    assert held == [str(tmp_path)] * 2
    assert len(list(tmp_path.rglob("*.nbc"))) == 2


def test_a_folder_is_locked_by_one_at_a_time(tmp_path):
    program = (
        "import sys, time; from pwlnet.kernels import _jit\n"
        "with _jit._exclusive(sys.argv[1]):\n    print('in', flush=True); time.sleep(0.3); print('out', flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with open(tmp_path / "output", "w") as output:
        processes = [subprocess.Popen(command, stdout=output) for _ in range(3)]
        assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "output").read_text().split() == ["in", "out"] * 3


def _double(x):
    return 2 * x


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """Return a function that makes ``_double`` with its cache in a folder: each dispatcher is that of a new process."""
    monkeypatch.setattr(_jit, "CACHE_FOLDER", str(tmp_path / "cache"))
    _notice.say_once.cache_clear()

    def make():
        return _jit._compiled(_double)

    return make


def hits(made):
    return sum(made.stats.cache_hits.values())


@pytest.mark.skipif(IN_PYTHON, reason="nothing is compiled")
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [b"", b"garbage", None, "cut", "flipped"])
def test_a_damaged_cache_is_compiled_anew_and_replaced(cached, tmp_path, suffix, damage):
    assert cached()(2) == 4
    (file,) = tmp_path.rglob(f"*{suffix}")
    content = file.read_bytes()
    middle = len(content) // 2
    changed = {"cut": content[:middle], "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]}
    file.unlink() if damage is None else file.write_bytes(changed.get(damage, damage))
    made = cached()
    assert (made(2), hits(made)) == (4, 0)
    again = cached()
    assert (again(2), hits(again)) == (4, 1)


@pytest.mark.skipif(IN_PYTHON, reason="nothing is compiled")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.ENOENT])
def test_a_cache_that_can_not_be_written_costs_one_notice(cached, monkeypatch, capsys, number):
    def fail(self, path):
        raise OSError(number, os.strerror(number))

    monkeypatch.delenv("PWLNET_QUIET", raising=False)
    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "_open_for_write", fail)
    for _ in range(2):
        assert cached()(2) == 4
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"can't be written ({os.strerror(number)}); kernels are compiled in memory" in text


@pytest.mark.skipif(IN_PYTHON, reason="nothing is compiled")
def test_a_cache_whose_folder_is_in_the_way_or_goes_away_is_done_without(cached, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    assert cached()(2) == 4
    (tmp_path / "cache").unlink()
    made = cached()
    shutil.rmtree(tmp_path / "cache")
    assert made(2) == 4
    file_locks = types.SimpleNamespace(flock=lambda file, how: os.read(-1, 1), LOCK_EX=0)  # no locks on this file system
    monkeypatch.setitem(sys.modules, "fcntl", file_locks)
    assert cached()(2) == 4


@pytest.mark.skipif(IN_PYTHON, reason="the mode is chosen at import")
@pytest.mark.parametrize("setting", ["", "NUMBA_CACHE_DIR"])
def test_pwlnet_is_imported_without_a_home_by_an_unknown_user(tmp_path, setting):
    hidden = ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {setting: str(tmp_path)} if setting else {}
    program = (
        "import os, sys; os.getuid = lambda: 54321; access = os.access\n"
        f"os.access = lambda path, how: {str(tmp_path)!r} in str(path) and access(path, how)\n"
        "sys.stdout = sys.stderr = None\n"
        "import pwlnet.kernels._jit as jit\n"
        "os.write(1, str(jit.CACHE_FOLDER).encode())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path)) if setting else done.stdout == "None"


@pytest.mark.parametrize("stream", [None, "closed"])
def test_notices_need_no_stderr(monkeypatch, tmp_path, stream):
    if stream == "closed":
        stream = (tmp_path / "stderr").open("w")
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    _notice._write("text")
    assert not _notice._is_terminal()
