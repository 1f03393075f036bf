"""The demonstration, small: its files, its table, and that a second run gives the same."""

import numpy as np
import pytest

import pwlnet
from pwlnet import demo, store

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "new"
    demo.run(folder, n_lines=4)
    return folder


def test_it_leaves_a_store_per_network_and_a_figure(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["digits_conv.h5", "digits_line.png", "digits_mlp.h5"]
    for name in demo.NETWORKS:
        with store.open(folder / f"{name}.h5") as opened:
            assert opened.n_lines == 5
            assert opened.verify() == []
    assert (folder / "digits_line.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_says_the_same_and_replaces_the_files(folder, capsys):
    before = store.load_lines(folder / "digits_mlp.h5").t
    demo.run(folder, n_lines=4)
    out = capsys.readouterr().out
    np.testing.assert_array_equal(store.load_lines(folder / "digits_mlp.h5").t, before)
    rows = [line.split() for line in out.splitlines() if line.startswith("digits_") and ":" not in line]
    assert [row[:3] for row in rows] == [["digits_mlp", "384", "5"], ["digits_conv", "1600", "5"]]
    assert out.count("verified") == 2


def test_lines_join_images_of_different_classes_and_then_start_at_black():
    starts, ends = demo.draw_lines(8)
    images, labels = pwlnet.datasets.digits_images()
    number = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert len(starts) == len(ends) == 10
    assert all(number[a.tobytes()] != number[b.tobytes()] for a, b in zip(starts[:8], ends[:8], strict=True))
    assert not starts[8:].any()
    assert all(end.tobytes() in number for end in ends)


def test_missed_segments_are_those_without_a_sample():
    network = pwlnet.load_network(pwlnet.datasets.digits_network("digits_mlp"))
    lines = pwlnet.partition_lines(network, *demo.draw_lines(3))
    samples = np.linspace(0, 1, 101)
    hit = [((p.t[:-1, None] <= samples) & (samples <= p.t[1:, None])).any(axis=1) for p in lines.parts]
    missed = sum(int((~h).sum()) for h in hit)
    assert 0 < missed == demo.count_missed(lines, 101)
