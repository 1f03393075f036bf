"""The demonstration, small: its files, its table, and that a second run gives the same."""

import numpy as np
import pytest

import pwlnet
from pwlnet import demo, store
from pwlnet.demo import lines as demo_lines
from pwlnet.demo import trainings

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "new"
    demo.run(folder, n_lines=4, n_images=6)
    return folder


def test_it_leaves_a_store_per_network_and_figures(folder):
    lines = dict.fromkeys(demo_lines.NETWORKS, 5) | {f"digits_conv_{name}": 12 for name in trainings.TRAININGS}
    figures = ["digits_attributions.png", "digits_line.png", "pendulum_regions.png"]
    stores = [f"{name}.h5" for name in (*lines, "pendulum")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*stores, *figures])
    with store.open(folder / "pendulum.h5") as opened:
        assert opened.verify() == []
    for name, n_lines in lines.items():
        with store.open(folder / f"{name}.h5") as opened:
            assert opened.n_lines == n_lines
            assert opened.verify() == []
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in figures)


def test_stores_of_the_trainings_hold_exact_attributions(folder):
    for name in trainings.TRAININGS:
        network = pwlnet.load_network(pwlnet.datasets.digits_network_path(f"digits_conv_{name}"))
        with store.open(folder / f"digits_conv_{name}.h5") as opened:
            rows = opened.read("attributions")
        change = network.forward(rows["inputs"]) - network.forward(rows["baselines"])
        np.testing.assert_allclose(rows["values"].sum(axis=2), change, rtol=0, atol=1e-12 * np.abs(change).max())


def test_lines_of_the_trainings_end_in_the_image_box_a_step_away():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_conv_pgd"))
    images, labels = pwlnet.datasets.digits_images()
    points = images[:5].reshape(5, -1)
    ends = trainings.perturbed(network, points, labels[:5])
    assert ends.shape == (10, 64) and ends.min() >= 0.0 and ends.max() <= 1.0
    assert np.abs(ends - np.concatenate([points, points])).max() <= trainings.EPSILON + 1e-15
    target = (labels[:5] + 1) % 10
    rise = network.forward(ends[:5])[np.arange(5), target] - network.forward(points)[np.arange(5), target]
    assert (rise > 0).all()


def test_a_second_run_says_the_same_and_replaces_the_files(folder, capsys):
    before = store.load_lines(folder / "digits_mlp.h5").t
    demo.run(folder, n_lines=4, n_images=6)
    out = capsys.readouterr().out
    np.testing.assert_array_equal(store.load_lines(folder / "digits_mlp.h5").t, before)
    rows = [line.split() for line in out.splitlines() if line.startswith("digits_") and ":" not in line]
    assert [row[:3] for row in rows] == [["digits_mlp", "384", "5"], ["digits_conv", "1600", "5"]]
    assert all(f"\n{title} " in out for title in trainings.TITLES.values())
    assert out.count("verified") == 6


def test_lines_join_images_of_different_classes_and_then_start_at_black():
    starts, ends = demo_lines.draw_lines(8)
    images, labels = pwlnet.datasets.digits_images()
    number = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert len(starts) == len(ends) == 10
    assert all(number[a.tobytes()] != number[b.tobytes()] for a, b in zip(starts[:8], ends[:8], strict=True))
    assert not starts[8:].any()
    assert all(end.tobytes() in number for end in ends)


def test_missed_segments_are_those_without_a_sample():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    lines = pwlnet.partition_lines(network, *demo_lines.draw_lines(3))
    samples = np.linspace(0, 1, 101)
    hit = [((p.t[:-1, None] <= samples) & (samples <= p.t[1:, None])).any(axis=1) for p in lines.parts]
    missed = sum(int((~h).sum()) for h in hit)
    assert 0 < missed == demo_lines.count_missed(lines, 101)
