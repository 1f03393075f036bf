"""Control networks and their slices: coordinates, constants, files, and the conventions of the public networks."""

import numpy as np
import pytest

from pwlnet import datasets
from pwlnet.reproduce import slices, subjects

pytest.importorskip("onnx")


def loaded(key):
    """Load a subject, or skip the test."""
    missing = subjects.choose([key])[1]
    if missing:
        pytest.skip(missing[key])
    return subjects.load(key)


def test_there_are_45_and_40_public_networks_and_a_shipped_one():
    names = [key.split("_")[0] for key in subjects.SLICES]
    assert [names.count(family) for family in slices.FAMILIES] == [1, 45, 40]
    assert [subject.key for subject in slices.ALL if not subject.files()] == ["control_pendulum"]


def test_all_public_files_are_in_the_fetch_table():
    files = {file for subject in slices.ALL for file in subject.files()}
    assert len(files) == 85
    assert files <= set(datasets.names())


def test_points_have_the_coordinates_first_and_then_the_constants_of_the_slice():
    subject = slices.Slices("k", "t", "standard", "acas", None, slices.ACAS, np.array([[0, 0, 1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(subject.points(0, np.array([[7.0, 8.0]])), [[7.0, 8.0, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(subject.directions, np.eye(5)[:2])
    np.testing.assert_array_equal(subject.polygon[[0, 2]], [slices.ACAS.lower, slices.ACAS.upper])


def test_the_advisory_is_the_smallest_or_the_largest_output():
    outputs = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    for family, expected in ((slices.ACAS, [1, 0]), (slices.HCAS, [0, 1])):
        subject = slices.Slices("k", "t", "standard", family.name, None, family, np.zeros((1, 2)))
        assert subject.advisory(outputs).tolist() == expected


@pytest.mark.parametrize("key", ["acas_1_1", "hcas_0_00"])
def test_ranges_are_those_of_the_header_of_the_file(key):
    subject = loaded(key)
    (name,) = subjects.SUBJECTS[key].files()
    lines = [line for line in datasets.fetch(name).read_text().splitlines() if not line.startswith("//")]
    lower, upper = (np.array([float(word) for word in line.strip(",").split(",")]) for line in lines[3:5])
    np.testing.assert_allclose([subject.family.lower, subject.family.upper], [lower[:2], upper[:2]], rtol=0, atol=1e-6)
    assert ((subject.images >= lower - 1e-6) & (subject.images <= upper + 1e-6)).all()


@pytest.mark.parametrize("key", ["acas_1_1", "hcas_0_00"])
def test_an_intruder_far_behind_on_the_opposite_heading_is_no_conflict_and_one_ahead_is(key):
    subject = loaded(key)
    behind, ahead = ([40000.0, 3.1], [8000.0, 0.0]) if subject.family.polar else ([-40000.0, 0.0], [8000.0, 0.0])
    advisories = subject.advisory(subject.network.forward(subject.points(0, np.array([behind, ahead]))))
    assert advisories[0] == 0
    assert advisories[1] != 0
