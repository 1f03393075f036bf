"""Exact sets of fixed and float neurons over boxes and balls: bounds, search for witnesses, linear programs, branch and bound.

Legend: B sets, K neurons, D inputs.
"""

import time

import numpy as np

from ..domains import Ball, Box, check_domain, is_single
from ..errors import ShapeError
from ..float_sets import Scope, make_float_set
from ..kernels._jit import compile_seconds
from ..scheduling import n_threads
from ..validation import check_choice, check_count, check_number
from .deciding import Decider
from .elimination import Elimination
from .point_sets import point_sets

_CHOICES = ("auto", "never")


def exact_floats_on_box(
    network, domain, *, time_limit=60.0, lp="auto", max_nodes=100000, rng_seed=0, progress=False, bounds="crown", threads=None
):
    """Decide which neurons are fixed and which float on boxes or balls.

    Sound bound on both sides, and exact where nothing is undecided. A neuron is reported to float only with two points of the
    set at which its pre-activation is strictly on both sides of a threshold (MaxPool: that have no common winning tap),
    confirmed with bounds of all rounding errors or in rational arithmetic. It is reported to be fixed only if a sound bound
    proves it. The others are ``undecided``. A neuron whose pre-activation only touches a threshold is fixed.

    In order: sound bounds; corners, random points and local search; bounds again with what is known; for up to six inputs that
    vary, bisection of the box; linear programs that relax the neurons below, layer by layer; branch and bound over the pieces
    of neurons. The programs' results count only where their dual solution, evaluated with all rounding errors or in rational
    arithmetic, proves them. Sound bound: ``upper``.

    Parameters
    ----------
    network : Network
    domain : Box or Ball
        One set or B sets. On balls of the 2-norm there are bounds and points only, so that neurons may stay undecided.
    time_limit : float, optional
        In seconds, for all sets together, without the time to compile kernels; checked between linear programs.
    lp : {"auto", "never"}, optional
        "never" leaves out linear programs and branch and bound.
    max_nodes : int, optional
        Largest number of linear programs for one neuron.
    rng_seed : int, optional
        Of the random points. The result is a function of the arguments unless the time limit ends the search.
    progress : bool, optional
        Show a progress bar.
    bounds : str, optional
        Method of ``bound_preactivations``.
    threads : int, optional
        Of ``bound_preactivations``; linear programs run on one thread. All processors by default.

    Returns
    -------
    FloatSet
        With witnesses; ``method`` is "exact" and ``scope`` REGION.

    Raises
    ------
    InputError
        The domain is not a Box or Ball, or an option is not valid.
    ShapeError
        The domain does not have the network's number of inputs, or has no sets.
    NumericalError
        A proof and two points contradict each other: a bug.

    See Also
    --------
    FloatSet : the result.

    References
    ----------
    .. [1] Tjeng, Xiao and Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer Programming", ICLR 2019,
       Section 4 (bounds that are tightened layer by layer, cheap ones first). Branches are bounded by certified programs here.
    .. [2] Neumaier and Shcherbina, "Safe bounds in linear and mixed-integer linear programming", Mathematical Programming 2004.

    Examples
    --------
    >>> import pwlnet
    >>> network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    >>> images, _ = pwlnet.datasets.digits_images()
    >>> found = exact_floats_on_box(network, pwlnet.Box.around(images[0], 0.002, limits=(0.0, 1.0)))
    >>> int(found.undecided.sum()), found.witnesses.shape[1:]
    (0, (2, 64))
    """
    check_domain(domain, (Box, Ball))
    deadline = time.monotonic() + check_number(time_limit, "time_limit")
    check_choice(lp, _CHOICES, "lp")
    max_nodes, rng_seed = check_count(max_nodes, "max_nodes"), check_count(rng_seed, "rng_seed", least=0)
    options = {"method": bounds, "threads": n_threads(threads)}
    sets, elimination = point_sets(network, domain), Elimination(network)
    if not sets:
        raise ShapeError("domain has 0 sets; give at least one")
    results, rows = [], zip(sets, np.random.SeedSequence(rng_seed).spawn(len(sets)), strict=True)
    for b, (point_set, seed) in enumerate(rows):
        before = compile_seconds()
        share = (deadline - time.monotonic()) / (len(sets) - b)
        decider = Decider(elimination, point_set, np.random.default_rng(seed), time.monotonic() + share, options)
        decider.run(use_programs=lp == "auto", max_nodes=max_nodes, progress=progress)
        results.append(decider.result())
        deadline += compile_seconds() - before
    return _float_set(network, results, is_single(network, domain))


def _float_set(network, results, single):
    """Put the results of all sets together."""
    lower, upper, states, witnesses = zip(*results, strict=True)
    arrays = [np.array(rows)[0] if single else np.array(rows) for rows in (lower, upper, states)]
    counts = [len(neurons) for neurons, _ in witnesses]
    return make_float_set(
        network, *arrays, method="exact", scope=Scope.REGION,
        witness_neurons=np.concatenate([neurons for neurons, _ in witnesses]),
        witness_sets=np.repeat(np.arange(len(results)), counts),
        witnesses=np.concatenate([points for _, points in witnesses]),
    )  # fmt: skip
