"""Whatever happens to a file of a store is seen, by whoever validates it, computes in it or reads it, and mended."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from analysis.report import main as report
from analysis.watch import main as watch
from sedyn.errors import InvalidInput
from sweeps import status, validate
from sweeps.application.sweep import main
from sweeps.store import Store, metadata
from tests.sweeps.stores import finish, spec_of, tree_of

PROBLEM = ["problem.n=40", "problem.d=20", "problem.steps=3", "theory.samples=64", "theory.randomizations=2"]
SWEEP = [*PROBLEM, "grid.noise=[0.1,0.5]", "replicates=5", "block=2", "compute=inline"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store, not to be touched."""
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    assert main([*SWEEP, f"store={path}"]) == 0
    return path


@pytest.fixture
def store(whole: Path, location: str) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, location))


def flip(data: bytes, draw: random.Random) -> bytes:
    at, bit = draw.randrange(len(data)), 1 << draw.randrange(8)
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


DAMAGE = {
    "flipped": flip,
    "zeroed": lambda data, _: bytes(len(data)),
    "cut": lambda data, draw: data[: draw.randrange(len(data))],
    "longer": lambda data, _: data + b"\0",
    "empty": lambda *_: b"",
    "other": lambda data, draw: draw.randbytes(len(data)),
    "deleted": None,
}


def damage(file: Path, kind: str, draw: random.Random) -> None:
    if kind == "deleted":
        file.unlink()
    else:
        file.write_bytes(DAMAGE[kind](file.read_bytes(), draw))


def files_of(store: Path) -> list[Path]:
    """Every file but the root's document, without which nothing is known."""
    return sorted(file for file in store.rglob("*") if file.is_file() and file != store / "zarr.json")


def assert_same(store: Path, whole: Path) -> None:
    mended, expected = tree_of(str(store)), tree_of(str(whole))
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(mended[group].ds, expected[group].ds)
    assert (mended["status"].simulation == 1).all()
    assert (mended["status"].theory == 1).all()


def assert_seen_and_mended(store: Path, whole: Path, what: str) -> None:
    """A run alone mends, without a validation, and says what."""
    copy = Path(shutil.copytree(store, store.with_name("copy.zarr")))
    assert validate.main([str(store)]) == 1, what
    assert validate.main([str(store), "--repair"]) == 0, what
    assert validate.main([str(store)]) == 0, what
    for each in (store, copy):
        assert main([*SWEEP, f"store={each}"]) == 0, what
        assert validate.main([str(each)]) == 0, what
        assert_same(each, whole)
        shutil.rmtree(each)


@pytest.mark.parametrize("kinds", [["flipped"], [kind for kind in DAMAGE if kind != "flipped"]])
def test_any_damage_to_any_file_is_seen_and_mended(store, whole, kinds):
    draw = random.Random(f"a few of {kinds}")
    for file in draw.sample(files_of(store), 30):
        damage(file, draw.choice(kinds), draw)
    assert_seen_and_mended(store, whole, str(kinds))


@pytest.mark.parametrize("kind", ["flipped", "cut", "deleted"])
@pytest.mark.parametrize(
    "name", ["simulation/noise/c.0", "simulation/noise/zarr.json", "status/fact/c.0", "simulation/zarr.json",
             "theory/iteration/c.0", "status/simulation/c.0.0", "theory/test_error/zarr.json"]
)  # fmt: skip
def test_damage_to_one_file_is_seen(store, kind, name, capsys):
    damage(store / name, kind, random.Random(kind + name))
    assert validate.main([str(store)]) == 1 or name == "status/simulation/c.0.0"
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_three_hundred_damages_are_seen_and_mended(store, whole):
    draw = random.Random(0)
    names = [file.relative_to(store) for file in files_of(store)]
    for number in range(300):
        each = Path(shutil.copytree(whole, store.with_name(f"{number}.zarr")))
        name, kind = draw.choice(names), draw.choice(list(DAMAGE))
        damage(each / name, kind, draw)
        if (name.parts[:2] == ("status", "simulation") or name.parts[:2] == ("status", "theory")) and kind == "deleted":
            assert main([*SWEEP, f"store={each}"]) == 0  # what is not marked as done is just not done
            assert_same(each, whole)
            shutil.rmtree(each)
        else:
            assert_seen_and_mended(each, whole, f"{number}: {kind} {name}")


