"""The command line: results, one-line errors, exit codes."""

import json
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import shipped, store
from pwlnet.cli import arguments, timing
from pwlnet.kernels import _jit
from pwlnet.store import schema
from pwlnet.tolerances import DEFAULT
from tests.checksums import changing


@pytest.fixture
def folder(tmp_path, network, monkeypatch):
    """A folder, current, with a network and a few points in files of each kind."""
    monkeypatch.chdir(tmp_path)
    network.save("net.h5")
    points = np.random.default_rng(1).normal(size=(7, 3))
    np.save("points.npy", points)
    np.savez("points.npz", points=points, labels=np.arange(7))
    np.savez("single.npz", points)
    np.savetxt("points.csv", points, delimiter=",", fmt="%.17g", header="x, y, z")
    np.save("one.npy", np.ones(3))
    return tmp_path


def refused(result, message):
    """Exit 2, nothing on stdout, and exactly one line on stderr."""
    assert result == (2, "", f"pwlnet: {message}\n")


def test_lines_fill_a_store_and_say_what_is_in_it(folder, run, network):
    arguments = ("lines", "net.h5", "--starts", "points.npy", "--ends", "one.npy", "--out", "out.h5", "--batch", 1)
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    lines = store.load_lines("out.h5")
    expected = pwlnet.partition_lines(network, np.load("points.npy"), np.ones(3))
    assert np.array_equal(lines.t, expected.t)
    assert np.array_equal(lines.flip_neurons, expected.flip_neurons)
    assert result["lines"] == 7
    assert result["segments"]["total"] == expected.n_segments.sum()
    assert result["segments"]["max"] == expected.n_segments.max()
    assert result["density"]["median"] == pytest.approx(np.median(expected.density))
    assert result["flips_by_op"] == [
        {"op": 2, "name": "relu", "kind": "Relu", "n_neurons": 30, "n_flips": len(expected.flip_neurons)}
    ]
    with store.open("out.h5") as opened:
        assert opened.n_batches == 7
        assert opened.provenance["parameters"]["starts"] == "points.npy"


def test_the_slope_dtype_is_in_the_tolerances_of_the_store(folder, run):
    network = shipped.digits_network_path("digits_mlp")
    code, out, _ = run("lines", network, "--random", 4, "--out", "float32.h5", "--slope-dtype", "float32", "--json")
    assert code == 0
    assert run("lines", network, "--random", 4, "--out", "float64.h5")[0] == 0
    with store.open("float32.h5") as single, store.open("float64.h5") as double:
        assert single.tolerances == DEFAULT.with_slope_dtype("float32") and double.tolerances == DEFAULT
        assert json.loads(out)["t_error"] == single.lines().t_error.max() > 1e3 * double.lines().t_error.max()
    code, _, err = run("lines", network, "--random", 4, "--out", "float32.h5", "--resume")
    assert code == 2 and "tolerances" in err
    summary = json.loads(run("lines", network, "--random", 4, "--summary", "--slope-dtype", "float32", "--json")[1])
    assert summary["t_error"] == json.loads(out)["t_error"]


def test_the_table_for_people_is_short(folder, run):
    code, out, err = run("lines", "net.h5", "--random", 5, "--seed", 1, "--range", -2, 2, "--out", "out.h5")
    assert (code, err) == (0, "")
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert names == ["store", "lines", "segments", "per line (min / median / max)", "per unit length", "shortest segment",
                     "residual", "ambiguous", "t error", "seconds", "microseconds per breakpoint"]  # fmt: skip


