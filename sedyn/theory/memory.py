"""What solving the theory takes of memory, told before any work: who takes too much is killed without a word."""

from __future__ import annotations

from sedyn.arrays import machine
from sedyn.errors import InvalidInput
from sedyn.kernels.cuda.launch import adjoint_memory
from sedyn.kernels.program import no_form_because
from sedyn.model.batching import limit_dimensions
from sedyn.model.network import has_kink, numbers_of_further_outputs
from sedyn.model.observables import INCLUDED, numbers_in, parts_of, predicted
from sedyn.model.problem import Problem
from sedyn.theory.drift import drift_solutions
from sedyn.theory.inputs import normal_dimensions, randomizations_together

__all__ = ["require_theory_memory", "samples_that_fit", "theory_memory"]

DOUBLE = 8
COPIES = 3  # of each result: what a randomization gives, all of them together, and what their spread is computed from


def theory_memory(
    problem: Problem, samples: int, randomizations: int = 2, device: str = "cpu", *, keep_samples: bool = False
) -> int:
    """Bytes that a solution takes at its peak, on a GPU of its memory.

    Parameters
    ----------
    problem : Problem
    samples : int
        Of each randomization.
    randomizations : int, optional
        They are side by side, and then put together, as far as `sedyn.theory.inputs.randomizations_together` says.
    device : {'cpu', 'gpu'}, optional
    keep_samples : bool, optional
        Whether the draws themselves are wanted, as for comparing laws.

    Returns
    -------
    int
    """
    q, steps, k = problem.units, problem.steps, problem.signals
    drawn = normal_dimensions(problem) + limit_dimensions(problem)
    kept = 2 * drawn + q * steps * (1 if has_kink(problem) else 1 + q)  # uniforms, normals; gradients and curvatures
    kept += 4 * (q * q + k) + 6 * q * problem.depth  # what a step works with
    if no_form_because(problem, device):  # which kernels do a sample at a time
        kept += numbers_of_further_outputs(problem)
    apart = 4 * q * (steps + 1) if keep_samples else 0  # of the first randomization alone
    together = samples * randomizations_together(samples, randomizations)
    each = max(kept, 3 * drawn)
    if device == "gpu":
        return DOUBLE * (together * each + samples * apart) + adjoint_memory(problem, together)
    _, of_drift = drift_solutions(problem)  # one after another, and after the theory itself, which is small by then
    return DOUBLE * max(together * each + samples * apart, of_drift * each)


def samples_that_fit(
    problem: Problem, randomizations: int = 2, device: str = "cpu", *, keep_samples: bool = False
) -> int:
    """Largest power of two of samples of a randomization that there is memory for; 0 if there is none.

    Parameters
    ----------
    problem : Problem
    randomizations : int, optional
    device : {'cpu', 'gpu'}, optional
    keep_samples : bool, optional
        As for `theory_memory`.
    """
    room, samples = machine.room(device), 1
    if theory_memory(problem, samples, randomizations, device, keep_samples=keep_samples) > room:
        return 0
    while theory_memory(problem, 2 * samples, randomizations, device, keep_samples=keep_samples) <= room:
        samples *= 2
    return samples


def require_theory_memory(
    problem: Problem,
    samples: int,
    randomizations: int,
    device: str = "cpu",
    *,
    keep_samples: bool = False,
    prefix: str = "",
) -> None:
    """Refuse a solution that has no room in the memory of its device, or whose results have none in this process.

    Parameters
    ----------
    problem : Problem
    samples, randomizations : int
    device : {'cpu', 'gpu'}, optional
    keep_samples : bool, optional
    prefix : str, optional
        What precedes the names of the two numbers where a user writes them.

    Raises
    ------
    InvalidInput
        Naming what there is room for.
    """
    needed = theory_memory(problem, samples, randomizations, device, keep_samples=keep_samples)
    if needed > (there := machine.room(device)):
        fitting = samples_that_fit(problem, randomizations, device, keep_samples=keep_samples)
        remedy = f"take {fitting} or fewer" if fitting else "shrink width or steps"
        words = f"with width={problem.width} and steps={problem.steps} this needs"
        raise InvalidInput(f"{prefix}samples", samples, f"{words} {in_gigabytes(needed, there)}; {remedy}")
    numbers = numbers_in(problem, predicted(parts_of(problem))) + numbers_in(problem, INCLUDED["responses"])
    each = COPIES * DOUBLE * numbers
    if randomizations * each > (there := machine.room("cpu")):
        words = f"their results take {in_gigabytes(randomizations * each, there)}; take {int(there // each)} or fewer"
        raise InvalidInput(f"{prefix}randomizations", randomizations, words)


def in_gigabytes(needed: float, there: float) -> str:
    """Write what is needed of what there is.

    Parameters
    ----------
    needed : float
        Bytes.
    there : float
        Bytes.
    """
    return f"{needed / 1e9:.3g} GB of {there / 1e9:.3g} GB"
