"""A configuration from conf/ and the words of a command line, composed by Hydra's compose API.

The API composes and does nothing else: it raises its errors, and makes no folder, no log and no process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sedyn.errors import LARGEST, InvalidInput
from sedyn.model.problem import Problem
from sweeps.compute import Compute
from sweeps.plan import SEEDS, no_field, plain, require_fields

__all__ = ["CONFIGURATIONS", "Composed", "compose", "experiments", "quoted"]

FIELDS = "fields"  # a choice of the groups of fields that is made here, from the class
_OF_FIELDS = ("grid", "zip", "ranges")  # groups with a list for each field of a problem
_WITHOUT_EFFECT = "leave it out; Hydra composes here, and makes no folder, log or process"
_ONE_BY_ONE = "--multirun sweeps over problem fields, as in problem.noise=0.1,0.5; run the others one by one"
# Hydra's own settings of where and how a program runs, as they are where nobody sets them.
_OF_HYDRA: dict[str, tuple[Any, ...]] = {
    "job.chdir": (None, False),
    "job.env_set": ({},),
    "callbacks": ({}, None),
    "output_subdir": (".hydra",),
    "run.dir": ("outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}",),
    "sweep.dir": ("multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}",),
    "sweep.subdir": ("${hydra.job.num}",),
    "launcher._target_": ("hydra._internal.core_plugins.basic_launcher.BasicLauncher",),
    "sweeper._target_": ("hydra._internal.core_plugins.basic_sweeper.BasicSweeper",),
}


def _configurations() -> Path:
    """Find conf/: inside this package where it is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


CONFIGURATIONS = _configurations()


class Composed(NamedTuple):
    """A composed configuration.

    Attributes
    ----------
    config : DictConfig
        The application's configuration, without Hydra's own.
    experiment : str, optional
        Name of the chosen experiment.
    overridden : tuple of str
        Keys that the words set.
    """

    config: DictConfig
    experiment: str | None
    overridden: tuple[str, ...]


def compose(words: Sequence[str] = (), *, multirun: bool = False, folder: Path | None = None) -> Composed:
    """Compose a configuration.

    Parameters
    ----------
    words : sequence of str
        ``KEY=VALUE`` each, in Hydra's grammar.
    multirun : bool
        Whether several values, as in ``problem.noise=0.1,0.5``, make an axis of the grid.
    folder : path, optional
        Further configurations, such as a user's own experiments.

    Returns
    -------
    Composed

    Raises
    ------
    InvalidInput
        If the words are malformed, or name a key or a choice that there is not.
    """
    register_fields()
    OmegaConf.register_new_resolver("features_at_aspect", features_at_aspect, replace=True)
    try:
        _require_choices(words, folder)
        given = [*_with_axes(words, multirun=multirun)]
        search = [] if folder is None else [f"hydra.searchpath=[{quoted(f'file://{folder.resolve()}')}]"]
        with hydra.initialize_config_dir(str(CONFIGURATIONS), job_name="sweeps", version_base="1.3"):
            config = hydra.compose("config", [*given, *search], return_hydra_config=True)
    except InvalidInput:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # the last for an index that is no number
        raise _in_words(error, words) from None
    HydraConfig.instance().set_config(config)  # for ${hydra:...} in a configuration
    settings = config.hydra
    _refuse_settings_without_effect(settings, RunMode.MULTIRUN if multirun else RunMode.RUN)
    overridden = tuple(word.lstrip("+").partition("=")[0] for word in settings.overrides.task)
    experiment = settings.runtime.choices.get("experiment")
    with open_dict(config):
        del config["hydra"]
    return Composed(config, experiment, overridden)


def experiments() -> list[str]:
    """Names of the experiments that come with the project, as ``experiment=NAME`` takes them."""
    return _choices("experiment")


def _choices(group: str, *folders: Path) -> list[str]:
    """Name the configurations of a group, those in further folders too."""
    places = [folder / group for folder in (CONFIGURATIONS, *folders)]
    return sorted(file.relative_to(at).with_suffix("").as_posix() for at in places for file in at.rglob("*.yaml"))


def register_fields() -> None:
    """Make the fields of `Problem` known to Hydra: their defaults as ``problem/fields``, none as ``grid/fields``."""
    defaults = {field.name: field.default for field in fields(Problem)}
    for group, node in {"problem": defaults, **dict.fromkeys(_OF_FIELDS, dict.fromkeys(defaults))}.items():
        ConfigStore.instance().store(FIELDS, node, group, provider="sedyn.Problem")


def features_at_aspect(n: Any, aspect: Any) -> int | None:
    """Compute d at an aspect ratio, as ``${features_at_aspect:n,aspect}``.

    Parameters
    ----------
    n : int
        Samples.
    aspect : float
        Samples per feature, n/d.

    Returns
    -------
    int or None
        n/aspect, rounded; None for an n that is no number, which `Problem` then refuses by name, or where no number
        of features is so large.
    """
    if isinstance(n, int) and n <= LARGEST and isinstance(aspect, int | float) and aspect > 0:
        features = n / aspect
        return round(features) if features <= LARGEST else None
    return None


