"""docs/reproduce.md names every experiment and every network, and nothing else."""

import re
from pathlib import Path

from pwlnet.reproduce import EXPERIMENTS, subjects

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reproduce.md").read_text()


def test_the_page_names_every_experiment():
    assert re.findall(r"^\| `([a-z-]+)` \| ", PAGE, re.MULTILINE) == list(EXPERIMENTS)


def test_the_page_names_every_network():
    rows = re.findall(r"^\| (`\w+_conv.*?) \|", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(subjects.SUBJECTS)
