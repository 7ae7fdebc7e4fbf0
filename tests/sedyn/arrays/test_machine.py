"""What a process may take of its machine, as control groups of both versions say it."""

import os
import subprocess
import sys

import pytest

from sedyn.arrays.machine import available_cores, memory_limit

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
VERSION_1 = "30 23 0:28 {outermost} {at} rw,nosuid - cgroup cgroup rw,{controller}\n"
VERSION_2 = "31 23 0:29 {outermost} {at} rw,nosuid - cgroup2 cgroup2 rw\n"


@pytest.fixture
def machine(tmp_path):
    """Write the files of a system: groups of the process, mounts, and what limits the groups have."""

    def write(cgroup, mountinfo, limits):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroup)
        (tmp_path / "proc/self/mountinfo").write_text(mountinfo)
        for path, text in limits.items():
            file = tmp_path / "sys/fs/cgroup" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        return tmp_path

    return write


def test_version_1_under_the_path_that_a_container_has_on_its_host(machine):
    mounts = [("memory", "/docker/abc", "/sys/fs/cgroup/memory"), ("cpu,cpuacct", "/docker/abc", "/sys/fs/cgroup/cpu")]
    mountinfo = "".join(VERSION_1.format(controller=name, outermost=path, at=at) for name, path, at in mounts)
    limits = {"memory/memory.limit_in_bytes": 3 * 10**8, "cpu/cpu.cfs_quota_us": 90000, "cpu/cpu.cfs_period_us": 100000}
    root = machine("4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n", mountinfo, limits)
    assert memory_limit(root) == 3 * 10**8
    assert available_cores(root) == 1


def test_a_group_is_limited_by_those_it_is_in(machine):
    limits = {
        "memory.max": "max",
        "user.slice/memory.max": 2 * 10**8,
        "user.slice/job/memory.max": 5 * 10**8,
        "user.slice/cpu.max": "100000 100000",
        "user.slice/job/cpu.max": "max 100000",
    }
    root = machine("0::/user.slice/job\n", VERSION_2.format(outermost="/", at="/sys/fs/cgroup"), limits)
    assert memory_limit(root) == 2 * 10**8
    assert available_cores(root) == 1


def test_a_container_sees_its_own_group_as_the_outermost(machine):
    mountinfo = VERSION_2.format(outermost="/", at="/sys/fs/cgroup")
    root = machine("0::/\n", mountinfo, {"memory.max": 10**8, "cpu.max": "1000 100000"})
    assert memory_limit(root) == 10**8
    assert available_cores(root) == 1


def test_without_limits_it_is_the_machine(machine, tmp_path):
    everything = len(os.sched_getaffinity(0))
    assert (memory_limit(tmp_path), available_cores(tmp_path)) == (MACHINE, everything)  # no such files at all
    unlimited = {
        "memory/memory.limit_in_bytes": 2**63 - 4096,
        "cpu/cpu.cfs_quota_us": -1,
        "cpu/cpu.cfs_period_us": 10**5,
    }
    mounts = [("memory", "/", "/sys/fs/cgroup/memory"), ("cpu", "/", "/sys/fs/cgroup/cpu")]
    mountinfo = "".join(VERSION_1.format(controller=name, outermost=path, at=at) for name, path, at in mounts)
    memory_limit.cache_clear(), available_cores.cache_clear()
    root = machine("4:memory:/\n1:cpu:/\n", mountinfo, unlimited)
    assert (memory_limit(root), available_cores(root)) == (MACHINE, everything)


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_shell_counts(kind):
    """As `ulimit -v` and `ulimit -d` set it, and batch systems do."""
    look = "from sedyn.arrays.machine import memory_limit; print(memory_limit())"
    limit = f"import resource; resource.setrlimit(resource.{kind}, (2 * 10**9, 2 * 10**9)); {look}"
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-c", limit], env=one_thread, capture_output=True, text=True, check=True)
    assert int(ran.stdout) == 2 * 10**9
