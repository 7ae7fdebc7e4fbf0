"""A store of many cells: shards and logs hold what chunks and files would, through deaths, damage and growth."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn.errors import InvalidInput
from sweeps import status, validate
from sweeps.application.sweep import main
from sweeps.plan import cells as plan_cells
from sweeps.schedule import missing_tasks
from sweeps.store import (
    DONE,
    FAILED,
    Store,
    StoreTaken,
    conditions,
    drop,
    failures,
    find_damage,
    may_have_shards,
    mend,
    objects,
    redo,
    settings_for,
    states,
    stored_size,
    write_status,
)
from sweeps.store.logs import FOLDER, Entry, Log, records_of
from sweeps.store.shards import revise
from sweeps.store.survey import intact
from sweeps.worker import execute
from tests.sweeps.store.deaths import prepare
from tests.sweeps.store.storages import storage  # noqa: F401
from tests.sweeps.store.test_damage import assert_no_trace, plausible, settings_in, write_settings
from tests.sweeps.store.test_deaths import PIECE
from tests.sweeps.stores import finish, spec_of, tree_of

ROOT = Path(__file__).parents[3]
AXES = {"noise": (0.0, 0.1, 0.3), "width": (1, 2)}


def with_small_shards(patch):
    """Make a sweep of two cells a large one, with few cells in a shard."""
    patch.setattr(plan_cells, "MANY_CELLS", 2)
    patch.setattr("sweeps.store.layout.CHUNK_CELLS", 2)
    patch.setattr("sweeps.store.layout.SHARD_CELLS", 4)


@pytest.fixture
def small_shards(monkeypatch):
    with_small_shards(monkeypatch)


def spec_of_shards(axes=None, **changes):
    return spec_of(axes or AXES, block=None, **changes)


def done(location, spec):
    """Run what a store lacks, merge it, and say how many tasks this took."""
    tasks = finish(location, spec)
    Store.open(location).merge(last=True)
    return len(tasks)


def assert_same(one, other):
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(tree_of(one)[group].ds, tree_of(other)[group].ds)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The same sweep in single chunks, in logs alone, and in shards; not to be touched."""
    folder = tmp_path_factory.mktemp("finished")
    plain, logged, sharded = (str(folder / f"{name}.zarr") for name in ("plain", "logged", "sharded"))
    finish(plain, spec_of_shards())
    with pytest.MonkeyPatch.context() as patch:
        with_small_shards(patch)
        finish(logged, spec_of_shards())
        shutil.copytree(logged, sharded)
        Store.open(sharded).merge(last=True)
    return {"plain": plain, "logged": logged, "sharded": sharded}


@pytest.fixture
def plain(finished, location):
    return shutil.copytree(finished["plain"], location.replace("a.zarr", "plain.zarr"))


@pytest.fixture
def logged(finished, location, small_shards):
    return shutil.copytree(finished["logged"], location)


@pytest.fixture
def sharded(finished, location, small_shards):
    return shutil.copytree(finished["sharded"], location)


