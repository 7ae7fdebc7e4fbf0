import array_api_strict
import numpy as np
import pytest

from sedyn.arrays.history import History


@pytest.mark.parametrize("leading", [(), (4,)])
def test_what_was_appended_is_there_in_its_order(leading):
    like, rng = np.zeros(1, dtype="float32"), np.random.default_rng(0)
    given = rng.standard_normal((5, *leading, 2, 3)).astype("float32")
    history = History.empty(5, (2, 3), like, leading)
    assert history.values.shape == (*leading, 0, 2, 3)
    for t, value in enumerate(given):
        history = history.append(value)
        assert len(history) == t + 1
        assert history.values.dtype == like.dtype
        np.testing.assert_array_equal(history.values, np.moveaxis(given[: t + 1], 0, len(leading)))


def test_a_history_keeps_its_length_and_its_arrays_when_another_goes_on():
    before = History.empty(4, (2,), np.zeros(1)).append(np.array([1.0, 2.0]))
    bytes_before = before.values.tobytes()
    before.append(np.array([3.0, 4.0])).append(np.array([5.0, 6.0]))
    assert len(before) == 1
    assert before.values.tobytes() == bytes_before


@pytest.mark.parametrize("xp", [np, array_api_strict])
def test_branches_do_not_see_each_other(xp):
    def entry(number):
        return xp.asarray([[number], [-number]])

    trunk = History.empty(4, (1,), xp.zeros(1), leading=(2,)).append(entry(0.0))
    one, two = trunk.append(entry(1.0)), trunk.append(entry(2.0))
    # Each in turn goes on, the one that had to move as well as the one that had not.
    two, one = two.append(entry(20.0)), one.append(entry(10.0))
    three = trunk.append(entry(3.0))
    for history, expected in ((trunk, [0]), (one, [0, 1, 10]), (two, [0, 2, 20]), (three, [0, 3])):
        found = np.asarray(history.values)
        np.testing.assert_array_equal(found[..., 0], [expected, np.negative(expected)])


def test_appending_copies_nothing_of_the_past():
    trunk = History.empty(4, (2,), np.zeros(1)).append(np.zeros(2))
    longer, branch = trunk.append(np.ones(2)), trunk.append(np.ones(2))
    assert np.shares_memory(trunk.values, longer.values)
    assert not np.shares_memory(trunk.values, branch.values)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_the_rest_of_a_shorter_array_is_zero(leading):
    history = History.empty(3, (3, 2), np.zeros(1), leading)
    history._room.array[...] = np.nan  # what memory may hold
    for t in range(3):
        history = history.append(np.ones((*leading, t, 2)))
    expected = np.repeat(np.tril(np.ones((3, 3)), -1)[..., None], 2, axis=-1)
    np.testing.assert_array_equal(history.values, np.broadcast_to(expected, (*leading, 3, 3, 2)))


def test_a_full_history_takes_no_more():
    history = History.empty(1, (2,), np.zeros(1)).append(np.zeros(2))
    with pytest.raises(IndexError):
        history.append(np.zeros(2))


def test_a_failed_append_leaves_room_for_another():
    history = History.empty(2, (2,), np.zeros(1))
    with pytest.raises(ValueError, match="could not broadcast"):
        history.append(np.zeros(3))
    assert history.append(np.ones(2)).values.tolist() == [[1, 1]]