@pytest.mark.parametrize("group", ["simulation", "theory", "status"])
def test_a_deleted_group_comes_back(store, whole, group, capsys):
    grow = group == "theory"
    shutil.rmtree(store / group)
    for command in (validate.main, status.main):
        command([str(store)])
    assert "Traceback" not in capsys.readouterr().err
    assert main([*SWEEP, f"store={store}", *(["replicates=6"] if grow else [])]) == 0
    shown = capsys.readouterr().err
    assert f"{group}/zarr.json" in shown
    assert max(map(len, shown.splitlines())) < 200
    assert validate.main([str(store)]) == 0
    if not grow:
        assert_same(store, whole)


@pytest.mark.parametrize("name", ["c.7.0.0", "c.0.99.0", "c.0.0.3"])
def test_chunks_beyond_the_end_of_their_array_are_named_and_deleted(store, whole, name, capsys):
    stray = store / "simulation/train_error" / name
    shutil.copy(store / "simulation/train_error/c.0.0.0", stray)
    assert validate.main([str(store)]) == 1
    assert "simulation/train_error has a chunk at" in capsys.readouterr().out
    assert main([*SWEEP, f"store={store}"]) == 0
    assert not stray.exists()
    assert_same(store, whole)


@pytest.mark.parametrize("kind", ["flipped", "zeroed", "other"])
def test_whoever_reads_damaged_numbers_gets_an_error_and_no_numbers(store, kind):
    damage(store / "simulation/test_error/c.1.1.0", kind, random.Random(kind))
    tree = xr.open_datatree(store, engine="zarr")
    assert tree["simulation"].train_error.notnull().all()
    with pytest.raises(ValueError, match="checksum"):
        tree["simulation"].test_error.load()


def replace(file: Path, kind: str) -> None:
    """Let there be something else where a file was."""
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(file.parent)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(file.name)
        os.chdir(here)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        (file / "in it").mkdir(parents=True)


