"""The graph of the ops of a network: who reads whom, which ops have neurons, and whose neuron is which."""

import pickle

import numpy as np

from pwlnet.kernels.ir import program as ir
from pwlnet.op_graph import make_op_graph
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.drawn import draw


def networks():
    return [toy_network(), *(draw(seed)[1] for seed in range(few(40, 10)))]


def test_readers_are_the_inverse_of_operands():
    for network in networks():
        graph, n = network.op_graph, len(network.program.op)
        pairs = {(int(j), i) for i in range(n) for j in graph.operands[i]}
        assert pairs == {(j, int(i)) for j in range(n) for i in graph.readers[j]}
        assert all(np.array_equal(readers, np.unique(readers)) for readers in graph.readers)


def test_neurons_belong_to_the_switching_ops_in_order():
    for network in networks():
        graph, program = network.op_graph, network.program
        assert np.array_equal(graph.is_switching, program.op >= ir.FIRST_SWITCHING)
        assert np.array_equal(graph.switching, np.flatnonzero(graph.is_switching))
        assert np.array_equal(graph.neuron_counts, np.diff(program.neuron_offsets)[graph.switching])
        expected = np.repeat(np.arange(len(program.op)), np.diff(program.neuron_offsets))
        neurons = np.arange(network.n_neurons)
        assert np.array_equal(graph.op_of(neurons), expected)
        assert np.array_equal(graph.switching[graph.switching_index(neurons)], expected)
        assert np.array_equal(graph.neuron_starts, np.unique(program.neuron_offsets))


def test_the_graph_is_made_once_read_only_and_not_pickled():
    network = toy_network()
    assert network.op_graph is network.op_graph
    assert not any(array.flags.writeable for array in (*network.op_graph.operands, *network.op_graph[2:]))
    assert "op_graph" not in vars(pickle.loads(pickle.dumps(network)))


def test_a_network_without_neurons_has_no_switching_ops():
    program = toy_network().program
    empty = program._replace(op=np.minimum(program.op, ir.ADD), neuron_offsets=np.zeros_like(program.neuron_offsets))
    graph = make_op_graph(empty)
    assert graph.switching.size == graph.neuron_counts.size == 0
    assert graph.neuron_starts.tolist() == [0]
