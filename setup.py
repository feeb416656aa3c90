"""What pyproject.toml cannot say: the wheel holds `configs/`, as `worldgen/configs`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Modules, data, and the configurations, which are beside the package in the repository."""

    def run(self) -> None:
        """Build, and copy the configurations."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "worldgen" / "configs"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("configs", target)


setup(cmdclass={"build_py": BuildWithConfigs})
