"""The main jobs on what comes with pwlnet: lines through two networks, and three trainings of one.

pwlnet demo --out demo_output
"""

from pathlib import Path

from . import lines, trainings

__all__ = ["run"]


def run(out, *, n_lines=200, n_images=100):
    """Partition lines, compare networks of different training, attribute; print, store, verify and draw the results.

    Replaces what an earlier run left in the folder.

    Parameters
    ----------
    out : path
        Folder for the files; made where it is missing.
    n_lines : int, optional
        Lines between images of different classes; a quarter as many start at the black image.
    n_images : int, optional
        Images around which the trainings are compared.

    Raises
    ------
    StoreError
        The folder can't be written.
    ImportError
        onnx or matplotlib is not installed.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    lines.show(out, n_lines)
    print()
    trainings.show(out, n_images)
