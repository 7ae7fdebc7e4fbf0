"""Sweeps on object storage, over a network that fails."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest
import xarray as xr

from sweeps import status, validate
from sweeps.application.composition import compose
from sweeps.application.request import read_request
from sweeps.application.sweep import main
from sweeps.plan import cells as plan_cells
from sweeps.schedule import missing_tasks
from sweeps.store import Store, claims, merging, objects, remote
from sweeps.worker import execute
from tests.sweeps.store.rivals import drive_together
from tests.sweeps.store.servers import network  # noqa: F401
from tests.sweeps.stores import tree_of

PROBLEM = ["problem.n=40", "problem.d=20", "problem.steps=3", "theory.samples=64", "theory.randomizations=2"]
SWEEP = [*PROBLEM, "grid.noise=[0.1]", "replicates=3", "block=2", "compute=inline"]
URL = "s3://bucket/stores/a.zarr"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    assert main([*SWEEP, f"store={path}"]) == 0
    return tree_of(str(path))


def assert_whole(undisturbed):
    tree = tree_of(URL)
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(tree[group].ds, undisturbed[group].ds)
    assert validate.main([URL]) == 0
    assert not [name for name, _ in objects.list_sizes(objects.reach("s3://bucket/stores"), "a.zarr.claims")]


@pytest.mark.parametrize(
    ("network", "failing"),
    [
        ("moto", 0.05),
        pytest.param("moto", 0.2, marks=pytest.mark.slow),
        pytest.param("careless", 0.05, marks=pytest.mark.slow),
        ("careless", 0.2),
    ],
    indirect=["network"],
)
def test_a_sweep_ends_whole_over_a_network_that_fails(network, undisturbed, capsys, failing):  # noqa: F811
    network.failing = failing
    assert main([*SWEEP, f"store={URL}"]) == 0
    shown = capsys.readouterr()
    assert "3 tasks done, 0 failed" in shown.out
    assert "Traceback" not in shown.err
    assert status.main([URL]) == 0
    assert "simulation: 3 of 3 replicates done" in capsys.readouterr().out
    assert main([*SWEEP, f"store={URL}"]) == 0
    assert "nothing was missing" in capsys.readouterr().out
    network.failing = 0.0
    assert_whole(undisturbed)


@pytest.mark.parametrize("network", ["moto", pytest.param("careless", marks=pytest.mark.slow)], indirect=["network"])
def test_a_sweep_of_shards_ends_whole_over_a_network_that_fails(network, undisturbed, monkeypatch, capsys, request):  # noqa: F811
    monkeypatch.setattr(plan_cells, "MANY_CELLS", 1)
    network.failing = 0.2
    assert main([*SWEEP, f"store={URL}"]) == 0
    assert Store.open(URL).is_sharded == ("moto" in request.node.name)  # the other puts back what is not there any more
    assert main([*SWEEP, f"store={URL}"]) == 0
    shown = capsys.readouterr()
    assert "nothing was missing" in shown.out
    assert "Traceback" not in shown.err
    network.failing = 0.0
    assert_whole(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["moto"], indirect=True)
@pytest.mark.parametrize("array", ["simulation/test_error", "theory/test_error", "status/simulation", None])
def test_a_late_request_puts_no_shard_back(network, undisturbed, monkeypatch, capsys, array):  # noqa: F811
    """Of a driver that merges after every task, while another takes the store over and does all that is left.

    The same for the document that says who may write, which it replaces when it has begun.
    """
    monkeypatch.setattr(plan_cells, "MANY_CELLS", 1)
    monkeypatch.setattr(merging, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(merging, "DUE_SECONDS", 0.0)
    words, second = [*SWEEP, f"store={URL}"], []

    def take_over():
        spec = read_request(compose(words)).spec
        store = Store.prepare(URL, spec, owner="second")
        second.extend(missing_tasks(store, spec))
        for task in second:
            execute(task, store, device="cpu")
        store.merge(last=True)

    record = Store.record_environment

    def recording(*arguments):
        network.hold("PUT /bucket/stores/a.zarr/zarr.json", take_over)
        record(*arguments)

    if array is None:
        monkeypatch.setattr(Store, "record_environment", recording)
    else:
        network.hold(f"PUT /bucket/stores/a.zarr/{array}/c.", take_over)
    assert main(words) == 1
    assert len(second) in (1, 2)
    shown = [line for line in capsys.readouterr().err.splitlines() if "tasks, " not in line]
    assert shown == [
        f"store='{URL}' cannot be written: another driver has taken the store over; what is finished is kept"
    ]
    assert_whole(undisturbed)
    assert missing_tasks(Store.open(URL), read_request(compose(words)).spec) == []


@pytest.mark.parametrize(
    ("network", "keeps"), [("moto", True), ("careless", False), ("unable", False)], indirect=["network"]
)
def test_servers_that_keep_no_conditions_are_noticed(network, keeps, monkeypatch):  # noqa: F811
    import s3fs

    if keeps:  # these servers take no uploads in parts; that one may, from 4 bytes on
        monkeypatch.setattr(s3fs.S3FileSystem._pipe_file, "__defaults__", (2, None, "overwrite"))
    store = objects.reach("s3://bucket/stores/b.zarr")
    assert objects.read_version(store, "a") == (None, None)
    assert objects.replace(store, "a", b"first one", None)
    first, content = objects.read_version(store, "a")
    assert content == b"first one"
    assert objects.replace(store, "a", b"second one", first)
    for version in (None, first):
        assert objects.replace(store, "a", b"late one", version) is not keeps
        assert objects.read(store, ["a"]) == [b"second one" if keeps else b"late one"]
    for key in ("a", "b"):
        assert objects.keeps_conditions(store, key, b"of none") is keeps
    assert (objects.read(store, ["a", "b"]) == [b"second one", None]) is keeps
    assert not [asked for asked in network.asked if "uploadId" in asked]


@pytest.mark.parametrize(
    ("network", "seconds"),
    [
        ("careless", 3),
        pytest.param("moto", 3, marks=pytest.mark.slow),
        pytest.param("moto", 30, marks=pytest.mark.slow),
        pytest.param("careless", 30, marks=pytest.mark.slow),
    ],
    indirect=["network"],
)
def test_a_sweep_outlives_an_outage(network, undisturbed, monkeypatch, capsys, seconds):  # noqa: F811
    """It starts with the first status that is written."""
    write = objects.write
    outage = threading.Event()

    def watched(store, written, **options):
        written = list(written)
        if any(key.startswith("status/") for key, _ in written) and not outage.is_set():
            outage.set()
            threading.Thread(target=go_away).start()
            time.sleep(0.1)
        write(store, written, **options)

    def go_away():
        with network.outage():
            time.sleep(seconds)

    monkeypatch.setattr(objects, "write", watched)
    start = time.monotonic()
    assert main([*SWEEP, f"store={URL}"]) == 0
    assert time.monotonic() - start > seconds
    assert outage.is_set()
    assert "Traceback" not in capsys.readouterr().err
    assert_whole(undisturbed)


@pytest.mark.parametrize("network", ["moto"], indirect=True)
def test_a_longer_outage_ends_a_sweep_in_one_line(network, undisturbed, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 3.0)
    write = objects.write

    def watched(store, written, **options):
        written = list(written)
        if any(key.startswith("status/simulation") for key, _ in written):
            network.away = True
        write(store, written, **options)

    with monkeypatch.context() as patched:
        patched.setattr(objects, "write", watched)
        assert main([*SWEEP, f"store={URL}"]) == 1
    shown = [line for line in capsys.readouterr().err.splitlines() if "tasks, " not in line]
    assert len(shown) == 1
    assert shown[0].startswith(f"store='{URL}' cannot be written: the storage does not answer")
    network.away = False
    monkeypatch.setattr(claims, "STALE_SECONDS", 3.0)
    time.sleep(4)
    assert main([*SWEEP, f"store={URL}"]) == 0
    assert_whole(undisturbed)


def test_of_drivers_that_start_together_one_holds_the_store(network):  # noqa: F811
    found = drive_together(URL, drivers=4, rounds=3, seconds=0.1)
    assert all("another sweep is writing" in refusal for refusal in found.refusals)
    assert (found.most, found.inside) == (1, 0)
    assert found.served >= 3


@pytest.mark.parametrize("network", ["careless"], indirect=True)
def test_these_servers_print_nothing_of_a_client_that_has_gone(network, capsys):  # noqa: F811
    """As a sweep does on a busy machine that has waited long enough: what is printed here is taken for its words."""
    before = threading.active_count()
    with socket.create_connection(network.address) as client:
        client.sendall(b"PUT /bucket/a HTTP/1.1\r\nContent-Length: 9\r\n\r\n1234")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, and no orderly end
    while threading.active_count() > before:
        time.sleep(0.01)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("network", ["moto"], indirect=True)
def test_a_bucket_that_is_not_there_is_one_line(network, capsys):  # noqa: F811
    assert main([*SWEEP, "store=s3://missing/a.zarr"]) == 2
    shown = capsys.readouterr().err
    assert "bucket does not exist" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("network", ["moto"], indirect=True)
def test_a_storage_that_never_answers_is_refused_soon_and_in_one_line(network, undisturbed, capsys):  # noqa: F811
    network.away = True
    for run in (lambda: main([*SWEEP, f"store={URL}"]), lambda: status.main([URL]), lambda: validate.main([URL])):
        seconds = []
        while not seconds or (min(seconds) >= 3 and len(seconds) < 4):  # what else the machine does takes time as well
            start = time.monotonic()
            assert run() == 2
            seconds.append(time.monotonic() - start)
            shown = capsys.readouterr().err
            assert "the storage does not answer" in shown
            assert shown.count("\n") == 1
        assert min(seconds) < 3


@pytest.mark.parametrize("network", ["careless"], indirect=True)
def test_missing_credentials_are_one_line_of_their_own(network, undisturbed, tmp_path, capsys, monkeypatch):  # noqa: F811
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    s3fs.S3FileSystem.clear_instance_cache()
    for run in (lambda: main([*SWEEP, f"store={URL}"]), lambda: status.main([URL]), lambda: validate.main([URL])):
        start = time.monotonic()
        assert run() == 2
        assert time.monotonic() - start < 3
        shown = capsys.readouterr().err
        assert "no credentials for this storage are set: Unable to locate credentials" in shown
        assert shown.count("\n") == 1
