"""Stores that are damaged at random: single bytes that flip, and mutations of any kind.

    python -m tests.store.damage flips --count 1000
    python -m tests.store.damage fuzz --seconds 600

print the outcomes; ``test_damage.py`` runs a few. Damaged stores are read in forked children, some in each, so that a crash or
a hang is noticed.
"""

import argparse
import collections
import os
import pickle
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import h5py
import numpy as np

import pwlnet
from pwlnet import store
from pwlnet.errors import PwlnetError, UnverifiedStoreWarning
from pwlnet.store import schema
from pwlnet.store.container import layout
from tests.checksums import changing, write_container
from tests.store.conftest import make_partitions, make_plane_partitions, small_network

PER_CHILD = 25
PATIENCE = 60  # seconds for a child's damaged stores before it counts as hanging


def in_children(work, items):
    """Map ``work`` over items in forked children, PER_CHILD at a time: results; ("crash", ...) where a child died."""
    for first in range(0, len(items), PER_CHILD):
        part = items[first : first + PER_CHILD]
        results = _in_child(work, part)
        if len(results) < len(part):  # find out which one it was
            results = [(_in_child(work, [item]) or [("crash", f"{item}")])[0] for item in part]
        yield from results


def _in_child(work, items):
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        signal.alarm(PATIENCE)
        warnings.simplefilter("error")
        try:
            with open(writing, "wb") as pipe:
                for item in items:
                    pickle.dump(work(item), pipe)
                    pipe.flush()
        finally:
            os._exit(0)
    os.close(writing)
    results = []
    with open(reading, "rb") as pipe:
        while True:
            try:
                results.append(pickle.load(pipe))
            except EOFError:
                break
    os.waitpid(process, 0)
    return results


def read_all(path):
    """Read everything that a store offers: the content as bytes, and what verify says."""
    with store.open(path) as opened:
        problems = opened.verify()
        opened.info()
        opened.digest()
        lines = opened.lines()
        for _ in opened.batches():
            pass
        for name in schema.KINDS:
            if opened.n_rows(name):
                opened.read(name)
        opened.read("lines", derived=True)
        opened.planes() if opened.n_planes else None
        opened.plane_summary()
        planes = opened.read("planes").values() if opened.n_planes else ()
    pwlnet.load_network(path)
    content = [*(getattr(lines, dataset.field) for dataset in schema.LINES.datasets), *planes]
    return b"".join(array.tobytes() for array in content), problems


def outcome(path, wanted):
    """Read a damaged store: (kind of outcome, text)."""
    try:
        with store.open(path) as opened:
            problems = opened.verify()
    except PwlnetError as error:
        return "refused", str(error)
    except UnverifiedStoreWarning as warning:
        return unverified_outcome(path, wanted), str(warning)
    except Exception:
        return "wrong error", traceback.format_exc()
    if problems:
        return "found", problems[0]
    try:
        content, _ = read_all(path)
    except PwlnetError as error:
        return "missed by verify", str(error)
    except Exception:
        return "wrong error", traceback.format_exc()
    return ("harmless", "") if content == wanted else ("passed as good", "")


