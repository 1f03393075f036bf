"""What a user waits for before anything is computed. Everything runs in processes of its own."""

import os
import subprocess
import sys
import tempfile

from .networks import SKIP_SLOW


def run_python(code, **environment):
    """Run code in a fresh interpreter, with these environment variables added."""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment})


class ImportSuite:
    """``import pwlnet``, a first use of its names, and the imports that this can't avoid."""

    params = ("import numpy", "import numpy, numba", "import pwlnet", "import pwlnet; pwlnet.Network")
    param_names = ("code",)
    repeat = 5
    number = 1

    def setup(self, code):
        run_python(code)  # bytecode is written, files are in memory

    def time_import(self, code):
        run_python(code)


class ColdStart:
    """A first partition with kernels compiled from nothing, and with kernels read from Numba's cache."""

    params = ("empty", "filled")
    param_names = ("cache",)
    timeout = 600
    repeat = 1
    number = 1
    warmup_time = 0
    code = (
        "import numpy as np, pwlnet;"
        "network = pwlnet.load_network(pwlnet.datasets.digits_network_path('digits_mlp'));"
        "pwlnet.partition_lines(network, np.zeros((1, 64)), np.ones((1, 64)))"
    )

    def setup(self, cache):
        if cache == "empty" and SKIP_SLOW:
            raise NotImplementedError("compiling is slow, and ASV_SKIP_SLOW is set")
        self.folder = tempfile.TemporaryDirectory()
        self.environment = {"NUMBA_CACHE_DIR": self.folder.name} if cache == "empty" else {}
        if cache == "filled":
            run_python(self.code)

    def teardown(self, cache):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def time_first_partition(self, cache):
        run_python(self.code, **self.environment)
