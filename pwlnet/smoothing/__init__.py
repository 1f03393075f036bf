"""Randomized smoothing: certified l2 radii of any classifier, and classifiers with repressed float paths (SC-RFP).

Every result says what its radius guarantees: "sound" (with confidence 1 - alpha), "conditional" or "nominal" (nothing).

    SmoothedClassifier                    predict, certify: votes with noise of their own for every draw
    repress_float_paths, float_frequency  classifiers with repressed float paths, which know their guarantee
    denoise_inputs, PosteriorMean         denoised classifiers, the baseline of these
    certify_reachable                     sound certificates of SC-RFP as published, by the patterns in reach
    attack_smoothed                       EOT-PGD inside a claimed radius: how false certificates are found
    Certificate, Certificates             results
    certified_accuracy, average_certified_radius, ...
                                          evaluation
    certify_to_log, read_log, LogWriter   logs in the published format; resumable
    SequentialTest, ConfidenceSequence, choose_n, recertify_smoothed, ...
                                          fewer draws for the same guarantee
    check_range, refuse_wrong_range       a check of the range of pixels and of normalisations
"""

from .attacks import SmoothedAttack, attack_smoothed
from .bases import BaseClassifier
from .certificates import Certificate, Certificates
from .classifier import SmoothedClassifier
from .denoisers import PosteriorMean, denoise_inputs
from .evaluation import (
    accuracy_curve,
    average_certified_radius,
    certified_accuracy,
    compare_certificates,
    estimate_acr,
    summarize_votes,
)
from .logs import CertificationLog, LogWriter, read_log, write_log
from .nested import NestedClassifier
from .radii import probability_for, radius_of
from .reachable import certify_reachable
from .recertification import recertify_smoothed
from .recertify import recertify, recertify_counts
from .repression import RepressedClassifier, float_frequency, repress_float_paths
from .runs import certify_to_log
from .sample_size import choose_n
from .self_check import RangeCheck, check_range, refuse_wrong_range
from .sequential import ConfidenceSequence, SequentialTest
from .voted import VotedClassifier

__all__ = [
    "BaseClassifier", "Certificate", "Certificates", "CertificationLog", "ConfidenceSequence", "LogWriter",
    "NestedClassifier", "PosteriorMean", "RangeCheck", "RepressedClassifier", "SequentialTest", "SmoothedAttack",
    "SmoothedClassifier", "VotedClassifier", "accuracy_curve", "attack_smoothed", "average_certified_radius",
    "certified_accuracy", "certify_reachable", "certify_to_log", "check_range", "choose_n", "compare_certificates",
    "denoise_inputs", "estimate_acr", "float_frequency", "probability_for", "radius_of", "read_log", "recertify",
    "recertify_counts", "recertify_smoothed", "refuse_wrong_range", "repress_float_paths", "summarize_votes", "write_log",
]  # fmt: skip
