"""Flow charts as inline SVG, drawn from the few lines of Mermaid that GitHub draws too; no script, readable in light and dark.

Known: `a --> b`, `a -- words --> b`, chains, `a & b --> c`, and labels `a[words]`, `a["words"]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

EDGE = re.compile(r"\s*--(?:\s+(.+?)\s+--)?>\s*")
NODE = re.compile(r'(\w+)(?:\["?([^\]"]*)"?\])?')
WIDE, HIGH, ROW = 128, 38, 84  # the least width of a box, its height, and from row to row; pixels
SIDE = 44  # between boxes, and how far an arrow that passes a row swings out

Place = tuple[float, float]  # x and y of the middle of a box, pixels


@dataclass(frozen=True)
class Chart:
    """`labels` by node, and edges (from, to, words)."""

    labels: dict[str, str]
    edges: list[tuple[str, str, str]]


def parse(source: str) -> Chart:
    """Raises ValueError for a line that is not understood."""
    labels: dict[str, str] = {}
    edges = []
    for line in filter(None, map(str.strip, source.splitlines()[1:])):
        parts = EDGE.split(line)
        groups = [_nodes(text, labels, line) for text in parts[::2]]
        for words, before, after in zip(parts[1::2], groups, groups[1:], strict=False):
            edges += [(a, b, words or "") for a in before for b in after]
    return Chart(labels, edges)


def _nodes(text: str, labels: dict[str, str], line: str) -> list[str]:
    names = []
    for part in text.split("&"):
        found = NODE.fullmatch(part.strip())
        if not found:
            raise ValueError(f"not a node of a flow chart: {part.strip()!r} in {line!r}")
        names.append(found[1])
        labels[found[1]] = found[2] or labels.get(found[1], found[1])
    return names


def columns(chart: Chart) -> list[list[str]]:
    """Nodes by their longest way from a start, each column ordered by where its predecessors stand."""
    depth = dict.fromkeys(chart.labels, 0)
    for _ in chart.labels:
        for a, b, _words in chart.edges:
            depth[b] = max(depth[b], depth[a] + 1)
    if max(depth.values()) >= len(depth):
        raise ValueError("the flow chart has a circle")
    made: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    height: dict[str, float] = {}
    for level, column in enumerate(made):
        nodes = [n for n in chart.labels if depth[n] == level]
        before = {n: [height[a] for a, b, _ in chart.edges if b == n] for n in nodes}
        column += sorted(nodes, key=lambda n: sum(before[n]) / max(len(before[n]), 1))
        height |= {n: i - (len(column) - 1) / 2 for i, n in enumerate(column)}
    return made


def svg(source: str, title: str) -> str:
    """The chart from top to bottom; colours come from the page's style sheet (`.flow`)."""
    chart = parse(source)
    levels = columns(chart)
    depth = {n: row for row, level in enumerate(levels) for n in level}
    across = max(wide(label) for label in chart.labels.values()) + SIDE
    widest = max(map(len, levels))
    at = {
        n: ((i + 0.5 + (widest - len(level)) / 2) * across, (depth[n] + 0.5) * ROW)
        for level in levels
        for i, n in enumerate(level)
    }
    arrows = [(at[a], at[b], depth[b] - depth[a] > 1) for a, b, _ in chart.edges]
    drawn = [_arrow(*ends) for ends in arrows] + [_box(*at[n], label) for n, label in chart.labels.items()]
    drawn += [_words(*ends, words) for ends, (_, _, words) in zip(arrows, chart.edges, strict=True) if words]
    head = '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    head += '<path d="M0 0 8 4 0 8z"/></marker></defs>'
    view = f'viewBox="0 0 {widest * across:g} {len(levels) * ROW}" style="max-width:{widest * across:g}px"'
    said = f"<title>{escape(title)}</title>"
    return f'<svg class="flow" role="img" {view} xmlns="http://www.w3.org/2000/svg">{said}{head}{"".join(drawn)}</svg>'


def wide(label: str) -> int:
    """Pixels of the box of a label, some 7 a sign."""
    return max(WIDE, 7 * len(label) + 20)


def _box(x: float, y: float, label: str) -> str:
    width = wide(label)
    box = f'<rect x="{x - width / 2:g}" y="{y - HIGH / 2:g}" width="{width}" height="{HIGH}" rx="6"/>'
    return f'{box}<text x="{x:g}" y="{y + 5:g}">{escape(label)}</text>'


def _arrow(a: Place, b: Place, passes: bool) -> str:
    """From below a to above b; to b's side if it passes the boxes of a row between them."""
    (x0, y0), (x1, y1) = (a[0], a[1] + HIGH / 2), (b[0], b[1] - HIGH / 2)
    if passes:
        (x0, y0), (x1, y1) = (a[0] + WIDE / 2, a[1]), (b[0] + WIDE / 2, b[1])
        path = f"C{x0 + 2 * SIDE:g} {y0:g} {x1 + 2 * SIDE:g} {y1:g} {x1:g} {y1:g}"
    else:
        path = f"C{x0:g} {(y0 + y1) / 2:g} {x1:g} {(y0 + y1) / 2:g} {x1:g} {y1:g}"
    return f'<path class="edge" marker-end="url(#tip)" d="M{x0:g} {y0:g}{path}"/>'


def _words(a: Place, b: Place, passes: bool, words: str) -> str:
    x = (a[0] + b[0]) / 2 + (WIDE / 2 + SIDE if passes else 0)
    return f'<text class="words" x="{x:g}" y="{(a[1] + b[1]) / 2 + 4:g}">{escape(words)}</text>'
