"""What figures have in common."""

import pytest

from analysis.answers.style import Panels


@pytest.mark.parametrize(
    ("count", "columns", "lowest"), [(5, 2, [3, 4]), (4, 2, [2, 3]), (1, 2, [0]), (7, 3, [4, 5, 6])]
)
def test_the_lowest_panel_of_each_column_names_the_axis(count, columns, lowest):
    panels = Panels(count, columns)
    panels.finish("title", "samples n", "error", [], columns=1)
    panels.figure.draw_without_rendering()
    named = [place for place, ax in enumerate(panels.axes) if ax.get_xlabel() == "samples n"]
    numbered = [
        place for place, ax in enumerate(panels.axes) if any(label.get_visible() for label in ax.get_xticklabels())
    ]
    assert named == numbered == lowest
