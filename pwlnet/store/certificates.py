"""Certificates of randomized smoothing as arrays of the store and back.

Legend: as in ``schema.py``; B certificates.
"""

import numpy as np

from ..errors import InputError, ShapeError
from ..validation import check_choice
from . import schema

_FIELDS = {  # of the store, by the names of Certificates; guarantee and method are numbers
    "label": "labels",
    "radius": "radii",
    "p_low": "p_low",
    "k": "k",
    "n": "n",
    "alpha": "alpha",
    "r_region": "r_region",
    "seed": "seeds",
    "sigma": "sigma",
    "n0": "n0",
    "image": "items",
    "candidate": "candidates",
    "seconds": "seconds",
}


def certificates_to_arrays(network, certificates, inputs=None, *, labels=None):
    """Return the arrays of certificates.

    Parameters
    ----------
    network : Network
    certificates : Certificates or Certificate
    inputs : float64[B, D] or float64[B, *input_shape], optional
    labels : int64[B], optional
        True classes; -1: not known.

    Returns
    -------
    dict of str to ndarray
        Of ``schema.CERTIFICATES.datasets``, by field.

    Raises
    ------
    ShapeError
        There is not one input, or label, for each certificate.
    InputError
        These are no certificates, or the labels are not integers.
    """
    from ..smoothing.certificates import Certificate, Certificates

    if isinstance(certificates, Certificate):
        certificates = Certificates.from_list([certificates])
    if not isinstance(certificates, Certificates):
        raise InputError(f"certificates is a {type(certificates).__name__}; give Certificates or a Certificate")
    n = len(certificates)
    arrays = {field: getattr(certificates, name) for name, field in _FIELDS.items()}
    arrays["inputs"] = np.full((n, network.n_inputs), np.nan)
    if inputs is not None:
        arrays["inputs"] = network.as_points(inputs, "inputs")
    labels = np.full(n, -1) if labels is None else np.atleast_1d(np.asarray(labels))
    if labels.dtype.kind not in "iu" and labels.size:
        raise InputError(f"labels have dtype {labels.dtype}; integers are needed, -1 where the class is not known")
    arrays["true_labels"] = labels.astype(np.int64)
    for name in ("inputs", "labels"):
        rows = arrays["true_labels" if name == "labels" else name]
        if len(rows) != n or (name == "labels" and rows.ndim != 1):
            raise ShapeError(f"{name} has shape {rows.shape}, but there are {n} certificates; give one for each")
    arrays["guarantees"] = np.full(n, schema.GUARANTEES.index(certificates.guarantee), np.int64)
    numbers = {name: number for number, name in enumerate(schema.CERTIFICATE_METHODS)}
    arrays["methods"] = np.array([numbers[name] for name in certificates.method.tolist()], np.int64)
    return arrays


def certificates_from_arrays(arrays, guarantee=None):
    """Build the certificates that arrays hold; inverse of ``certificates_to_arrays``, without inputs and true classes.

    Parameters
    ----------
    arrays : dict of str to ndarray
    guarantee : str, optional
        Only rows with this one.

    Returns
    -------
    Certificates

    Raises
    ------
    InputError
        The rows have different guarantees, and none was chosen.
    """
    from ..smoothing.certificates import Certificates

    rows = rows_with_guarantee(arrays["guarantees"], guarantee)
    numbers = arrays["guarantees"][rows]
    guarantee = schema.GUARANTEES[numbers[0]] if len(numbers) else guarantee or schema.GUARANTEES[0]
    columns = {name: arrays[field][rows] for name, field in _FIELDS.items()}
    methods = np.array(schema.CERTIFICATE_METHODS)[arrays["methods"][rows]]
    return Certificates(guarantee=guarantee, method=methods, **columns)


def rows_with_guarantee(numbers, guarantee=None):
    """Select rows by their guarantee; without a choice, refuse rows with different ones: bool[B] or a slice of all."""
    if guarantee is not None:
        return numbers == schema.GUARANTEES.index(check_choice(guarantee, schema.GUARANTEES, "guarantee"))
    different = [schema.GUARANTEES[number] for number in np.unique(numbers)]
    if len(different) > 1:
        raise InputError(
            f"the rows have the guarantees {', '.join(different)}, which must not be mixed; read those of one at a time, "
            f"such as guarantee={different[0]!r}"
        )
    return slice(None)


def correct_rows(arrays):
    """Compute the derived dataset: int64[B], 1 correct, 0 wrong or abstained, -1 where the true class is not known."""
    true, label = arrays["true_labels"], arrays["labels"]
    return np.where(true == -1, -1, (label == true).astype(np.int64))


def certificates_problem(arrays):
    """Describe what is inconsistent in a batch of certificates, or return None."""
    from ..smoothing.certificates import inconsistency

    limits = {"guarantees": len(schema.GUARANTEES), "methods": len(schema.CERTIFICATE_METHODS)}
    for name, limit in limits.items():
        if ((arrays[name] < 0) | (arrays[name] >= limit)).any():
            return f"{name} holds numbers that are not in 0 to {limit - 1}"
    if (arrays["true_labels"] < -1).any():
        return "true_labels holds numbers below -1"
    if np.isinf(arrays["inputs"]).any():
        return "inputs holds entries that are infinite"
    columns = {name: arrays[field] for name, field in _FIELDS.items()}
    return inconsistency(columns, np.ones(len(arrays["labels"]), bool))
