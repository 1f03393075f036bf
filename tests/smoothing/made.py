"""Certificates with chosen numbers, without certifying anything."""

import numpy as np

from pwlnet.smoothing.certificates import Certificate, Certificates

_ONE = {"label": 3, "radius": 0.2, "p_low": 0.98, "k": 990, "n": 1000, "alpha": 0.001, "guarantee": "sound"}
_ONE |= {"r_region": float("nan"), "seed": 5, "sigma": 0.25}


def one(**changes):
    """A certificate of class 3 with radius 0.2, which its votes allow."""
    return Certificate(**{**_ONE, **changes})


def make_certificates(n, **changes):
    """Certificates of n images; each third one abstains."""
    abstains = np.arange(n) % 3 == 2
    columns = {
        "label": np.where(abstains, -1, np.arange(n) % 10),
        "radius": np.where(abstains, 0.0, 0.1 + 0.01 * np.arange(n)),
        "p_low": np.where(abstains, 0.4, 0.98),
        "r_region": np.where(abstains, np.nan, 0.05),
        "image": 20 * np.arange(n),
        "seconds": 0.5 + np.arange(n),
    }
    return Certificates(**{**_ONE, **columns, **changes})
