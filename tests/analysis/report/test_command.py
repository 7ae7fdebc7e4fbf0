import shlex

import pytest

from analysis.report.command import sweep_command
from sweeps.application.composition import experiments
from sweeps.store import settings_of
from tests.requests import request_of


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["experiment=quickstart"],
        ["experiment=quickstart", "replicates=64", "grid.noise=[0.2]"],
        ["experiment=tuning", "seed=3"],
        ["grid=sizes", "problem.width=5", "problem.depth=2", "theory.samples=4096"],
        ["problem=linear", "grid.n=[100,300]", "problem.learning_rate=[0.1,0.2,0.3]", "problem.steps=3"],
        ["problem.d=700", "grid.activation=[tanh,gelu]", "grid.features=['student_t(5)',gaussian]"],
        ["experiment=quickstart", "grid.depth=null", "problem.depth=4", "engine=dense"],
    ],
)
def test_the_command_makes_the_same_store(words):
    settings = settings_of(request_of(*words).spec)
    command = shlex.split(sweep_command(settings, "other"))
    assert command[:3] == ["python", "-m", "sweeps"]
    again = request_of(*command[3:])
    assert again.location == "stores/other.zarr"
    assert settings_of(again.spec) == settings


def test_every_experiment_names_itself():
    for name in experiments():
        settings = settings_of(request_of(f"experiment={name}").spec)
        assert sweep_command(settings, name.rpartition("/")[2]) == f"python -m sweeps experiment={name}"


def test_what_changed_is_added():
    settings = settings_of(request_of("experiment=quickstart", "replicates=64").spec)
    assert sweep_command(settings, "quickstart") == "python -m sweeps experiment=quickstart replicates=64"
