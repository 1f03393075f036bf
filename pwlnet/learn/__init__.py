"""Attacks, training and interval bounds of torch modules; importing this package imports torch.

Images are NumPy arrays (or tensors) [B, *S] in the input units of the model, usually [0, 1]; labels are class indices.
Attacks and accuracies also accept a ``pwlnet.Network``. Results are NumPy arrays in float64.

    fgsm, pgd                    adversarial examples
    train                        standard, PGD, DiffAI (box relaxation) or Gaussian training; resumable
    bound_outputs_ibp, bound_margins_ibp
                                 sound bounds of outputs and margins over boxes
    accuracy, adversarial_accuracy, certified_accuracy_ibp
"""

from .._optional import require

require("torch", "torch", "pwlnet.learn")

from .attacks import AdversarialExamples, fgsm, pgd  # noqa: E402
from .scores import accuracy, adversarial_accuracy, bound_margins_ibp, bound_outputs_ibp, certified_accuracy_ibp  # noqa: E402
from .training import TrainingResult, train  # noqa: E402

__all__ = [
    "AdversarialExamples",
    "TrainingResult",
    "accuracy",
    "adversarial_accuracy",
    "bound_margins_ibp",
    "bound_outputs_ibp",
    "certified_accuracy_ibp",
    "fgsm",
    "pgd",
    "train",
]
