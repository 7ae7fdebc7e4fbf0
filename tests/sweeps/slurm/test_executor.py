"""What the driver makes of what Slurm says."""

from __future__ import annotations

import re

import pytest

from sedyn.errors import InvalidInput
from sweeps.application.sweep import main
from sweeps.attempts import Attempt, Lost
from sweeps.compute import Compute
from sweeps.slurm import executor, work
from sweeps.slurm.executor import SlurmExecutor
from sweeps.slurm.jobs import Job, Jobs, Refused, Unreachable
from sweeps.slurm.queue import Queue
from sweeps.worker import Outcome, WorkerSetup
from tests.sweeps.slurm import standin

COMPUTE = Compute("slurm", 4, cpus_per_task=2)


class FakeJobs:
    """Jobs that are as a test says."""

    def __init__(self, compute, folder):
        self.states, self.refusal, self.submitted, self.folder = {}, None, [], folder

    def submit(self, count):
        if self.refusal is not None:
            raise Refused(self.refusal)
        self.submitted.append(count)
        return [f"{len(self.submitted)}_{k}" for k in range(count)]

    def look(self):
        if self.states is None:
            raise Unreachable("slurm_load_jobs error: Unable to contact slurm controller")
        return {number: Job(state, "Priority") for number, state in self.states.items()}

    def cancel(self):
        self.states = {}

    def log(self, number):
        return self.folder / f"log-{number}.txt"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "Jobs", FakeJobs)
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(executor, "RETRY_SECONDS", 0.0)
    made = SlurmExecutor(COMPUTE, WorkerSetup(str(tmp_path / "stores" / "a.zarr"), "cpu", owner="me"))
    yield made
    made.close()
    assert not list((tmp_path / "stores").glob(".*"))


@pytest.fixture
def queue(slurm):
    return Queue(slurm._folder, "me")


def submit(slurm, *names):
    for name in names:
        slurm.submit(Attempt(name))


def test_jobs_are_as_many_as_the_work_fills_and_those_that_end_are_replaced(slurm):
    submit(slurm, "a")
    assert slurm.collect(0) == []
    assert slurm._jobs.submitted == [1]
    submit(slurm, *"bcdefg")
    slurm._jobs.states = {"1_0": "RUNNING"}
    slurm.collect(0)
    assert slurm._jobs.submitted == [1, 1]  # two jobs of two cores, no more
    assert slurm.workers() == 2
    slurm._jobs.states = {"1_0": "TIMEOUT", "2_0": "PENDING"}
    slurm.collect(0)
    assert slurm._jobs.submitted == [1, 1, 1]
    assert (slurm.workers(), slurm.hindrance()) == (0, "waiting for 1 jobs to start: Priority")


def test_what_a_job_had_that_is_over_is_lost_once_and_what_it_still_reported_is_not(slurm, queue):
    submit(slurm, "a", "b", "c")
    slurm._jobs.states = {"1_0": "RUNNING"}
    claims = [queue.claim(f"1_0.{k}")[0] for k in range(2)]
    assert slurm.collect(0) == []
    queue.report(claims[0], Outcome(2.0)._asdict())
    slurm._jobs.states = {"1_0": "NODE_FAIL"}
    assert slurm.collect(0) == [
        (Attempt("a"), Outcome(2.0)),
        (Attempt("b"), Lost("its job 1_0 is over (NODE_FAIL)")),
    ]
    queue.report(claims[1], Outcome(3.0)._asdict())  # it was only cut off; the task runs again elsewhere
    queue.hand_back(claims[1])
    assert slurm.collect(0) == []
    assert queue.claim("2_0.0")[1] == Attempt("c")


def test_jobs_whose_state_nobody_tells_are_waited_for(slurm, queue):
    submit(slurm, "a")
    slurm.collect(0)
    queue.claim("1_0.0")
    slurm._jobs.states = None
    assert slurm.collect(0) == []
    assert slurm._jobs.submitted == [1]
    assert slurm.hindrance().startswith("Slurm does not answer: slurm_load_jobs error")


def test_a_quota_that_is_used_up_is_waited_for_and_a_wrong_word_is_not(slurm):
    submit(slurm, "a")
    slurm._jobs.refusal = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    slurm.collect(0)
    assert slurm.hindrance().startswith("Slurm takes no job now: Job violates")
    slurm._jobs.refusal = None
    slurm.collect(0)
    assert slurm._jobs.submitted == [1]
    slurm._jobs.refusal = "Invalid partition name specified"
    with pytest.raises(InvalidInput, match="Slurm takes no job: Invalid partition name specified"):
        slurm.collect(0)


