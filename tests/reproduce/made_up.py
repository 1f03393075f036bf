"""Measures with known numbers, for tests of tables."""

from pathlib import Path

import numpy as np

from pwlnet.reproduce.experiment import Measured, Options
from pwlnet.reproduce.perturbed_lines import PARAMETERS

OPTIONS = Options(4, 0, None, PARAMETERS)
KINDS = ((0, 0), (0, 1), (0, 2), (0, 2), (1, 0), (1, 2), (1, 2))  # rule, direction


def made_up(columns, training, numbers, *, left_out=()):
    """Make a Measured with the lines of KINDS for each image.

    ``numbers(image, rule, direction)`` gives columns by name, the others are 0; images of ``left_out`` have a row of NaN.
    """
    rows = []
    for image in range(4):
        if image in left_out:
            rows.append([float(image), *[np.nan] * (len(columns) - 1)])
            continue
        for rule, direction in KINDS:
            row = {"image": image, "rule": rule, "direction": direction, **numbers(image, rule, direction)}
            rows.append([float(row.get(name, 0.0)) for name in columns])
    return Measured(
        f"digits_conv_{training}", f"a network, {training}", training, "digits", columns, np.array(rows), Path("no")
    )
