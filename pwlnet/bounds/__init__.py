"""Bounds of all values of a network over sets of inputs."""

from .preactivations import Bounds as Bounds
from .preactivations import LayerBounds as LayerBounds
from .preactivations import bound_preactivations as bound_preactivations
