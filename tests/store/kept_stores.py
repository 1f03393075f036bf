"""Stores of released format versions, which every later pwlnet must read: how they were made, and what is in them.

``tests/store/kept/format_1_0.h5.gz`` holds results of all kinds, ``network_1_0.h5.gz`` a network only, and ``format_1_0.json``
what must be read from both. They are never made again: a test compares their checksums. A new version of the format gets files
of its own: set ``schema.VERSION``, run ``python -m tests.store.kept_stores`` (it refuses to replace files), and add the printed
checksums to ``test_kept_stores.py``.
"""

import gzip
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import pwlnet
from pwlnet import store
from pwlnet.analysis.attribution import integrate_gradients
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.partition.regions.enumerating import WANTS
from pwlnet.store import schema
from pwlnet.store.digest import digest_arrays
from pwlnet.store.region_appending import block_of, header_of
from tests.smoothing.made import make_certificates

FOLDER = Path(__file__).parent / "kept"
VERSION = "_".join(str(n) for n in schema.VERSION)


def made_network():
    """A network of 4 inputs with every kind of op, whose weights are multiples of 1/4."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return rng.integers(-4, 5, shape) / 4.0

    graph = Graph((1, 1, 2, 2), batched=True)
    x = graph.conv(graph.input, weights(2, 1, 2, 2), weights(2), padding=(1, 1, 1, 1), name="conv.ü")
    x = graph.leaky_relu(x, 0.25, name="leaky")
    x = graph.add(x, graph.clip(graph.conv(x, weights(2, 2, 1, 1), name="one"), -1.0, 1.0, name="clip"), name="residual")
    x = graph.concat([graph.max_pool(x, 2, stride=1, name="max_pool"), graph.avg_pool(x, 2, stride=1, name="mean")],
                     axis=1, name="concat")  # fmt: skip
    x = graph.scale_shift(x, weights(4, 1, 1) + 2.0, weights(4, 1, 1), name="scale")
    x = graph.reshape(x, (1, -1), name="flatten")
    x = graph.relu(graph.linear(x, weights(6, x.size), weights(6), name="full"), name="relu")
    graph.output = graph.linear(x, weights(3, 6), weights(3), name="outputs")
    return lower(graph)


def made_points(n):
    """Points with few digits, in [-1, 1]."""
    return np.random.default_rng(1).integers(-64, 65, (n, 4)) / 64.0


def write(path):
    """Write results of all kinds, in several batches each."""
    network, points = made_network(), made_points(12)
    settings = {"parameters": {"columns": ["first", "second"]}, "seeds": {"points": 1}}
    half = np.array([0.5, 0.5, 0.0, 0.0])
    with store.create(path, network, **settings) as writer:
        writer.append_lines(pwlnet.partition_lines(network, points[:3], points[3:6]))
        writer.append_lines(pwlnet.partition_lines(network, points[6:7], points[7:8]))
        found = integrate_gradients(network, points[:2], points[2:4])
        rows = {"baselines": points[:2], "inputs": points[2:4], "values": found.values.reshape(2, -1, 4)}
        rows |= {"residual": found.residual.reshape(2, -1), "n_segments": np.array([5, 6])}
        writer.append("attributions", rows)
        writer.append("measures", {"values": np.array([[0.5, np.nan], [-0.0, 3.0]])})
        triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        writer.append_planes(pwlnet.partition_planes(network, points[0], np.eye(4)[0], np.eye(4)[3], triangle))
        box = pwlnet.Box.around(points[:2], 0.25)
        writer.append_float_sets(pwlnet.find_float_neurons(network, box, method="crown"), box, items=[4, 7])
        writer.append_certificates(make_certificates(3), points[:3], labels=np.array([0, 1, -1]))
        for shift in (0.0, 0.5):
            regions = pwlnet.enumerate_regions(network, points[0] + shift - half, points[0] + shift + half, want=WANTS)
            block = block_of(regions)
            blocks = ((block[k : k + 5], None) for k in range(0, len(block), 5))
            store.append_regions(writer, header_of(regions), blocks, rows=5)
            store.finish_regions(writer, complete=regions.complete, certified=regions.certified)


def described(path):
    """What is in a store, as JSON: digests, the table of batches, rows of each kind, and the digest of each dataset."""
    with store.open(path) as opened:
        content = {"format_version": opened.format_version, "digest": opened.digest(), "network": opened.network_digest}
        content["outputs"] = opened.network.forward(made_points(3)).tolist()
        content["names"] = list(opened.network.names)
        content["batches"] = [[row["kind"].decode(), row["sha256"].decode()] for row in opened.commits]
        content["datasets"] = {}
        for name, kind in schema.KINDS.items():
            rows = opened.read(name) | (opened.read(name, derived=True) if kind.derived else {})
            for dataset in kind.stored:
                array = rows[dataset.field]
                content["datasets"][dataset.path] = [list(array.shape), digest_arrays([(dataset.path, array)])]
        content["provenance"] = {key: opened.provenance[key] for key in ("parameters", "seeds")}
    return content


def main():
    """Write the files of the current version of the format, unless they are there."""
    FOLDER.mkdir(exist_ok=True)
    kept = FOLDER / f"format_{VERSION}.json"
    if kept.exists():
        sys.exit(f"{kept.name} is there already; files of a released version are never made again")
    with tempfile.TemporaryDirectory() as scratch:
        path, network = Path(scratch, f"format_{VERSION}.h5"), Path(scratch, f"network_{VERSION}.h5")
        write(path)
        made_network().save(network)
        kept.write_text(json.dumps(described(path), indent=1, ensure_ascii=False) + "\n")
        for file in (path, network):
            content = file.read_bytes()
            (FOLDER / f"{file.name}.gz").write_bytes(gzip.compress(content, mtime=0))
            print(file.name, len(content), hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main()
