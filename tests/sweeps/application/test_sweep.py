from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sedyn
from sweeps import worker
from sweeps.store import only_driver


def test_without_an_experiment_one_problem_is_run(sweep, read, capsys):
    assert sweep() == 0
    tree = read()
    assert tree["simulation"].train_error.dims == ("replicate", "iteration")
    assert tree["simulation"].train_error.notnull().all()
    last = capsys.readouterr().out.splitlines()[-1]
    assert 'xarray.open_datatree("stores/sweep.zarr", engine="zarr")' in last
    assert sweep() == 0
    assert "nothing was missing" in capsys.readouterr().out


def test_d_follows_n_at_the_aspect_ratio(sweep, read):
    assert sweep("grid.n=[40,60]", "aspect=2", "replicates=1") == 0
    assert read()["simulation"].d.values.tolist() == [20, 30]


def test_ray_and_inline_agree_to_the_last_bit(sweep, read, ray_session):
    grid = ("grid.noise=[0.1,0.5]", "problem.n=120", "aspect=1.5")
    assert sweep(*grid, "store=stores/inline.zarr") == 0
    assert sweep(*grid, "store=stores/ray.zarr", "compute=local") == 0
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(read("stores/inline.zarr")[group].ds, read("stores/ray.zarr")[group].ds)


def test_the_block_changes_no_number(sweep, read):
    assert sweep("block=1", "store=stores/a.zarr") == 0
    assert sweep("block=5", "store=stores/b.zarr") == 0
    xr.testing.assert_identical(read("stores/a.zarr")["simulation"].ds, read("stores/b.zarr")["simulation"].ds)


def test_a_sweep_resumes_where_status_is_missing(sweep, read, tmp_path, monkeypatch):
    assert sweep() == 0
    before = read()
    (tmp_path / "stores/sweep.zarr/status/simulation/c.1").unlink()
    executed = []
    execute = worker.execute
    monkeypatch.setattr(worker, "execute", lambda task, *a, **k: executed.append(task) or execute(task, *a, **k))
    assert sweep() == 0
    assert [task.replicates for task in executed] == [(2, 3)]
    xr.testing.assert_identical(read()["simulation"].ds, before["simulation"].ds)
    assert (read()["status"].simulation == 1).all()


def test_a_failing_task_is_recorded_and_the_others_go_on(sweep, read, monkeypatch, capsys):
    simulate = sedyn.simulate_together

    def failing(cells, **options):
        if any(problem.noise == 0.5 for problem, _ in cells):
            raise FloatingPointError("no luck")
        return simulate(cells, **options)

    with monkeypatch.context() as patched:
        patched.setattr(sedyn, "simulate_together", failing)
        assert sweep("grid.noise=[0.1,0.5]") == 1
    shown = capsys.readouterr()
    assert "FloatingPointError: no luck" in shown.err
    assert "Traceback" not in shown.err
    status = read()["status"]
    assert (status.simulation.sel(noise=0.1) == 1).all()
    assert (status.simulation.sel(noise=0.5) == 2).all()
    assert set(status.simulation_error.sel(noise=0.5).values.tolist()) == {"FloatingPointError: no luck"}
    assert np.isnan(read()["simulation"].train_error.sel(noise=0.5)).all()
    assert sweep("grid.noise=[0.1,0.5]") == 0
    assert (read()["status"].simulation == 1).all()


