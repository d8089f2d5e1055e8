"""What setup.cfg cannot say: the recipes of ``configs/`` are shipped as ``yolor_jax.configs``."""

from setuptools import find_packages, setup

RECIPES = "yolor_jax.configs"

setup(
    packages=[*find_packages(include=["yolor_jax*"], exclude=[RECIPES]), RECIPES],
    package_dir={RECIPES: "configs"},
    package_data={"yolor_jax": ["py.typed"], "yolor_jax.reports": ["templates/*"]},
)