ANY_FILES = (
    *("simulation/test_error/c.1.1.0", "status/simulation/c.0.0", "status/simulation_facts/c.0.0.0"),
    *("simulation/noise/c.0", "theory/zarr.json", "simulation/train_error/zarr.json"),
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_damage_that_nobody_waits_for(store, whole, kind, capsys):
    for name in ANY_FILES:
        replace(store / name, kind)
    for command in (status.main, watch, report):
        assert command([str(store)]) == 2
        shown = capsys.readouterr().err
        assert "damaged" in shown or "checksum do not match" in shown
        assert shown.count("\n") == 1
    assert validate.main([str(store)]) == 1
    shown = capsys.readouterr().out
    assert all(name.rpartition("/")[0] in shown for name in ANY_FILES if not name.startswith("status/simulation/"))
    assert validate.main([str(store), "--repair"]) == 0
    assert validate.main([str(store)]) == 0
    assert main([*SWEEP, f"store={store}"]) == 0
    assert_same(store, whole)
    for name in ANY_FILES:
        replace(store / name, kind)
    assert main([*SWEEP, f"store={store}"]) == 0  # a run alone mends, too
    assert validate.main([str(store)]) == 0
    assert_same(store, whole)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_a_root_that_is_no_file_is_one_line(store, kind, capsys):
    replace(store / "zarr.json", kind)
    for run in (validate.main, status.main, watch, report, lambda where: main([*SWEEP, f"store={where[0]}"])):
        assert run([str(store)]) == 2
        shown = capsys.readouterr().err
        assert "zarr.json is damaged" in shown
        assert shown.count("\n") == 1


def damaged_roots(data: bytes) -> dict[str, bytes]:
    """Documents of a root that are none, or not what was written."""
    document = json.loads(data)
    draw = random.Random(0)
    roots = {
        "null": b"null",
        "list": b"[]",
        "word": b'"a"',
        "number": b"3",
        "cut": data[:-40],
        "empty": b"",
        "junk": b"\xff",
    }
    roots |= {f"flipped {k}": flip(data, draw) for k in range(12)}
    roots["axis"] = data.replace(b'"noise": [0.1, 0.5]', b'"noise": [0.1, 0.7]')
    roots["shape"] = data.replace(b'"shape": [2, 5, 4]', b'"shape": [2, 5, 3]')
    settings = document["attributes"]["sedyn_sweep"]
    for name in ("axes", "format", "sizes"):
        roots[name] = json.dumps(document | {"attributes": {"sedyn_sweep": settings | {name: None}}}).encode()
    roots["no format"] = json.dumps(document | {"attributes": {"sedyn_sweep": {"seed": 0}}}).encode()
    roots["settings"] = json.dumps(document | {"attributes": {"sedyn_sweep": [1]}}).encode()
    roots["attributes"] = json.dumps(document | {"attributes": None}).encode()
    return {name: root for name, root in roots.items() if root != data}


def test_a_damaged_root_is_one_line_and_nothing_is_written(store, capsys):
    root = store / "zarr.json"
    data = root.read_bytes()
    before = {file: file.read_bytes() for file in files_of(store)}
    cases = damaged_roots(data)
    assert len(cases) > 20
    for name, damaged in cases.items():
        root.write_bytes(damaged)
        capsys.readouterr()
        commands = {
            "repair": lambda: validate.main([str(store), "--repair"]),
            "status": lambda: status.main([str(store)]),
            "report": lambda: report([str(store)]),
        }
        if name in ("null", "cut", "axis", "no format"):
            commands["sweep"] = lambda: main([*SWEEP, f"store={store}"])
            commands["plan"] = lambda: main([*SWEEP, f"store={store}", "plan=true"])
        for command, run in commands.items():
            assert run() == 2, (name, command)
            shown = capsys.readouterr().err
            assert shown.count("\n") == 1, (name, command, shown)
            assert "zarr.json is damaged" in shown or "holds" in shown, (name, command, shown)
        assert root.read_bytes() == damaged
    assert {file: file.read_bytes() for file in files_of(store)} == before


def write_settings(store: Path, said: dict[str, Any]) -> None:
    """Put settings into a store with a right checksum: whoever makes up a store may have computed it."""
    root = store / "zarr.json"
    document = json.loads(root.read_bytes())
    changed = {**document, "attributes": {"sedyn_sweep": said}}
    changed["attributes"]["sedyn_checksum"] = metadata._checksum(changed)
    root.write_text(json.dumps(changed))


def settings_in(store: Path) -> dict[str, Any]:
    return json.loads((store / "zarr.json").read_bytes())["attributes"]["sedyn_sweep"]


NO_SETTING = [None, [], {}, -1, "abc", True, [1], {"a": 1}, 1e300, [[]], 10**30]


def test_settings_that_no_program_of_ours_wrote_end_no_command_in_a_trace(store, capsys):
    settings = settings_in(store)
    made_up = [{**settings, name: value} for name in settings for value in NO_SETTING]
    made_up += [{known: settings[known] for known in settings if known != name} for name in settings]
    draw = random.Random(0)
    for said in draw.sample(made_up, 60):
        assert_no_trace(store, said, capsys)


def assert_no_trace(store: Path, said: dict[str, Any], capsys: pytest.CaptureFixture) -> None:
    write_settings(store, said)
    for command in (status.main, validate.main):
        ended = command([str(store)])
        shown = capsys.readouterr()
        assert ended in (0, 1) or (ended, shown.err.count("\n"), shown.out) == (2, 1, ""), said


# What no array or coordinate would be like, with the words that say so.
CONTRADICTIONS = {
    "block": (3, "block is 3, and simulation/train_error has chunks of 2 along replicate"),
    "replicates": (7, "replicates makes 7 along replicate, and simulation/train_error has 5"),
    "axes": ({"noise": [0.1, 0.5, 0.9]}, "axes.noise makes 3 along noise, and simulation/train_error has 2"),
    "axes of others": ({"noise_law": ["gaussian"]}, "noise_law is a constant and varies"),
    "axes none": ({}, "axes are none, and simulation/train_error lies along ['noise', 'replicate', 'iteration']"),
    "axes twice": ({"noise": [0.5, 0.5]}, "axes.noise has a value twice"),
    "axes otherwise": ({"noise": [0.1, 0.7]}, "they have 0.7 where simulation/noise has 0.5"),
    "sizes": ({"iteration": 9}, "sizes.iteration makes 9 along iteration, and simulation/train_error has 4"),
    "problem": ({"momentum": 0.5}, "momentum is 0.5, and in the attributes of simulation 0.0"),
    "problem twice": ({"noise": 0.1}, "noise is a constant and varies"),
    "seed": (8, "seed is 8, and in the attributes of simulation 0"),
    "dtype": ("float32", "dtype is 'float32', and in the attributes of simulation 'float64'"),
    "estimate": (False, "simulation/estimated_test_error is there, and estimate, halves,"),
    "halves": (True, "_halves is needed, and not there"),
    "laws": (True, "is needed, and not there"),
    "fluctuations": (True, "is needed, and not there"),
    "parts": (["classes"], "is needed, and not there"),
    "format": (4, "format is 4, whose chunks are encoded otherwise than those of"),
    "format of many cells": (11, "format is 11, and shards are not there"),
    "shards": ({"noise": [1, 2]}, "format is 10, and shards are there"),
    "d": ({"64": 32}, "d has no value for n=40"),
    "tied": (["noise"], "axes.cell and tied go together, and one is missing"),
    "asked": ([{"asked": True, "where": {"noise": [0.3]}}], "asked has noise=0.3, and axes.noise has not"),
    "wanted": ([[{"noise": 0.3}, 4]], "wanted has noise=0.3, which no cell has"),
    "solved_with": ([[{"noise": 0.3}, 4]], "solved_with has noise=0.3, which no cell has"),
    "sought": ({"replicates": 6}, "sought.replicates has 6, and replicates is 5"),
}


def test_settings_that_contradict_what_is_there_are_one_line_that_says_so(store, capsys):
    before = {file: file.read_bytes() for file in files_of(store)}
    settings, where = settings_in(store), f"store={store}"
    commands = {
        "validate": lambda: validate.main([str(store)]),
        "repair": lambda: validate.main([str(store), "--repair"]),
        "sweep": lambda: main([*SWEEP, "replicates=6", where]),
        "status": lambda: status.main([str(store)]),
        "watch": lambda: watch([str(store)]),
        "report": lambda: report([str(store)]),
        "plan": lambda: main([*SWEEP, where, "plan=true"]),
    }
    for what, (value, words) in CONTRADICTIONS.items():
        name = what.partition(" ")[0]
        part = name in ("problem", "sizes")  # of which one entry is changed
        write_settings(store, {**settings, name: {**settings[name], **value} if part else value})
        # All ask as the store is opened, but that only those that change it and validate read coordinates.
        of_this = {"block": commands, "axes otherwise": ("validate", "repair", "sweep")}.get(what, ("validate",))
        for command in of_this:
            assert commands[command]() == 2, (what, command)
            shown = capsys.readouterr().err
            assert words in shown, (what, command, shown)
            assert shown.count("\n") == 1, (what, command, shown)
    assert {file: file.read_bytes() for file in files_of(store)} == before


def plausible(value: Any) -> Iterator[Any]:
    """Make values that might stand in the place of one, at any depth."""
    if isinstance(value, bool) or value is None:
        yield not value
    elif isinstance(value, int | float):
        yield from {value + 1, value - 1, 2 * value + 1, 1, 3} - {value}
    elif isinstance(value, str):
        yield from (value + "x", "erf", "")
    elif isinstance(value, list):
        yield from (value[:-1], [*value, *value[-1:]], value[::-1], [])
        for k, one in enumerate(value[:3]):
            yield from ([*value[:k], other, *value[k + 1 :]] for other in plausible(one))
    else:
        yield from ({}, {**value, "other": 1})
        for name in value:
            yield {key: one for key, one in value.items() if key != name}
            yield from ({**value, name: other} for other in plausible(value[name]))


GROWN = {
    "unevenly": [["grid.noise=[0.1,0.5]"], ["grid.noise=[0.1]", "grid.width=[2,3]"]],
    "together": [["zip.noise=[0.1,0.5]", "zip.width=[2,3]"]],
    "to a target": [["grid.noise=[0.1,0.5]", "target.stderr=0.0001", "target.max_replicates=5"]],
}


@pytest.mark.parametrize(
    "count", [1, pytest.param(10**6, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])], ids=["some", "all"]
)
@pytest.mark.parametrize("how", GROWN)
def test_plausible_settings_end_no_command_in_a_trace(how, count, location, capsys):
    for words in GROWN[how]:
        assert main([*PROBLEM, *words, "replicates=3", "block=2", "compute=inline", f"store={location}"]) == 0
    capsys.readouterr()
    settings, draw = settings_in(Path(location)), random.Random(how)
    for name in settings:
        made = [{**settings, name: other} for other in plausible(settings[name])]
        for said in draw.sample(made, min(count, len(made))):
            assert_no_trace(Path(location), said, capsys)


