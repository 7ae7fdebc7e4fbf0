"""What words on a command line become, and what of Hydra is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest
from omegaconf import OmegaConf

from sedyn.errors import InvalidInput
from sedyn.model.fields import field
from sedyn.model.problem import Problem
from sweeps.application import composition, settings_help
from sweeps.application.composition import compose, experiments
from sweeps.application.sweep import main
from sweeps.plan import cells

DEFAULTS = {known.name: known.default for known in fields(Problem)}


def test_the_configured_problem_is_the_default_problem():
    config = OmegaConf.to_container(compose().config, resolve=True)
    assert config["problem"] == DEFAULTS
    assert config["grid"] == dict.fromkeys(DEFAULTS)


def test_a_new_field_of_a_problem_can_be_set_swept_and_looked_up(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Coloured(Problem):
        colour: float = field(0.5, None, "How red it is.")

    with pytest.raises(InvalidInput, match="problem='colour'"):
        compose(["problem.colour=2"])
    monkeypatch.setattr(composition, "Problem", Coloured)
    monkeypatch.setattr(settings_help, "Problem", Coloured)
    monkeypatch.setattr(cells, "PROBLEM_FIELDS", (*cells.PROBLEM_FIELDS, "colour"))
    assert compose().config.problem.colour == 0.5
    for words in (["problem.colour=2"], ["problem=linear", "problem.colour=2"]):
        assert compose(words).config.problem.colour == 2
    assert compose(["grid.colour=[1,2]"]).config.grid.colour == [1, 2]
    assert compose(["grid=sizes", "grid.colour=[1,2]"]).config.grid.colour == [1, 2]
    with pytest.raises(InvalidInput, match="did you mean 'colour'"):
        compose(["problem.color=2"])
    assert "  colour: 0.5 # How red it is.\n" in settings_help.settings_help()


def test_a_multirun_is_a_grid():
    words = ["problem.width=2,4", "problem.noise=choice(0.1,0.5)", "problem.n=range(100,400,100)", "seed=3"]
    config = compose(words, multirun=True).config
    axes = {axis: values for axis, values in config.grid.items() if values is not None}
    assert axes == {"width": [2, 4], "noise": [0.1, 0.5], "n": [100, 200, 300]}
    assert config.seed == 3
    laws = compose(["problem.features='student_t(5)',gaussian,'student_t(5)'"], multirun=True)
    assert laws.config.grid.features == ["student_t(5)", "gaussian"]
    assert compose(["problem.noise=0.2"], multirun=True).config.problem.noise == 0.2
    with pytest.raises(InvalidInput, match="sweeps over problem fields"):
        compose(["problem.noise=glob(*)"], multirun=True)
    ranges = compose(["problem.noise=interval(0,1)", "problem.d=tag(log,interval(10,90))"], multirun=True).config.ranges
    assert {name: values for name, values in ranges.items() if values} == {"noise": [0, 1], "d": [10, 90, "log"]}


def test_several_values_of_a_grid_are_its_axis_without_the_rounding_of_their_sums():
    assert compose(["grid.noise=range(0.1,0.4,0.1)", "grid.n=100,200"]).config.grid.noise == [0.1, 0.2, 0.3]
    assert compose(["zip.n=100,200"]).config.zip.n == [100, 200]


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("seed=0,1", "replicates=N gives N independent runs"),
        ("problem.seed=3", "replicates=N gives N independent runs .* by its key seed=N"),
        ("problem.seed=0,1", "replicates=N gives N independent runs .* by its key seed=N"),
        ("grid.seed=0,1", "replicates=N gives N independent runs .* by its key seed=N"),
        ("zip.engine=dense,deferred", "the whole sweep has one, engine=VALUE"),
        ("replicates=8,16", "name the largest"),
        ("aspect=1,2", r"write aspect=\[1,2\]"),
        ("problem.noise=0.1,0.2", r"--multirun, or write grid.noise=\[0.1,0.2\]"),
        ("grid.noise=interval(0,1)", r"ranges.noise=\[LOW,HIGH\] design.points=64"),
        ("engine=dense,deferred", "run the others one by one"),
    ],
)
def test_what_people_try_gets_an_answer_that_says_how(word, answer):
    with pytest.raises(InvalidInput, match=answer):
        compose([word])


@pytest.mark.parametrize("word", ["hydra.run.dir=elsewhere", "hydra/launcher=basic", "hydra.job.chdir=true"])
def test_settings_of_hydra_that_would_change_nothing_are_refused(word):
    with pytest.raises(InvalidInput, match="leave it out; Hydra composes here"):
        compose([word])


def test_an_unknown_choice_names_those_there_are():
    with pytest.raises(InvalidInput, match=r"problem='fancy': known: default, linear$"):
        compose(["problem=fancy"])
    with pytest.raises(InvalidInput, match=r"experiment='quick/rats': did you mean 'quick/rates'\?"):
        compose(["experiment=quick/rats"])


def test_configurations_of_a_users_own(tmp_path):
    (tmp_path / "stores" / "experiment").mkdir(parents=True)
    experiment = tmp_path / "stores" / "experiment" / "mine.yaml"
    experiment.write_text("# @package _global_\nseed: 7\nstore: at/${hydra:runtime.choices.experiment}.zarr\n")
    composed = compose(["experiment=mine"], folder=tmp_path / "stores")
    assert (composed.experiment, composed.config.seed, composed.config.store) == ("mine", 7, "at/mine.zarr")
    assert "mine" not in experiments()


@pytest.mark.parametrize("name", ["a'b", "a b, c", "a\\'b", "''\\", 'a"]b', "$x"])
def test_a_folder_of_configurations_may_have_any_name(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("configurations")
    (folder / name / "experiment").mkdir(parents=True)
    (folder / name / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 7\n")
    assert compose(["experiment=mine"], folder=folder / name).config.seed == 7


def test_a_folder_whose_name_refers_to_something_is_refused(tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("configurations")
    (folder / "${x}").mkdir()
    assert main([f"--config-dir={folder / '${x}'}", "plan=true"]) == 2
    assert "rename the folder" in capsys.readouterr().err


def test_null_names_the_choices_of_the_users_own_too(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configurations")
    (folder / "problem").mkdir()
    (folder / "problem" / "mine.yaml").touch()
    with pytest.raises(InvalidInput, match=r"^problem=None: known: default, linear, mine$"):
        compose(["problem=null"], folder=folder)


def test_the_configuration_can_be_printed(capsys):
    assert main(["--cfg", "job", "problem.n=60", "--resolve"]) == 0
    printed = OmegaConf.create(capsys.readouterr().out)
    assert printed.problem.d == 40
    assert set(printed) == set(compose().config)


@pytest.fixture
def folder(tmp_path):
    """A folder of configurations, with one experiment that is still to be written."""
    (tmp_path / "stores" / "experiment").mkdir(parents=True)
    return tmp_path / "stores"


@pytest.mark.parametrize(
    "setting", ["job: {chdir: true}", "run: {dir: scratch}", "sweep: {subdir: x}", "job: {env_set: {A: b}}"]
)
def test_a_file_that_asks_hydra_to_run_elsewhere_is_refused(folder, monkeypatch, capsys, setting):
    """Results went to a folder that was deleted at the end."""
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\nhydra:\n  {setting}\n")
    monkeypatch.chdir(folder)
    words = ["experiment=mine", "--config-dir=.", "--multirun", "problem.noise=0.1,0.2"]
    assert main(words) == 2
    assert "Hydra composes here, and makes no folder, log or process" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["experiment"]


def test_a_file_that_leaves_hydra_as_it_is_goes(folder):
    text = "# @package _global_\nhydra:\n  job: {chdir: false}\nseed: 3\n"
    (folder / "experiment" / "mine.yaml").write_text(text)
    assert compose(["experiment=mine"], folder=folder).config.seed == 3
