"""The subcommand that certifies images by randomized smoothing."""

import contextlib
import sys
from pathlib import Path

from .arguments import finite, positive, read_rows, row_range, seed
from .output import on_terminal, show
from .store_options import add_store_options, open_writer
from .timing import Stopwatch, load_kernels

_IMAGE_SETS = ("digits", "mnist", "fashion", "cifar10")
_METHODS = ("clopper_pearson", "sequential", "two_stage")
_REFERENCES = ("clean", "frozen", "denoiser", "self_noise", "global", "margin")
_POSTERIOR_MEAN = "posterior-mean"
_MEANINGS = {
    "sound": "with confidence {confidence:.10g} for each image, no input within its radius has another class under this rule",
    "conditional": "with confidence {confidence:.10g} for each image, and only if every input within its radius is evaluated "
    "with the stored pattern of the image",
    "nominal": "not a certificate: the rule depends on the image, and inputs within a radius may have another class",
}


def radius_list(text):
    """Parse radii: "0,0.25" to [0.0, 0.25]."""
    return [float(radius) for radius in text.split(",")]


radius_list.__name__ = "list of radii"  # argparse: "invalid ... value"


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    certify = commands.add_parser(
        "certify",
        parents=[common],
        help="certify images by randomized smoothing, also with repressed float paths",
        description="Certify l2 balls around images, in which a classifier with Gaussian noise at its input does not change "
        "its class. Says what the radii guarantee: the result of --reference clean (SC-RFP as published) is not a certificate. "
        "FILE: .npy, .npz (FILE.npz:NAME if it has several arrays) or .csv, one image per row; digits, mnist, fashion and "
        "cifar10 are test images with their labels, in [0, 1].",
    )
    certify.add_argument("network", metavar="NET", help=".onnx, .nnet, .eran, .h5, or the name of a shipped network")
    certify.add_argument("--points", metavar="FILE", required=True, help="the images, or digits, mnist, fashion, cifar10")
    certify.add_argument("--labels", metavar="FILE", help="true classes of the images of a file")
    certify.add_argument("--rows", type=row_range, metavar="FIRST:LAST", help="these rows of --points only (LAST not included)")
    certify.add_argument("--stride", type=positive, default=1, metavar="N", help="every N-th of these rows (default: 1)")
    _add_noise(certify.add_argument_group("noise and votes"))
    _add_repression(certify.add_argument_group("repressed float paths, and denoisers"))
    certify.add_argument("--radii", type=radius_list, metavar="R,R,...",
                         help="of the printed certified accuracies (default: 0 and multiples of --sigma)")  # fmt: skip
    certify.add_argument("--log", metavar="FILE.tsv", help="write a line per image, in the format of published logs")
    certify.add_argument("--out", metavar="STORE.h5", help="write certificates and images to a new store")
    certify.add_argument("--batch", type=positive, default=16, metavar="N",
                         help="images per commit to the store (default: %(default)s)")  # fmt: skip
    certify.add_argument("--skip-check", action="store_true",
                         help="certify even if another range or normalisation of the images is better classified")  # fmt: skip
    add_store_options(certify)
    certify.set_defaults(run=run_certify)


def _add_noise(group):
    group.add_argument("--sigma", type=finite, required=True, metavar="S", help="standard deviation, in units of the images")
    group.add_argument("--n", type=positive, default=10_000, metavar="N",
                       help="votes of each image, or the largest number (default: %(default)s)")  # fmt: skip
    group.add_argument("--n0", type=positive, default=100, metavar="N",
                       help="votes that select the class (default: %(default)s)")  # fmt: skip
    group.add_argument("--alpha", type=finite, default=0.001, metavar="A",
                       help="probability of an error, for each image (default: %(default)s)")  # fmt: skip
    group.add_argument("--seed", type=seed, default=0, help="seed of the noise (default: %(default)s)")
    group.add_argument("--method", choices=_METHODS, default=_METHODS[0],
                       help="sequential: as few votes as decide whether --radius holds; two_stage: a number that depends on "
                       "the image, see --max-loss (default: %(default)s)")  # fmt: skip
    group.add_argument("--radius", type=finite, metavar="R", help="of sequential")
    group.add_argument("--max-loss", type=finite, metavar="L", help="of radius, by two_stage, in sigmas (default: 0.05)")


