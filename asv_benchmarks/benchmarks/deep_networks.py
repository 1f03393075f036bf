"""VGG16 and ResNet-18 for CIFAR images, as torch modules with seeded weights: the largest networks of the benchmarks.

He-initialised, not trained. BatchNorm has the statistics of seeded random images, then perturbed, so that the neurons of each
layer flip about as often as in a trained network; statistics are rounded to a few bits, so that they agree on every machine.
"""

import torch
from torch import nn

VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
RESNET18 = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))  # channels and stride of each block
STATISTICS_OF = 16  # random images
KEPT = 2.0**10  # statistics are rounded to multiples of 1 / KEPT


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm and a residual; a 1 x 1 convolution beside them where the shape changes."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        same = n_in == n_out and stride == 1
        self.beside = (
            nn.Sequential() if same else nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        )

    def forward(self, x):
        """Return [B, n_out, H / stride, W / stride]."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.beside(x))


def vgg16_bn():
    """Thirteen convolutions with BatchNorm in five stages, then fully connected layers of 512, 512 and 10."""
    layers, channels = [], 3
    for n_out in VGG16:
        if n_out == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
            channels = n_out
    head = [nn.Flatten(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers, *head)


def resnet18():
    """A 3 x 3 stem of 64 channels, eight residual blocks in four stages, global average, one fully connected layer."""
    blocks, channels = [], 64
    for n_out, stride in RESNET18:
        blocks.append(BasicBlock(channels, n_out, stride))
        channels = n_out
    stem = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))


MODULES = {"vgg16_bn": vgg16_bn, "resnet18": resnet18}


def build_module(name, seed=0):
    """Build one of ``MODULES``, float32, in evaluation mode; input shape (3, 32, 32)."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        module = MODULES[name]()
        norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
        for layer in module.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    layer.bias.normal_(0.0, 0.1)
        for layer in norms:
            layer.weight.uniform_(0.5, 1.5)
            layer.bias.normal_(0.0, 0.2)
            layer.momentum = None  # the next forward pass gives the statistics
        module.double().train()(torch.rand(STATISTICS_OF, 3, 32, 32, dtype=torch.float64))
        for layer in norms:
            layer.running_mean += 0.1 * layer.running_var.sqrt() * torch.randn(layer.num_features, dtype=torch.float64)
            layer.running_var *= torch.empty(layer.num_features, dtype=torch.float64).uniform_(0.5, 1.5)
            for statistic in (layer.running_mean, layer.running_var):
                statistic.copy_((statistic * KEPT).round() / KEPT)
            layer.running_var.clamp_(min=1.0 / KEPT)
    return module.float().eval()
