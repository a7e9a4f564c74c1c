"""Charts: valid pictures with true positions, whatever the numbers."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dnalm.report.charts import (
    DASHES,
    LEGEND_LINE,
    MARKS,
    MAX_POINTS,
    RULES,
    WIDTH,
    Box,
    Estimate,
    Series,
    bar_chart,
    box_chart,
    histogram,
    interval_chart,
    line_chart,
    map_chart,
    nice_ticks,
    number,
    quantile,
    standalone,
)

finite = st.floats(-1e6, 1e6, allow_nan=False)


def numbers_of(svg: str) -> list[float]:
    """All coordinates of a picture; raises if it is not well-formed XML."""
    found = []
    for element in ElementTree.fromstring(svg).iter():
        for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
            if name in element.attrib:
                found.append(float(element.attrib[name]))
        for name in ("points", "d"):
            found += [float(n) for n in re.findall(r"-?\d+\.?\d*", element.attrib.get(name, ""))]
    return found


@given(finite, finite, st.integers(2, 10))
def test_ticks_are_round_ascending_and_lie_inside_or_around(low, high, about):
    low, high = min(low, high), max(low, high)
    if high - low < 1e-6:
        return
    inside, around = nice_ticks(low, high, about), nice_ticks(low, high, about, outward=True)
    margin = 1e-6 * (abs(low) + abs(high))
    assert all(low - margin <= tick <= high + margin for tick in inside)
    assert around[0] <= low + margin and around[-1] >= high - margin
    assert around == sorted(set(around))
    assert len(around) <= about + 2


def test_ticks_of_a_single_value():
    assert nice_ticks(3.0, 3.0, 5)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_axis_of_shares_shows_no_share_that_cannot_be(share):
    svg = line_chart([Series("accuracy", [0, 1], [share, share])], "t", "step", "share", largest=1)
    shown = [float(text) for text in re.findall(r'end">(-?[\d.]+)</text>', svg)]
    assert shown and min(shown) >= 0 and max(shown) <= 1 and min(shown) <= share <= max(shown)


def test_squared_errors_of_small_values_have_an_axis_of_their_size():
    assert nice_ticks(0, 4e-13, 5, outward=True) == [0, 1e-13, 2e-13, 3e-13, 4e-13]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.2), st.floats(0, 0.2)), min_size=1, max_size=8))
def test_an_interval_chart_keeps_its_dots_on_the_axis_and_in_order(estimates):
    rows = [Estimate(f"p{i}", v, max(0, v - a), min(1, v + b)) for i, (v, a, b) in enumerate(estimates)]
    svg = interval_chart(rows, "title", "accuracy", (0, 1))
    numbers_of(svg)
    dots = [float(x) for x in re.findall(r'<circle class="fill" cx="([\d.]+)"', svg)]
    ends = [
        float(x)
        for pair in re.findall(r'class="whisker stroke" x1="(.+?)" .+? x2="(.+?)"', svg)
        for x in pair
    ]
    assert len(dots) == len(rows) and len(ends) == 2 * len(rows)
    assert all(0 <= x <= WIDTH for x in dots + ends)
    for row, dot in zip(rows, dots, strict=True):
        for other, other_dot in zip(rows, dots, strict=True):
            if row.value < other.value:
                assert dot <= other_dot + 0.11


def test_an_interval_chart_says_its_numbers_to_those_who_cannot_see_it():
    svg = interval_chart([Estimate("demo", 0.873, 0.841, 0.903)], "Test accuracy", "accuracy", (0, 1))
    label = ElementTree.fromstring(svg).attrib["aria-label"]
    assert "demo 0.873, 0.841 to 0.903" in label
    near = interval_chart([Estimate("demo", 0.9996, 0.9991, 0.9999)], "Test accuracy", "accuracy", (0, 1))
    assert "0.9996  (0.999 to 0.9999)" in near


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(finite, st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=30))
def test_a_line_chart_leaves_out_what_is_not_finite(points):
    x, y = [a for a, _ in points], [b if math.isfinite(b) and abs(b) < 1e6 else math.nan for _, b in points]
    if all(math.isnan(value) for value in y):
        return
    svg = line_chart(
        [Series("one", x, y, markers=True)], "title", "step", "loss", reference_lines=[("floor", 1.0)]
    )
    assert all(math.isfinite(n) for n in numbers_of(svg))


def test_a_long_line_is_thinned_and_keeps_its_ends():
    n = 10_000
    svg = line_chart([Series("long", range(n), [i / n for i in range(n)])], "title", "x", "y")
    points = re.search(r'points="([^"]+)"', svg)[1].split()
    assert len(points) == MAX_POINTS
    # Thinned evenly, so that no point stands at a quarter exactly.
    assert re.search(r"long: 0 at 0, 0\.25\d* at 2,5\d\d, .*, 0\.9999 at 9,999\.", svg)


def test_a_line_is_told_by_what_lies_between_its_ends_too():
    """Every ROC curve begins at 0, 0 and ends at 1, 1."""
    curve = Series("demo", [0, 0.1, 0.26, 0.5, 1], [0, 0.75, 0.9, 0.96, 1])
    label = ElementTree.fromstring(line_chart([curve], "ROC", "x", "y")).attrib["aria-label"]
    assert "demo: 0 at 0, 0.9 at 0.26, 0.96 at 0.5, 1 at 1." in label


def test_series_differ_by_dash_not_only_by_colour():
    series = [Series(f"s{i}", [0, 1], [0, i]) for i in range(len(DASHES))]
    svg = line_chart(series, "t", "x", "y")
    dashes = [re.search('dasharray="([^"]+)"', line) for line in re.findall("<polyline[^>]*>", svg)]
    assert len(dashes) == len({dash and dash[1] for dash in dashes}) == len(DASHES)
    # The legend has the same, and shows each at least once whole.
    assert svg.count("stroke-dasharray") == 2 * (len(DASHES) - 1)
    assert all(sum(map(float, dash.split())) <= LEGEND_LINE for dash in DASHES)
    # The first one lies above the others.
    assert not dashes[-1]


def test_groups_of_a_map_differ_by_shape_too():
    groups = [(str(i), [(500, 500)]) for i in range(len(MARKS))]
    paths = re.findall(
        r'<path class="(dots[^"]*)" d="M200[^a-z]*([^"]+)"', map_chart(groups, "PCA", ("a", "b"))
    )
    assert len(set(paths)) == len(paths) == len(MARKS)


@pytest.mark.parametrize("kind", ["stroke", "dots", "thin"])
def test_what_is_drawn_stands_out_from_its_ground(kind):
    """Contrast of at least 3 (WCAG, graphical objects) for every colour on the grey of maps, in a file."""

    def light(channels):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
        return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def channels(colour):
        return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]

    ground = channels(RULES[".band"]["fill"])
    opacity = float(RULES[f".{kind}"].get("stroke-opacity", 1))
    for colour in range(6):
        ink = channels(RULES[f".c{colour}"]["--c"])
        seen = [opacity * a + (1 - opacity) * b for a, b in zip(ink, ground, strict=True)]
        assert (light(ground) + 0.05) / (light(seen) + 0.05) >= 3, colour


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(1, 3000), st.integers(0, 50), min_size=1))
def test_a_histogram_is_drawn_for_any_counts(counts):
    if not any(counts.values()):
        return
    svg = histogram([("train", counts)], "Lengths", "tokens")
    assert all(math.isfinite(n) for n in numbers_of(svg))
    present = [value for value, count in counts.items() if count]
    assert f"{min(present):,g} to {max(present):,g}" in svg


def test_names_are_escaped():
    svg = bar_chart([("<b>group", [("a & b", 3), ('"quoted"', 5)])], "<title>")
    text = "".join(ElementTree.fromstring(svg).itertext())
    assert "<b>group" in text and "a & b" in text


def test_of_nothing_there_is_no_bar():
    widths = re.findall(
        r'<rect class="fill"[^>]*? width="([\d.]+)"',
        bar_chart([("t", [("a", 900), ("b", 1), ("c", 0)])], "t"),
    )
    assert [float(width) > 0 for width in widths] == [True, True, False]


def test_a_chart_can_stand_alone():
    picture = standalone(bar_chart([("train", [("0", 3)])], "Labels"))
    root = ElementTree.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.attrib["width"]) == WIDTH
    assert root[0].tag.endswith("}title") and root[0].text == "Labels"


def test_alone_a_chart_is_drawn_without_css():
    """Inkscape, rsvg-convert and office programs know no variables of CSS."""
    estimates = [Estimate("a", 0.5, 0.4, 0.6, colour=1), Estimate("b", 0.7, 0.6, 0.8, colour=4)]
    picture = standalone(interval_chart(estimates, "Accuracy", "accuracy", (0, 1)))
    assert "var(" not in picture and "class=" not in picture
    drawn = [element.attrib for element in ElementTree.fromstring(picture).iter()]
    assert {"#b95318", "#a3396b"} <= {style.get("stroke") for style in drawn}
    assert {"#fff", "#1c2430", "#f3f5f8"} <= {style.get("fill") for style in drawn}


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (1200, "1,200"), (0.0, "0"), (1_500_000, "1.5M"), (1e-5, "1e-05")]
)
def test_numbers_on_axes(value, text):
    assert number(value) == text


def test_medians_of_long_sequences_are_not_told_in_powers_of_ten():
    svg = box_chart([("", [Box("0", 1000, 1100, 1234, 1300, 2000)])], "Length", "length in bp")
    assert ">1,234<" in svg and "e+" not in svg


def test_quantiles_of_counted_values():
    assert quantile({1: 1, 5: 3, 9: 1}, 0.5) == 5
    assert [quantile({9: 1, 5: 1, 1: 2}, share) for share in (0.5, 0.51, 1)] == [1, 5, 9]


@example([[-6e-79, 0.0, 0.0, 0.0, 9e-199]], 0.0)
@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(finite, min_size=5, max_size=5).map(sorted), min_size=1, max_size=6), finite)
def test_boxes_lie_on_the_picture_and_medians_within_their_boxes(quantiles, outlier):
    boxes = [Box(f"class {i}", *five, outliers=[outlier], colour=i % 6) for i, five in enumerate(quantiles)]
    svg = box_chart([("a <classifier>", boxes)], "Loss", "loss")
    assert all(-1 <= x <= WIDTH + 1 for x in numbers_of(svg)[:2])
    medians = [float(x) for x in re.findall(r'd="M([\d.]+),[\d.]+v14"', svg)]
    rectangles = re.findall(r'class="box" x="([\d.]+)" .*?width="([\d.]+)"', svg)
    assert len(medians) == len(rectangles) == len(boxes)
    for median, (x, width) in zip(medians, rectangles, strict=True):
        assert float(x) - 0.2 <= median <= float(x) + float(width) + 0.2


def test_a_map_draws_every_point_once_in_the_colour_of_its_group():
    groups = [("a", [(0, 0), (1000, 1000), (5, 5)]), ("b & c", [(500, 250)])]
    svg = map_chart(groups, "PCA", ("first", "second"))
    numbers_of(svg)
    points = dict.fromkeys("01", 0)
    for colour, kind, path in re.findall(r'<g class="c(\d)"><path class="(dots[^"]*)" d="([^"]+)"', svg):
        points[colour] += path.count("M")
        # By shape too, for those who see no colours.
        assert kind == {"0": "dots", "1": "dots squares"}[colour]
    assert points == {"0": 3, "1": 1}
    # The legend shows the marks, not lines.
    assert "<line" not in svg and svg.count('class="dots') >= 4
    assert "3 points of a, 1 point of b &amp; c" in svg


def test_numbers_below_an_axis_stay_on_the_picture():
    svg = histogram([("", {4300: 3, 4325: 1})], "Loss", "loss", bins=40, divide_by=1000)
    svg += line_chart([Series("a", [0, 1_234_000], [0, 1])], "t", "x", "y")
    for x, text in re.findall(
        r'<text x="([\d.]+)" y="[\d.]+" class="small quiet middle">([^<]+)</text>', svg
    ):
        assert float(x) + 3 * len(text) <= WIDTH, text


def test_long_names_keep_their_ends_and_do_not_run_into_numbers():
    names = [
        f"a_model_with_a_name_of_the_longest_kind_that_is_allowed {way}" for way in ("frozen", "in full")
    ]
    svg = interval_chart([Estimate(name, 0.5, 0.4, 0.6) for name in names], "t", "accuracy", (0, 1))
    shown = [text for text in re.findall(r">([^<>]+)</text>", svg) if text.startswith("a_model")]
    assert len(set(shown)) == 2 and shown[0].endswith("frozen") and shown[1].endswith("in full")
    numbers = re.search(r">(0\.500[^<]+)<", svg)[1]
    assert all(6.2 * (len(text) + len(numbers)) <= WIDTH - 12 for text in shown)
