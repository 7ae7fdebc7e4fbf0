from analysis.answers.finding import Finding


def test_a_finding_is_one_line():
    assert str(Finding("test error", "holds", "as claimed")) == "test error: holds: as claimed"
    number = Finding("test error", "fails", "slower", "exponent", -0.2, -0.3, -0.1)
    assert str(number) == "test error: fails: slower (exponent -0.200 [-0.300, -0.100])"
