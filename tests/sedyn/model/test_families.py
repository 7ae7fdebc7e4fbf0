"""The text of a law is read once, for every registry alike."""

import re

import pytest

from sedyn.errors import InvalidInput
from sedyn.model.covariance import spectrum_law
from sedyn.model.families import Family, Law, read_law
from sedyn.model.features import feature_law
from sedyn.model.registry import Registry

FAMILIES = Registry(
    "colour",
    {
        "red": Family(),
        "mixed": Family(parameters=("share", "hue"), valid=lambda share, hue: share < 1, condition="a share below 1"),
    },
)


@pytest.mark.parametrize(
    ("text", "name", "numbers"),
    [
        ("red", "red", ()),
        (" red ", "red", ()),
        ("mixed(0.25, -3)", "mixed", (0.25, -3.0)),
        ("mixed (1e-3,2)", "mixed", (1e-3, 2.0)),
    ],
)
def test_a_name_and_its_numbers(text, name, numbers):
    law = Law(*read_law(text, FAMILIES))
    assert (law.text, law.family, law.numbers) == (text, FAMILIES[name], numbers)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redd", "did you mean 'red'? known: red, mixed"),
        ("red(1)", "red takes no number; write red"),
        ("mixed", "write mixed(share, hue) with a share below 1"),
        ("mixed(0.5)", "write mixed(share, hue) with a share below 1"),
        ("mixed(1, 0)", "write mixed(share, hue) with a share below 1"),
        ("mixed(1,)", "write a name, or a name with numbers as in student_t(5)"),
        ("mixed(a)", "write a name, or a name with numbers as in student_t(5)"),
        ("", "write a name, or a name with numbers as in student_t(5)"),
    ],
)
def test_what_is_refused_and_how(text, said):
    with pytest.raises(InvalidInput, match=re.escape(f"colour={text!r}: {said}") + "$"):
        read_law(text, FAMILIES)


@pytest.mark.parametrize(("find", "text"), [(feature_law, "student_t(5.25)"), (spectrum_law, "power_law(0.125)")])
def test_a_law_is_read_once(find, text):
    assert find(text) is find(text)
    assert find(text).text == text


@pytest.mark.parametrize(
    ("text", "dtype", "device", "expected"),
    [
        ("gaussian", "float64", "cpu", 8),
        ("student_t(5)", "float32", "cpu", 4),
        ("rademacher", "float64", "cpu", 1),
        ("rademacher", "float64", "gpu", 8),
        ("sparse(0.01)", "float64", "cpu", 0.24),
        ("sparse(0.5)", "float64", "cpu", 8),
        ("sparse(0.01)", "float32", "gpu", 4),
    ],
)
def test_memory_of_an_entry(text, dtype, device, expected):
    assert feature_law(text).bytes_per_entry(dtype, device) == pytest.approx(expected)
