"""The one setting that pyproject.toml can't say: the networks and images of ``data/`` become ``pwlnet/_data/``."""

from setuptools import find_packages, setup

SHIPPED = {"pwlnet._data.networks": "data/networks", "pwlnet._data.images": "data/images"}

setup(packages=[*find_packages(include=["pwlnet", "pwlnet.*"]), *SHIPPED], package_dir=SHIPPED)