def _add_repression(group):
    group.add_argument("--eta", type=finite, metavar="E", help="multiply float neurons by 1 + E; needs --reference")
    group.add_argument("--reference", choices=_REFERENCES, help="what the states of the noisy images are compared with")
    group.add_argument("--passes", type=int, choices=(1, 2), help="states of a pass without repression: 2 (default)")
    group.add_argument("--tau", type=finite, metavar="T", help="of self_noise and margin, in units of the images")
    group.add_argument("--denoiser", metavar=f"NET|{_POSTERIOR_MEAN}",
                       help="of --reference denoiser; without --reference, it is put before the classifier")  # fmt: skip
    group.add_argument("--average", choices=("none", "inputs", "probabilities"),
                       help="with a denoiser before the classifier: average with the noisy image (default: none)")  # fmt: skip
    group.add_argument("--training", metavar="FILE",
                       help=f"training images, for {_POSTERIOR_MEAN} and --reference global (default: those of --points, if it "
                       "is the name of a set)")  # fmt: skip


def run_certify(options):
    """Certify images one by one; write a log and a store; summarize."""
    from ..errors import InputError
    from ..smoothing import SmoothedClassifier, refuse_wrong_range

    _check_combination(options)
    network = _load_network(options.network, options.input_shape)
    images, labels, numbers = _images(options, network)
    if options.log and labels is None:
        raise InputError("--log needs the true classes, which a line of a log has; give --labels")
    smoothed = SmoothedClassifier(_base(options, network), options.sigma)
    plan = smoothed.plan(n0=options.n0, n=options.n, alpha=options.alpha, rng=options.seed, **_method(options))
    if labels is not None and not options.skip_check:
        refuse_wrong_range(network, images.reshape(len(images), *network.input_shape), labels)
    load_kernels(lambda: smoothed.votes(images[0], 0, 1))
    stopwatch = Stopwatch()
    with _Outputs(options, network, plan, numbers) as outputs:
        draws, results = outputs.certify(images, labels)
    values = {"images": len(numbers), "guarantee": smoothed.guarantee, "meaning": _meaning(smoothed.guarantee, plan.alpha)}
    values |= _summary(options, results, labels)
    values |= {name: getattr(options, name) for name in ("log", "out") if getattr(options, name)}
    show(options, values | {"draws": draws, "seconds": stopwatch.seconds}, _text(values, draws, stopwatch.seconds))


def _meaning(guarantee, alpha):
    return _MEANINGS[guarantee].format(confidence=1.0 - alpha)


def _method(options):
    """Return the options of the plan that belong to the method; the plan checks them."""
    given = {"method": options.method, "radius": options.radius}
    return given if options.max_loss is None else {**given, "max_loss": options.max_loss}


def _check_combination(options):
    """Refuse options that do not belong together."""
    from ..errors import InputError

    if not (options.out or options.log) and (options.resume or options.overwrite):
        raise InputError("--resume or --overwrite was given without --log or --out, to which they apply; omit them")
    if options.overwrite and options.log:
        raise InputError("--overwrite was given with --log, but a log is not replaced; remove it, or give another path")
    if (options.eta is None) != (options.reference is None):
        raise InputError("--eta and --reference belong together; give both, or none for plain smoothing")
    if options.reference is None and options.passes is not None:
        raise InputError("--passes was given without --reference, to which it belongs; omit it, or give both")
    if options.average is not None and (options.denoiser is None or options.reference is not None):
        raise InputError("--average belongs to a denoiser before the classifier; give --denoiser and no --reference")
    if options.denoiser is not None and options.reference not in (None, "denoiser"):
        raise InputError(f"--denoiser was given with --reference {options.reference}, which has none; omit one of them")
    if options.max_loss is not None and options.method != "two_stage":
        raise InputError("--max-loss was given without --method two_stage, to which it belongs; omit it, or give both")


def _load_network(text, input_shape):
    """Load a network file or a shipped network."""
    from ..loading import load_network
    from ..shipped import DEPTH_NETWORKS, DIGITS_NETWORKS, digits_network_path

    is_name = text in DIGITS_NETWORKS + DEPTH_NETWORKS and not Path(text).exists()
    return load_network(digits_network_path(text) if is_name else text, input_shape=input_shape)


def _read_images(text, split="test"):
    """Read images and, of a named set, labels: (array, int64[N] or None)."""
    if text not in _IMAGE_SETS:
        return read_rows(text), None
    from .. import datasets

    if text == "digits":
        return datasets.digits_images() if split == "test" else datasets.digits_training_images()
    images, labels = datasets.load_images(text, split=split)
    return images / 255.0, labels


