"""Convert networks of torchvision and two more, from torch and from ONNX, each in a process of its own.

Prints seconds, peak memory and the largest difference from torch in float64, relative to the largest output of the row, and
times a line between two random images on ResNet-18. ``python -m tests.convert.big_networks --help`` says how to choose. Needs
torchvision; where it is absent, its networks are skipped, with the reason.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

N_ROWS = 2
SMALL, LARGE = 64, 224


def _vision(name, **options):
    def build():
        import torchvision

        return getattr(torchvision.models, name)(weights=None, **options)

    return build


def _lite():
    """Return a network like EfficientNet-Lite: inverted residuals with ReLU6, without squeeze and excitation."""
    from torch import nn

    def conv(n_in, n_out, kernel, stride=1, groups=1, act=True):
        layers = [nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(n_out)]
        return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))

    class Block(nn.Module):
        def __init__(self, n_in, n_out, kernel, stride, factor):
            super().__init__()
            wide = n_in * factor
            self.layers = nn.Sequential(
                *([conv(n_in, wide, 1)] if factor > 1 else []),
                conv(wide, wide, kernel, stride, wide),
                conv(wide, n_out, 1, act=False),
            )
            self.residual = stride == 1 and n_in == n_out

        def forward(self, x):
            return x + self.layers(x) if self.residual else self.layers(x)

    rows = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5)]
    layers, n_in = [conv(3, 32, 3, 2)], 32
    for factor, n_out, repeats, stride, kernel in [*rows, (6, 320, 1, 1, 3)]:
        for k in range(repeats):
            layers.append(Block(n_in, n_out, kernel, stride if k == 0 else 1, factor))
            n_in = n_out
    return nn.Sequential(*layers, conv(n_in, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))


def _unet():
    """Return a U-Net of three levels with bilinear upsampling."""
    import torch
    from torch import nn

    def double(n_in, n_out):
        layers = []
        for a, b in ((n_in, n_out), (n_out, n_out)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = (16, 32, 64, 128)
            self.down = nn.ModuleList(double(a, b) for a, b in zip((3, *widths), widths))
            self.up = nn.ModuleList(double(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1]))
            self.pool = nn.MaxPool2d(2)
            self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.last = nn.Conv2d(widths[0], 2, 1)

        def forward(self, x):
            kept = []
            for k, block in enumerate(self.down):
                x = block(x if k == 0 else self.pool(x))
                kept.append(x)
            for block, skip in zip(self.up, kept[-2::-1]):
                x = block(torch.cat([skip, self.grow(x)], 1))
            return self.last(x)

    return UNet()


NETWORKS = {  # name: (builder, smallest size of the image)
    "alexnet": (_vision("alexnet"), SMALL),
    "vgg16_bn": (_vision("vgg16_bn"), SMALL),
    "resnet18": (_vision("resnet18"), SMALL),
    "resnet50": (_vision("resnet50"), SMALL),
    "mobilenet_v2": (_vision("mobilenet_v2"), SMALL),
    "squeezenet1_1": (_vision("squeezenet1_1"), SMALL),
    "googlenet": (_vision("googlenet", init_weights=True), SMALL),
    "densenet121": (_vision("densenet121"), SMALL),
    "efficientnet_lite": (_lite, SMALL),
    "unet_bilinear": (_unet, SMALL),
}


def seeded(name):
    """Return a network with seeded weights and seeded statistics of its normalisations, in eval mode."""
    import torch

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = NETWORKS[name][0]()
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0.0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def export(name, size, path):
    """Write a network as an ONNX file by torch's exporter without dynamo."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(seeded(name), (torch.zeros(1, 3, size, size),), path, dynamo=False, opset_version=17)


