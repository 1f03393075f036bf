"""The tasks of a study: one for each network and analysis, with a job and the name of its store."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import distribute
from ..domains import Box
from ..errors import InputError
from . import jobs
from .directions import make_boxes, make_lines, make_planes, make_sets
from .inputs import Inputs, load_data, load_source, make_baseline, select_rows
from .reading import Study, at

_NEEDS_NO_IMAGES = {("along", "uniform"), ("along", "files"), ("through", "files"), ("domain", "box")}
_DEFAULT_BATCH = {"linearity": 64, "decide": 16, "planes": 8, "floats": 64, "certify": 16, "attributions": None}


@dataclass(frozen=True)
class Task:
    """An analysis of a network.

    Attributes
    ----------
    name : str
        Of the analysis.
    network_name : str
    kind : str
        Of the analysis.
    place : str
        How messages name it.
    path : pathlib.Path
        Of the store.
    job : pwlnet.distribute.Job
    """

    name: str
    network_name: str
    kind: str
    place: str
    path: Path
    job: distribute.Job = field(repr=False)


def make_tasks(study: Study, *, only: Sequence[str] = ()) -> list[Task]:
    """Read the files that a study names, and make its tasks: all that can be refused is refused before anything is computed.

    Parameters
    ----------
    study : Study
    only : sequence of str, optional
        Names of analyses, or of stores without the suffix (ANALYSIS.NETWORK); all by default.

    Returns
    -------
    list of Task
        Analysis by analysis, in the order of the file.

    Raises
    ------
    PwlnetError
        A file is missing or does not fit, or an analysis does not fit its network; the message begins with the place.
    InputError
        There is no analysis with a name of ``only``.
    """
    chosen = _select(study, only)
    networks, raw = _read_inputs(study, {network for _, network in chosen}, {k for k, _ in chosen})
    tasks = []
    for k, name in chosen:
        analysis, place = study.analyses[k], study.analysis_place(k)
        with at(place if len(study.networks) == 1 else f"{place}, network {name}"):
            inputs = _inputs(study, analysis, networks[name], raw)
            parameters = _parameters(study, analysis, name)
            job = _MAKERS[analysis["kind"]](inputs, analysis, parameters)
        path = study.folder / f"{analysis['name']}.{name}.h5"
        tasks.append(Task(analysis["name"], name, analysis["kind"], place, path, job))
    return tasks


def _select(study, only):
    """Return numbers of analyses, each with the name of a network."""
    pairs = [(k, name) for k, analysis in enumerate(study.analyses) for name in analysis["networks"]]
    names = {pair: (study.analyses[pair[0]]["name"], f"{study.analyses[pair[0]]['name']}.{pair[1]}") for pair in pairs}
    for name in only:
        if not any(name in each for each in names.values()):
            known = ", ".join(dict.fromkeys(each[0] for each in names.values()))
            raise InputError(f"--only is {name!r}, which {study.path} does not have; the analyses are {known}")
    return [pair for pair in pairs if not only or set(names[pair]) & set(only)]


def _read_inputs(study, names, numbers):
    """Read the networks with these names, and the images if an analysis with one of these numbers needs them."""
    folder, networks, raw = study.path.parent, {}, None
    for k, table in enumerate(study.networks):
        if table["name"] in names:
            with at(study.network_place(k)):
                networks[table["name"]] = load_source(folder, table)
    if study.data is not None:
        with at(f"{study.path}: [data]"):
            raw = load_data(folder, study.data)
    for k in sorted(numbers):
        if raw is None and not _is_without_images(study.analyses[k]):
            raise InputError(f"{study.analysis_place(k)}: it needs images, and there is no section [data]; add one")
    return networks, raw


def _is_without_images(analysis):
    return any((key, analysis.get(key)) in _NEEDS_NO_IMAGES for key in ("along", "through", "domain")) and (
        analysis.get("target") != "labels"
    )


def _inputs(study, analysis, network, raw):
    """Collect what an analysis of a network starts from."""
    folder, data, baseline = study.path.parent, study.data, np.zeros(network.n_inputs)
    images, labels, numbers = np.zeros((0, network.n_inputs)), None, np.zeros(0, np.int64)
    if raw is not None and not _is_without_images(analysis):
        numbers = select_rows(data, analysis, len(raw[0]))
        images = network.as_points(raw[0][numbers], "images")
        labels = None if raw[1] is None else raw[1][numbers]
        used = select_rows(data, {"rows": None, "stride": None}, len(raw[0]))
        all_images = network.as_points(raw[0][used], "images") if data["baseline"] == "mean" else images
        baseline = make_baseline(folder, network, data, all_images)
    stream = int.from_bytes(hashlib.sha256(analysis["name"].encode()).digest()[:8], "big")
    rng = np.random.default_rng([study.seed, stream])
    limits = None if data is None or data["limits"] is None else tuple(data["limits"])
    return Inputs(network, images, numbers, labels, baseline, limits, rng, study.seed, folder)


def _parameters(study, analysis, network_name):
    """Return what the store's provenance records of the study: its text, and the canonical settings of one task."""
    table = next(table for table in study.networks if table["name"] == network_name)
    settings = {"analysis": {key: value for key, value in analysis.items() if key != "networks"}, "network": table}
    settings |= {"data": study.data, "seed": study.seed}
    text = {"name": study.name, "description": study.description, "sha256": study.sha256, "text": study.text}
    return {"command": "run", "settings": settings, "study": text}