@pytest.mark.parametrize("command", [("lines", "--random", 3), ("attribute", "--baseline", "zero", "--inputs", "points.npy")])
def test_compiling_and_loading_kernels_do_not_count(folder, run, monkeypatch, command):
    """A first run once printed 124821 us per breakpoint: 2.5 minutes of compiling kernels."""
    from pwlnet.partition.lines import partitions

    clock, compiled, calls = [100.0], [7.0], []
    monkeypatch.setattr(timing, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(_jit, "compile_seconds", lambda: compiled[0], raising=False)
    trace = partitions._partitions

    def slow(settings, *arguments):
        """Load kernels in the first call (50 s), compile more in the second one (20 s), compute in both (1 s)."""
        clock[0] += 51.0 if not calls else 21.0
        compiled[0] += 0.0 if not calls else 20.0
        calls.append(settings)
        return trace(settings, *arguments)

    monkeypatch.setattr(partitions, "_partitions", slow)
    name, *options = command
    code, out, _ = run(name, "net.h5", *options, "--out", "out.h5", "--json")
    result = json.loads(out)
    assert (code, len(calls) > 1, result["seconds"]) == (0, True, 1.0)
    if name == "lines":
        breakpoints = result["segments"]["total"] - result["lines"]
        assert result["microseconds_per_breakpoint"] == pytest.approx(1e6 / breakpoints)


def test_a_summary_needs_no_store(folder, run, network):
    arguments = ("lines", "net.h5", "--starts", "points.npy", "--ends", "one.npy", "--summary")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    expected = pwlnet.summarize_lines(network, np.load("points.npy"), np.ones(3))
    assert f"flips in relu                  {expected.n_flips.sum()}, " in out
    result = json.loads(run(*arguments, "--json", "--batch", 1)[1])
    assert expected.to_dict().items() <= result.items()
    assert set(result) - set(expected.to_dict()) == {"seconds", "microseconds_per_breakpoint"}
    assert not list(folder.glob("*out*"))


def test_lines_without_a_length_have_a_summary_that_is_json(folder, run):
    code, out, _ = run("lines", "net.h5", "--starts", "one.npy", "--ends", "one.npy", "--summary", "--json")
    assert (code, json.loads(out)["density"]) == (0, {"min": None, "median": None, "max": None})
    code, out, _ = run("lines", "net.h5", "--starts", "one.npy", "--ends", "one.npy", "--summary")
    assert (code, "per unit length                none" in out) == (0, True)


@pytest.mark.parametrize("name", ["points.npz:points", "points.csv", "single.npz"])
def test_rows_come_from_files_of_each_kind(folder, run, name):
    assert run("lines", "net.h5", "--from-zero", "--ends", name, "--out", "out.h5")[0] == 0
    assert np.array_equal(store.load_lines("out.h5").ends, np.load("points.npy"))
    assert not store.load_lines("out.h5").starts.any()


def test_random_lines_follow_the_seed(folder, run):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("lines", "net.h5", "--random", 4, "--seed", seed, "--out", f"{name}.h5")[0] == 0
    a, b, c = (store.load_lines(f"{name}.h5").starts for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.array_equal(a, np.random.default_rng(1).random((2, 4, 3))[0])


def test_random_points_are_the_same_however_they_are_sliced():
    whole = np.random.default_rng(3).uniform(-1.0, 2.0, (9, 4))
    points = arguments.RandomPoints(3, -1.0, 2.0, (7, 4), skip=2)
    assert (len(points), points.shape) == (7, (7, 4))
    for rows in (slice(0, 7), slice(2, 5), slice(3, 3), slice(6, 100), slice(None)):
        assert np.array_equal(points[rows], whole[2:][rows])
    assert np.array_equal(np.asarray(points), whole[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-zero"], "--ends was not given; it is required with --starts and --from-zero"),
        (["--random", "2", "--ends", "one.npy"],
         "--random and --ends were given; --random generates both ends, omit one of them"),
        (["--random", "2", "--range", "1", "0"], "--range is 1.0 0.0; LOW must be below HIGH"),
        (["--starts", "points.npy", "--ends", "missing.npy"],
         "missing.npy can't be read as .npy (No such file or directory); check the path and the file"),
        (["--starts", "points.npz", "--ends", "one.npy"],
         "points.npz has several arrays: points, labels; give points.npz:NAME with one of these"),
        (["--starts", "points.npz:x", "--ends", "one.npy"],
         "points.npz has no array 'x', only points, labels; give points.npz:NAME with one of these"),
        (["--starts", "net.h5", "--ends", "one.npy"], "net.h5 has the suffix '.h5'; rows must be given as .npy, .npz or .csv"),
        (["--random", "9", "--max-segments", "1"],
         "line 0 has 7 segments, more than max_segments=1; raise the limit or shorten the line"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line(folder, run, arguments, message):
    refused(run("lines", "net.h5", *arguments, "--out", "out.h5"), message)


def test_points_of_another_size_are_refused(folder, run):
    np.save("wide.npy", np.ones((2, 4)))
    message = "ends has shape (2, 4), but the network takes 3 inputs; give (rows, 3)"
    refused(run("lines", "net.h5", "--from-zero", "--ends", "wide.npy", "--out", "out.h5"), message)


def test_an_existing_store_is_refused_without_overwrite(folder, run):
    arguments = ("lines", "net.h5", "--random", 2, "--out", "net.h5")
    refused(run(*arguments), "net.h5 exists; give another path, or remove it first")
    assert run(*arguments, "--overwrite")[0] == 0


def test_wrong_use_gives_one_line(folder, run):
    refused(
        run("lines", "net.h5", "--random", 1),
        "one of the arguments --out --summary is required; pwlnet lines --help shows the usage",
    )
    code, out, err = run("lines", "net.h5", "--random", "0", "--out", "x.h5")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "0 is not positive" in err
    assert run()[0] == 2


RUN_INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in a shell's background starts with it ignored
from pwlnet.cli import main
sys.exit(main())
"""


def stop_at_first_commit(number, *command):
    """Run the command line in a separate process and send it a signal while it writes: exit code, stdout, stderr."""
    path = Path(command[-1])
    program = [sys.executable, "-c", RUN_INTERRUPTIBLE, *command]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            sizes = set()
            while len(sizes) < 2 and process.poll() is None:  # the first size is that of the store without lines
                time.sleep(0.01)
                sizes |= {path.stat().st_size} if path.exists() else set()
            process.send_signal(number)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_a_signal_leaves_the_finished_batches_and_says_how_many(folder, network, number, code, word):
    n_lines = 10**7  # more than can be done before the signal comes
    command = ("lines", "net.h5", "--random", str(n_lines), "--seed", "1", "--batch", "3000", "--out", "out.h5")
    found, out, err = stop_at_first_commit(number, *command)
    with store.open("out.h5") as opened:
        assert opened.n_lines > 0
        assert opened.verify() == []
        lines = opened.lines()
    assert (found, out, err) == (
        code,
        "",
        f"pwlnet: {word}; out.h5 has the first {len(lines)} of {n_lines} lines; --resume continues\n",
    )
    ends = (arguments.RandomPoints(1, 0.0, 1.0, (n_lines, 3), skip=skip)[: len(lines)] for skip in (0, n_lines))
    expected = pwlnet.partition_lines(network, *ends)
    for dataset in schema.LINES.datasets:
        assert np.array_equal(getattr(lines, dataset.field), getattr(expected, dataset.field)), dataset.field


def digest(path):
    with store.open(path) as opened:
        assert opened.verify() == []
        return opened.digest()


POINTS = {
    "files": ("--starts", "points.npy", "--ends", "one.npy"),
    "single start": ("--from-zero", "--ends", "points.csv"),
    "random": ("--random", "7", "--seed", "3"),
}


@pytest.mark.parametrize("points", POINTS.values(), ids=POINTS)
@pytest.mark.parametrize("done", [0, 1, 4, 7])
def test_resuming_ends_in_the_store_of_a_run_that_was_not_stopped(folder, run, network, points, done):
    whole = ("lines", "net.h5", *points, "--batch", "20", "--json")
    assert run(*whole, "--out", "whole.h5")[0] == 0
    with store.open("whole.h5") as opened:
        made_with = {name: opened.provenance[name] for name in ("parameters", "seeds")}
        with store.create("part.h5", network, **made_with) as writer:
            writer.append_lines(opened.lines(0, done))
    code, out, err = run(*whole, "--out", "part.h5", "--resume")
    assert (code, err) == (0, "")
    assert json.loads(out)["lines"] == 7
    assert json.loads(out)["segments"] == json.loads(run(*whole, "--out", "new.h5", "--resume")[1])["segments"]
    assert digest("part.h5") == digest("whole.h5") == digest("new.h5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--random", "6"], "out.h5 was made with other parameters: random is 7 there, 6 here; "),
        (["--random", "7", "--seed", "1"], "out.h5 was made with other seeds: random is 0 there, 1 here; "),
        (["--random", "7", "--max-segments", "99"], "out.h5 was made with other parameters: max_segments is None there, 99 "),
        (["--random", "7", "--rows", "0:3"], "out.h5 has 7 lines, but 3 were requested; write to a new store"),
    ],
)
def test_a_store_of_something_else_is_not_resumed(folder, run, arguments, message):
    assert run("lines", "net.h5", "--random", 7, "--out", "out.h5")[0] == 0
    before = digest("out.h5")
    code, out, err = run("lines", "net.h5", *arguments, "--out", "out.h5", "--resume")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert digest("out.h5") == before


def test_points_that_changed_since_are_noticed(folder, run):
    command = ("lines", "net.h5", "--from-zero", "--ends", "points.npy", "--out", "out.h5")
    assert run(*command)[0] == 0
    np.save("points.npy", np.load("points.npy")[::-1])
    message = "line 6 of out.h5 has other ends than the requested line; give the same points, or write to a new store"
    refused(run(*command, "--resume"), message)


def test_shards_are_merged_into_the_store_of_one_run(folder, run):
    command = ("lines", "net.h5", "--random", "7")
    assert run(*command, "--out", "whole.h5")[0] == 0
    for name, rows in (("a", "0:2"), ("b", "2:6"), ("c", "6:7")):
        assert run(*command, "--rows", rows, "--out", f"{name}.h5")[0] == 0
    code, out, _ = run("merge", "a.h5", "b.h5", "c.h5", "--out", "all.h5", "--json")
    assert (code, json.loads(out)["lines"]) == (0, 7)
    assert digest("all.h5") == digest("whole.h5")
    refused(run(*command, "--rows", "6:8", "--out", "d.h5"), "--rows is 6:8, but there are 7 lines; give LAST up to 7")


def test_a_damaged_store_is_repaired_only_when_told_to(folder, run):
    assert run("lines", "net.h5", "--random", 7, "--batch", 1, "--out", "out.h5")[0] == 0
    with changing("out.h5") as file:
        file["breakpoints/t"][file["breakpoints/offsets"][4] + 1] *= 0.5
    before = Path("out.h5").read_bytes()
    code, out, _ = run("repair", "out.h5")
    assert code == 0
    assert out.endswith(
        "4 batches with 4 lines are intact, 3 batches are lost; --out NEW.h5 writes a new store, --yes replaces this one\n"
    )
    assert run("repair", "out.h5", "--out", "new.h5")[0] == 0
    assert Path("out.h5").read_bytes() == before
    assert run("repair", "out.h5", "--yes", "--json")[0] == 0
    assert digest("out.h5") == digest("new.h5")
    assert run("lines", "net.h5", "--random", 7, "--out", "out.h5", "--resume")[0] == 0
    assert run("lines", "net.h5", "--random", 7, "--out", "whole.h5")[0] == 0
    assert digest("out.h5") == digest("whole.h5")


def test_resuming_without_a_store_is_refused(folder, run):
    message = "--summary was given with --resume or --overwrite, which apply to a store; omit one of them"
    refused(run("lines", "net.h5", "--random", 2, "--summary", "--resume"), message)


PEAK_MEMORY = """
import resource, sys
from pwlnet import cli
from pwlnet.partition.lines import rounds
rounds._LEAST_BYTES = min(rounds._LEAST_BYTES, 2**20)  # finished lines that may wait in any case
for n_lines in ("200", "2000"):
    assert cli.main([*sys.argv[1:], "--random", n_lines]) == 0
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("result", [("--out", "out.h5", "--overwrite"), pytest.param(("--summary",), marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_number_of_lines(folder, result):
    """Breakpoints of 2000 lines take 20 MB; without batches, the peak was 62 MB higher than for 200 lines."""
    command = ("lines", str(shipped.digits_network_path("digits_conv")), "--batch", "20000", *result)
    done = subprocess.run([sys.executable, "-c", PEAK_MEMORY, *command], capture_output=True, text=True, check=True)
    peaks = [int(line.split()[1]) / 1024 for line in done.stdout.splitlines() if line.startswith("peak ")]
    assert len(peaks) == 2 and peaks[1] - peaks[0] < 25.0


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_only(folder, run, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    code, _, err = run("lines", "net.h5", "--random", 5, "--summary")
    assert (code, "5/5" in err) == (0, terminal)


def test_a_sound_store_verifies(folder, run):
    run("lines", "net.h5", "--random", 5, "--range", -2, 2, "--out", "out.h5")
    code, out, _ = run("verify", "out.h5", "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])


def test_a_damaged_store_does_not_verify(folder, run):
    run("lines", "net.h5", "--random", 5, "--out", "out.h5")
    with changing("out.h5") as file:
        file["breakpoints/t"][1] *= 0.5
    message = (
        "batch 0 (lines 0..4) of out.h5 does not match its checksum; the file is damaged, restore a copy or compute it again"
    )
    refused(run("verify", "out.h5"), message)
    code, out, err = run("verify", "out.h5", "--json")
    assert (code, json.loads(out)["problems"], err) == (2, [message], f"pwlnet: {message}\n")


def test_lines_that_the_network_does_not_confirm_do_not_verify(folder, run, network):
    lines = pwlnet.partition_lines(network, -np.ones((2, 3)), np.ones((2, 3)))
    fields = {name: getattr(lines, name) for name in lines.__dataclass_fields__}
    store.save_lines("out.h5", pwlnet.LinePartitions(**{**fields, "flip_states": 1 - lines.flip_states}))
    code, out, err = run("verify", "out.h5")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "are in another state than the flips say (counted from line 0 of out.h5)" in err
    assert run("verify", "out.h5", "--samples", 0)[0] == 0


def test_info_of_a_network_and_of_a_store(folder, run, network):
    code, out, _ = run("info", "net.h5")
    how = pwlnet.execution()
    kernels = f"kernels run on {how.n_threads} {'parallel slots' if how.kind == 'parallel' else 'Python threads'}: {how.reason}"
    assert (code, out) == (0, f"{network.summary()}\ndigest {network.digest}\n{kernels}\n")
    found = json.loads(run("info", "net.h5", "--json")[1])
    assert (found["neurons"], found["execution"]["kind"]) == (30, how.kind)
    run("lines", "net.h5", "--random", 5, "--out", "out.h5")
    code, out, _ = run("info", "out.h5", "--json")
    assert (code, json.loads(out)["n_lines"]) == (0, 5)
    assert "n lines" in run("info", "out.h5")[1]
    refused(run("info", "no"), "no can't be read (No such file or directory); give a network file or a store")


def test_convert_takes_onnx_and_stores(folder, run):
    path = shipped.digits_network_path("digits_mlp")
    assert run("convert", path, "digits.h5")[0] == 0
    assert pwlnet.load_network("digits.h5") == pwlnet.load_network(path)
    run("lines", "digits.h5", "--random", 1, "--out", "lines.h5")
    assert run("convert", "lines.h5", "again.h5", "--json")[0] == 0
    assert pwlnet.load_network("again.h5") == pwlnet.load_network(path)


def test_datasets_are_listed_and_fetched(run, monkeypatch):
    from pwlnet import datasets

    names = run("datasets", "--prefix", "mnist/")[1].splitlines()
    assert names == datasets.names("mnist/")
    monkeypatch.setattr(datasets, "fetch", lambda name: f"somewhere/{name}")
    assert run("datasets", names[0])[:2] == (0, f"somewhere/{names[0]}\n")


def test_demo_gets_its_folder(run, monkeypatch, tmp_path):
    folders = []
    monkeypatch.setitem(sys.modules, "pwlnet.demo", types.SimpleNamespace(run=folders.append))
    monkeypatch.setattr(pwlnet, "demo", sys.modules["pwlnet.demo"], raising=False)
    assert run("demo", "--out", tmp_path)[0] == 0
    assert folders == [tmp_path]


def test_compile_uses_every_kernel(run, monkeypatch):
    """In this process; that two others help is tested with the warm-up (test_warmup.py)."""
    monkeypatch.setattr("pwlnet.warmup._processes_help", lambda: False)
    code, out, _ = run("compile", "--json")
    assert code == 0
    assert {"forward", "jacobian", "partition_lines", "total"} <= set(json.loads(out)["seconds"])


def test_a_missing_library_is_one_line(run, monkeypatch):
    from pwlnet import warmup

    def missing():
        raise ImportError("reading ONNX files needs onnx; pip install 'pwlnet[onnx]'")

    monkeypatch.setattr(warmup, "compile_kernels", missing)
    refused(run("compile"), "reading ONNX files needs onnx; pip install 'pwlnet[onnx]'")


def test_an_unforeseen_failure_is_exit_1_and_shows_its_traceback_on_demand(run, monkeypatch):
    from pwlnet import warmup

    monkeypatch.setattr(warmup, "compile_kernels", lambda: 1 / 0)
    assert run("compile") == (1, "", "pwlnet: failed with ZeroDivisionError: division by zero; --debug shows where\n")
    err = run("compile", "--debug")[2]
    assert err.startswith("Traceback")
    assert err.endswith("pwlnet: failed with ZeroDivisionError: division by zero\n")


def test_version_and_help_come_quickly_as_a_program():
    code = "import sys, pwlnet.cli; pwlnet.cli.main(['--help']); print(sorted({'numpy', 'h5py'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: pwlnet")
    assert done.stdout.endswith("[]\n")
    done = subprocess.run([sys.executable, "-m", "pwlnet", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"pwlnet {pwlnet.__version__}\n"