def measure(name, front, size, path, check="strict"):
    """Convert a network and return what was measured: dict.

    Parameters
    ----------
    name : str
        Of ``NETWORKS``.
    front : {"torch", "onnx"}
    size : int
        Height and width of the image.
    path : str
        The ONNX file, for ``front="onnx"``.
    check : str, optional
        Of ``pwlnet.from_torch``.
    """
    import torch

    import pwlnet

    torch.set_num_threads(1)
    module, options = seeded(name), {} if check == "strict" else {"check": check}
    before, start, cpu = _peak(), time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if front == "torch":
            network = pwlnet.from_torch(module, (3, size, size), **options)
        else:
            network = pwlnet.load_network(path, **options)
    seconds, cpu, peak = time.perf_counter() - start, time.process_time() - cpu, _peak()
    rows = np.random.default_rng(1).standard_normal((N_ROWS, 3, size, size))
    module = module.double()
    with torch.no_grad():
        wanted = np.stack([module(torch.from_numpy(row[None])).reshape(-1).numpy() for row in rows])
    found = network.forward(rows)
    difference = float((np.abs(found - wanted).max(axis=1) / np.abs(wanted).max(axis=1)).max())
    weights = sum(p.numel() for p in module.parameters())
    return {
        "network": name,
        "front": front,
        "size": size,
        "weights": weights,
        "neurons": network.n_neurons,
        "seconds": seconds,
        "cpu": cpu,
        "peak_mb": peak,
        "before_mb": before,
        "difference": difference,
    }


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def line(name, size, scale):
    """Trace a line between two random images and return what was measured: dict."""
    import pwlnet

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = pwlnet.from_torch(seeded(name), (3, size, size))
    rng = np.random.default_rng(2)
    start = rng.random((1, network.n_inputs))
    end = start + scale * (rng.random((1, network.n_inputs)) - start)
    began = time.perf_counter()
    lines = pwlnet.partition_lines(network, start, end)
    seconds = time.perf_counter() - began
    return {"network": name, "size": size, "seconds": seconds, "segments": len(lines.t) - 1, "peak_mb": _peak()}


def _child(arguments, preload, timeout):
    """Run this script in a process of its own and return what it measured, or the reason that it failed."""
    command = [sys.executable, "-m", "tests.convert.big_networks", "--child", json.dumps(arguments)]
    command += ["--preload", preload] if preload else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=os.environ)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {timeout} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _row(name, front, size, result):
    if "failed" in result:
        return f"{name:18s} {front:5s} {size:4d}  {result['failed']}"
    return (
        f"{name:18s} {front:5s} {size:4d} {result['weights'] / 1e6:8.1f} {result['neurons']:9d} {result['seconds']:8.1f} "
        f"{result['cpu']:8.1f} "
        f"{result['peak_mb']:9.0f} {result['before_mb']:9.0f} {result['difference']:10.1e}"
    )


def main(arguments=None):
    """Run the measurements from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.convert.big_networks", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--fronts", default="torch,onnx")
    parser.add_argument("--size", type=int, default=SMALL, help="height and width of the images")
    parser.add_argument("--check", default="strict")
    parser.add_argument(
        "--line", type=float, default=0.0, help="also trace a line of this share of a random segment, ResNet-18"
    )
    parser.add_argument("--preload", default="", help="a Python file to run before torchvision is imported")
    parser.add_argument("--timeout", type=int, default=500, help="seconds for each network")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.preload:
        exec(compile(Path(options.preload).read_text(), options.preload, "exec"), {})
    if options.child:
        task = json.loads(options.child)
        print(json.dumps({"export": export, "measure": measure, "line": line}[task.pop("task")](**task)))
        return 0
    titles = ("network", "front", "size", "weights/M", "neurons", "seconds", "CPU s", "peak MB", "before MB", "difference")
    print("{:18s} {:5s} {:>4s} {:>8s} {:>9s} {:>8s} {:>8s} {:>9s} {:>9s} {:>10s}".format(*titles))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks.split(","):
            path = str(Path(folder) / "net.onnx")
            for front in options.fronts.split(","):
                result = {}
                if front == "onnx":
                    task = {"task": "export", "name": name, "size": options.size, "path": path}
                    result = _child(task, options.preload, options.timeout) or {}
                if "failed" not in result:
                    task = {"task": "measure", "name": name, "front": front, "size": options.size, "path": path}
                    result = _child({**task, "check": options.check}, options.preload, options.timeout)
                print(_row(name, front, options.size, result), flush=True)
    if options.line:
        task = {"task": "line", "name": "resnet18", "size": SMALL, "scale": options.line}
        print(_child(task, options.preload, options.timeout))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
