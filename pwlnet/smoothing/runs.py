"""Certification of many images into a log, image by image, so that an interrupted run continues.

Legend: B images, S shape of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import ArrayLike, IntArray, PathLike
from ..errors import ShapeError
from .logs import CertificationLog, LogWriter, read_log
from .plans import progress_bar

if TYPE_CHECKING:
    from .classifier import SmoothedClassifier


def certify_to_log(
    smoothed: SmoothedClassifier,
    x: ArrayLike,
    labels: Sequence[int] | IntArray,
    path: PathLike,
    *,
    images: ArrayLike | None = None,
    resume: bool = False,
    digits: int | None = None,
    progress: bool = False,
    **options: Any,
) -> CertificationLog:
    """Certify images, and write each into a log in the published format as soon as it is finished.

    Estimate: as ``SmoothedClassifier.certify``. The noise of an image depends on its number only, so that an interrupted and
    resumed run gives the same lines as an uninterrupted one.

    Parameters
    ----------
    smoothed : SmoothedClassifier
    x : float64[B, *S]
    labels : int64[B]
        True classes.
    path : str or path
    images : int64[B], optional
        Numbers of the images in their data set; 0 to B - 1 by default. A subset has a stride.
    resume : bool, optional
        Continue a log that exists, with the same settings. By default that is refused.
    digits : int, optional
        Round radii down to this number of decimals; the published logs have three.
    progress : bool, optional
        Show a progress bar with the time left on stderr.
    **options
        ``n0``, ``n``, ``alpha``, ``rng``, ``batch_size``, ``method``, ``radius``, ``max_loss`` of ``certify``.

    Returns
    -------
    CertificationLog

    Raises
    ------
    ShapeError, InputError
        Images of another shape, not one label and number for each, or a bad number.
    StoreError
        The log exists, or can't be written. DigestMismatchError: it was made with other settings.
    """
    points, _ = smoothed._as_images(np.asarray(x))
    numbers = np.arange(len(points)) if images is None else np.asarray(images)
    if len(labels) != len(points) or len(numbers) != len(points):
        raise ShapeError(f"there are {len(points)} images, {len(labels)} labels and {len(numbers)} numbers; give one for each")
    plan = smoothed.plan(**options)
    with (
        LogWriter(path, plan.settings(), resume=resume, digits=digits) as writer,
        progress_bar(progress, len(points)) as bar,
    ):
        new = np.array([k for k, number in enumerate(numbers.tolist()) if number not in writer.done], np.int64)
        bar.update(len(points) - len(new))
        for k, certificate in zip(new, plan.certify(points[new], numbers[new]), strict=True):
            writer.append(int(labels[k]), certificate)
            bar.update()
    return read_log(path)