def unverified_outcome(path, wanted):
    """Read a store that is not verified: what is returned must be what was written, all of it or some batches."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnverifiedStoreWarning)
        try:
            if not repaired_is_intact(path):
                return "passed as good after repair"
            content, _ = read_all(path)
        except PwlnetError:
            return "not verified, then refused"
        except Exception:
            return "wrong error"
    return "not verified" if content == wanted else "passed as good"


def repaired_is_intact(path):
    """Repair a store that is not verified: whether the new one, if there is one, is intact and not less than promised."""
    out = path.with_suffix(".repaired")
    out.unlink(missing_ok=True)
    try:
        repaired = store.repair(path, out)
    except PwlnetError:
        return not out.exists()
    with store.open(out) as opened:
        return (opened.verify(), opened.n_lines) == ([], repaired.n_lines)


def make_store(path, *, stopped=False):
    """A store of a few hundred lines, in several batches; ``stopped``: as a killed writer leaves it."""
    network = small_network(0)
    writer = store.create(path, network, overwrite=True, parameters={"a": 1})
    for seed, n in enumerate((40, 1, 100)):
        writer.append_lines(make_partitions(network, n, seed=seed))
    writer.append("measures", {"values": np.arange(6.0).reshape(3, 2)})
    writer.append_planes(make_plane_partitions(network, 3))
    writer.append_planes(make_plane_partitions(network, 1, seed=1))
    part = make_plane_partitions(network, 1, seed=2).parts[0]
    writer.append_chunk("planes", {d.field: getattr(part, d.field) for d in schema.PLANES.chunk_datasets})
    if stopped:
        left = path.read_bytes()
    writer.close()
    if stopped:
        path.write_bytes(left)


def flips(count, seed, folder, *, stopped=False):
    """Flip single bytes anywhere: Counter of outcomes, and the outcome of each flip."""
    draw, path = random.Random(seed), folder / "flipped.h5"
    make_store(path, stopped=stopped)
    good = path.read_bytes()
    wanted, problems = read_all(path)
    assert problems == []

    def flip(item):
        place, change = item
        damaged = bytearray(good)
        damaged[place] ^= change
        path.write_bytes(damaged)
        return outcome(path, wanted)

    items = [(draw.randrange(len(good)), draw.randrange(1, 256)) for _ in range(count)]
    results = list(in_children(flip, items))
    unused = unused_bytes(good)
    found = collections.Counter()
    for (place, _), (kind, text) in zip(items, results, strict=True):
        if kind == "harmless" and place in unused:
            kind = "in unused bytes"
        if kind in ("refused", "found") and not any(word in text for word in ("bytes ", "byte ", "cut off", "not a store")):
            kind = "place not named"
        found[kind] += 1
    return found, results


def unused_bytes(content):
    """Bytes on which nothing depends: between the HDF5 content and the trailer, after it, and where patches replace them."""
    superblocks, _ = layout.decode_header(content[: layout.HEADER_SIZE])
    superblock = max(superblocks)
    _, patches = layout.decode_trailer(content[superblock.trailer_at : superblock.trailer_end])
    patched = (range(patch.offset, patch.offset + len(patch.content)) for patch in patches)
    return set().union(range(superblock.hdf5_end, superblock.trailer_at), range(superblock.trailer_end, len(content)), *patched)


# Mutations. Each takes a random.Random, the content of a good store and a path to write to.


def overwrite(draw, content, path, *, low=0):
    """Some short runs of bytes become others."""
    damaged = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8, 100])):
        size = draw.choice([1, 2, 4, 8, 64])
        place = draw.randrange(low, len(damaged) - size)
        damaged[place : place + size] = draw.choice([draw.randbytes(size), bytes(size), b"\xff" * size])
    path.write_bytes(damaged)


def cut(draw, content, path):
    """The end is missing, or there is more than there was."""
    path.write_bytes(content[: draw.randrange(len(content))] if draw.random() < 0.7 else content + draw.randbytes(100))


def move(draw, content, path):
    """A block is doubled, taken out, or swapped with another."""
    a, b = sorted(draw.randrange(len(content)) for _ in range(2))
    path.write_bytes(draw.choice([content[:b] + content[a:], content[:a] + content[b:], content[b:] + content[:b]]))


def replace_header(draw, content, path):
    """Superblocks say something else, with the right checksum."""
    superblocks, _ = layout.decode_header(content[: layout.HEADER_SIZE])
    fields = list(max(superblocks))
    fields[draw.randrange(5)] = draw.choice(
        [0, 1, 4095, len(content), 2**31, 2**32 - 1, 2**63, 2**64 - 1, draw.randrange(2**17)]
    )
    fields[4] %= 2**32
    superblock = layout.Superblock(*fields)
    path.write_bytes(
        layout.encode_header((superblock, superblock if draw.random() < 0.5 else superblocks[0]))
        + content[layout.HEADER_SIZE :]
    )


def replace_trailer(draw, content, path):
    """A trailer of nonsense, with the right checksum."""
    import zlib

    superblocks, _ = layout.decode_header(content[: layout.HEADER_SIZE])
    superblock = max(superblocks)
    trailer = bytearray(content[superblock.trailer_at : superblock.trailer_end])
    for _ in range(draw.choice([1, 2, 5])):
        trailer[draw.randrange(min(len(trailer), draw.choice([24, 10**6])))] = draw.randrange(256)
    superblock = superblock._replace(trailer_crc=zlib.crc32(trailer))
    path.write_bytes(
        layout.encode_header((superblock, superblock)) + content[layout.HEADER_SIZE : superblock.trailer_at] + trailer
    )


def with_container(draw, content, path):
    """The HDF5 content is changed, and all checksums of the container are right: HDF5 meets the damage."""
    superblocks, _ = layout.decode_header(content[: layout.HEADER_SIZE])
    overwrite(draw, content[: max(superblocks).hdf5_end], path, low=layout.HEADER_SIZE)
    write_container(path)


def rewritten(draw, content, path):
    """HDF5's own objects are changed, and all checksums are right."""
    path.write_bytes(content)
    with changing(path) as file:
        for _ in range(draw.choice([1, 1, 3])):
            draw.choice([_change_attribute, _change_dataset, _change_values, _change_commits])(draw, file)


def closed_by_hdf5(draw, content, path):
    """Plain HDF5 changed the file, and some bytes flip later."""
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "mine"
    damaged = bytearray(path.read_bytes())
    for _ in range(draw.choice([0, 1, 1, 1, 5])):
        damaged[draw.randrange(len(damaged))] ^= draw.randrange(1, 256)
    path.write_bytes(damaged)


def _value(draw):
    return draw.choice(
        [0, -1, 1.5, "", "x", "2.0", "1.9", "nan", "[]", "{}", b"\xff", np.zeros(3), np.array([b"a"]), 2**63 - 1, np.nan,
         '{"software": {}}', "[" * 10**5, h5py.Empty("f8"), np.array(["a", "b"], object)]
    )  # fmt: skip


