"""Randomized smoothing: certificates, their evaluation and their logs."""

from .certificates import GUARANTEES, METHODS, Certificate, Certificates
from .evaluation import (
    AccuracyCurve,
    Comparison,
    Estimate,
    VoteSummary,
    accuracy_curve,
    average_certified_radius,
    certified_accuracy,
    compare_certificates,
    estimate_acr,
    summarize_votes,
)
from .logs import CertificationLog, LogWriter, read_log, write_log

__all__ = [
    "GUARANTEES",
    "METHODS",
    "AccuracyCurve",
    "Certificate",
    "Certificates",
    "CertificationLog",
    "Comparison",
    "Estimate",
    "LogWriter",
    "VoteSummary",
    "accuracy_curve",
    "average_certified_radius",
    "certified_accuracy",
    "compare_certificates",
    "estimate_acr",
    "read_log",
    "summarize_votes",
    "write_log",
]