def _batch(settings):
    return settings["batch"] or _DEFAULT_BATCH[settings["kind"]]


def _seeds(inputs, settings):
    is_random = settings.get("along") in ("random", "uniform") or settings.get("through") == "random"
    return {"directions": inputs.seed} if is_random else {}


def _lines(inputs, settings, parameters):
    starts, ends, _ = make_lines(inputs, settings)
    return distribute.lines_job(inputs.network, starts, ends, parameters=parameters, seeds=_seeds(inputs, settings))


def _attributions(inputs, settings, parameters):
    starts, ends, _ = make_lines(inputs, settings)
    how = {"outputs": settings["outputs"], "method": settings["method"], "n_samples": settings["samples"]}
    how |= {"batch": _batch(settings), "seeds": _seeds(inputs, settings)}
    return distribute.attributions_job(inputs.network, starts, ends, parameters=parameters, **how)


def _targets(inputs, target, points, images):
    """Return the output that is studied at each point: int64[points]."""
    if target == "labels":
        if inputs.labels is None or images is None:
            raise InputError('target is "labels", but the points have none; give labels in [data], or another target')
        return inputs.labels[images]
    if target == "predicted":
        return np.argmax(inputs.network.forward(points), axis=1).astype(np.int64)
    return np.full(len(points), target, np.int64)


def _linearity(inputs, settings, parameters):
    starts, ends, images = make_lines(inputs, settings)
    points = inputs.images[images] if images is not None else starts
    if images is None and len(starts) == 1 < len(ends):
        points = np.repeat(starts, len(ends), axis=0)
    targets = _targets(inputs, settings["target"], points, images)
    return jobs.linearity_job(inputs.network, starts, ends, targets, batch=_batch(settings), parameters=parameters)


def _planes(inputs, settings, parameters):
    how = {"batch": _batch(settings), "parameters": parameters, "seeds": _seeds(inputs, settings)}
    return distribute.planes_job(inputs.network, *make_planes(inputs, settings), **how)


def _regions(inputs, settings, parameters):
    if settings["domain"] == "around":
        row = inputs.numbers[0] if settings["row"] is None else settings["row"]
        k = int(inputs.rows_of(row, "row"))
        inputs = inputs._replace(images=inputs.images[k : k + 1])
    lower, upper = make_boxes(inputs, settings)
    how = {"classes": settings["classes"], "want": tuple(settings["want"]), "parameters": parameters}
    return distribute.regions_job(inputs.network, lower[0], upper[0], **how)


def _floats(inputs, settings, parameters):
    domain, items, limits = make_sets(inputs, settings)
    default = "crown" if settings["domain"] in ("around", "box") else "sampled" if settings["domain"] == "gaussian" else "exact"
    method, options = settings["method"] or default, {}
    if method == "sampled":
        options = {"n_samples": settings["samples"], "draws": settings["draws"], "seed": inputs.seed, "limits": limits}
    how = {"method": method, "items": items, "batch": _batch(settings), "with_shares": settings["shares"]}
    if isinstance(domain, Box) and np.ndim(domain.lower) == 1:
        domain = Box(domain.lower[None], domain.upper[None])
    return distribute.floats_job(inputs.network, domain, parameters=parameters, **how, **options)


def _certify(inputs, settings, parameters):
    base = inputs.network
    if (settings["eta"] is None) != (settings["reference"] is None):
        raise InputError("eta and reference belong together; give both, or none for the network itself")
    if settings["eta"] is not None:
        from ..smoothing import repress_float_paths

        chosen = {} if settings["tau"] is None else {"tau": settings["tau"]}
        base = repress_float_paths(base, settings["eta"], reference=settings["reference"], **chosen)
    elif settings["tau"] is not None:
        raise InputError("tau was given without reference, to which it belongs; omit it, or give both")
    how = {name: settings[name] for name in ("n0", "n", "alpha")}
    how |= {"labels": inputs.labels, "numbers": inputs.numbers, "seed": inputs.seed, "batch": _batch(settings)}
    job = distribute.certificates_job(base, settings["sigma"], inputs.images, parameters=parameters, **how)
    job.settings()  # refuses options that do not fit each other
    return job


def _decide(inputs, settings, parameters):
    lower, upper = make_boxes(inputs, settings)
    targets = _targets(inputs, settings["target"], inputs.images, np.arange(len(inputs.images)))
    how = {"max_branches": settings["max_branches"], "batch": _batch(settings), "parameters": parameters}
    return jobs.decisions_job(inputs.network, lower, upper, targets, **how)


_MAKERS: Mapping[str, Callable] = {
    "lines": _lines,
    "attributions": _attributions,
    "linearity": _linearity,
    "planes": _planes,
    "regions": _regions,
    "floats": _floats,
    "certify": _certify,
    "decide": _decide,
}
