import warnings

import numpy as np
from matplotlib import pyplot

from analysis.questions.rates import rates_figure
from analysis.report.figures import learning_curves
from tests.analysis.questions.test_rates import visible
from tests.analysis.synthetic import store


def test_learning_curves_have_a_panel_a_cell(tree):
    figure = learning_curves(tree["simulation"].to_dataset(), tree["theory"].to_dataset())
    assert [ax.get_title() for ax in visible(figure)] == [
        f"depth {depth}, noise {noise}" for depth in (2, 3) for noise in (0.1, 0.5)
    ]
    theory = tree["theory"]["train_error"].sel(depth=2, noise=0.1).isel(n=-1).values
    mean = tree["simulation"]["train_error"].sel(depth=2, noise=0.1).isel(n=-1).mean("replicate").values
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    assert any(np.array_equal(line, theory) for line in drawn)
    assert any(np.array_equal(line, mean) for line in drawn)


def test_learning_curves_have_the_predicted_band_of_single_runs(tree):
    simulation, theory = (tree[name].to_dataset() for name in ("simulation", "theory"))
    n, steps = int(simulation.n[-1]), theory.sizes["iteration"]
    covariance = (*theory.train_error.dims, "iteration_"), np.full((*theory.train_error.shape, steps), 4.0)
    figure = learning_curves(
        simulation, theory.assign(train_error_covariance=covariance).assign_coords(iteration_=np.arange(steps))
    )
    line = theory.train_error.sel(depth=2, noise=0.1).isel(n=-1).values
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    for end in (line - 1.96 * 2 / n**0.5, line + 1.96 * 2 / n**0.5):
        assert any(len(own) == steps and np.allclose(own, end) for own in drawn)


def test_learning_curves_of_an_unfinished_store_are_theory_alone(tree):
    figure = learning_curves(tree["simulation"].to_dataset() * np.nan, tree["theory"].to_dataset())
    assert len(figure.axes[0].lines) == 2


def test_learning_curves_say_what_they_leave_out():
    many = store(depths=(2,), noises=tuple(np.linspace(0.1, 0.5, 15)), steps=1, replicates=2)
    figure = learning_curves(many["simulation"].to_dataset(), many["theory"].to_dataset())
    assert len(visible(figure)) == 12
    assert "3 more cells" in figure.get_suptitle()


def test_learning_curves_of_diverging_runs_show_the_others(tree):
    """A run near overflow is left out from where it diverges, without a warning, and the frame stays."""
    simulation, theory = (tree[name].to_dataset() for name in ("simulation", "theory"))
    astray = simulation.copy(deep=True)
    late = dict(depth=3, noise=0.5, replicate=0)
    for name in ("train_error", "test_error"):
        astray[name].loc[late] = astray[name].loc[late] * 10.0 ** (50 * astray.iteration)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = learning_curves(astray, theory)
    start = float(theory.train_error.isel(iteration=0).max())
    assert figure.axes[0].get_ylim()[1] <= 3 * max(start, float(theory.test_error.isel(iteration=0).max()))
    points = [ax.lines for ax in learning_curves(simulation.isel(replicate=slice(1, None)), theory).axes]
    np.testing.assert_array_equal(figure.axes[-1].lines[-1].get_ydata()[1:], points[-1][-1].get_ydata()[1:])


def test_figures_leave_no_global_state(tree, measured):
    rates_figure(measured)
    learning_curves(tree["simulation"].to_dataset(), tree["theory"].to_dataset())
    assert pyplot.get_fignums() == []
