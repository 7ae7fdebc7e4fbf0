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
        assert f"\n  {field.name}: {field.default} # " in shown
    for experiment in experiments():
        assert experiment.rpartition("/")[2] in shown
    for key in ("replicates: 16", "max_replicates: 512", "gpus_per_worker: 1.0"):
        assert key in shown


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("words", [["--nope"], ["a.zarr", "--nope"], []])
def test_words_that_no_command_takes_are_one_line(name, words, capsys):
    if words or name not in ("sweep", "doctor"):  # which need none
        try:
            status = main([name, *words])
        except SystemExit as ended:
            status = ended.code
        shown = capsys.readouterr()
        assert (status, shown.out, shown.err.count("\n")) == (2, "", 1)
        assert shown.err.startswith(f"sedyn {name}: " if name != "sweep" else "flags=")


@pytest.mark.parametrize("size", ["nope", "0", "-3", "1.5", "1e400"])
def test_doctor_refuses_sizes_that_are_none(size, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--size", size])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["status", "watch", "validate", "redo", "drop", "report"])
def test_what_is_no_store_is_one_line_of_every_command(name, tmp_path, capsys):
    folder = tmp_path / "stores"
    folder.mkdir()
    (folder / "loop.zarr").symlink_to("loop.zarr")
    (folder / "dangling.zarr").symlink_to("nowhere/at/all.zarr")
    (folder / "file.zarr").write_text("mine")
    (folder / "closed").mkdir()
    names = ["loop.zarr", "dangling.zarr", "file.zarr", "closed", "nowhere.zarr", ".", "x" * 300, "\x1b[2J\n.zarr"]
    for place in [*(f"{folder}/{each}" for each in names), "", "/", "nope://x.zarr"]:
        assert main([name, place, *(["--all"] if name in ("redo", "drop") else [])]) == 2, place
        shown = capsys.readouterr()
        assert (shown.out, shown.err.count("\n")) == ("", 1), (place, shown)
        assert "\x1b" not in shown.err
    assert sorted(each.name for each in folder.iterdir()) == ["closed", "dangling.zarr", "file.zarr", "loop.zarr"]
    assert not list((folder / "closed").iterdir())


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
