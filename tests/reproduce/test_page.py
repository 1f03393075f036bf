"""docs/reports/reproduce.md names every experiment and every network, and nothing else."""

import re
from pathlib import Path

from pwlnet.reproduce import EXPERIMENTS, subjects

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reports" / "reproduce.md").read_text()


def test_the_page_names_every_experiment():
    assert re.findall(r"^\| `([a-z-]+)` \| ", PAGE, re.MULTILINE) == list(EXPERIMENTS)


def test_the_page_names_every_network():
    """Those of a numbered family by the first and the last one."""
    rows = re.findall(r"^\| (`(?:\w+_conv|digits_mlp|mnist_|cifar10_|control_|acas_|hcas_).*?) \|", PAGE, re.MULTILINE)
    families = [[key for key in subjects.SLICES if key.startswith(name)] for name in ("acas", "hcas")]
    ends = [key for family in families for key in (family[0], family[-1])]
    images = [key for key in subjects.SUBJECTS if key not in subjects.SLICES]
    assert re.findall(r"`(\w+)`", " ".join(rows)) == [*images, "control_pendulum", *ends]
