"""What bash completes after the script of ``sedyn --completion``."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sweeps.application.command import COMMANDS, main

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sedyn", "st"], {"status"}),
        (["sedyn", ""], set(COMMANDS)),
        (["sedyn", "sweep", "problem.no"], {"problem.noise=", "problem.noise_law="}),
        (["sedyn", "sweep", "refine.a"], {"refine.axis="}),
        (["sedyn", "sweep", "zip.learning"], {"zip.learning_rate="}),
        (["sedyn", "sweep", "experiment", "=", "quickst"], {"quickstart"}),
        (["sedyn", "sweep", "experiment", "=", "quick/bi"], {"quick/bias"}),
        (["sedyn", "status", "a.z"], {"a.zarr"}),
    ],
)
def test_words_are_completed(words, expected, capsys, tmp_path):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "a.zarr").mkdir()
    assert main(["--completion"]) == 0
    asked = " ".join(f"'{word}'" for word in words)
    lines = f"COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _sedyn; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    script = f"{capsys.readouterr().out}\n{lines}"
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path / "stores")
    assert set(shown.stdout.split()) == expected
