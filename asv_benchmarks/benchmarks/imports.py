"""Time before anything is computed: imports, compilation. Everything runs in separate processes."""

import os
import subprocess
import sys
import tempfile

from .networks import with_slow


def run_python(code, **environment):
    """Run code in a new interpreter, with these environment variables added."""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment})


class ImportSuite:
    """``import pwlnet``, a first use of its names, and the imports that they require."""

    params = ("import numpy", "import numpy, numba", "import pwlnet", "import pwlnet; pwlnet.Network")
    param_names = ("code",)
    repeat = 5
    number = 1

    def setup(self, code):
        run_python(code)  # writes bytecode and reads the files into memory

    def time_import(self, code):
        run_python(code)


class ColdStart:
    """A first partition with an empty cache, and with kernels read from Numba's cache."""

    params = (with_slow(["filled"], ["empty"]),)
    param_names = ("cache",)
    timeout = 900
    repeat = 1
    number = 1
    warmup_time = 0
    code = (
        "import numpy as np, pwlnet;"
        "network = pwlnet.load_network(pwlnet.datasets.digits_network_path('digits_mlp'));"
        "pwlnet.partition_lines(network, np.zeros((1, 64)), np.ones((1, 64)))"
    )

    def setup(self, cache):
        self.folder = tempfile.TemporaryDirectory()
        self.environment = {"NUMBA_CACHE_DIR": self.folder.name} if cache == "empty" else {}
        if cache == "filled":
            run_python(self.code)

    def teardown(self, cache):
        self.folder.cleanup()

    def time_first_partition(self, cache):
        run_python(self.code, **self.environment)