def _change_attribute(draw, file):
    holder = draw.choice([file, file["network"]])
    if len(holder.attrs):
        name = draw.choice(sorted(holder.attrs))
        del holder.attrs[name]
        if draw.random() < 0.8:
            holder.attrs[name] = _value(draw)


def _paths(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(found)


def _change_dataset(draw, file):
    name = draw.choice(_paths(file))
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    kind = draw.randrange(6)
    if kind == 0:
        file[name] = _value(draw)
    elif kind == 1:
        file.create_group(name)
    elif kind == 2:
        file.create_dataset(
            name, shape, draw.choice(["<f4", ">f8", "|S3", "<i2", "?"]), chunks=True if all(shape) and shape else None
        )
    elif kind == 3:
        file.create_dataset(name, (2**40,) + shape[1:], dtype, chunks=(1,) + tuple(max(1, n) for n in shape[1:]))
    elif kind == 4:
        file[name] = h5py.SoftLink(draw.choice(["/network/op", "/nowhere", f"/{name}"]))


def _change_values(draw, file):
    stored = file[draw.choice(_paths(file))]
    if stored.shape and stored.size and stored.dtype.kind in "if":
        row = draw.randrange(len(stored))
        stored[row] = (
            draw.choice([0, -1, 2**62, -(2**63), 3]) if stored.dtype.kind == "i" else draw.choice([np.nan, np.inf, -1.0])
        )
        if stored.maxshape[0] is None and draw.random() < 0.3:
            stored.resize(draw.choice([0, 1, len(stored) // 2, len(stored) + 10**4]), axis=0)


def _change_commits(draw, file):
    if "commits" not in file or not isinstance(file["commits"], h5py.Dataset) or file["commits"].dtype != schema.COMMIT:
        return
    if not len(file["commits"]):
        return
    number = draw.randrange(len(file["commits"]))
    row = file["commits"][number]
    if draw.random() < 0.5:
        row[draw.choice(["first", "last"])][draw.randrange(8)] = draw.choice([0, -1, 2**62, -(2**63), draw.randrange(200)])
    else:
        row["kind"] = draw.choice([b"", b"planes", b"lines", b"\xff\xfe", b"measures"])
    file["commits"][number] = row


MUTATIONS = (overwrite, cut, move, replace_header, replace_trailer, with_container, rewritten, closed_by_hdf5)


def fuzz(seconds, seed, folder, *, at_most=10**9):
    """Mutate small stores for some CPU seconds: Counter of outcomes by mutation, and the texts of what must not be."""
    draw, path = random.Random(seed), folder / "mutated.h5"
    stores = []
    for stopped in (False, True):
        make_store(path, stopped=stopped)
        stores.append((path.read_bytes(), read_all(path)[0]))

    def attempt(number):
        generator = random.Random(number)
        content, wanted = generator.choice(stores)
        mutation = generator.choice(MUTATIONS)
        if not _made(mutation, generator, content, path):
            return f"{mutation.__name__}: not made", ""
        kind, text = outcome(path, wanted)
        return f"{mutation.__name__}: {kind}", text

    found, bad, began, done = collections.Counter(), [], time.process_time() + _child_seconds(), 0
    while time.process_time() + _child_seconds() - began < seconds and done < at_most:
        numbers = [draw.randrange(2**60) for _ in range(PER_CHILD)]
        for number, (kind, text) in zip(numbers, in_children(attempt, numbers), strict=True):
            found[kind] += 1
            if "wrong error" in kind or "crash" in kind:
                bad.append((number, kind, text))
            if "passed as good" in kind and not kind.startswith(("rewritten", "with_container")):
                bad.append((number, kind, text))
        done += len(numbers)
    return found, bad


def _made(mutation, draw, content, path):
    """Make a mutated store in a child process: after a failed write, HDF5 is not in a state to read."""
    process = os.fork()
    if process == 0:
        try:
            mutation(draw, content, path)
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(process, 0)[1] == 0


def _child_seconds():
    times = os.times()
    return times.children_user + times.children_system


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["flips", "fuzz"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "flips":
            for stopped in (False, True):
                found, results = flips(options.count, options.seed, Path(folder), stopped=stopped)
                size = (Path(folder) / "flipped.h5").stat().st_size
                print(f"{options.count} flips in {size} bytes of a store whose writer was {'killed' if stopped else 'closed'}: "
                      + ", ".join(f"{kind} {n}" for kind, n in sorted(found.items())))  # fmt: skip
                for kind in ("wrong error", "passed as good", "missed by verify", "crash"):
                    print(*[text for name, text in results if name == kind][:3], sep="\n", end="")
            return
        found, bad = fuzz(options.seconds, options.seed, Path(folder))
    for kind, n in sorted(found.items()):
        print(f"{kind:<40} {n}")
    print(f"{sum(found.values())} mutated stores; {len(bad)} that must not be")
    for number, kind, text in bad[:10]:
        print(number, kind, text)


if __name__ == "__main__":
    sys.exit(main())
