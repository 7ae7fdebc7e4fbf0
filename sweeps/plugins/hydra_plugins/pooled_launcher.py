"""Hydra launcher that makes one sweep of all jobs of a ``--multirun``: one Ray session, one store.

The swept keys become axes of the grid, so the jobs differ in `Problem` fields only and form a product. Hydra takes
plugins only from the namespace package `hydra_plugins`, hence this folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, run_job
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sweeps.multirun import problem_field, swept_axes

__all__ = ["PooledLauncher"]


@dataclass
class PooledLauncherConf:
    """Configuration of the launcher, which has no options."""

    _target_: str = "hydra_plugins.pooled_launcher.PooledLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="pooled", node=PooledLauncherConf, provider="sweeps")


class PooledLauncher(Launcher):
    """Turns the jobs of a multirun into one job whose grid has the swept keys as axes."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over before it launches."""
        self._context, self._task_function, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs as one.

        Raises
        ------
        InvalidInput
            If the jobs differ in anything but `Problem` fields, or leave out combinations of their values.
        """
        parser = OverridesParser.create(self._context.config_loader)
        jobs = [
            {override.get_key_element(): override.value() for override in parser.parse_overrides(list(texts))}
            for texts in job_overrides
        ]
        axes = swept_axes(jobs)
        constant = [text for text in job_overrides[0] if text.partition("=")[0] not in axes]
        config = self._context.config_loader.load_sweep_config(self._config, constant)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = initial_job_idx
        for key, values in axes.items():
            OmegaConf.update(config, f"grid.{problem_field(key)}", values, force_add=True)
        return [
            run_job(
                hydra_context=self._context,
                task_function=self._task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
                configure_logging=False,
            )
        ]