def test_jobs_that_fail_before_they_have_a_task_end_the_sweep_with_their_last_words(slurm):
    submit(slurm, *"abcdefgh")
    slurm.collect(0)
    slurm._jobs.log("1_0").write_text("first\nNo module named 'mine'\n")
    slurm._jobs.states = {"1_0": "FAILED", "1_1": "RUNNING"}
    slurm.collect(0)
    slurm._jobs.states = {"1_0": "FAILED", "1_1": "FAILED", "2_0": "FAILED"}
    for number in ("1_1", "2_0"):
        slurm._jobs.log(number).write_text("No module named 'mine'\n")
    with pytest.raises(InvalidInput, match="no job can work: No module named 'mine'"):
        slurm.collect(0)


def test_a_store_that_workers_cannot_reach_ends_the_sweep(slurm, queue):
    submit(slurm, "a")
    claimed, _ = queue.claim("1_0.0")
    queue.report(claimed, {"broken": "OSError: disk full"})
    with pytest.raises(OSError, match="disk full"):
        slurm.collect(0)


def test_a_task_that_does_not_end_in_the_time_of_a_job_is_lost_and_others_are_handed_back(slurm, queue, monkeypatch):
    class Told:
        """A worker that hears in its task that the time is up."""

        def __init__(self, setup):
            pass

        def run(self, task, attempt):
            raise work._TimeIsUp

    monkeypatch.setattr(work, "Worker", Told)
    submit(slurm, "a")
    assert work.main(slurm._folder, "1_0.0", 3600.0) == 0
    assert slurm.collect(0) == []
    assert queue.claim("1_0.1")[1] == Attempt("a")
    queue.hand_back(queue.claims()[0])
    assert work.main(slurm._folder, "1_0.0", 0.0) == 0
    assert slurm.collect(0) == [(Attempt("a"), Lost("it did not end in the time of a job; raise compute.walltime"))]


def test_a_quota_halves_an_array_until_it_fits(tmp_path, monkeypatch):
    folder = tmp_path / "stores" / "slurm"
    standin.install(folder / "bin")
    monkeypatch.setenv("STANDIN_FOLDER", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    (folder / "limit").write_text("3")
    jobs = Jobs(COMPUTE, tmp_path / "stores")
    assert jobs.submit(8) == ["1_0", "1_1"]
    assert jobs.submit(2) == ["2_0"]
    with pytest.raises(Refused, match="violates accounting/QOS policy"):
        jobs.submit(1)
    with pytest.raises(Refused, match="Invalid partition name specified"):
        Jobs(Compute("slurm", 1, partition="none"), tmp_path).submit(1)
    assert set(jobs.look()) >= {"1_0", "1_1"}
    jobs.cancel()


def test_without_slurm_it_is_refused_before_there_is_a_store(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sweep("compute=slurm") == 2
    assert "compute='slurm': there is no sbatch here" in capsys.readouterr().err
    assert main(["compute=slurm", "store=memory://a.zarr"]) == 2
    assert "name a path that every node reaches" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"workers": None}, "how many cores of the cluster may work at once"),
        ({"walltime": 3600}, "at least a minute"),
        ({"walltime": "1 hour"}, "at least a minute"),
        ({"walltime": "00:00:30"}, "at least a minute"),
        ({"sbatch": "--qos=low"}, "a list of options"),
        ({"cpus_per_task": 0}, "cpus_per_task=0"),
    ],
)
def test_what_slurm_cannot_be_asked_is_refused(words, message):
    with pytest.raises(InvalidInput, match=message):
        Compute(**{"executor": "slurm", "workers": 2, **words})


@pytest.mark.parametrize(("walltime", "seconds"), [("00:01:00", 60), ("1:02:03", 3723), ("2-01:00:00", 176_400)])
def test_the_time_of_a_job_is_read_as_slurm_reads_it(walltime, seconds):
    assert Compute("slurm", 1, walltime=walltime).job_seconds == seconds


def test_a_plan_says_how_many_jobs_of_which_time(sweep, capsys):
    words = ("compute=slurm", "compute.workers=3", "compute.cpus_per_task=2", "compute.walltime=00:02:00")
    assert sweep(*words, "plan=true") == 0
    assert "jobs of Slurm: about 2 of 2 cores and 00:02:00, 2 at once" in capsys.readouterr().out
    words = ("compute=slurm", "compute.workers=1", "compute.walltime=00:01:00", "problem.n=4000", "replicates=20000")
    assert sweep(*words, "problem.d=2000", "plan=true") == 0
    count, at_once = re.search(r"about (\d+) of 1 core and 00:01:00, (\d+) at once", capsys.readouterr().out).groups()
    assert int(count) > int(at_once) == 1
