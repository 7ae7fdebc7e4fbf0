from __future__ import annotations

import os
import pickle
import threading

import pytest

from sedyn.errors import InvalidInput
from sweeps.slurm.queue import Queue, current_owner, give_up, make_folder


@pytest.fixture
def queue(tmp_path):
    make_folder(tmp_path / "stores" / "q", "a.zarr")
    found = Queue(tmp_path / "stores" / "q", "one")
    found.open("setup")
    return found


def test_a_task_goes_out_comes_back_and_is_reported_once(queue):
    queue.put("000", ("first", 1))
    queue.put("001", ("second", 1))
    claimed, content = queue.claim("7_0.0")
    assert (claimed.key, claimed.job, content) == ("000", "7_0", ("first", 1))
    assert queue.claims() == [claimed]
    queue.hand_back(claimed)
    assert queue.claims() == []
    claimed, content = queue.claim("7_1.0")
    assert content == ("first", 1)
    queue.report(claimed, {"seconds": 1.0})
    assert queue.claims() == []
    assert queue.ended() == [("000", {"seconds": 1.0})]
    assert queue.ended() == []
    assert queue.claim("7_0.0")[1] == ("second", 1)
    assert queue.claim("7_0.0") is None


@pytest.mark.parametrize("read", [Queue.setup, lambda queue: queue.claim("7_0.0")])
def test_what_another_user_has_put_there_is_not_obeyed(queue, monkeypatch, read):
    """As in a folder of his that he has put in the place of this one; a pickle runs code when it is read."""
    queue.put("000", "task")
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    monkeypatch.setattr(pickle, "load", lambda *_: pytest.fail("it was read"))
    with pytest.raises(PermissionError, match="another user's and is not obeyed"):
        read(queue)


def test_of_many_workers_each_task_has_one(queue):
    for key in range(200):
        queue.put(f"{key:03}", key)
    taken = []

    def work(name):
        while found := queue.claim(name):
            taken.append(found[1])

    workers = [threading.Thread(target=work, args=(f"1_{k}.0",)) for k in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(taken) == list(range(200))


def test_what_a_dead_worker_had_is_given_up_and_what_others_have_is_not(queue, tmp_path):
    queue.put("000", "a")
    queue.put("001", "b")
    queue.claim("7_0.0")
    other, _ = queue.claim("7_0.1")
    assert give_up(tmp_path / "stores" / "q", "7_0.0", "killed")
    assert not give_up(tmp_path / "stores" / "q", "7_0.0", "killed")
    assert queue.ended() == [("000", {"lost": "killed"})]
    assert queue.claims() == [other]


def test_what_is_on_its_way_to_an_earlier_driver_reaches_nobody(queue, tmp_path):
    folder = tmp_path / "stores" / "q"
    queue.put("000", "a")
    queue.put("001", "b")
    claimed, _ = queue.claim("7_0.0")
    later = Queue(folder, "two")
    later.open("other setup")
    assert (current_owner(folder), later.setup()) == ("two", "other setup")
    queue.report(claimed, {"seconds": 1.0})
    queue.hand_back(claimed)
    assert (later.ended(), later.claims(), later.claim("7_0.0")) == ([], [], None)
    assert queue.claim("7_0.0") is None
    with pytest.raises(FileNotFoundError):
        queue.setup()
    later.close()
    assert current_owner(folder) is None


def test_a_folder_that_others_may_write_is_refused(tmp_path):
    folder = tmp_path / "stores"
    folder.mkdir(mode=0o755)
    folder.chmod(0o777)
    with pytest.raises(InvalidInput, match="others may write"):
        make_folder(folder, "a.zarr")
