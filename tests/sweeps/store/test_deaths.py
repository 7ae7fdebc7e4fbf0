"""A driver may die at any moment while it makes a store or lets it grow: the next one goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import validate
from sweeps.store import Store
from sweeps.store.metadata import OWNER, shown_documents
from tests.sweeps.store.deaths import GROWN, SPEC, prepare
from tests.sweeps.stores import finish, spec_of, tree_of

ROOT = Path(__file__).parents[3]


def description(location: Path) -> dict:
    """All that describes a store, but for who drives it."""
    store = Store.open(str(location))
    settings = {name: value for name, value in store.settings.items() if name != OWNER}
    return {"settings": settings, **shown_documents(store.objects)}


PIECES = 16  # of all deaths, each of which takes a few minutes by itself
PIECE = [pytest.param(first, PIECES, marks=[pytest.mark.slow, pytest.mark.timeout(3000)]) for first in range(PIECES)]


@pytest.mark.parametrize("grow", [False, True])
@pytest.mark.parametrize(("first", "step"), [(0, 397), *PIECE])
def test_a_death_at_any_operation_on_files_loses_nothing(tmp_path, grow, first, step):
    folder = tmp_path / "stores"
    folder.mkdir()
    undisturbed = folder / "undisturbed" / "a.zarr"
    prepare(str(undisturbed), SPEC)
    if grow:
        finish(str(folder / "whole.zarr"), SPEC)
        finish(str(undisturbed), SPEC)
        prepare(str(undisturbed), GROWN)
    expected = description(undisturbed)
    command = [sys.executable, "-m", "tests.sweeps.store.deaths", str(folder), str(first), str(step)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=2000)
    places = sorted((place for place in folder.iterdir() if place.name.isdecimal()), key=lambda place: int(place.name))
    assert len(places) > 400 / step
    for place in places:
        location = place / "a.zarr"
        if grow:
            tree = tree_of(str(location))  # which a reader may have had at that moment
            assert (tree["status"].simulation == 1).sum() == 2 * SPEC.replicates, place
        prepare(str(location), GROWN if grow else SPEC)
        assert description(location) == expected, place
        assert validate.main([str(location), "--repair"]) == 0
        assert validate.main([str(location)]) == 0
        if grow:
            done = Store.open(str(location))
            assert (tree_of(str(location))["status"].simulation == 1).sum() == 2 * SPEC.replicates, done.location


def test_a_death_in_the_first_write_of_the_root_leaves_a_place_for_any_sweep(tmp_path):
    location = tmp_path / "stores" / "a.zarr"
    location.mkdir(parents=True)
    (location / "zarr.json.0123-4-5.partial").write_bytes(b'{"zarr_fo')
    (location / "zarr.0123456789abcdef.partial").write_bytes(b"")
    assert finish(str(location), GROWN)
    assert not list(location.glob("*.partial"))


def test_a_store_that_was_never_ready_gives_way_to_another_sweep(location, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.store.lifecycle.metadata.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Store.prepare(location, spec_of({"width": (1, 3)}))
    finish(location, SPEC)
    fresh = location.replace("a.zarr", "b.zarr")
    finish(fresh, SPEC)
    assert description(Path(location)) == description(Path(fresh))