def _with_axes(words: Sequence[str], *, multirun: bool) -> Iterator[str]:
    """Turn ``problem.noise=0.1,0.5`` into the axis ``grid.noise=[0.1,0.5]``, and an interval into a range."""
    for override in OverridesParser.create().parse_overrides([*words]):
        if not override.is_sweep_override():
            yield str(override.input_line)
            continue
        key, _, values = str(override.input_line).lstrip("+").partition("=")
        parent, _, name = key.rpartition(".")
        asked: Any = override.value()
        if parent in ("problem", *_OF_FIELDS):
            require_fields(parent, [name])
        if isinstance(asked, Glob) or parent not in ("problem", *_OF_FIELDS) or (parent == "problem" and not multirun):
            raise InvalidInput(key, values, _ONE_BY_ONE if isinstance(asked, Glob) else _instead(key, values))
        if isinstance(asked, IntervalSweep):
            if parent not in ("problem", "ranges"):
                remedy = f"an interval is no list; ranges.{name}=[LOW,HIGH] design.points=64 fills it with cells"
                raise InvalidInput(key, values, remedy)
            scale = ",log" if "log" in asked.tags else ""
            yield f"++ranges.{name}=[{asked.start},{asked.end}{scale}]"
        else:
            group = "grid" if parent == "problem" else parent
            yield f"++{group}.{name}=[{','.join(_values_of(override))}]"


def _values_of(override: Override) -> list[str]:
    """Write the values of a choice, each once, or of a range: sums of steps, without their rounding and the end."""
    values, asked = [*override.sweep_string_iterator()], override.value()
    if not isinstance(asked, RangeSweep):
        return [*dict.fromkeys(values)]
    if isinstance(asked.start, int) and isinstance(asked.step, int):
        return values
    found = [plain(float(value)) for value in values]
    return [repr(value) for value in found if asked.stop is None or value != plain(float(asked.stop))]


def _instead(key: str, values: str) -> str:
    """Say how to get what several values of a key are meant to give."""
    parent, _, name = key.rpartition(".")
    if key == "seed":
        return SEEDS
    if key == "replicates":
        return "name the largest; its first replicates are those of a smaller number"
    if key == "aspect":
        return f"for several d at each n write aspect=[{values}]"
    if parent == "problem":
        return f"several values are an axis: add the flag --multirun, or write grid.{name}=[{values}]"
    return _ONE_BY_ONE


def _require_choices(words: Sequence[str], folder: Path | None) -> None:
    """Refuse for a group what is no choice of a user's: null, a number, or what is made here of a class."""
    groups = _groups()
    for override in OverridesParser.create().parse_overrides([*words]):
        group = override.key_or_group
        if group not in groups or override.is_delete() or override.is_sweep_override():
            continue
        value = override.value()
        chosen = value if isinstance(value, list) else [value]
        if FIELDS in chosen or not all(isinstance(choice, str) for choice in chosen):
            choices = _choices(group, *([] if folder is None else [folder]))
            written = str(override.input_line).partition("=")[2]
            if isinstance(value, int | float) and str(value) != written:  # as 1_000, which is read as 1000
                value = written
            if written in choices and not isinstance(value, list):
                raise InvalidInput(group, value, f"without quotes this is no name; write \"{group}='{written}'\"")
            raise InvalidInput.unknown(group, value, choices)


def quoted(text: str) -> str:
    """Write a string in Hydra's grammar: ``'`` escaped, and backslashes doubled before it and at the end."""
    return "'" + re.sub(r"(\\*)('|$)", lambda end: 2 * end[1] + (r"\'" if end[2] else ""), text) + "'"


def _refuse_settings_without_effect(settings: DictConfig, mode: RunMode) -> None:
    if settings.mode not in (None, mode):
        raise InvalidInput("hydra.mode", settings.mode.name, "leave it out; the flag --multirun asks for a multirun")
    for word in settings.overrides.hydra:
        key, _, value = word.lstrip("+~").partition("=")
        if key not in ("hydra.mode", "hydra.searchpath"):
            raise InvalidInput(key, value, _WITHOUT_EFFECT)
    said: Any = OmegaConf.to_container(settings)
    for key, usual in _OF_HYDRA.items():  # a user's file may say something of them
        value = reduce(lambda node, name: node.get(name), key.split("."), said)
        if value not in usual:
            raise InvalidInput(f"hydra.{key}", value, _WITHOUT_EFFECT)


def _in_words(error: Exception, words: Sequence[str]) -> InvalidInput:
    """Say what was wrong with a command line in this program's words."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        reason = " ".join(line for line in str(error.message).splitlines() if not line.startswith(("See ", "Error ")))
        reason = re.sub("^Lexer.*", "it has a character with a meaning of its own", reason)
        remedy = f"{reason}; write KEY=VALUE, in quotes if it has special characters"
        return InvalidInput("override", error.override, remedy)
    # Hydra names an unknown key in its message alone.
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(unknown[1])
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).partition("/")
        nested = [known for known in experiments() if "/" in known] if group == "experiment" else []
        return InvalidInput.unknown(group, name, [choice for choice in error.options if choice != FIELDS] + nested)
    return InvalidInput("words", " ".join(words), " ".join(line.strip() for line in text.splitlines() if line.strip()))


def _unknown_key(key: str) -> InvalidInput:
    key = key.lstrip("+~")
    parent, _, name = key.rpartition(".")
    if parent in ("problem", *_OF_FIELDS):
        return no_field(parent, name)
    keys: Any = OmegaConf.to_container(OmegaConf.load(CONFIGURATIONS / "config.yaml"))
    del keys["defaults"]
    keys["compute"] = [field.name for field in fields(Compute)]
    if isinstance(keys.get(parent), list | dict):
        return InvalidInput.unknown(parent, name, keys[parent])
    return InvalidInput.unknown("key", key, {**keys, **dict.fromkeys(_groups())})


def _groups() -> list[str]:
    """Name the groups of configurations, of each of which one is chosen."""
    config: Any = OmegaConf.to_container(OmegaConf.load(CONFIGURATIONS / "config.yaml"))
    return [next(iter(choice)) for choice in config["defaults"] if isinstance(choice, dict)]
