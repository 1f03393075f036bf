"""The keys of a study file as data: for each table, the check and the default of each key.

``docs/guide/studies.md`` describes them. ``REQUIRED`` marks keys without a default; None as a default means that the key is
left out.
"""

import difflib

from ..errors import InputError
from . import values as v

REQUIRED = object()
_SCALAR_OR_LIST = v.either("a number, or a list of numbers", v.number, v.numbers)
_POINT = v.either('"zero", "mean", a number, or a file with one row', v.number, v.path)

STUDY = {
    "name": (v.identifier, REQUIRED),
    "description": (v.free_text, ""),
    "output": (v.path, None),
    "seed": (v.index, 0),
}
NETWORK = {
    "source": (v.path, REQUIRED),
    "name": (v.identifier, None),
    "input_shape": (v.listed(v.count, what="a list of sizes"), None),
}
DATA = {
    "images": (v.path, REQUIRED),
    "labels": (v.path, None),
    "rows": (v.row_range, None),
    "stride": (v.count, 1),
    "baseline": (_POINT, "zero"),
    "limits": (v.interval, None),
}
_COMMON = {
    "name": (v.identifier, REQUIRED),
    "kind": (v.text, REQUIRED),
    "networks": (v.listed(v.identifier, what="a list of names of networks"), None),
    "rows": (v.row_range, None),
    "stride": (v.count, None),
}
# The ways to give lines, planes and sets: the first key is the default, and each has its own further keys.
_LINES = {
    "baseline": {},
    "pairs": {"pairs": (v.pairs, None)},
    "random": {"count": (v.count, 1), "length": (v.positive, REQUIRED)},
    "uniform": {"count": (v.count, REQUIRED), "range": (v.interval, [0.0, 1.0])},
    "files": {"starts": (v.path, REQUIRED), "ends": (v.path, REQUIRED)},
}
_OUTLINE = {"polygon": (v.corners, None), "box": (v.listed(v.number, n=4, what="a list [U0, U1, V0, V1]"), None)}
_PLANES = {
    "images": {"triples": (v.triples, None), **_OUTLINE},
    "random": {"count": (v.count, 1), "length": (v.positive, REQUIRED), **_OUTLINE},
    "axes": {"axes": (v.listed(v.index, n=2, what="two inputs [I, J]"), REQUIRED), "at": (_POINT, None), **_OUTLINE},
    "files": {"origins": (v.path, REQUIRED), "e1": (v.path, REQUIRED), "e2": (v.path, REQUIRED), **_OUTLINE},
}
_BOX = {"lower": (_SCALAR_OR_LIST, REQUIRED), "upper": (_SCALAR_OR_LIST, REQUIRED)}
_LIMITS = {"limits": (v.interval, None)}
_AROUND = {"epsilon": (v.positive, REQUIRED), "inputs": (v.listed(v.index, what="a list of inputs"), None), **_LIMITS}
_SETS = {
    "around": {"epsilon": (v.positive, REQUIRED), "norm": (v.choice("1", "2", "inf"), "inf"), **_LIMITS},
    "gaussian": {"sigma": (v.positive, REQUIRED), **_LIMITS},
    "box": _BOX,
    "segments_to_baseline": {},
    "segments_of_pairs": {"pairs": (v.pairs, None)},
}
_BATCH = {"batch": (v.count, None)}
_TARGETS = v.either('"labels", "predicted", or the number of an output', v.choice("labels", "predicted"), v.index)
_RULES = ("exact", "left", "right", "midpoint", "trapezoid", "simpson", "gauss_legendre", "captum_trapezoid")
_FLOAT_METHODS = ("exact", "ibp", "crown_ibp", "crown", "alpha_crown", "sampled")
_REFERENCES = ("clean", "self_noise", "margin")  # those that need no training images

KINDS = {  # kind: name of the key that chooses its inputs, the ways with their keys, other keys
    "lines": ("along", _LINES, {}),
    "attributions": (
        "along",
        _LINES,
        {
            "method": (v.choice(*_RULES), "exact"),
            "samples": (v.count, None),
            "outputs": (v.listed(v.index, what="a list of outputs"), None),
            **_BATCH,
        },
    ),
    "linearity": ("along", _LINES, {"target": (_TARGETS, "predicted"), **_BATCH}),
    "planes": ("through", _PLANES, _BATCH),
    "regions": (
        "domain",
        {"box": _BOX, "around": {"row": (v.index, None), **_AROUND}},
        {
            "classes": (v.choice("max", "min"), None),
            "want": (v.listed(v.choice("patterns", "facets", "affine_maps", "volumes", "vertices")), ["patterns", "facets"]),
        },
    ),
    "floats": (
        "domain",
        _SETS,
        {
            "method": (v.choice(*_FLOAT_METHODS), None),
            "samples": (v.count, 1000),
            "draws": (v.choice("uniform", "corners"), "uniform"),
            "shares": (v.boolean, True),
            **_BATCH,
        },
    ),
    "certify": (
        None,
        {},
        {
            "sigma": (v.positive, REQUIRED),
            "n0": (v.count, 100),
            "n": (v.count, 1000),
            "alpha": (v.positive, 0.05),
            "eta": (v.number, None),
            "reference": (v.choice(*_REFERENCES), None),
            "tau": (v.positive, None),
            **_BATCH,
        },
    ),
    "decide": (
        "domain",
        {"around": _AROUND},
        {"target": (_TARGETS, "predicted"), "max_branches": (v.count, 10000), **_BATCH},
    ),
}


def check_table(given, keys, where):
    """Check a table: dict with a value for each key.

    Parameters
    ----------
    given : object
        As read.
    keys : dict
        Of (check, default).
    where : str
        What the table is called.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        It is no table, a key is unknown or missing, or a value is not valid.
    """
    if not isinstance(given, dict):
        raise InputError(f"it is a {type(given).__name__}; a table [{where}] is needed")
    for key in given:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(keys)}"
            raise InputError(f"key {key[:60]!r} is not known; {hint}")
    checked = {}
    for key, (check, default) in keys.items():
        if key in given:
            checked[key] = check(given[key], key)
        elif default is REQUIRED:
            raise InputError(f"key {key!r} is missing; add it")
        else:
            checked[key] = default
    return checked


def check_analysis(given):
    """Check an [[analysis]] table, whose keys depend on its kind and on its inputs: dict; errors as ``check_table``."""
    if not isinstance(given, dict):
        raise InputError(f"it is a {type(given).__name__}; a table [[analysis]] is needed")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        problem = "is missing" if kind is None else f"is {str(kind)[:60]!r}"
        raise InputError(f"kind {problem}; give one of {', '.join(KINDS)}")
    selector, ways, others = KINDS[kind]
    keys = {**_COMMON, **others}
    if selector is not None:
        default = next(iter(ways)) if len(ways) == 1 else REQUIRED
        way = given.get(selector, default)
        if way is REQUIRED:
            raise InputError(f"key {selector!r} is missing; give one of {', '.join(ways)}")
        v.choice(*ways)(way, selector)
        keys |= {selector: (v.choice(*ways), default), **ways[way]}
    return check_table(given, keys, "analysis")
