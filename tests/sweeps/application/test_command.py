"""The command `sedyn`: what its names are, and what their help says."""

from __future__ import annotations

import sys
from dataclasses import fields

import pytest

import sedyn
from sweeps.application.command import COMMANDS, main
from sweeps.application.composition import experiments


def test_without_a_name_the_commands_are_listed(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    shown = capsys.readouterr()
    assert shown.err == shown.out
    for name, command in COMMANDS.items():
        assert f"\n{name}: {command.purpose}\n  {command.examples[0]}\n" in shown.out


def test_an_unknown_name_is_one_line(capsys):
    assert main(["stauts", "stores/quickstart.zarr"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert "command='stauts': did you mean 'status'?" in shown.err


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sedyn {sedyn.__version__}\n"
    assert sedyn.__version__[0].isdigit()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_the_examples(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: sedyn {name} ")
    assert COMMANDS[name].purpose in shown
    for example in COMMANDS[name].examples:
        assert example.startswith(f"sedyn {name} ")
        assert example in shown


def test_help_of_a_sweep_lists_what_can_be_set(capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    shown = capsys.readouterr().out
    for field in fields(sedyn.Problem):
        assert any(
            field.name in line.partition(" : ")[0].split(", ") and str(field.default) in line.partition("default ")[2]
            for line in map(str.strip, shown.splitlines())
        ), field.name
    for experiment in experiments():
        assert experiment.rpartition("/")[2] in shown
    for key in ("replicates: 16", "max_replicates: 512", "gpus_per_worker: 1.0"):
        assert key in shown


@pytest.mark.parametrize("arguments", [["nowhere.zarr"], ["nowhere.zarr", "--repair"]])
def test_a_name_gets_the_words_after_it(arguments, capsys):
    assert main(["validate", *arguments]) == 2
    assert "nowhere.zarr" in capsys.readouterr().err


def test_modules_in_the_working_folder_are_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "my_link.py").write_text("import sedyn\nsedyn.register_link('mine', lambda z: z)\n")
    monkeypatch.chdir(tmp_path / "stores")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert main(["sweep", "imports=[my_link]", "problem.link=mine", "problem.n=60", "plan=true"]) == 0
    assert "cells: 1" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["problem.width=0"], ["experiment=quickstart", "problem.nose=1"]])
def test_a_sweep_is_refused_as_by_its_module(arguments, capsys):
    assert main(["sweep", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