def test_a_format_newer_than_ours_is_refused_in_one_line(store, capsys):
    root = json.loads((store / "zarr.json").read_bytes())
    root["attributes"]["sedyn_sweep"]["format"] = 12
    root["attributes"]["sedyn_checksum"] = "of a kind that is not known yet"
    (store / "zarr.json").write_text(json.dumps(root))
    for run in (validate.main, status.main, report, lambda where: main([*SWEEP, f"store={where[0]}"])):
        assert run([str(store)]) == 2
        shown = capsys.readouterr().err
        assert "has format 12, and this version knows none after 11; update sedyn" in shown
        assert shown.count("\n") == 1


def test_a_damaged_store_ends_no_command_in_a_trace(store, capsys):
    for name in ("status/simulation_facts/c.0.0.0", "simulation/test_error/c.0.0.0", "theory/test_error/c.0.0"):
        damage(store / name, "flipped", random.Random(name))
    assert status.main([str(store)]) == 2
    shown = capsys.readouterr().err
    assert "status/simulation_facts is damaged" in shown
    assert shown.count("\n") == 1
    assert report([str(store)]) == 2
    shown = capsys.readouterr().err
    assert "damaged" in shown
    assert shown.count("\n") == 1


def old_store(folder: Path) -> str:
    """A store as it was made before there were checksums, by the program of that time."""
    with tarfile.open(Path(__file__).with_name("format4.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return str(folder / "format4.zarr")


def test_a_store_of_other_random_streams_opens_and_validates_and_takes_no_more(tmp_path, capsys):
    location = old_store(tmp_path / "stores")
    before = tree_of(location)
    assert validate.main([location]) == 0
    assert status.main([location]) == 0
    capsys.readouterr()
    for replicates in (3, 5):
        with pytest.raises(InvalidInput, match="has format 4, whose replicates drew from other random streams"):
            finish(location, spec_of({"noise": (0.1, 0.5)}, replicates=replicates))
    os.truncate(f"{location}/simulation/test_error/c.0.0.0", 8)
    assert validate.main([location]) == 1
    assert validate.main([location, "--repair"]) == 0
    xr.testing.assert_equal(tree_of(location)["theory"].to_dataset(), before["theory"].to_dataset())
    assert Store.open(location).settings["format"] == 4


@pytest.mark.parametrize("form", [6, 8])
def test_a_store_of_other_points_opens_and_validates_and_takes_no_more(store, form, capsys):
    """These formats differ from this version's in nothing but what test errors are averaged over."""
    write_settings(store, {**settings_in(store), "format": form})
    before = tree_of(str(store))
    assert validate.main([str(store)]) == 0
    assert status.main([str(store)]) == 0
    assert report([str(store)]) == 0
    capsys.readouterr()
    for replicates in (5, 6):
        words = [word for word in SWEEP if not word.startswith("replicates")]
        assert main([*words, f"replicates={replicates}", f"store={store}"]) == 2
        shown = capsys.readouterr().err
        assert f"has format {form}, whose test errors are averages over other points than this version's" in shown
        assert "takes no more; name another store" in shown
        assert shown.count("\n") == 1
    xr.testing.assert_identical(tree_of(str(store)), before)
    assert Store.open(str(store)).settings["format"] == form


def test_a_place_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "notes.partial").mkdir()
    (tmp_path / "stores" / "notes").write_text("mine")
    with pytest.raises(InvalidInput, match="is no Zarr store"):
        Store.prepare(str(tmp_path / "stores"), spec_of())
