"""What a store says is text on the page, whatever it is."""

from html.parser import HTMLParser

import pytest
import xarray as xr
from matplotlib.figure import Figure

from analysis.answers.finding import Finding
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.report.chapter import Answer, Chapter
from analysis.report.page import LONGEST, page

HOSTILE = """</td></table><script>alert("1")</script><img src=x onerror='alert(2)'>{{ 7 * 7 }}{% raw %}&amp;"""
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "h4", "p", "ul", "li", "b", "span", "a"),
    *("figure", "img", "figcaption", "div", "table", "thead", "tbody", "tr", "th", "td", "pre", "details", "summary"),
}


class Read(HTMLParser):
    """Tags with their attributes, tags that are open, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def chapter(name, words):
    """A store all of whose names and values are `words`."""
    section = Section("rates", words, (), *[lambda *groups: None] * 4)
    findings = [Finding(words, "holds", words, words, -0.5, -0.6, -0.4), Finding(words, "fails", words)]
    measured = xr.Dataset(attrs={"store": "no setting", "draws": words})
    figure = Captioned("drawn_thing", Figure(), words)
    answer = Answer(section, measured, findings, [figure], [Tabulated(words, (words, "n"), [(words, "+1.5")])])
    attributes = {"problem": {words: words, "long": "x" * 1000}, words: words, "depth": 2}
    curves = Captioned("learning_curves", Figure(), words)
    return Chapter(name, words, [answer], [("sgd", words)], curves, attributes, [words, "python -m sweeps"])


def images(*names):
    return {(name, figure): b"\x89PNG" for name in names for figure in ("drawn_thing", "learning_curves")}


@pytest.mark.parametrize("names", [[HOSTILE], ["one", HOSTILE]])
def test_hostile_words_stay_text(names):
    html = page([chapter(name, HOSTILE) for name in names], images(*names))
    read = Read(html)
    assert read.open == []
    assert {tag for tag, _ in read.tags} <= TAGS
    allowed = {"lang", "charset", "name", "content", "class", "id", "href", "alt", "src"}
    assert {attribute for _, attributes in read.tags for attribute in attributes} <= allowed
    assert all(attributes["src"].startswith("data:image/png;base64,") for tag, attributes in read.tags if tag == "img")
    for tag, attributes in read.tags:
        if tag == "a":
            assert attributes["href"][0] == "#"
            assert any(other.get("id") == attributes["href"][1:] for _, other in read.tags)
    # Headings, captions, findings, fields and commands all say it as it is.
    assert "".join(read.text).count(HOSTILE) >= 18 * len(names)
    assert "49" not in "".join(read.text)


def test_a_page_says_everything_once_and_in_order():
    read = Read(page([chapter("mine", "plain words")], images("mine")))
    text = "".join(read.text)
    assert text.count("Plain words: holds: plain words (plain words -0.500 [-0.600, -0.400]).") == 1
    assert text.count("Plain words: fails: plain words.") == 1
    places = [text.index(words) for words in ("Findings", "Learning curves", "Provenance", "Reproduce with")]
    assert places == sorted(places)
    assert "Settings of the measures: rates: draws plain words." in text
    assert f"{'x' * LONGEST}..." in text
    assert "x" * (LONGEST + 1) not in text
    numbers = [attributes for tag, attributes in read.tags if tag == "td" and attributes.get("class") == "number"]
    assert len(numbers) == 2  # +1.5 of the table, 2 of the provenance
