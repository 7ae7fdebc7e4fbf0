from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from sedyn.errors import InvalidInput
from sweeps.store import StoreTaken, claims, is_driven, only_driver, patience, remark_of_driver
from tests.sweeps.store.rivals import drive_together
from tests.sweeps.store.storages import storage  # noqa: F401

URL = "unsteady://a.zarr"


@pytest.fixture(autouse=True)
def quick(monkeypatch, storage):  # noqa: F811
    """A quarter of a second stands for ten."""
    for name in ("BEAT_SECONDS", "RETRY_SECONDS", "LEASE_SECONDS", "STALE_SECONDS"):
        monkeypatch.setattr(claims, name, getattr(claims, name) / 40)
    monkeypatch.setattr(claims, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    return storage


def claims_of(storage):  # noqa: F811
    return [name for name in storage.store if "claims" in name]


def reason_of_loss(lease):
    """Wait until a lease is lost, and say why."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            lease.require()
        except StoreTaken as error:
            return str(error)
        time.sleep(0.01)
    return "not lost"


def test_an_outage_shorter_than_the_lease_lets_nobody_in(quick):
    with only_driver(URL) as lease:
        with quick.outage():
            end = time.monotonic() + 30 / 40
            while time.monotonic() < end:
                lease.require()
                with pytest.raises(InvalidInput, match="cannot be made there"), only_driver(URL):
                    pass
        end = time.monotonic() + 1.5 * claims.STALE_SECONDS
        while time.monotonic() < end:  # longer than an unrenewed claim would live
            lease.require()
            with pytest.raises(InvalidInput, match="another sweep is writing"), only_driver(URL):
                pass
    assert not claims_of(quick)


def test_what_a_driver_says_of_its_sweep_is_read_by_others(quick):
    assert remark_of_driver(URL) is None
    with only_driver(URL) as lease:
        assert remark_of_driver(URL) == ""
        lease.remark = "3/9 tasks"
        end = time.monotonic() + 5
        while (found := remark_of_driver(URL)) != "3/9 tasks":
            assert time.monotonic() < end, found
    assert remark_of_driver(URL) is None


def test_a_driver_that_cannot_renew_stops_before_another_is_let_in(quick):
    with only_driver(URL) as lease:
        start = time.monotonic()
        with quick.outage():
            assert "could not be renewed" in reason_of_loss(lease)
            stopped = time.monotonic() - start
        let_in = None
        while let_in is None:
            assert time.monotonic() - start < 5
            try:
                with only_driver(URL) as other:
                    let_in = time.monotonic() - start
                    other.require()
                    with pytest.raises(StoreTaken):
                        lease.require()
            except InvalidInput:
                time.sleep(0.01)
        assert stopped < let_in
        assert let_in > claims.STALE_SECONDS - 2 * claims.BEAT_SECONDS


@pytest.mark.parametrize("minutes", [-3, -2, 2, 3])
def test_a_wrong_clock_lets_nobody_in(quick, monkeypatch, minutes):
    quick.behind = timedelta(minutes=minutes)
    with only_driver(URL) as lease:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 60 * minutes)
        for _ in range(3):
            with pytest.raises(InvalidInput, match="another sweep is writing"), only_driver(URL):
                pass
            time.sleep(0.1)
        lease.require()


def test_drivers_that_start_together_are_one_at_a_time(quick):
    """On a storage that creates what is there already."""
    found = drive_together(URL, drivers=6, rounds=5, seconds=0.02)
    assert (found.most, found.inside) == (1, 0)
    assert found.served >= 5
    assert not claims_of(quick)


def test_a_driver_whose_claim_another_removed_stops_and_does_not_come_back(quick):
    with only_driver(URL) as lease:
        (claim,) = claims_of(quick)
        del quick.store[claim]
        assert "another driver has taken the store over" in reason_of_loss(lease)
        with only_driver(URL) as other:
            time.sleep(3 * claims.BEAT_SECONDS)
            other.require()
            assert len(claims_of(quick)) == 1
    assert not is_driven(URL)


def test_a_renewal_on_its_way_does_not_outlive_the_driver(quick, monkeypatch):
    """It arrives long after the driver has ended."""
    write, on_its_way = quick.pipe_file, threading.Event()

    def slow(files, path, value, **options):
        if threading.current_thread() is not threading.main_thread():
            on_its_way.set()
            time.sleep(4 * claims.RETRY_SECONDS)
        write(files, path, value, **options)

    monkeypatch.setattr(quick, "pipe_file", slow)
    with only_driver(URL):
        assert on_its_way.wait(5)
    time.sleep(8 * claims.RETRY_SECONDS)
    assert not claims_of(quick)
    with only_driver(URL):
        pass


def test_a_driver_that_slept_through_its_start_is_none(quick, monkeypatch):
    """A laptop that is closed between the claim and the first look at it."""
    monkeypatch.setattr(claims.Claim, "_others", lambda claim: time.sleep(1.1 * claims.LEASE_SECONDS) or {})
    with pytest.raises(InvalidInput, match="could not be renewed"), only_driver(URL):
        pass
    assert not claims_of(quick)


def test_what_is_no_claim_is_not_taken_for_a_driver_in_its_start(quick):
    quick(skip_instance_cache=True).pipe_file("a.zarr.claims/notes", b"mine")
    with pytest.raises(InvalidInput, match="another sweep is writing"), only_driver(URL):
        pass


def test_a_storage_without_times_is_refused_in_one_line(monkeypatch):
    def modified(self, path):
        raise NotImplementedError

    monkeypatch.setattr("tests.sweeps.store.storages.UnsteadyFileSystem.modified", modified)
    with pytest.raises(InvalidInput, match="tells no times of objects"), only_driver(URL):
        pass