def _images(options, network):
    """Return what is certified: images float64[B, D], labels int64[B] or None, numbers int64[B]."""
    import numpy as np

    from ..errors import InputError, ShapeError

    images, labels = _read_images(options.points)
    images = network.as_points(images, "--points")
    if options.labels:
        labels = np.asarray(read_rows(options.labels)).reshape(-1)
        if not np.array_equal(labels, np.rint(labels)):
            raise InputError("--labels has entries that are not integers; give a class of each image")
        labels = labels.astype(np.int64)
    if labels is not None and len(labels) != len(images):
        raise ShapeError(f"--labels has {len(labels)} entries and --points {len(images)} rows; give as many of each")
    first, last = options.rows or (0, len(images))
    if last > len(images):
        raise InputError(f"--rows is {first}:{last}, but --points has {len(images)} rows; give LAST up to {len(images)}")
    numbers = np.arange(first, last, options.stride)
    if not len(numbers):
        raise InputError("--points has no rows; give at least one image")
    return images[numbers], None if labels is None else labels[numbers], numbers


def _training(options):
    """Read training images."""
    from ..errors import InputError

    text = options.training or options.points
    if text not in _IMAGE_SETS and not options.training:
        raise InputError(f"{_POSTERIOR_MEAN} and --reference global need training images; give --training")
    return _read_images(text, "train")[0]


def _denoiser(options, network):
    """Return the denoiser: PosteriorMean or Network."""
    if options.denoiser != _POSTERIOR_MEAN:
        return _load_network(options.denoiser, network.input_shape)
    from ..smoothing import PosteriorMean

    images = network.as_points(_training(options), "--training")
    return PosteriorMean(images.reshape(len(images), *network.input_shape), options.sigma)


def _base(options, network):
    """Return the classifier that is smoothed."""
    from ..smoothing import denoise_inputs, float_frequency, repress_float_paths
    from ..smoothing.bases import as_base

    if options.reference is None:
        if options.denoiser is None:
            return as_base(network, threads=options.threads)
        average = options.average or "none"
        return denoise_inputs(network, _denoiser(options, network), average=average, threads=options.threads)
    chosen = {"passes": options.passes or 2, "threads": options.threads}
    if options.denoiser is not None:
        chosen["denoiser"] = _denoiser(options, network)
    if options.tau is not None:
        chosen["tau"] = options.tau
    if options.reference == "global":
        chosen["frequency"] = float_frequency(network, _training(options), options.sigma, threads=options.threads)
    return repress_float_paths(network, options.eta, reference=options.reference, **chosen)


