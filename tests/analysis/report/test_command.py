import shlex
import subprocess

import pytest

from analysis.report.command import path_word, sweep_command
from sweeps.application.composition import compose, experiments
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


HOSTILE = [
    "$(touch owned)",
    "`id`",
    "a'; touch owned #",
    "x,y",
    "${oc.env:HOME}",
    "\x1b[2J\nrm",
    "f(x)",
    "[1,2]",
    "a\\'",
    "\\",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_stranger_wrote_is_one_word_of_the_shell_and_one_value_of_hydra(text, tmp_path):
    name = text.replace("/", "")
    command = sweep_command({"problem": {"link": text}, "seed": text, "replicates": 3}, name)
    assert command.isprintable()
    shown = subprocess.run(
        ["bash", "-c", f"""python() {{ printf '%s\\0' "$@"; }}; {command}"""],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout.split("\0")[:-1]
    assert not list(tmp_path.iterdir())
    config = compose(shown[2:]).config
    assert (config.problem.link, config.seed, config.store) == (text, text, f"stores/{name}.zarr")
    assert config.replicates == 3


def test_a_store_says_nothing_about_what_is_run_or_where_it_goes():
    settings = {
        "report": "os.system",
        "imports": ["evil"],
        "store": "/etc/x",
        "compute": "cluster",
        "plan": True,
        "seed": 5,
    }
    settings |= {
        "code": "any",
        "target": {"stderr": 1},
        "max_failures": 1,
        "hydra.run.dir": "/",
        "axes": {"n": [10, 20]},
    }
    assert sweep_command(settings, "mine") == "python -m sweeps seed=5 'grid.n=[10,20]' store=stores/mine.zarr"


def test_a_path_is_no_option_and_no_command():
    assert path_word("stores/a.zarr") == "stores/a.zarr"
    assert path_word("-o/a b;c.zarr") == "'./-o/a b;c.zarr'"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"verdict": True, "max_seconds": 60.0}, "target.verdict=true target.max_seconds=60.0"),
        (
            {"verdict": False, "stderr": 0.01, "observable": "train_error"},
            "target.stderr=0.01 target.observable=train_error",
        ),
    ],
)
def test_a_sweep_with_a_target_begins_with_the_first_rounds_replicates(target, words):
    settings = {"axes": {"n": [100, 200]}, "replicates": 96, "wanted": [[{"n": 100}, 96], [{"n": 200}, 24]]}
    command = sweep_command({**settings, "sought": {"replicates": 8, **target}}, "mine")
    assert command == f"python -m sweeps replicates=8 {words} 'grid.n=[100,200]' store=stores/mine.zarr"


def test_an_older_sweep_to_verdicts_began_with_the_fewest_replicates_of_a_cell():
    settings = {"axes": {"n": [100, 200]}, "replicates": 96, "wanted": [[{"n": 100}, 96], [{"n": 200}, 12]]}
    command = sweep_command(settings, "mine")
    assert command == ("python -m sweeps replicates=12 target.verdict=true 'grid.n=[100,200]' store=stores/mine.zarr")
