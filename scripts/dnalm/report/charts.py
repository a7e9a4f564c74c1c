"""Charts as small SVG pictures: no library, no script, no font file, readable on a phone.

Every function returns one `<svg>` element as text. The drawing is about as wide as a phone, so that its
text keeps a readable size there, and is set beside others on a wide screen. Colours are CSS variables
with a fallback: a page may redefine them for dark mode, and `standalone` makes a file of its own.
Series differ by dash or shape too, so that they can be told apart without colours: on a grey print, and by
readers who see none.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar
from xml.etree import ElementTree

from dnalm.report.words import count as counted
from dnalm.report.words import number as measured

Item = TypeVar("Item")

WIDTH = 400
# What differs by less is drawn as one value.
SMALLEST_SPAN = 1e-30
MAX_POINTS = 400

# Okabe and Ito's palette (safe for colour-blind readers), darkened where text or thin lines need contrast.
STYLE = """
.chart { display: block; width: 100%; height: auto; font-family: inherit; }
.chart text { fill: var(--ink, #1c2430); font-size: 12px; }
.chart .quiet { fill: var(--quiet, #56606d); }
.chart .small { font-size: 11px; }
.chart .strong { font-weight: 650; }
.chart .end { text-anchor: end; }
.chart .middle { text-anchor: middle; }
.chart .grid { stroke: var(--rule, #dfe3e8); stroke-width: 1; }
.chart .axis { stroke: var(--quiet, #56606d); stroke-width: 1; }
.chart .reference { stroke: var(--quiet, #56606d); stroke-width: 1.2; stroke-dasharray: 2 3; }
.chart .band { fill: var(--band, #f3f5f8); }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart .whisker { stroke-width: 2.5; stroke-linecap: round; }
.chart .c0 { --c: var(--c0, #0b6e8f); }
.chart .c1 { --c: var(--c1, #b95318); }
.chart .c2 { --c: var(--c2, #6a4c93); }
.chart .c3 { --c: var(--c3, #4d7c2a); }
.chart .c4 { --c: var(--c4, #a3396b); }
.chart .c5 { --c: var(--c5, #6b7480); }
.chart .stroke { stroke: var(--c); }
.chart .fill { fill: var(--c); }
.chart .wash { fill: var(--c); fill-opacity: .16; }
.chart .box { fill: var(--c); fill-opacity: .22; stroke: var(--c); stroke-width: 1.5; }
.chart .dots { fill: none; stroke: var(--c); stroke-width: 5; stroke-linecap: round; stroke-opacity: .8; }
.chart .squares { stroke-linecap: square; stroke-width: 4.2; }
.chart .thin { stroke-width: 1.8; stroke-opacity: .85; }
.chart .hollow { fill: var(--paper, #fff); stroke: var(--c); stroke-width: 2.2; }
"""
# The same by element or class, colours without variables: {"text": {"fill": "#1c2430", …}, …}.
RULES = {
    selector: dict(declaration.split(": ") for declaration in style.split("; "))
    for selector, style in re.findall(
        r"^\.chart (\S+) \{ (.*); \}$", re.sub(r"var\(--\w+, (.*?)\)", r"\1", STYLE), re.MULTILINE
    )
}
# Long enough for a dash to be known by.
LEGEND_LINE = 36
# As many as can be told apart without colours.
DASHES = ["", "8 3", "2 2", "10 3 2 3", "4 4", "10 3 2 3 2 3", "18 4", "12 3 5 3", "2 2 2 7", "2 6"]


@dataclass(frozen=True)
class Series:
    """One line of a line chart: `x` and `y` of equal length, in the units of the axes."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    markers: bool = False


@dataclass(frozen=True)
class Estimate:
    """One row of an interval chart: an estimate between `low` and `high`, and how it is drawn."""

    name: str
    value: float
    low: float
    high: float
    colour: int = 0
    shape: str = "dot"  # dot, ring, square or diamond
    strong: bool = False


def interval_chart(rows: Sequence[Estimate], title: str, axis: str, limits: tuple[float, float]) -> str:
    """One row per estimate: name and number above, a dot with its interval below, on a common axis.

    `limits` are the smallest and largest possible value (an accuracy: 0 and 1); the axis covers what is
    needed of them. It need not begin at zero, since positions are compared here, not lengths.
    """
    left, right, row_height, top = 8, WIDTH - 8, 42, 6
    lowest, highest = min(row.low for row in rows), max(row.high for row in rows)
    margin = max(0.08 * (highest - lowest), 0.005 * abs(highest), 1e-6)
    begin, end = max(limits[0], lowest - margin), min(limits[1], highest + margin)
    ticks = nice_ticks(begin, end, 6)

    def place(value: float) -> float:
        return left + (value - begin) / (end - begin) * (right - left)

    bottom = top + row_height * len(rows)
    parts = []
    for index in range(0, len(rows), 2):
        y = top + index * row_height
        parts.append(f'<rect class="band" x="0" y="{y}" width="{WIDTH}" height="{row_height}" rx="4"/>')
    for index, row in enumerate(rows):
        y = top + index * row_height
        # The grid stays below the text.
        parts += [_line("grid", place(tick), y + 21, place(tick), y + row_height) for tick in ticks]
        weight = " strong" if row.strong else ""
        numbers = measured(row.value)
        if row.high > row.low:
            numbers += f"  ({measured(row.low)} to {measured(row.high)})"
        name = _shorten(row.name, WIDTH - 6.2 * len(numbers))
        parts.append(
            f'<g class="c{row.colour}"><title>{escape(row.name)}: {numbers}</title>'
            + _text(name, left, y + 16, weight.strip())
            + _text(numbers, right, y + 16, "end" + weight)
            + f'<line class="whisker stroke" x1="{place(row.low):.1f}" y1="{y + 30}" '
            f'x2="{place(row.high):.1f}" y2="{y + 30}"/>'
            + _marker(row.shape, place(row.value), y + 30)
            + "</g>"
        )
    parts.append(_line("axis", left, bottom, right, bottom))
    for tick in ticks:
        anchor = "end" if place(tick) > right - 12 else "middle" if place(tick) > left + 12 else ""
        parts.append(_text(number(tick), place(tick), bottom + 15, f"small quiet {anchor}".strip()))
    parts.append(_text(axis, WIDTH / 2, bottom + 31, "small quiet middle"))
    described = "; ".join(
        f"{row.name} {measured(row.value)}, {measured(row.low)} to {measured(row.high)}" for row in rows
    )
    return _svg(bottom + 38, title, f"{axis}. {described}.", parts)


def line_chart(
    series: Sequence[Series],
    title: str,
    x_axis: str,
    y_axis: str,
    reference_lines: Sequence[tuple[str, float]] = (),
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    square: bool = False,
    diagonal: bool = False,
    largest: float = math.inf,
) -> str:
    """Lines over a common x axis, and `reference_lines`: dotted horizontal lines with a name, for comparison.

    `largest` is the largest possible y (a share: 1); the axis ends there, also where all are that.

    `square` makes the plot nearly square, `diagonal` draws a dotted line from corner to corner. Points
    that are not finite are left out. More than 400 points of a line are thinned evenly.
    """
    series = [_finite(one) for one in series]
    series = [one for one in series if len(one.x)]
    reference_lines = [(name, value) for name, value in reference_lines if math.isfinite(value)]
    xs = [x for one in series for x in one.x]
    ys = [y for one in series for y in one.y] + [value for _, value in reference_lines]
    x_ticks = nice_ticks(*(x_limits or (min(xs), max(xs))), 5)
    y_ticks = nice_ticks(*(y_limits or (min(ys), max(ys))), 5, outward=True)
    y_ticks = [tick for tick in y_ticks if tick <= largest]
    x_low, x_high = x_limits or (min(xs), max(xs))
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1
    y_low, y_high = y_ticks[0], y_ticks[-1]

    legend, top = _legend(series, 22)
    left, right = 14 + 7 * max(len(number(tick)) for tick in y_ticks), WIDTH - 18
    height = 0.8 * (right - left) if square else 190
    bottom = top + height

    def x_place(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * (right - left)

    def y_place(value: float) -> float:
        return bottom - (value - y_low) / (y_high - y_low) * height

    parts = [_text(y_axis, 2, 13, "small quiet"), *legend]
    for tick in y_ticks:
        parts.append(_line("grid", left, y_place(tick), right, y_place(tick)))
        parts.append(_text(number(tick), left - 6, y_place(tick) + 4, "small quiet end"))
    for tick in x_ticks:
        if x_low <= tick <= x_high:
            parts.append(_line("axis", x_place(tick), bottom, x_place(tick), bottom + 4))
            parts.append(_below_axis(number(tick), x_place(tick), bottom + 17))
    parts.append(_line("axis", left, bottom, right, bottom))
    parts.append(_text(x_axis, (left + right) / 2, bottom + 33, "small quiet middle"))
    if diagonal:
        parts.append(_line("reference", left, bottom, right, top))
    # Names of the reference_lines stand at the right end, pushed apart where the lines lie close together.
    previous = None
    for name, value in sorted(reference_lines, key=lambda reference: -reference[1]):
        y = y_place(value)
        label_y = y - 4 if previous is None else max(y - 4, previous + 13)
        previous = label_y
        parts.append(_line("reference", left, y, right, y))
        parts.append(_text(f"{name} {value:.3g}", right - 2, label_y, "small quiet end"))
    # The first one, which is what the figure is about, lies above the others.
    for dash, one in reversed(list(zip(_dashes(len(series)), series, strict=True))):
        points = " ".join(f"{x_place(x):.1f},{y_place(y):.1f}" for x, y in zip(one.x, one.y, strict=True))
        parts.append(f'<g class="c{one.colour}"><polyline class="line stroke" points="{points}"{dash}/>')
        if one.markers or len(one.x) == 1:
            for x, y in zip(one.x, one.y, strict=True):
                parts.append(
                    f'<circle class="fill" cx="{x_place(x):.1f}" cy="{y_place(y):.1f}" r="3">'
                    f"<title>{escape(one.name)}: {number(x)}, {short(y)}</title></circle>"
                )
        parts.append("</g>")
    described = "; ".join(f"{one.name}: {_course(one)}".removeprefix(": ") for one in series)
    named = "".join(f" {name} is {short(value)}." for name, value in reference_lines)
    return _svg(bottom + 40, title, f"{y_axis} against {x_axis}: {described}.{named}", parts)


def _course(one: Series) -> str:
    """A line in words: where it begins, what it passes nearest to each quarter of its way, where it ends."""
    first, last = one.x[0], one.x[-1]
    quarters = (first + (last - first) * quarter / 4 for quarter in range(1, 4))
    between = (min(range(len(one.x)), key=lambda i: abs(one.x[i] - at)) for at in quarters)
    places = dict.fromkeys([0, *between, len(one.x) - 1])
    return ", ".join(
        f"{short(one.y[i])} at {number(one.x[i]) if one.x[i] == round(one.x[i]) else short(one.x[i])}"
        for i in places
    )


def histogram(
    counts: Sequence[tuple[str, dict[int, int]]], title: str, x_axis: str, bins: int = 36, divide_by: int = 1
) -> str:
    """Distributions of whole numbers, each as the share of its own total, so that sizes do not matter.

    `counts` holds, per distribution, its name and how often each value occurs. Neighbouring values are
    put together until at most `bins` bars are left. The axis shows the values divided by `divide_by`.
    """
    counts = [(name, {v: c for v, c in of.items() if c > 0}) for name, of in counts]
    counts = [(name, of) for name, of in counts if of]
    low = min(min(of) for _, of in counts)
    high = max(max(of) for _, of in counts)
    width = max(1, math.ceil((high - low + 1) / bins))
    first = low // width * width
    n_bins = (high - first) // width + 1
    shares = []
    for _, of in counts:
        binned = [0.0] * n_bins
        total = sum(of.values())
        for value, count in of.items():
            binned[(value - first) // width] += count / total
        shares.append(binned)

    top_fraction = max(max(binned) for binned in shares)
    y_ticks = nice_ticks(0, 100 * top_fraction, 4, outward=True)
    x_low, x_high = first - 0.5, first + n_bins * width - 0.5
    x_ticks = [tick * divide_by for tick in nice_ticks(first / divide_by, x_high / divide_by, 6)]
    x_ticks = [tick for tick in x_ticks if divide_by > 1 or tick == round(tick)]
    legend_series = [Series(name, (), (), colour=i) for i, (name, _) in enumerate(counts)]
    legend, top = _legend(legend_series, 22)
    left, right, height = 16 + 7 * max(len(number(t)) for t in y_ticks) + 8, WIDTH - 12, 150
    bottom = top + height

    def x_place(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * (right - left)

    def y_place(percent: float) -> float:
        return bottom - percent / y_ticks[-1] * height

    parts = [_text("share", 2, 13, "small quiet"), *legend]
    for tick in y_ticks:
        parts.append(_line("grid", left, y_place(tick), right, y_place(tick)))
        parts.append(_text(f"{number(tick)}%", left - 6, y_place(tick) + 4, "small quiet end"))
    for index, (dash, binned) in enumerate(zip(_dashes(len(shares)), shares, strict=True)):
        outline = (
            f"M{x_place(x_low):.1f},{bottom}"
            + "".join(
                f"V{y_place(100 * share):.1f}H{x_place(first + (i + 1) * width - 0.5):.1f}"
                for i, share in enumerate(binned)
            )
            + f"V{bottom}"
        )
        parts.append(
            f'<g class="c{index}"><path class="wash" d="{outline}Z"/>'
            f'<path class="line stroke" style="stroke-width:1.5" d="{outline}"{dash}/></g>'
        )
    parts.append(_line("axis", left, bottom, right, bottom))
    for tick in x_ticks:
        parts.append(_line("axis", x_place(tick), bottom, x_place(tick), bottom + 4))
        parts.append(_below_axis(number(tick / divide_by), x_place(tick), bottom + 17))
    parts.append(_text(x_axis, (left + right) / 2, bottom + 33, "small quiet middle"))
    described = "; ".join(
        f"{name or x_axis}: {min(of) / divide_by:,g} to {max(of) / divide_by:,g}, median "
        f"{quantile(of, 0.5) / divide_by:,g}"
        for name, of in counts
    )
    return _svg(bottom + 40, title, f"Distribution of {x_axis}. {described}.", parts)


def bar_chart(groups: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str) -> str:
    """Horizontal bars from zero, in named groups; the number stands at the end of its bar."""
    longest = max(len(name) for _, bars in groups for name, _ in bars)
    left = min(16 + 7 * longest, WIDTH // 3)
    largest = max((value for _, bars in groups for _, value in bars), default=0) or 1
    right = WIDTH - 12 - 7 * len(f"{largest:,.0f}")
    y, parts = 4, []
    for group, bars in groups:
        parts.append(_text(group, 2, y + 13, "strong"))
        y += 20
        for index, (name, value) in enumerate(bars):
            # However few, some are seen; of none there is no bar.
            width = max(value / largest * (right - left), 1) if value else 0
            parts.append(
                _text(_shorten(name, left), left - 8, y + 13, "small quiet end")
                + f'<g class="c{index % 6}"><rect class="fill" x="{left}" y="{y + 3}" '
                f'width="{width:.1f}" height="13" rx="2"/></g>'
                + _text(f"{value:,.0f}", left + width + 6, y + 13, "small")
            )
            y += 19
        y += 8
    described = "; ".join(
        f"{group}: " + ", ".join(f"{value:,.0f} of {name}" for name, value in bars) for group, bars in groups
    )
    return _svg(y, title, described + ".", parts)


@dataclass(frozen=True)
class Box:
    """One box of a boxplot: quartiles, ends of the whiskers, and single values beyond them."""

    name: str
    low: float
    q1: float
    median: float
    q3: float
    high: float
    outliers: Sequence[float] = ()
    colour: int = 0


def box_chart(groups: Sequence[tuple[str, Sequence[Box]]], title: str, axis: str) -> str:
    """Horizontal boxplots on a common axis, in named groups; the median stands at the right."""
    boxes = [box for _, group in groups for box in group]
    lowest = min(min([box.low, *box.outliers]) for box in boxes)
    highest = max(max([box.high, *box.outliers]) for box in boxes)
    ticks = nice_ticks(lowest, highest, 5, outward=True)
    left = min(16 + 7 * max(len(box.name) for box in boxes), WIDTH // 3)
    right = WIDTH - 58

    def place(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (right - left)

    bottom = 4 + sum(28 * bool(name) + 24 * len(group) for name, group in groups)
    parts = [_line("grid", place(tick), 4, place(tick), bottom) for tick in ticks]
    y = 4
    for name, group in groups:
        if name:
            parts.append(_text(name, 2, y + 19, "strong"))
            y += 28
        for box in group:
            middle = y + 12
            parts.append(
                _text(_shorten(box.name, left), left - 8, middle + 4, "small quiet end")
                + f'<g class="c{box.colour}"><title>{escape(box.name)}: median {short(box.median)}, half of '
                f"all between {short(box.q1)} and {short(box.q3)}</title>"
                + _line("stroke", place(box.low), middle, place(box.high), middle)
                + f'<rect class="box" x="{place(box.q1):.1f}" y="{middle - 7}" height="14" rx="1" '
                f'width="{max(place(box.q3) - place(box.q1), 1):.1f}"/>'
                + f'<path class="line stroke" style="stroke-width:2.5" '
                f'd="M{place(box.median):.1f},{middle - 7}v14"/>'
                + _dots([(place(value), middle) for value in box.outliers])
                + "</g>"
                + _text(short(box.median), WIDTH - 2, middle + 4, "small end")
            )
            y += 24
    parts.append(_line("axis", left, bottom, right, bottom))
    parts += [_text(number(tick), place(tick), bottom + 15, "small quiet middle") for tick in ticks]
    parts.append(_text(axis, (left + right) / 2, bottom + 31, "small quiet middle"))
    described = "; ".join(
        f"{' '.join(part for part in (name, box.name) if part)}: median {short(box.median)}, quartiles "
        f"{short(box.q1)} and {short(box.q3)}"
        for name, group in groups
        for box in group
    )
    return _svg(bottom + 38, title, f"{axis}. {described}.", parts)


def map_chart(
    groups: Sequence[tuple[str, Sequence[tuple[int, int]]]], title: str, axes: tuple[str, str]
) -> str:
    """Points in named groups, each of another colour and shape, on a square without numbers; places are 0 to
    1000.

    Groups are drawn in turns, so that none hides the others.
    """
    named = [Series(name, (), (), colour=i % 6) for i, (name, _) in enumerate(groups)]
    legend, top = _legend(named, 6, [_dots([(0, 0)], i) for i in range(len(groups))])
    left, size = 24, WIDTH - 48
    parts = [*legend, f'<rect class="band" x="{left}" y="{top}" width="{size}" height="{size}" rx="4"/>']

    def places(points: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
        inner = size - 16
        return [(left + 8 + x / 1000 * inner, top + 8 + inner - y / 1000 * inner) for x, y in points]

    turns = 4
    for turn in range(turns):
        for index, (_, points) in enumerate(groups):
            if part := points[turn::turns]:
                parts.append(f'<g class="c{index % 6}">{_dots(places(part), index)}</g>')
    bottom = top + size
    parts.append(_text(axes[0], left + size / 2, bottom + 16, "small quiet middle"))
    parts.append(
        f'<text class="small quiet middle" transform="translate(15 {top + size / 2:.0f}) rotate(-90)">'
        f"{escape(axes[1])}</text>"
    )
    described = ", ".join(f"{counted(len(points), 'point')} of {name}" for name, points in groups)
    return _svg(bottom + 24, title, f"A map of {described}.", parts)


def scatter_chart(
    points: Sequence[tuple[float, float]], title: str, axes: tuple[str, str], colour: int = 0
) -> str:
    """Points on a square whose two axes have one scale, with the dotted line of equality."""
    ticks = nice_ticks(min(map(min, points)), max(map(max, points)), 5, outward=True)
    left = 16 + 7 * max(len(number(tick)) for tick in ticks)
    top, size = 22, WIDTH - 18 - left
    bottom = top + size

    def along(value: float) -> float:
        return (value - ticks[0]) / (ticks[-1] - ticks[0]) * size

    parts = [_text(axes[1], 2, 13, "small quiet")]
    for tick in ticks:
        x, y = left + along(tick), bottom - along(tick)
        parts.append(_line("grid", left, y, left + size, y))
        parts.append(_text(number(tick), left - 6, y + 4, "small quiet end"))
        parts.append(_line("axis", x, bottom, x, bottom + 4))
        parts.append(_below_axis(number(tick), x, bottom + 17))
    parts.append(_line("axis", left, bottom, left + size, bottom))
    parts.append(_line("reference", left, bottom, left + size, top))
    parts.append(
        f'<g class="c{colour}">{_dots([(left + along(x), bottom - along(y)) for x, y in points])}</g>'
    )
    parts.append(_text(axes[0], left + size / 2, bottom + 33, "small quiet middle"))
    return _svg(bottom + 40, title, f"{axes[1]} against {axes[0]}, {counted(len(points), 'point')}.", parts)


def standalone(svg: str) -> str:
    """A chart as an SVG file of its own, on white paper.

    Its style stands in attributes: variables of CSS are known to browsers alone, so that Inkscape or
    rsvg-convert would draw it black or not at all.
    """
    root = ElementTree.fromstring(svg)
    _, _, width, height = root.attrib["viewBox"].split()
    _style(root, "")
    # The title of the file, which no browser shows as a tooltip.
    title = ElementTree.Element("title")
    title.text = root.attrib["aria-label"].split(". ")[0]
    root.attrib |= {"width": width, "height": height, "font-family": "Helvetica, Arial, sans-serif"}
    root.attrib["xmlns"] = "http://www.w3.org/2000/svg"
    root.insert(0, ElementTree.Element("rect", width="100%", height="100%", fill="#fff"))
    root.insert(0, title)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _style(element: ElementTree.Element, colour: str) -> None:
    """Write what STYLE says of `element` and all within it into attributes. `colour` is that around it."""
    classes = [f".{name}" for name in element.attrib.pop("class", "").split()]
    for selector, style in RULES.items():
        if selector in (element.tag, *classes):
            colour = style.get("--c", colour)
            element.attrib |= {
                name: value.replace("var(--c)", colour) for name, value in style.items() if name != "--c"
            }
    for child in element:
        _style(child, colour)


def nice_ticks(low: float, high: float, about: int, outward: bool = False) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) between `low` and `high`, or just around them."""
    if high < low:
        low, high = high, low
    largest = max(abs(low), abs(high))
    if high - low < max(1e-9 * largest, SMALLEST_SPAN):
        margin = 0.1 * largest if largest > SMALLEST_SPAN else 0.5
        # Where nothing is negative (losses, shares), an axis below zero would show what cannot be.
        low, high = low - margin if low < 0 else max(0.0, low - margin), high + margin
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if outward:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    else:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(index * step, digits) for index in range(first, last + 1)]


def number(value: float) -> str:
    """A number as an axis shows it: `0.25`, `1,200`, `1.5M`."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:g}"


def short(value: float) -> str:
    """A value in four digits that count, whole if it is large: `0.4033`, `12,345`, `6.5e-05`."""
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:.4g}"


def quantile(counts: dict[int, int], share: float) -> int:
    """The smallest value that at least `share` of values that occur `counts` times do not exceed."""
    wanted, seen = share * sum(counts.values()), 0
    for value, times in sorted(counts.items()):
        seen += times
        if seen >= wanted:
            return value
    raise ValueError("no counts")


def thinned(items: list[Item], most: int) -> list[Item]:
    """At most so many of them, evenly spread, the first and the last included."""
    if len(items) <= most:
        return items
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _finite(one: Series) -> Series:
    points = [
        (x, y)
        for x, y in zip(one.x, one.y, strict=True)
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
    ]
    points = thinned(points, MAX_POINTS)
    return Series(one.name, [x for x, _ in points], [y for _, y in points], one.colour, one.markers)


def _legend(series: Sequence[Series], top: float, markers: Sequence[str] = ()) -> tuple[list[str], float]:
    """Legend entries that flow over as many rows as they need, and where the plot may begin.

    Each has a piece of its line, or its mark of `markers`, drawn at 0, 0.
    """
    if len(series) < 2 and not (series and series[0].name):
        return [], top
    parts, x, y = [], 2.0, top + 8
    for index, (dash, one) in enumerate(zip(_dashes(len(series)), series, strict=True)):
        name = _shorten(one.name, WIDTH - LEGEND_LINE - 10)
        width = LEGEND_LINE + 10 + 6.6 * len(name) + 14
        if x > 2 and x + width > WIDTH:
            x, y = 2.0, y + 18
        end = x + LEGEND_LINE
        sample = (
            f'<g transform="translate({end - 6:.0f} {y:.0f})">{markers[index]}</g>'
            if markers
            else f'<line class="line stroke" x1="{x:.0f}" y1="{y:.0f}" x2="{end:.0f}" y2="{y:.0f}"{dash}/>'
        )
        parts.append(f'<g class="c{one.colour}">{sample}</g>' + _text(name, end + 6, y + 4, "small"))
        x += width
    return parts, y + 16


def _dashes(count: int) -> list[str]:
    """Attributes of so many lines: the first is solid, each other one has a dash of its own."""
    dashes = [DASHES[index % len(DASHES)] for index in range(count)]
    return [f' stroke-dasharray="{dash}"' if dash else "" for dash in dashes]


# Strokes of small marks: round and square ends of lines without length, a cross, a plus, a triangle, a bar,
# an open square. Seven, with six colours: forty-two groups differ in one or the other.
MARKS = (
    ("dots", "M{x:.1f},{y:.1f}h0"),
    ("dots squares", "M{x:.1f},{y:.1f}h0"),
    ("dots thin", "M{x:.1f},{y:.1f}m-2.5,-2.5l5,5m0,-5l-5,5"),
    ("dots thin", "M{x:.1f},{y:.1f}m-3,0h6m-3,-3v6"),
    ("dots thin", "M{x:.1f},{y:.1f}m0,-3l3,5.4h-6z"),
    ("dots thin", "M{x:.1f},{y:.1f}m0,-3.5v7"),
    ("dots thin", "M{x:.1f},{y:.1f}m-2.5,-2.5h5v5h-5z"),
)


def _dots(places: Sequence[tuple[float, float]], shape: int = 0) -> str:
    """Small marks in one element; neighbouring numbers have other shapes."""
    kind, stroke = MARKS[shape % len(MARKS)]
    path = "".join(stroke.format(x=x, y=y) for x, y in places)
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def _marker(shape: str, x: float, y: float) -> str:
    if shape == "ring":
        return f'<circle class="hollow" cx="{x:.1f}" cy="{y}" r="5"/>'
    if shape == "square":
        return f'<rect class="fill" x="{x - 5:.1f}" y="{y - 5}" width="10" height="10" rx="1"/>'
    if shape == "diamond":
        return f'<path class="fill" d="M{x:.1f},{y - 7}l7,7l-7,7l-7,-7Z"/>'
    return f'<circle class="fill" cx="{x:.1f}" cy="{y}" r="6"/>'


def _text(text: str, x: float, y: float, classes: str = "") -> str:
    named = f' class="{classes}"' if classes else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(text)}</text>'


def _below_axis(text: str, x: float, y: float) -> str:
    """The number of a tick, in the middle below it but for one at the edge of the picture."""
    return _text(text, min(x, WIDTH - 3.2 * len(text)), y, "small quiet middle")


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _shorten(text: str, pixels: float) -> str:
    """A text that fits: of a longer one beginning and end, where names differ."""
    letters = max(int((pixels - 12) / 6.2), 4)
    end = (letters - 1) // 3
    return text if len(text) <= letters else f"{text[: letters - 1 - end]}…{text[-end:]}"


def _svg(height: float, title: str, description: str, parts: Sequence[str]) -> str:
    # aria-label instead of <title>: browsers would show a title of the whole picture as a tooltip over
    # every point of it.
    # The aspect ratio is the height of charts whose contents the page skips while they are out of sight.
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" style="aspect-ratio:{WIDTH}/{height:.0f}" '
        f'role="img" aria-label="{escape(f"{title}. {description}", quote=True)}">{"".join(parts)}</svg>'
    )
