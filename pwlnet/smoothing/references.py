"""What the neurons of a noisy point are compared with, or scaled by, in float-path repression.

A rule is sound if it depends on the noisy point, on constants, and on randomness of the vote's own, and on nothing else:
then the repressed classifier is one fixed (randomized) classifier. A reference that is the image itself makes another
classifier of every image; its certificates are "nominal".

Legend: n votes, S shape of an input, K neurons.
"""

import numpy as np

from ..errors import InputError, ShapeError, UnsupportedOperationError
from ..validation import check_number
from .bases import digest_of
from .denoisers import as_denoiser


class Clean:
    """The image that is classified, without noise (SC-RFP as published)."""

    guarantee, name = "nominal", "clean"

    def arguments(self, base, points, query):
        """Return what the pass of the noisy points float64[n, *S] takes: (references or None, options)."""
        return query.center[None], {}

    def torch_arguments(self, base, points, query, centers):
        """Return the same for tensors."""
        return centers.to(points), {}

    def settings(self):
        """Return what identifies the rule."""
        return {}


class Frozen(Clean):
    """The image that was certified; its pattern is stored and used for all queries near it."""

    guarantee, name = "conditional", "frozen"

    def __init__(self, center=None):
        self.center = None if center is None else np.array(center, np.float64)

    def arguments(self, base, points, query):
        """Return what the pass of the noisy points takes."""
        return self._point(query)[None], {}

    def torch_arguments(self, base, points, query, centers):
        """Return the same for tensors; the stored point does not move."""
        import torch

        return torch.from_numpy(self._point(query)[None]).to(points), {}

    def settings(self):
        """Return what identifies the rule."""
        return {} if self.center is None else {"center": digest_of(self.center)}

    def _point(self, query):
        point = query.reference if self.center is None else self.center
        point = query.center if point is None else point
        return point.reshape(query.center.shape)


class Denoised:
    """The denoised noisy point D(z)."""

    guarantee, name = "sound", "denoiser"

    def __init__(self, denoiser):
        self.denoiser = as_denoiser(denoiser)

    def arguments(self, base, points, query):
        """Return what the pass of the noisy points takes."""
        return self.denoiser(points), {}

    def torch_arguments(self, base, points, query, centers):
        """Return the same for tensors."""
        return self.denoiser.torch(points), {}

    def settings(self):
        """Return what identifies the rule."""
        return self.denoiser.settings()


class SelfNoise:
    """The noisy point with more noise, ``z + tau u``: u is drawn for each vote."""

    guarantee, name = "sound", "self_noise"

    def __init__(self, tau):
        self.tau = check_number(tau, "tau", above=True)

    def arguments(self, base, points, query):
        """Return what the pass of the noisy points takes."""
        return points + self.tau * query.own_noise(threads=base.threads), {}

    def torch_arguments(self, base, points, query, centers):
        """Return the same for tensors."""
        import torch

        return points + self.tau * torch.from_numpy(query.own_noise(threads=base.threads)).to(points), {}

    def settings(self):
        """Return what identifies the rule."""
        return {"tau": self.tau}


class Global:
    """Factors ``1 + eta q`` of all neurons: q is how often each floats on a training set (``float_frequency``)."""

    guarantee, name = "sound", "global"

    def __init__(self, frequency):
        self.frequency = np.array(frequency, np.float64)
        if self.frequency.ndim != 1 or not ((self.frequency >= 0) & (self.frequency <= 1)).all():
            raise InputError(
                f"frequency has shape {self.frequency.shape}; one number in [0, 1] per neuron is needed, see float_frequency"
            )

    def arguments(self, base, points, query):
        """Return what the pass of the noisy points takes."""
        network = _network_of(base, self.name)
        if len(self.frequency) != network.n_neurons:
            raise ShapeError(f"frequency has {len(self.frequency)} entries, the network {network.n_neurons} neurons")
        return None, {"factors": lambda eta: 1.0 + eta * self.frequency}

    def torch_arguments(self, base, points, query, centers):
        """Return the same for tensors."""
        return self.arguments(base, points, query)

    def settings(self):
        """Return what identifies the rule."""
        return {"frequency": digest_of(self.frequency)}


class Margin:
    """Factors ``1 + eta Phi(-r / tau)``: r is the distance at which the affine map at z puts the neuron's threshold."""

    guarantee, name = "sound", "margin"

    def __init__(self, tau):
        self.tau = check_number(tau, "tau", above=True)

    def arguments(self, base, points, query):
        """Return what the pass of the noisy points takes."""
        from scipy.special import ndtr

        from ..partition.regions.region import region_of

        network = _network_of(base, self.name)
        radii = np.stack([region_of(network, point).stable_radius() for point in points.reshape(len(points), -1)])
        flips = ndtr(-radii / self.tau)
        return None, {"factors": lambda eta: 1.0 + eta * flips}

    def torch_arguments(self, base, points, query, centers):
        """Return the same for tensors; factors are constants."""
        return self.arguments(base, points.detach().cpu().numpy().astype(np.float64), query)

    def settings(self):
        """Return what identifies the rule."""
        return {"tau": self.tau}


def _network_of(base, name):
    if base.network is None:
        raise UnsupportedOperationError(
            f"reference {name!r} needs the neurons of a network, but the classifier is a torch module; convert it by "
            "pwlnet.from_torch"
        )
    return base.network
