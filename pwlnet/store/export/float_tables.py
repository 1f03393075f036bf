"""Read fixed and float neurons as flat columns: a row per set and layer, or per set and neuron, a bounded number at a time."""

import numpy as np

from ...float_sets import unpack_masks
from .. import schema

FIELDS = {dataset.field: dataset for dataset in schema.FLOAT_SETS.stored}


def layer_chunks(store, first, last, rows):
    """Yield chunks with a row per set and layer: neurons, float ones (least, most), and shares of the layer."""
    sizes = store.network.op_graph.neuron_counts
    names = ("layer_lower", "layer_upper", "layer_always_on")
    for low, high in _blocks(first, last, max(1, rows // max(1, len(sizes)))):
        lower, upper, on = (store.read_rows(FIELDS[name], low, high).ravel() for name in names)
        neurons = np.tile(sizes, high - low)
        yield {
            "set": np.repeat(np.arange(low, high), len(sizes)), "layer": np.tile(np.arange(len(sizes)), high - low),
            "neurons": neurons, "lower": lower, "upper": upper, "always_on": on, "always_off": neurons - upper - on,
            "lower_share": lower / neurons, "upper_share": upper / neurons,
        }  # fmt: skip


def neuron_chunks(store, first, last, rows):
    """Yield chunks with a row per set and neuron: layer, masks as 0 or 1, and shares if the store has them."""
    k, graph = store.network.n_neurons, store.network.op_graph
    layers = np.repeat(np.arange(len(graph.neuron_counts)), graph.neuron_counts)
    for low, high in _blocks(first, last, max(1, rows // max(1, k))):
        n = high - low
        columns = {"set": np.repeat(np.arange(low, high), k), "neuron": np.tile(np.arange(k), n), "layer": np.tile(layers, n)}
        for name in ("lower", "upper", "always_on"):
            columns[name] = unpack_masks(store.read_rows(FIELDS[name], low, high), k).ravel().astype(np.int8)
        for name in ("active_share", "minority_share"):
            values = store.read_rows(FIELDS[f"{name}s"], low, high)
            columns |= {name: values.ravel()} if values.shape[1] else {}
        yield columns


def _blocks(first, last, size):
    """Split a range into blocks; at least one, which may be empty."""
    starts = range(first, max(last, first + 1), size)
    return [(low, min(low + size, last)) for low in starts]
