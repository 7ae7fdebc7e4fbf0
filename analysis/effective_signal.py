"""First-layer rows against P_t w^0 + m_t mu, also where the link is not the activation (THEORY section 2)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.rates import rates
from analysis.rates_section import rates_figure, rates_table, verdict
from analysis.section import Captioned, Finding, Section, Tabulated

__all__ = ["SECTION", "effective_signal", "regressed"]

COEFFICIENTS = ("init_coefficient", "signal_coefficient")
WORDS = {"init_coefficient": "initialization carried, P_t", "signal_coefficient": "signal carried, m_t"}
SHARES = {
    "explained": "explained",
    "explained_stderr": "standard error",
    "explained_predicted": "theory",
    "explained_predicted_stderr": "its error, at most",
}
NEEDED = ("initial_overlap", "signal_overlap", "weight_gram")
LEAST_SIZES = 3
MOST_PANELS = 6


def regressed(simulation: xr.Dataset) -> xr.Dataset:
    """Regress the first-layer rows of every run on initialization and signal.

    Least squares over the d rows needs only overlaps: [P, m] = [W^T W0, W^T mu] G^-1, with G the Gram matrix of
    [W0, mu]. Exact initialization makes G the same at every size.

    Parameters
    ----------
    simulation : Dataset
        ``initial_overlap``, ``signal_overlap`` and ``weight_gram``, from iteration 0 on, and the signal's norm as
        grid axis or attribute.

    Returns
    -------
    Dataset
        ``init_coefficient``, ``signal_coefficient`` named as in theory, and ``explained`` on (..., iteration, neuron):
        the share of a unit's second moment that the regression explains.
    """
    ends = ("replicate", "iteration")
    inner = ("neuron", "neuron_", "index")
    axes = [dim for dim in simulation.signal_overlap.dims if dim not in (*ends, *inner)]
    lead = (*axes, *ends)
    initial = simulation.initial_overlap.transpose(*lead, "neuron", "neuron_")
    signal = simulation.signal_overlap.transpose(*lead, "neuron", "index")
    norm = simulation["signal_norm"] if "signal_norm" in simulation.dims else simulation.attrs.get("signal_norm", 1.0)
    strength, _ = xr.broadcast(xr.DataArray(norm) ** 2, signal.isel(neuron=0, index=0, iteration=0))
    eye = np.eye(simulation.sizes["index"])
    start = {"iteration": 0}
    s00 = initial.isel(start).values
    s0s = signal.isel(start).values
    mm = strength.transpose(*axes, "replicate").values[..., None, None] * eye
    gram = np.concatenate([np.concatenate([s00, s0s], -1), np.concatenate([np.swapaxes(s0s, -1, -2), mm], -1)], axis=-2)
    width = simulation.sizes["neuron"]
    known = np.isfinite(gram).all((-1, -2), keepdims=True)
    inverse = np.linalg.pinv(np.where(known, gram, np.eye(gram.shape[-1])))
    inverse = np.where(known, inverse, np.nan)[..., None, :, :]
    overlaps = np.concatenate([initial.values, signal.values], -1)
    coefficients = overlaps @ inverse
    second = (coefficients * overlaps).sum(-1)
    own = np.diagonal(simulation.weight_gram.transpose(*lead, "neuron", "neuron_").values, axis1=-2, axis2=-1)
    return xr.Dataset(
        {
            "init_coefficient": initial.copy(data=coefficients[..., :width]),
            "signal_coefficient": signal.copy(data=coefficients[..., width:]),
            "explained": ((*lead, "neuron"), second / own),
        }
    ).assign_attrs(simulation.attrs)


def effective_signal(simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 400) -> xr.Dataset:
    """Measure how far the coefficients of the rows are from theory's, and how that falls with n.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store.
    draws : int
        Bootstrap draws.

    Returns
    -------
    Dataset
        Of `analysis.rates` for ``init_coefficient`` and ``signal_coefficient``, and on (grid axes, n, iteration):
        ``explained``, the share of the rows' second moment carried by initialization and signal, mean over units, with
        ``explained_stderr``; ``explained_predicted``, theory's, with at most its solver's error,
        ``explained_predicted_stderr``.

    Notes
    -----
    Theory predicts the moments of a row, so their means over replicates are divided, not the moments of each run: a
    mean of ratios is off by one more term of order 1/n.
    """
    found = regressed(simulation)
    measured = rates(found, theory, observables=COEFFICIENTS, draws=draws)
    whole = _own(simulation["weight_gram"])
    carried = found.explained * whole
    share = carried.mean("replicate") / whole.mean("replicate")
    pull = ((carried - share * whole) / whole.mean("replicate")).mean("neuron")  # of a replicate on the ratio
    measured["explained"] = share.mean("neuron")
    measured["explained_stderr"] = pull.std("replicate", ddof=1) / np.sqrt(pull.count("replicate"))
    noise, whole = _own(theory["noise_covariance"]), _own(theory["weight_gram"])
    measured["explained_predicted"] = (1 - noise / whole).mean("neuron")
    doubt = _own(theory["noise_covariance_stderr"]) + _own(theory["weight_gram_stderr"]) * noise / whole
    measured["explained_predicted_stderr"] = (doubt / whole).mean("neuron")
    measured["explained"].attrs["long_name"] = "share of the rows' second moment from initialization and signal"
    return measured


def _own(matrix: xr.DataArray) -> xr.DataArray:
    """The diagonal of a matrix on units, on ``neuron``."""
    return matrix.where(matrix["neuron"] == matrix["neuron_"]).sum("neuron_", min_count=1)


def _findings(measured: xr.Dataset) -> list[Finding]:
    found = []
    for name in measured.observable.values.tolist():
        whole = measured.sel(observable=name, part="distance")
        numbers = (float(whole[f"overall_exponent{suffix}"]) for suffix in ("", "_low", "_high"))
        answer, words = verdict(measured, name)
        found.append(Finding(WORDS[name], answer, f"distance to theory: {words}", "exponent", *numbers))
    return found


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    top = measured.isel(n=-1, iteration=-1)
    lines = []
    for cell in style.cells(measured.explained):
        here = top.sel(cell)
        words = [f"{v:g}" if isinstance(v, float) else str(v) for v in cell.values()]
        numbers = [f"{float(here[name]):.4f}" for name in SHARES]
        lines.append((*words, *numbers))
    axes = [str(axis) for axis in (style.cells(measured.explained) or [{}])[0]]
    headings = (*axes, *SHARES.values())
    title = "Share of the rows' second moment that P_t w^0 + m_t mu explains, last iteration, largest n"
    coefficients = rates_table(measured)._replace(title="Distance of the rows' coefficients to theory ~ n^exponent")
    return [coefficients, Tabulated(title, headings, lines)]


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    figure = rates_figure(measured)
    style.title(figure, "Distance of the rows' coefficients to theory")
    return [
        Captioned("effective_signal", _coefficients_figure(regressed(simulation), theory), _COEFFICIENTS_CAPTION),
        Captioned("effective_signal_rates", figure, _RATES_CAPTION),
    ]


def _coefficients_figure(found: xr.Dataset, theory: xr.Dataset) -> Figure:
    shown, left_out = style.shown_cells(style.cells(found.explained, extra=("neuron",)), MOST_PANELS)
    figure, rows = style.small_multiples(len(shown), style.panel_grid(shown), width=3.8, height=2.7)
    largest = found.isel(n=-1)
    units = found.neuron.values.tolist()
    for ax, cell in zip((ax for row in rows for ax in row), shown, strict=True):
        for unit, colour in zip(units, style.COLOURS, strict=False):
            for name, column, marker, line in (
                ("init_coefficient", {"neuron_": unit}, "o", "-"),
                ("signal_coefficient", {"index": 0}, "D", "--"),
            ):
                place = cell | {"neuron": unit} | column
                predicted = theory[name].isel(n=-1).sel(place)
                runs = largest[name].sel(place)
                steps = runs.iteration.values
                ax.plot(steps, predicted.values, color=colour, lw=1.6, ls=line, zorder=2)
                ax.errorbar(
                    steps,
                    runs.mean("replicate").values,
                    runs.std("replicate").values,
                    color=colour,
                    marker=marker,
                    ms=3.5,
                    lw=0,
                    elinewidth=1,
                    markerfacecolor="white",
                    zorder=3,
                )
        ax.set_title(style.cell_words(cell), fontsize=10)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        style.plain(ax)
    style.label_edges(rows, "iteration", "coefficient")
    style.title(figure, f"What first-layer rows carry, n = {int(found.n[-1]):,}", left_out)
    handles = [
        Line2D([], [], color=c, lw=5, label=f"unit {unit}") for unit, c in zip(units, style.COLOURS, strict=False)
    ]
    handles += [
        Line2D([], [], color="black", marker="o", markerfacecolor="white", ms=4, label="own initialization, diag P_t"),
        Line2D([], [], color="black", marker="D", markerfacecolor="white", ms=4, ls="--", label="signal, m_t"),
    ]
    style.legend(figure, handles, columns=3)
    return figure


_COEFFICIENTS_CAPTION = (
    "Lines: coefficients that state evolution predicts. Points: regression of the rows of a run on initialization "
    "and signal, mean over replicates at the largest n; bars: one standard deviation over replicates."
)
_RATES_CAPTION = (
    "Points: root-mean-square distance of a replicate's coefficients from theory, over entries and iterations; bars: "
    "standard errors. Solid lines: fit with one slope. Dotted: n to the power -1/2."
)


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    missing = [name for name in NEEDED if name not in simulation or not bool(simulation[name].notnull().any())]
    if missing:
        return f"no {', '.join(missing)}"
    if "covariance" in simulation.dims or simulation.attrs.get("covariance", "identity") != "identity":
        return "rows differ in law where features are correlated"
    if "initialization" in simulation.dims or simulation.attrs.get("initialization", "exact") != "exact":
        return "overlaps of a random initialization differ from theory's by themselves"
    if len(_values(simulation, "link") | _values(simulation, "activation")) == 1:
        return "link and activation are the same"
    if simulation.sizes.get("n", 1) < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n"
    if simulation.sizes.get("replicate", 1) < 2:
        return "fewer than 2 replicates"
    return None


def _values(simulation: xr.Dataset, axis: str) -> set[str]:
    return set(simulation[axis].values.tolist()) if axis in simulation.dims else {str(simulation.attrs.get(axis))}


SECTION = Section(
    "effective_signal",
    "Do first-layer rows follow P_t w^0 + m_t mu where link and activation differ?",
    _unanswerable,
    effective_signal,
    _findings,
    _figures,
    _tables,
    sums_up=True,
)
