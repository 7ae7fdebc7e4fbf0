from __future__ import annotations

import pytest

from sweeps.store import Store, find_damage, mend, missing, objects
from tests.sweeps.stores import finish, spec_of


@pytest.mark.parametrize("where", ["disk", "url"])
def test_what_lacks_a_chunk_or_has_a_torn_one_is_missing_once_mended(tmp_path, location, where):
    location = location if where == "disk" else f"memory://{tmp_path}/a.zarr"
    spec = spec_of({"noise": (0.1, 0.5)})
    finish(location, spec)
    store = Store.open(location)
    assert find_damage(store).faults == []
    objects.delete(store.objects, "theory/test_error/c.1.0")
    (whole,) = objects.read(store.objects, ["simulation/train_error/c.0.1.0"])
    objects.write(store.objects, [("simulation/train_error/c.0.1.0", whole[:-8])])
    damage = find_damage(store)
    assert {(fault.group, fault.lead) for fault in damage.faults} == {("theory", (1,)), ("simulation", (0, 1))}
    assert damage.cut == [("simulation", "train_error", (0, 1, 0))]
    mend(store, damage)
    assert find_damage(store) == ([], [])
    found = missing(store, spec)
    assert [lacks for *_, lacks in found.replicates] == [[2, 3], []]
    assert [task.positions for task in found.theories] == [((1,),)]


def test_a_part_that_only_some_problems_have_is_missing_in_none_of_the_others(location):
    spec = spec_of({"bias": ("none", "all")})
    finish(location, spec)
    store = Store.open(location)
    assert "biases" in store.settings["parts"]
    assert find_damage(store) == ([], [])
    assert find_damage(store, content=False) == ([], [])
    objects.delete(store.objects, "simulation/biases/c.1.1.0.0.0")
    damage = find_damage(store)
    assert [(fault.group, fault.lead) for fault in damage.faults] == [("simulation", (1, 1))]
    mend(store, damage)
    assert len(finish(location, spec)) == 1
    assert find_damage(store) == ([], [])
