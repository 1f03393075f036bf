"""Compiling ahead of time: every step runs wherever it is run, and what one process leaves out another one does."""

import json
import subprocess
import sys

import pytest

from pwlnet import warmup
from pwlnet.kernels import _jit


def test_processes_share_out_known_steps():
    shared = [name for share in warmup.PROCESSES for name in share]
    assert len(set(shared)) == len(shared)
    assert set(shared) <= set(warmup.STEPS)
    assert set(warmup.LINE_STEPS) | set(warmup.ATTRIBUTION_STEPS) <= set(warmup.STEPS)


def test_steps_run_in_two_processes(monkeypatch):
    monkeypatch.setattr(warmup, "_processes_help", lambda: True)
    started, popen = [], subprocess.Popen

    def start(command, **options):
        started.append(command[4:])
        processes.append(popen(command, **options))
        return processes[-1]

    processes = []
    monkeypatch.setattr(subprocess, "Popen", start)
    seconds = warmup.compile_kernels(warmup.LINE_STEPS)
    assert started == [["trace"], ["forward", "check"]]
    assert [process.returncode for process in processes] == [0, 0]
    assert list(seconds) == list(warmup.LINE_STEPS)
    assert min(seconds.values()) > 0.0


@pytest.mark.parametrize("cold", [True, False])
def test_a_notice_tells_of_an_empty_cache_only(monkeypatch, capsys, cold):
    monkeypatch.setattr(warmup, "_processes_help", lambda: True)
    monkeypatch.setattr(warmup, "_run_in_processes", lambda shares: [("trace", 2.0)])
    monkeypatch.setattr(warmup, "STEPS", dict.fromkeys(warmup.STEPS, lambda toy: None))
    monkeypatch.setattr(warmup, "is_cold", lambda: cold)
    monkeypatch.delenv("PWLNET_QUIET", raising=False)
    assert warmup.compile_kernels()["trace"] >= 2.0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" in ")[0] for line in lines] == ["pwlnet: compiling kernels", "pwlnet: compiled kernels"] * cold
    monkeypatch.setenv("PWLNET_QUIET", "1")
    warmup.compile_kernels()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("broken", ["no process", "an error", "half a line"])
def test_steps_of_processes_that_fail_are_run_here(monkeypatch, broken):
    program = {"an error": "raise SystemExit(1)", "half a line": "print('[\"forward\", 1.0]'); print('[\"che')"}
    popen = subprocess.Popen

    def start(command, **options):
        if broken == "no process":
            raise OSError("Cannot allocate memory")
        return popen([sys.executable, "-c", program[broken]], **options)

    ran = []
    monkeypatch.setattr(warmup, "_processes_help", lambda: True)
    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(warmup, "STEPS", dict.fromkeys(warmup.STEPS, lambda toy: ran.append(toy)))
    assert set(warmup.compile_kernels(warmup.LINE_STEPS)) == set(warmup.LINE_STEPS)
    assert len(ran) == len(warmup.LINE_STEPS)


def test_without_a_cache_no_process_is_started(monkeypatch):
    monkeypatch.setattr(_jit, "CACHE_FOLDER", None)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **b: pytest.fail("a process was started"))
    assert warmup.is_cold()
    assert set(warmup.compile_kernels(["forward"])) == {"forward"}


def test_a_cache_is_cold_until_it_holds_a_kernel(monkeypatch, tmp_path):
    monkeypatch.setattr(_jit, "CACHE_FOLDER", str(tmp_path))
    assert warmup.is_cold()
    (tmp_path / "ir_0123").mkdir()
    (tmp_path / "ir_0123" / "passes.forward-1.py311.nbi").touch()
    assert not warmup.is_cold()


def test_the_program_prints_a_line_per_step(capsys):
    warmup._main(["forward", "check"])
    assert [json.loads(line)[0] for line in capsys.readouterr().out.splitlines()] == ["forward", "check"]


def test_lines_without_breakpoints_compile_the_kernels_that_traced_lines_use():
    """Otherwise, with other types of arguments, the first partition or analysis would compile them again."""
    code = """
from pwlnet import warmup
from pwlnet.kernels.gradients import linearity, samples
from pwlnet.kernels.lines import check, trace

kernels = check.check_slot, trace.trace_slot, samples.integrate_by_rules, linearity.sweep_linearity
list(warmup.run_steps(["check", "trace", "measure_linearity", "compare_rules"]))
before = [len(kernel.signatures) for kernel in kernels]
toy = warmup._Toy()
lines = warmup.partition_lines(toy.network, toy.starts, toy.ends)
warmup.measure_linearity(lines, 0)
warmup.compare_rules(lines, 0, counts=[4])
print(before, [len(kernel.signatures) for kernel in kernels])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 1, 1, 1] [1, 1, 1, 1]\n"
