"""Work shared out to threads."""

import multiprocessing
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sedyn import NetworkRegressor, Problem, register_link, simulate, state_evolution
from sedyn.arrays.threads import LARGE_PRODUCT, one_blas_thread, run_each, run_together, thread_count


def test_every_call_is_made_at_once():
    meeting = threading.Barrier(3, timeout=60)  # broken unless three threads come
    names = []

    def work():
        meeting.wait()
        names.append(threading.current_thread().name)

    for _ in range(5):
        run_together(work, 3)
    assert len(names) == 15
    assert names.count(threading.current_thread().name) == 5


def test_what_a_call_raises_comes_out_when_all_are_done():
    meeting, ended = threading.Barrier(2, timeout=60), []

    def work():
        meeting.wait()
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("in a helper")
        ended.append(True)

    for _ in range(2):  # the helper lives on
        with pytest.raises(ValueError, match="in a helper"):
            run_together(work, 2)
    assert ended == [True, True]


def test_calls_within_calls_end():
    """Helpers that wait for helpers would wait for ever, if what no helper has begun were not taken back."""
    done = []
    run_together(lambda: run_together(lambda: done.append(True), 4), 4)
    assert 1 <= len(done) <= 16


def test_helpers_have_the_error_state_of_the_caller():
    meeting, found = threading.Barrier(2, timeout=60), []

    def work():
        meeting.wait()
        found.append(np.geterr()["over"])

    with np.errstate(over="raise"):
        run_together(work, 2)
    assert found == ["raise", "raise"]


def test_each_item_once_and_the_first_error():
    for limit in (1, None):
        with threadpool_limits(limit, user_api="blas"):
            assert limit is None or thread_count() == 1
            seen = []
            run_each(seen.append, range(1000))
            assert sorted(seen) == list(range(1000))
            seen.clear()

            def task(item, seen=seen):
                if item == 3:
                    raise KeyError(item)
                seen.append(item)

            with pytest.raises(KeyError):
                run_each(task, range(100_000))
            assert len(seen) < 100_000 - 1


def blas_threads():
    return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != 2:
            pytest.skip("a BLAS of one thread")
        yield


def test_the_blas_is_kept_to_one_thread_and_ours_stay_as_many(two_threads):
    with one_blas_thread():
        assert (blas_threads(), thread_count()) == (1, 2)
        names, inner = set(), []
        meeting = threading.Barrier(2, timeout=60)

        def task(_):
            meeting.wait()  # broken unless two threads come
            names.add(threading.current_thread().name)
            inner.append(thread_count())

        run_each(task, range(2))
        assert len(names) == 2
        assert inner == [1, 1]
        with one_blas_thread():
            assert (blas_threads(), thread_count()) == (1, 2)
        assert blas_threads() == 1
    assert (blas_threads(), thread_count()) == (2, 2)


def test_large_products_have_all_threads_of_the_blas(two_threads):
    with one_blas_thread(LARGE_PRODUCT + 1):
        assert (blas_threads(), thread_count()) == (2, 2)
    with one_blas_thread(LARGE_PRODUCT):
        assert blas_threads() == 1


def test_small_theory_runs_and_fits_keep_the_blas_to_one_thread(two_threads, monkeypatch):
    found = []

    def link(z):
        found.append(blas_threads())
        return z

    register_link("watching_for_test", link)
    problem = Problem(n=64, d=32, steps=2, link="watching_for_test")
    for begin in (lambda: state_evolution(problem, samples=512), lambda: simulate(problem, 2, device="cpu")):
        found.clear()
        begin()
        assert found
        assert set(found) == {1}
    found.clear()
    fit_network = NetworkRegressor._learn.__globals__["fit_network"]

    def watching(*arguments, **options):
        found.append(blas_threads())
        return fit_network(*arguments, **options)

    monkeypatch.setitem(NetworkRegressor._learn.__globals__, "fit_network", watching)
    rng = np.random.default_rng(0)
    NetworkRegressor(steps=2, early_stopping=False, estimate=False).fit(
        rng.standard_normal((40, 3)), rng.standard_normal(40)
    )
    assert found == [1]


def _in_a_child(results):
    done = []
    run_together(lambda: done.append(True), 2)
    results.put(bool(done))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
def test_a_forked_process_has_helpers_of_its_own():
    run_together(lambda: None, 2)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_a_child, args=(results,))
    child.start()
    assert results.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
