"""The one setting that pyproject.toml can't say: the networks and images of ``data/`` become ``pwlnet/_data/``."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["pwlnet", "pwlnet.*"]), "pwlnet._data"],
    package_dir={"pwlnet._data": "data"},
)