WRONG = [
    (["problem.widht=3"], "did you mean 'width'"),
    (["problem.noise=-1"], "noise=-1"),
    (["problem.n=abc"], "n='abc'"),
    (["problem.activation=tahn"], "did you mean 'tanh'"),
    (["+problem.colour=3"], "'colour'"),
    (["problem=nope"], "problem='nope'"),
    (["grid.nosie=[1]"], "did you mean 'noise'"),
    (["grid.noise=0.5"], "grid.noise=[VALUE,VALUE]"),
    (["grid.noise=[]"], "a list of values"),
    (["grid.noise=[a]"], "noise='a'"),
    (["grid.noise=[0.1]", "problem.noise=0.2"], "the grid sweeps over noise"),
    (["aspect=0"], "aspect=0"),
    (["aspect=true"], "aspect=True: a number > 0"),
    (["aspect=inf"], "aspect=inf: a number > 0"),
    (["aspect=2", "problem.d=20"], "nothing follows this ratio"),
    (["replicates=0"], "replicates=0"),
    (["replicates=many"], "replicates='many'"),
    (["block=0"], "block=0"),
    (["seed=-1"], "seed=-1"),
    (["engine=sparse"], "engine='sparse'"),
    (["engine=deferred", "problem.features=uniform"], "needs Gaussian features"),
    (["theory.samples=0"], "theory.samples=0"),
    (["theory.sample=10"], "did you mean 'samples'"),
    (["problem.n=100000000", "problem.d=100000000"], "GB"),
    (["store=3"], "store=3"),
    (["store=."], "store='.'"),
    (["store=s3://bucket/store.zarr"], "s3://bucket/store.zarr"),
    (["compute=ray"], "known: cluster, inline, local"),
    (["compute.device=tpu"], "compute.device='tpu'"),
    (["compute.workers=0"], "compute.workers=0"),
    (["target.stderr=-1"], "target.stderr=-1"),
    (["target.stderr=inf"], "target.stderr=inf"),
    (["target.stderr=0.1", "target.max_replicates=true"], "target.max_replicates=True"),
    (["target.stderr=0.1", "replicates=1"], "replicates=1"),
    (["target.sterr=0.1"], "did you mean 'stderr'"),
    (["dtype=float16"], "dtype='float16'"),
    (["imports=[no_such_module]"], "imports='no_such_module'"),
    (["imports=json"], "a list of modules"),
    (["--foo"], "write KEY=VALUE without dashes"),
    (["report=no.such"], "report='no.such'"),
    (["plan=maybe"], "plan='maybe'"),
    (["experiment=quikstart"], "did you mean 'quickstart'"),
    (["nonsense=1"], "key='nonsense'"),
    (["~seed"], "do not delete it"),
    (["problem.n=["], "problem.n=["),
    (["n"], "write KEY=VALUE"),
    (["--multirun", "problem.nise=1,2"], "did you mean 'noise'"),
    (["--multirun", "problem.noise=0.1,-1"], "noise=-1"),
    (["--multirun", "seed=1,2"], "replicates=N gives N independent runs"),
    (["--multirun", "experiment=quikstart,other"], "experiment="),
    (["hydra.mode=MULTIRUN"], "hydra.mode='MULTIRUN': leave it out; the flag --multirun"),
    (["--multirun", "hydra.mode=RUN", "problem.noise=0.1,0.2"], "hydra.mode='RUN'"),
    (["problem.noise=0.1,0.2"], "--multirun"),
    (["problem.n=[40,60]"], "n=[40, 60]"),
    (["grid.n=[40,[60]]"], "grid.n=[40, [60]]"),
    (["theory=3"], "theory=3: a mapping"),
    (["store=${shop}"], "'shop'"),
    (["imports.a=1"], "imports.a=1"),
    (["problem=null"], "problem=None: known: default, linear"),
    (["problem.depth=1000000"], "depth=1000000: a whole number from 1 to 1000"),
    (["problem.features='sparse(1e-300)'"], "features='sparse(1e-300)'"),
    (["theory.randomizations=1000000000000"], "theory.randomizations=1000000000000: a whole number from 2 to 1048576"),
    (["theory.samples=1099511627776"], "take "),
    (["block=1000000000000"], "block=1000000000000: a whole number from 1 to 1048576"),
    (["replicates=1000000000000"], "replicates=1000000000000: a whole number from 1 to 1048576"),
    (["report=os"], "report='os': a function of the store's path, not a module"),
    (["report=os.getcwd"], "report='os.getcwd': a function of the store's path"),
    (["target.observable=nope"], "target.observable='nope': known: train_error"),
    (["compute.gpus_per_worker=nan"], "compute.gpus_per_worker=nan: a number >= 0.0001"),
    (["compute.address=3"], "compute.address=3: a text"),
    (["aspect=1e-320"], "it gives too many features"),
    (["aspect=1e300"], "it gives no features"),
    (["problem.noise=1" + 400 * "0"], "no larger than a float can be"),
    (["problem.n=1" + 400 * "0"], "a whole number from 1 to 9007199254740992"),
    (["experiment=1_000"], "experiment='1_000': known: "),
    (["grid=[1]"], "grid=[1]: known: single, sizes"),
    (["store=/"], "store='/': a path that ends in a name"),
    (["store=''"], "store='': a path or URL"),
    (["store='~nobody-of-that-name/x.zarr'"], "there is no home directory of that user"),
    (["store=~/x.zarr"], "it has a character with a meaning of its own; write KEY=VALUE, in quotes"),
    (["--resolve"], "--resolve=True: shows values where --cfg job prints a configuration"),
    (["problem=fields"], "problem='fields': known: default, linear"),
    (["grid=fields"], "grid='fields': known: single, sizes"),
    (["problem=[fields,linear]"], "problem=['fields', 'linear']: known: default, linear"),
    (["compute=3"], "compute=3: known: cluster, inline, local"),
    (["--config-dir=nowhere"], "--config-dir='nowhere': no such folder"),
    (["hydra.run.dir=elsewhere"], "hydra.run.dir='elsewhere': leave it out"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: str(value)[:60])
def test_a_wrong_request_is_one_line_and_status_two(sweep, capsys, tmp_path, arguments, message):
    (tmp_path / "stores").mkdir()
    if arguments == ["store=."]:
        (tmp_path / "stores" / "mine").touch()
    assert sweep(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not list(tmp_path.glob("stores/*.zarr"))


def test_a_home_directory_is_put_in_its_place(sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "stores"))
    assert sweep("replicates=1", "store='~/mine.zarr'") == 0
    assert [path.name for path in (tmp_path / "stores").iterdir()] == ["mine.zarr"]


def test_what_has_no_memory_is_refused_before_there_is_a_store(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sedyn.arrays.machine.memory_limit", lambda: int(1.5e9))
    assert sweep("problem.width=3", "problem.steps=20", "theory.samples=4194304") == 2
    assert re.search(r"theory\.samples=4194304: .* GB of 1\.2 GB; take \d+ or fewer", capsys.readouterr().err)
    assert sweep("block=1000000") == 2
    assert "block=1000000: their results take" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_asks_for_a_multirun_is_refused(sweep, capsys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("configurations")
    (folder / "experiment").mkdir()
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\nhydra: {mode: MULTIRUN}\n")
    assert sweep(f"--config-dir={folder}", "experiment=mine") == 2
    assert capsys.readouterr().err.startswith("hydra.mode='MULTIRUN': leave it out; the flag --multirun")


def test_a_gpu_that_is_absent_is_refused(sweep, capsys, monkeypatch):
    monkeypatch.setattr("sedyn.arrays.backend.gpu_unusable_because", lambda: "no GPU here")
    assert sweep("compute.device=gpu") == 2
    assert "compute.device='gpu': no GPU here; use compute.device=cpu" in capsys.readouterr().err


def test_a_resource_that_the_cluster_lacks_is_refused_at_once(sweep, capsys, ray_session):
    assert sweep("compute=local", "compute.workers=64") == 2
    assert "room for 2" in capsys.readouterr().err


def test_other_settings_on_the_same_store_are_refused(sweep, capsys):
    assert sweep("replicates=1") == 0
    capsys.readouterr()
    assert sweep("replicates=1", "problem.noise=0.4") == 2
    assert "problem.noise was 0.3 and is now 0.4" in capsys.readouterr().err


def test_a_plan_is_printed_and_nothing_is_made(sweep, tmp_path, capsys):
    assert sweep("plan=true", "grid.noise=[0.1,0.5]") == 0
    shown = capsys.readouterr().out
    assert "cells: 2" in shown
    assert "tasks: 8 (6 simulation, 2 theory)" in shown
    assert re.search(r"predicted: [0-9.e-]+ s of computing, [0-9.e-]+ s on 1 worker of this machine \(cpu\)", shown)
    assert re.search(r"most memory: [0-9]+ MiB: ", shown)
    assert "store's size: 0.8 MiB in 201 files" in shown
    assert "done: " not in shown
    assert not list(tmp_path.iterdir())


def test_a_plan_leaves_out_what_is_done(sweep, capsys):
    assert sweep("replicates=3") == 0
    capsys.readouterr()
    assert sweep("plan=true", "replicates=5", "grid.noise=[0.3,0.5]") == 0
    shown = capsys.readouterr().out
    assert "done: 3 of 10 replicates and 1 of 2 theory solutions" in shown
    assert "tasks: 6 (5 simulation, 1 theory)" in shown  # one of each old block, three of the new cell
    assert sweep("plan=true", "replicates=3") == 0
    assert "tasks: 0 (0 simulation, 0 theory)" in capsys.readouterr().out
    assert sweep("plan=true", "problem.noise=0.4", "seed=1") == 2
    assert "seed was 0 and is now 1" in capsys.readouterr().err


def test_the_report_is_called_with_the_store(sweep, tmp_path, monkeypatch):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "my_report.py").write_text("def show(path):\n    print('reported', path)\n")
    monkeypatch.syspath_prepend(tmp_path / "stores")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert sweep("replicates=1", "report=my_report.show") == 0


@pytest.mark.parametrize(("compute", "prepared"), [("inline", False), ("local", True)])
def test_a_report_gets_ready_while_workers_start(sweep, tmp_path, monkeypatch, ray_session, compute, prepared):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / f"slow_report_{compute}.py").write_text(
        "def show(path):\n    pass\n\nready = []\n\n"
        "def get_ready():\n    ready.append(1)\n    raise OSError('this is seen when the report is called')\n\n"
        "show.prepare = get_ready\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "stores")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert sweep("replicates=1", f"report=slow_report_{compute}.show", f"compute={compute}") == 0
    assert bool(sys.modules[f"slow_report_{compute}"].ready) == prepared


def test_functions_that_a_user_registered_work_in_workers(sweep, read, tmp_path, monkeypatch, ray_session):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "users_functions.py").write_text(
        "import sedyn\n"
        "sedyn.register_activation('halved', lambda x: x / 2, lambda x: 0 * x + 0.5, lambda x: 0 * x)\n"
        "sedyn.register_link('doubled', lambda z: 2 * z)\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "stores")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    functions = ("imports=[users_functions]", "problem.activation=halved", "problem.link=doubled")
    assert sweep(*functions, "compute=local", "compute.workers=1", "replicates=2") == 0
    assert read()["simulation"].train_error.notnull().all()


def test_a_second_driver_is_refused(sweep, tmp_path, capsys):
    with only_driver(str(tmp_path / "stores/sweep.zarr")):
        assert sweep() == 2
    assert "another sweep is writing this store" in capsys.readouterr().err


def test_the_module_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "sweeps", "problem.n=-1"]
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "n=-1: a whole number >= 1\n")