def test_shards_hold_what_chunks_would_in_fewer_files(sharded, finished):
    store = Store.open(sharded)
    assert store.settings["format"] == 11
    assert store.array("simulation", "train_error").shards[:3] == (1, 4, 5)
    assert store.array("simulation", "train_error").chunks[:3] == (1, 2, 5)
    assert_same(sharded, finished["plain"])
    assert (tree_of(sharded)["status"].simulation == DONE).all()
    assert (tree_of(sharded)["status"].theory == DONE).all()
    assert not Path(sharded, FOLDER).exists()
    assert 3 * sum(1 for _ in Path(sharded).rglob("c.*.*")) == sum(1 for _ in Path(finished["plain"]).rglob("c.*.*"))
    assert missing_tasks(store, spec_of_shards()) == []
    assert validate.main([sharded]) == 0
    for location in (sharded, finished["plain"]):
        files = [path.stat() for path in Path(location).rglob("*") if path.is_file()]
        size = stored_size(Store.open(location).settings, 5)
        assert size.files == len(files)
        assert size.bytes == pytest.approx(sum(-(-file.st_size // 4096) * 4096 for file in files), rel=0.1)


@pytest.mark.parametrize("form", [7, 9])
def test_a_store_of_shards_of_other_points_opens_and_validates_and_takes_no_more(sharded, finished, form):
    """Formats that lie as this version's do."""
    write_settings(Path(sharded), {**settings_in(Path(sharded)), "format": form})
    assert validate.main([sharded]) == 0
    assert_same(sharded, finished["plain"])
    with pytest.raises(InvalidInput, match=f"has format {form}, whose test errors are averages over other points"):
        finish(sharded, spec_of_shards(replicates=7))


def test_a_store_of_few_cells_is_what_it_was_and_stays_it_when_it_grows(plain, small_shards):
    assert Store.open(plain).settings["format"] == 10
    finish(plain, spec_of_shards(AXES | {"width": (1, 2, 3)}))
    assert Store.open(plain).settings["format"] == 10
    assert "shards" not in settings_for(spec_of_shards(), Store.open(plain).settings)
    assert "shards" in settings_for(spec_of_shards())
    assert not Path(plain, FOLDER).exists()
    assert validate.main([plain]) == 0


def test_shards_grow_by_replicates_values_and_axes(sharded, location):
    grown = AXES | {"noise": (*AXES["noise"], 0.7), "steps": (3, 4)}
    spec = spec_of_shards(grown, replicates=8)
    before = tree_of(sharded)
    store = Store.prepare(sharded, spec)
    kept = tree_of(sharded)["simulation"].train_error.sel(steps=3)
    kept = kept.isel(noise=slice(3), replicate=slice(5), iteration=slice(4))
    np.testing.assert_array_equal(kept, before["simulation"].train_error)
    assert (states(store, "simulation") == DONE).sum() == 30
    done(sharded, spec)
    fresh = location.replace("a.zarr", "b.zarr")
    done(fresh, spec)
    assert_same(sharded, fresh)
    assert validate.main([sharded]) == 0


def test_nothing_of_a_record_counts_before_it_is_whole_and_all_of_it_after(logged, finished):
    spec = spec_of_shards()
    (log,) = Path(logged, FOLDER).iterdir()
    whole = log.stat().st_size
    count = len(missing_tasks(None, spec))
    lacking = []
    for size in (whole, whole - 1, whole // 2, 10, 0):
        os.truncate(shutil.copy(log, log.with_name("kept")), size)
        copy = shutil.copytree(logged, logged.replace("a.zarr", f"{size}.zarr"))
        for name in (log.name, "kept"):
            Path(copy, FOLDER, name).unlink()
        shutil.copy(log.with_name("kept"), Path(copy, FOLDER, log.name))
        assert validate.main([copy]) == 0  # what was torn off is missing, and no damage
        assert not (tree_of(copy)["status"].simulation == DONE).any()
        lacking.append(len(missing_tasks(Store.prepare(copy, spec), spec)))
        assert not Path(copy, FOLDER).exists()
        assert validate.main([copy]) == 0
    assert lacking[:2] == [0, 1]
    assert lacking == sorted(lacking)
    assert lacking[3:] == [count, count]
    half = logged.replace("a.zarr", f"{whole // 2}.zarr")
    assert done(half, spec) == lacking[2]
    assert_same(half, finished["sharded"])


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_damaged_record_is_named_and_computed_again(logged, finished, part, capsys):
    spec = spec_of_shards()
    (log,) = Path(logged, FOLDER).iterdir()
    data = bytearray(log.read_bytes())
    data[6 if part == "head" else 40] ^= 4
    log.write_bytes(data)
    assert validate.main([logged]) == 1
    assert f"logs/{log.name} at byte 0 is damaged" in capsys.readouterr().out
    status.main([logged])
    assert "MiB of results are logged" in capsys.readouterr().out
    assert validate.main([logged, "--repair"]) == 0
    assert validate.main([logged]) == 0
    left = len(missing_tasks(Store.open(logged), spec))
    assert left == 1 if part == "body" else left > 1
    assert done(logged, spec) == left
    assert_same(logged, finished["sharded"])


def entry_of(number):
    return Entry(
        np.array([[number]]), np.array([0]), (0,), {"simulation/train_error": np.full((1, 1, 4), float(number))}
    )


def logged_in(store):
    """Which entries the logs of a store have, by their cells."""
    data = [objects.read(store, [f"{FOLDER}/{name}"])[0] for name in sorted(objects.list_names(store, FOLDER))]
    return [int(entry.positions[0, 0]) for log in data for entry in records_of(log).entries]


def half_done(log):
    with log.together():
        log.append([entry_of(2)])
        raise ZeroDivisionError


@pytest.mark.parametrize("broken", ["write", "fsync"])
def test_nothing_follows_what_an_error_cut_short(location, monkeypatch, broken):
    store = objects.reach(location)
    log = Log(store, lambda: None)
    log.append([entry_of(1)])
    call = getattr(os, broken)

    def failing(descriptor, *data):
        if data:
            call(descriptor, data[0][:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, broken, failing)
        with pytest.raises(OSError, match="No space"):
            log.append([entry_of(2)])
    log.append([entry_of(3)])
    log.append([entry_of(4)])
    assert logged_in(store) == ([1, 3, 4] if broken == "write" else [1, 2, 3, 4])
    assert len(objects.list_names(store, FOLDER)) == 2


def test_entries_that_are_logged_together_are_one_record_in_which_cells_share_rows(location):
    store = objects.reach(location)
    log = Log(store, lambda: None)
    shared = Entry(np.array([[5], [6]]), np.array([0, 0]), (0,), {"simulation/train_error": np.full((1, 1, 4), 5.0)})
    with log.together():
        log.append([entry_of(1)])
        log.append([shared])
        log.append([Entry(np.array([[7]]), np.array([0]), (), {"theory/train_error": np.full((1, 4), 7.0)})])
        assert objects.list_names(store, FOLDER) == []
    with pytest.raises(ZeroDivisionError):
        half_done(log)
    (name,) = objects.list_names(store, FOLDER)
    one, other = records_of(Path(location, FOLDER, name).read_bytes()).entries
    assert one.positions.tolist() == [[1], [5], [6]]
    assert one.values["simulation/train_error"][one.rows, 0, 0].tolist() == [1.0, 5.0, 5.0]
    assert (other.positions.tolist(), other.replicates) == ([[7]], ())


def test_a_record_that_cannot_be_read_yet_is_read_at_a_later_merge(logged, finished):
    (log,) = Path(logged, FOLDER).iterdir()
    data = log.read_bytes()
    log.write_bytes(data[:40] + bytes([data[40] ^ 4]) + data[41:])  # as another machine may see what is being written
    store = Store.open(logged)
    store.merge()
    done = (states(store, "simulation") == DONE).sum() + (states(store, "theory") == DONE).sum()
    assert 0 < done < 36
    log.write_bytes(data)
    store.merge()
    assert log.exists()  # its writer may go on
    assert_same(logged, finished["sharded"])
    assert missing_tasks(store, spec_of_shards()) == []


def test_a_log_that_grew_since_it_was_listed_is_not_lost_and_one_that_did_not_is_not_read(logged, monkeypatch):
    (log,) = Path(logged, FOLDER).iterdir()
    newer = shutil.copy(log, log.with_suffix(".000001"))
    store, listed, read = Store.open(logged), objects.list_sizes, objects.read
    with monkeypatch.context() as patched:
        patched.setattr(objects, "list_sizes", lambda *folder: [(name, 0) for name, _ in listed(*folder)])
        store.merge()
    assert [path.name for path in Path(logged, FOLDER).iterdir()] == [newer.name]
    assert missing_tasks(store, spec_of_shards()) == []
    keys = []
    monkeypatch.setattr(objects, "read", lambda store, some: keys.extend(some) or read(store, some))
    store.merge()
    assert f"{FOLDER}/{newer.name}" in keys
    keys.clear()
    store.merge()
    assert not keys


@pytest.mark.parametrize("url", [False, True])
def test_who_lost_the_store_logs_nothing_and_merges_nothing(location, small_shards, url):
    location, spec = f"memory://{location}" if url else location, spec_of_shards()
    lost = Store.prepare(location, spec, owner="first")
    tasks = missing_tasks(lost, spec)
    execute(tasks[0], lost, device="cpu")
    (name,) = objects.list_names(lost.objects, FOLDER)
    (record,) = objects.read(lost.objects, [f"{FOLDER}/{name}"])
    new = Store.prepare(location, spec, owner="second")
    lost.merge(last=True)  # there is nothing to merge
    objects.write(new.objects, [(f"{FOLDER}/{name}", record)])  # as a worker of the second may
    before = states(new, "simulation"), states(new, "theory")
    for write in (lambda: execute(tasks[1], lost, device="cpu"), lambda: lost.merge(), lambda: lost.merge(last=True)):
        with pytest.raises(StoreTaken, match="another driver has taken the store over"):
            write()
    assert objects.list_names(new.objects, FOLDER) == [name]
    for one, other in zip(before, (states(new, "simulation"), states(new, "theory")), strict=True):
        np.testing.assert_array_equal(one, other)
    done(location, spec)
    assert missing_tasks(Store.open(location), spec) == []


def flipped(data, draw):
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]


@pytest.mark.parametrize("kind", ["flipped", "cut", "deleted"])
def test_damage_to_shards_is_seen_and_mended(sharded, finished, kind):
    spec, draw = spec_of_shards(), random.Random(kind)
    files = sorted(path for path in Path(sharded).rglob("c.*.*") if path.parent.name not in ("simulation", "theory"))
    for file in draw.sample(files, 12):
        data = file.read_bytes()
        if kind == "deleted":
            file.unlink()
        else:
            file.write_bytes(flipped(data, draw) if kind == "flipped" else data[: draw.randrange(len(data))])
    assert validate.main([sharded]) == 1
    store = Store.prepare(sharded, spec)
    mend(store, find_damage(store))
    assert find_damage(store) == ([], [])
    tasks = missing_tasks(store, spec)
    assert tasks
    done(sharded, spec)
    assert validate.main([sharded]) == 0
    assert_same(sharded, finished["sharded"])


def test_a_flipped_bit_costs_the_cells_of_one_chunk(sharded):
    file = min(Path(sharded, "simulation/train_error").glob("c.*"))
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    damage = find_damage(Store.open(sharded))
    assert [fault.lead for fault in damage.faults] == [(0, 0, 0), (0, 1, 0)]
    tree = xr.open_datatree(sharded, engine="zarr")
    with pytest.raises(ValueError, match="checksum"):
        tree["simulation"].train_error[0].load()
    assert tree["simulation"].train_error[1].notnull().all()


def test_failures_redo_and_drop_in_shards(location, finished, small_shards, monkeypatch):
    simulate = sedyn.simulate_together

    def failing(cells, **options):
        if any(problem.noise == 0.3 for problem, _ in cells):
            raise FloatingPointError("no luck")
        return simulate(cells, **options)

    spec = spec_of_shards()
    with monkeypatch.context() as patched:
        patched.setattr(sedyn, "simulate_together", failing)
        store = Store.prepare(location, spec)
        errors = [execute(task, store, device="cpu").error for task in missing_tasks(store, spec)]
        assert any(errors)
        assert not all(errors)
        store.merge(last=True)
    found = states(store, "simulation")
    assert (found[:, 2] == FAILED).all()
    assert (found[:, :2] == DONE).all()
    assert failures(store, "simulation") == ["FloatingPointError: no luck"] * 10
    done(location, spec)
    assert_same(location, finished["sharded"])
    assert redo(Store.open(location), {"noise": [0.1], "width": [2]}) == (1, 0)
    found = states(Store.open(location), "simulation")
    assert (found[1, 1] != DONE).all()
    assert (found == DONE).sum() == found.size - 5
    done(location, spec)
    assert_same(location, finished["sharded"])
    assert drop(Store.open(location), {"noise": [0.1]}) == 2
    after, before = tree_of(location), tree_of(finished["sharded"])
    assert after["simulation"].train_error[:, 1].isnull().all()
    xr.testing.assert_identical(after["theory"].test_error[:, [0, 2]], before["theory"].test_error[:, [0, 2]])


def test_a_sweep_of_many_cells_from_the_command_line(location, small_shards, capsys):
    words = ["problem.n=40", "problem.d=20", "problem.steps=3", "theory.samples=64", "theory.randomizations=2"]
    words += ["grid.noise=[0.1,0.2,0.5]", "replicates=5", "compute=inline", f"store={location}"]
    assert main([*words, "plan=true"]) == 0
    assert "files" in capsys.readouterr().out
    assert main(words) == 0
    assert not Path(location, FOLDER).exists()
    assert validate.main([location]) == 0
    assert (tree_of(location)["status"].simulation == DONE).all()
    assert main(words) == 0
    assert "nothing was missing" in capsys.readouterr().out
    target = ["target.observable=test_error", "target.stderr=1e-2", "target.max_replicates=40"]
    assert main([*words, *target]) == 0
    assert "target met in" in capsys.readouterr().out
    assert Store.open(location).replicates > 5


def test_behind_a_url_every_record_is_an_object(finished, small_shards, storage):  # noqa: F811
    location, spec = "unsteady://bucket/a.zarr", spec_of_shards()
    tasks = finish(location, spec)
    store = Store.open(location)
    assert len(objects.list_names(store.objects, FOLDER)) == len(tasks)
    assert not (states(store, "simulation") == DONE).any()
    store.merge(last=True)
    assert objects.list_names(store.objects, FOLDER) == []
    assert find_damage(store) == ([], [])
    other = Store.open(finished["sharded"])
    for group, name in (("simulation", "test_error"), ("theory", "weight_gram"), ("status", "simulation")):
        np.testing.assert_array_equal(intact(store, group, name), intact(other, group, name))


@pytest.mark.parametrize("array", ["simulation/test_error", "status/theory", "status/simulation_error"])
def test_who_lost_the_store_amid_the_replacement_of_a_shard_puts_nothing_back(location, small_shards, finished, array):
    """As where a request is held up for a minute: another driver has written the same shard meanwhile."""
    location, spec = f"memory://{location}", spec_of_shards()
    lost = Store.prepare(location, spec, owner="first")
    tasks = [part for task in missing_tasks(lost, spec) for one in task.make() for part in one.parts]
    for task in tasks[::2]:
        execute(task, lost, device="cpu")
    for task in tasks[1::2]:
        write_status(lost, task, FAILED, seconds=0.0, error="no luck")
    replace, held = objects.replace, []

    def late(store, key, *written):
        if key.startswith(f"{array}/") and not held:
            held.append(key)
            new = Store.prepare(location, spec, owner="second")
            for task in missing_tasks(new, spec):
                execute(task, new, device="cpu")
            new.merge(last=True)
        return replace(store, key, *written)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(objects, "replace", late)
        with pytest.raises(StoreTaken, match="another driver has taken the store over"):
            lost.merge(last=True)
    assert held
    assert missing_tasks(Store.open(location), spec) == []
    assert_same(location, finished["sharded"])
    assert validate.main([location]) == 0


def test_a_shard_that_changes_while_it_is_replaced_is_read_again(location, small_shards):
    """As where a request was served and no answer came."""
    store, now = Store.prepare(f"memory://{location}", spec_of_shards()), []

    def change(which, value):
        def put(values):
            values[0, which, 0] = value

        return put

    def interfere():
        now.append(len(now))
        if len(now) == 1:
            revise(store.objects, array, (0, 0, 0), lambda: None, change(1, FAILED))

    array = store.array("status", "simulation")
    revise(store.objects, array, (0, 0, 0), interfere, change(0, DONE))
    assert len(now) == 2
    assert states(store, "simulation")[0, :2, 0].tolist() == [DONE, FAILED]

    def always():
        revise(store.objects, array, (0, 0, 0), lambda: None, change(1, FAILED))

    with pytest.raises(OSError, match="changed 8 times"):
        revise(store.objects, array, (0, 0, 0), always, change(2, DONE))


def test_without_conditions_a_new_store_of_many_cells_has_single_chunks(
    location, finished, small_shards, monkeypatch, capsys
):
    """As on storages to which fsspec has no conditional writes; what has shards there keeps them."""
    spec, old, new = spec_of_shards(), f"memory://{location}", f"memory://{location}.other"
    assert may_have_shards(old)
    finish(old, spec)
    monkeypatch.setattr(conditions, "_kind_of", lambda files: None)
    done(old, spec)
    assert Store.open(old).settings["format"] == 11
    assert_same(old, finished["sharded"])
    assert not may_have_shards(new)
    words = ["problem.n=40", "problem.d=20", "problem.steps=3", "theory.samples=64", "theory.randomizations=2"]
    words += ["grid.noise=[0.1,0.2]", "replicates=2", "compute=inline", f"store={new}"]
    assert main([*words, "plan=true"]) == 0
    files = re.search(r"MiB in (\d+) files", capsys.readouterr().out)
    assert main(words) == 0
    store = Store.open(new)
    assert store.settings["format"] == 10
    there = fsspec.filesystem("memory").find(new)
    assert int(files[1]) == len(there)
    assert validate.main([new]) == 0


def test_plausible_settings_of_shards_end_no_command_in_a_trace(sharded, capsys):
    settings = settings_in(Path(sharded))
    made = [{**settings, name: other} for name in ("shards", "format", "block") for other in plausible(settings[name])]
    for said in random.Random(0).sample(made, 25):
        assert_no_trace(Path(sharded), said, capsys)
    write_settings(Path(sharded), {**settings, "shards": {**settings["shards"], "width": [2, 3]}})
    assert validate.main([sharded]) == 2
    assert "shards.width has shards of 3 and chunks of 2, which no axis has" in capsys.readouterr().err


@pytest.mark.parametrize(("first", "step"), [(0, 397), *PIECE])
def test_a_death_at_any_operation_of_a_merge_loses_nothing(tmp_path, finished, first, step):
    folder = tmp_path / "stores"
    folder.mkdir()
    shutil.copytree(finished["logged"], folder / "logged.zarr")
    command = [sys.executable, "-m", "tests.sweeps.store.deaths", str(folder), str(first), str(step)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=2000)
    places = sorted((place for place in folder.iterdir() if place.name.isdecimal()), key=lambda place: int(place.name))
    assert len(places) > 400 / step
    expected = tree_of(finished["sharded"])
    for place in places:
        location = str(place / "a.zarr")
        tree = tree_of(location)  # which a reader may have had at that moment
        for group, name in (("simulation", "train_error"), ("theory", "test_error")):
            there = tree["status"][group] == DONE
            np.testing.assert_array_equal(
                tree[group][name].where(there), expected[group][name].where(there), err_msg=location
            )
        prepare(location, spec_of_shards())
        assert not Path(location, FOLDER).exists()
        assert_same(location, finished["sharded"])
        assert validate.main([location, "--repair"]) == 0
        assert validate.main([location]) == 0
