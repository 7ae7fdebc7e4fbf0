"""What pyproject.toml cannot say: conf/, at the top of the repository, is data of the package `sweeps`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["sedyn*", "sweeps*", "analysis*"]), "sweeps.conf"],
    package_dir={"sweeps.conf": "conf"},
    package_data={"": ["*.cu"], "sweeps.conf": ["**/*.yaml"]},
)
