"""One look at a sweep: in a terminal, on a page in a real browser, in a notebook."""

from __future__ import annotations

import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from analysis.watch import Watch, command, main
from analysis.watch.server import Page
from analysis.watch.snapshot import CellState, Snapshot, Watcher
from analysis.watch.view import html
from sweeps.schedule import missing_tasks
from sweeps.status import summary
from sweeps.store import FAILED, Store, only_driver, write_status
from tests.sweeps.stores import finish, spec_of

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SPEC = spec_of({"noise": (0.1, 0.5)})


@pytest.fixture
def location(tmp_path):
    """A store in which one cell is done and a block of the other has failed."""
    place = str(tmp_path / "a.zarr")
    finish(place, spec_of({"noise": (0.1,)}))
    store = Store.prepare(place, SPEC)
    task = next(task for task in missing_tasks(store, SPEC) if task.group == "simulation")
    write_status(store, task, FAILED, seconds=1.0, error="MemoryError: <b>no</b> room")
    return place


def test_a_snapshot_has_every_cell_and_every_failure(location):
    snapshot = Watcher(location).look()
    assert [cell.name for cell in snapshot.cells] == ["noise=0.1", "noise=0.5"]
    one, other = snapshot.cells
    assert (one.done, one.failed, one.wanted, one.theory) == (5, 0, 5, "done")
    assert (other.done, other.theory) == (0, "pending")
    assert other.failed == sum(snapshot.failures.values()) > 0
    assert snapshot.share == pytest.approx((6 + other.failed) / 12)
    assert not snapshot.running
    with only_driver(location) as lease:
        assert Watcher(location).look().running
        assert Watcher(location).look().line.endswith("; a sweep is running")
        lease.remark = "3/9 tasks, 33%, 0:20 left"
        assert Watcher(location).look().line.endswith("; a sweep is running: 3/9 tasks, 33%, 0:20 left")
        lease.remark = "4/9 tasks"
        assert Watcher(location).look().line.endswith("; a sweep is running: 4/9 tasks")
        assert summary(Store.open(location))[-1] == "a sweep is running: 4/9 tasks"


def test_the_terminal_shows_it_until_the_sweep_has_ended(location, capsys, monkeypatch):
    monkeypatch.setattr(command, "SECONDS", 0.1)
    holding, ended = threading.Event(), threading.Event()

    def drive():
        with only_driver(location):
            holding.set()
            ended.wait(10)

    driver = threading.Thread(target=drive)
    driver.start()
    holding.wait(10)
    threading.Timer(0.5, ended.set).start()
    assert main([location]) == 0
    driver.join()
    shown = " ".join(capsys.readouterr().out.split())
    assert "noise=0.5" in shown
    assert "<b>no</b> room" in shown
    assert "no sweep is running" in shown
    assert main([f"{location}x"]) == 2


def test_what_a_store_says_is_no_markup():
    cell = CellState("noise=<script>", 1, 0, 2, "done", 1.0)
    text = html(Snapshot("a<b>.zarr", [cell], {"<img>": 1}, None, ["<i>"]))
    assert not [tag for tag in ("<script>", "<b>", "<img>", "<i>") if tag in text]


def test_a_notebook_shows_the_same(location):
    watch = Watch(location)
    assert "noise=0.5" in watch._repr_html_()
    before = watch._repr_html_()
    finish(location, SPEC)
    assert watch._repr_html_() != before


@pytest.fixture
def page(location):
    served = Page(Watcher(location))
    threading.Thread(target=served.serve, daemon=True).start()
    with closing(served):
        yield served


def test_the_page_answers_to_its_token_alone(page):
    assert page.address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(page.address) as answer:
        assert "noise=0.5" in answer.read().decode()
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    root = page.address.rsplit("/", 2)[0]
    for other in (f"{root}/", f"{root}/{'x' * 32}/", f"{page.address}nothing"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(other)


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
def test_a_browser_shows_the_page_and_what_changes(page, location, tmp_path):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    dump = [BROWSER, *flags, "--virtual-time-budget=12000", "--dump-dom", page.address]
    shown = subprocess.run(dump, capture_output=True, text=True, timeout=90, check=True).stdout
    assert "<td>noise=0.5</td>" in shown
    assert "&lt;b&gt;no&lt;/b&gt; room" in shown
    assert "5 of 10 replicates" in shown
    finish(location, SPEC)
    shown = subprocess.run(dump, capture_output=True, text=True, timeout=90, check=True).stdout
    assert "10 of 10 replicates" in shown