def test_interruption_says_how_to_go_on(sweep, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(worker, "execute", interrupt)
        assert sweep() == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_enough_failures_end_a_sweep_and_the_first_is_shown_once(sweep, monkeypatch, capsys):
    def failing(*arguments, **options):
        raise FloatingPointError("no luck")

    monkeypatch.setattr(sedyn, "simulate_together", failing)
    assert sweep("block=1", "replicates=4", "max_failures=2") == 1
    shown = capsys.readouterr()
    assert shown.err.count("FloatingPointError: no luck") == 1
    assert "and 1 more failed; `sedyn status stores/sweep.zarr` counts each reason" in shown.err
    assert "stopped after max_failures=2; the same command goes on with the rest" in shown.err
    assert "2 failed" in shown.out
    assert sweep("max_failures=0") == 2
    assert "max_failures=0: a whole number >= 1, or null" in capsys.readouterr().err


def test_a_report_that_fails_is_one_line_and_the_results_stay(sweep, read, capsys, monkeypatch):
    def failing(*arguments, **options):
        raise FloatingPointError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr(sedyn, "simulate_together", failing)
        assert sweep("replicates=1", "report=analysis.report.report") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("report: ")
    assert "stores/sweep.zarr" in last
    assert "nothing finished yet" in last
    assert sweep("replicates=1") == 0
    assert read()["simulation"].train_error.notnull().all()


class EndpointConnectionError(Exception):
    """As a client of storage raises it, which is no OSError."""


EndpointConnectionError.__module__ = "botocore.exceptions"


@pytest.mark.parametrize("where", ["sweeps.worker.write_results", "sweeps.store.Store.record_environment"])
def test_storage_that_is_away_is_one_line(sweep, tmp_path, capsys, monkeypatch, where):
    def failing(*arguments, **options):
        raise EndpointConnectionError("Could not connect\nto anything")

    monkeypatch.setattr(where, failing)
    location = f"memory://{tmp_path}/a.zarr"
    assert sweep("replicates=1", f"store={location}") == 1
    *progress, last = capsys.readouterr().err.splitlines()
    assert last == f"store='{location}' cannot be written: Could not connect; what is finished is kept"
    assert all("tasks" in line for line in progress)


def test_globs_and_modules_that_end_the_process_are_refused(sweep, tmp_path, capsys, monkeypatch):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "ending.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path / "stores")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert sweep("imports=[ending]") == 2
    assert "imports='ending': cannot be imported (SystemExit: 0)" in capsys.readouterr().err
    for words in (["problem.width=glob(*)"], ["--multirun", "problem.width=glob(*)"], ["experiment=glob(*)"]):
        assert sweep(*words) == 2, words
        assert capsys.readouterr().err.count("\n") == 1