class _Outputs:
    """The log and the store that certificates are written to; both continue after an interruption."""

    def __init__(self, options, network, plan, numbers):
        self.options, self.network, self.plan, self.numbers = options, network, plan, numbers
        self.log = self.store = None
        self.opened = contextlib.ExitStack()
        self.kept = []  # certificates, if there is neither

    def __enter__(self):
        from ..smoothing import LogWriter

        parameters = self._parameters()
        if self.options.out:
            writer = open_writer(self.options, self.network, parameters=parameters, seeds={"noise": self.options.seed})
            self.store = self.opened.enter_context(writer)
        try:
            self._check_store()
            if self.options.log:
                settings = {**self.plan.settings(), "points": parameters["points"]}
                self.log = LogWriter(self.options.log, settings, resume=self.options.resume)
                self.opened.callback(self.log.close)
        except BaseException:
            self.opened.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *exception):
        return self.opened.__exit__(*exception)

    def _parameters(self):
        """Return what the store's provenance records; names of files without their folders."""
        names = {name: getattr(self.options, name) for name in ("points", "denoiser", "training")}
        given = {name: Path(value).name for name, value in names.items() if value}
        settings = {name: value for name, value in self.plan.settings().items() if name != "seed"}
        return {"command": "certify", "stride": self.options.stride, **settings, **given}

    def _check_store(self):
        """Refuse a store of other images."""
        from .. import store
        from ..errors import DigestMismatchError

        done = self.n_stored
        if not done:
            return
        with store.open(self.options.out) as stored:
            items = stored.certificates().image
        if done > len(self.numbers) or items.tolist() != self.numbers[:done].tolist():
            raise DigestMismatchError(
                f"{self.options.out} has {done} certificates of other images than the first that were requested; write to a "
                "new store"
            )

    @property
    def n_stored(self):
        """Number of images that the store has: int."""
        return 0 if self.store is None else self.store.n_certificates

    def _is_done(self, row):
        in_log = self.log is None or int(self.numbers[row]) in self.log.done
        return in_log and row < self.n_stored if self.store is not None else in_log and self.log is not None

    def certify(self, images, labels):
        """Certify the images that are not done: draws of this run, and results of all images."""
        from ..smoothing.plans import progress_bar

        missing = [row for row in range(len(images)) if not self._is_done(row)]
        points = images.reshape(len(images), *self.network.input_shape)[missing]
        draws, pending = 0, []
        try:
            with progress_bar(on_terminal(), len(missing)) as bar:
                for row, certificate in zip(missing, self.plan.certify(points, self.numbers[missing]), strict=True):
                    draws += certificate.n0 + certificate.n
                    self._write_line(certificate, None if labels is None else labels[row])
                    if row >= self.n_stored:
                        pending.append((row, certificate))
                    if self.store is not None and (len(pending) >= self.options.batch or row == missing[-1]):
                        self._commit(pending, images, labels)
                        pending = []
                    bar.update()
        except BaseException as error:
            self._add_note(error)
            raise
        return draws, self._results(pending)

    def _write_line(self, certificate, label):
        if self.log is not None and certificate.image not in self.log.done:
            self.log.append(int(label), certificate)

    def _commit(self, pending, images, labels):
        """Append certificates to the store."""
        from ..smoothing import Certificates

        if not pending:
            return
        rows = [row for row, _ in pending]
        found = Certificates.from_list([certificate for _, certificate in pending])
        self.store.append_certificates(found, images[rows], labels=None if labels is None else labels[rows])

    def _add_note(self, error):
        notes = [(self.options.out, self.n_stored)] if self.store is not None else []
        notes += [(self.options.log, len(self.log.done))] if self.log is not None else []
        if notes:
            has = " and ".join(f"{path} has {n}" for path, n in notes)
            error.add_note(f"{has} of {len(self.numbers)} images; --resume continues")

    def _results(self, pending):
        """Return the results of all images: Certificates, or the log."""
        from .. import store
        from ..smoothing import Certificates, read_log

        if self.store is not None:
            with store.open(self.options.out) as stored:
                return stored.certificates()
        if self.log is not None:
            return read_log(self.log.path)
        return Certificates.from_list([certificate for _, certificate in pending])


def _summary(options, results, labels):
    """Return mean radius and certified accuracies; without labels, of the predicted classes: dict."""
    import numpy as np

    from ..smoothing import average_certified_radius, certified_accuracy
    from ..smoothing.certificates import Certificates

    radii = options.radii or [round(k * options.sigma, 12) for k in range(4)]
    given = None
    if isinstance(results, Certificates):
        given = results.candidate if labels is None else labels
    of = (results, given)
    name = "share_certified" if labels is None else "certified_accuracy"
    accuracies = np.atleast_1d(certified_accuracy(*of, radii=radii))
    values = {"mean_radius" if labels is None else "acr": float(average_certified_radius(*of))}
    if results.guarantee == "nominal" and given is not None:
        values["sound_acr"] = float(average_certified_radius(*of, sound=True))
    values[name] = {f"{radius:g}": float(share) for radius, share in zip(radii, accuracies, strict=True)}
    return {**values, "abstained": int(results.abstained.sum())}


def _text(values, draws, seconds):
    """Format the table of the result."""
    has_labels = "acr" in values
    accuracies = values["certified_accuracy" if has_labels else "share_certified"]
    nominal = "nominal " if values["guarantee"] == "nominal" else ""
    lines = [f"{values['images']} images, {values['abstained']} abstained"]
    lines.append(f"{nominal}average certified radius {values['acr' if has_labels else 'mean_radius']:.4f}")
    if "sound_acr" in values:
        lines[-1] += f"; {values['sound_acr']:.3g} within the regions of the images, which is certified"
    shown = ", ".join(f"{share:.3f} at {radius}" for radius, share in accuracies.items())
    lines.append(f"{nominal}{'certified accuracy' if has_labels else 'share of images that are certified'} {shown}")
    lines += [f"written to {' and '.join(values[name] for name in ('log', 'out') if name in values)}"] * (
        "log" in values or "out" in values
    )
    lines.append(f"{draws} draws in {seconds:.4g} seconds")
    lines.append(f"guarantee {values['guarantee']}: {values['meaning']}")
    return "\n".join(lines)
