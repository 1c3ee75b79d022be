"""Style sheet and script of the report; nothing from the data is in either."""

CSS = """
:root {--page: #fff; --ink: #1b1f27; --dim: #5a616e; --line: #e1e4e9; --soft: #f5f6f8;}
@media (prefers-color-scheme: dark) {
  :root {--page: #12151b; --ink: #e6e8ed; --dim: #a3aab6; --line: #2c313b; --soft: #1a1e26;}
}
* {box-sizing: border-box;}
html {background: var(--page); color: var(--ink); color-scheme: light dark; -webkit-text-size-adjust: 100%;}
body {margin: 0; font: 16px/1.5 FONT;}
main {max-width: 820px; margin: 0 auto; padding: 48px 24px 64px;}
h1 {font-size: 1.9rem; line-height: 1.2; letter-spacing: -.015em; font-weight: 650; margin: 0; text-wrap: balance;}
h2 {font-size: 1.2rem; line-height: 1.3; font-weight: 650; margin: 0;}
h1, h2, p, li, dd, td, th, summary {overflow-wrap: anywhere; unicode-bidi: isolate;}
p {margin: 0;}
.stats {display: flex; flex-wrap: wrap; gap: 14px 40px; margin: 24px 0 0; padding: 16px 0; border: solid var(--line);
  border-width: 1px 0;}
.stats dt, footer dt {color: var(--dim); font-size: .8125rem;}
.stats dd {margin: 0; font-size: 1.375rem; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums;}
.lead {font-size: 1.125rem; margin-top: 24px; text-wrap: pretty;}
.note {margin-top: 12px; padding: 10px 14px; background: var(--soft); border-radius: 6px; font-size: .9375rem;}
section {margin-top: 56px;}
.says, .caption, .trust {color: var(--dim); font-size: .875rem;}
.says {margin-top: 4px; text-wrap: pretty;}
.answer {margin-top: 14px; text-wrap: pretty;}
.words {margin-top: 16px; padding: 14px 18px; background: var(--soft); border-radius: 6px;}
.chart {margin: 14px 0 0; overflow: hidden;}
.chart:empty {display: none;}
.drawing .chart:empty {display: block;}
.chart .xtick text, .chart .ytick text, .chart .textpoint text, .chart .annotation-text {fill: var(--ink) !important;}
.chart .xtitle {fill: var(--dim) !important;}
.chart .textpoint text, .chart .annotation-text {stroke: var(--page) !important; stroke-width: 3px !important;
  paint-order: stroke;}
.chart .textpoint text {font-variant-numeric: tabular-nums;}
.chart .xgrid {stroke: var(--line) !important;}
.caption {margin-top: 6px; font-variant-numeric: tabular-nums;}
details {margin-top: 14px;}
summary {cursor: pointer; font-size: .875rem; width: fit-content;}
summary:focus-visible {outline: 2px solid #4393c3; outline-offset: 3px; border-radius: 2px;}
.scroll {max-height: 430px; overflow: auto; margin-top: 8px; border: 1px solid var(--line); border-radius: 6px;}
table {border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums;}
th, td {padding: 6px 12px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);}
tr:last-child td {border-bottom: 0;}
th {position: sticky; top: 0; background: var(--soft); font-weight: 600;}
td {min-width: 5.5em;}
.n {text-align: right; white-space: nowrap; min-width: 0;}
.base td, .output td {font-weight: 600;}
.component td:first-child {font-weight: 600;}
.item td:first-child, .component ~ .others td:first-child {padding-left: 28px;}
.output td {border-top: 1px solid var(--dim);}
.trust {display: flex; flex-wrap: wrap; gap: 0 1em; margin-top: 12px;}
.trust span {font-weight: 600; flex-basis: 100%;}
.trust ul {display: flex; flex-wrap: wrap; gap: 0 1.1em; margin: 0; padding: 0; list-style: none;
  font-variant-numeric: tabular-nums;}
footer {margin-top: 64px; padding-top: 20px; border-top: 1px solid var(--line);}
footer h2 {font-size: .875rem;}
footer dl {display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px 32px; margin: 12px 0 0;}
footer dd {margin: 0; font-size: .875rem;}
@media (max-width: 560px) {
  main {padding: 28px 16px 40px;}
  h1 {font-size: 1.5rem;}
  .stats {gap: 10px 28px;}
  .stats dd {font-size: 1.125rem;}
  section {margin-top: 44px;}
  th, td {padding: 6px 8px;}
}
@media print {
  :root {--page: #fff; --ink: #000; --dim: #444; --line: #ccc; --soft: #fff;}
  main {max-width: none; padding: 0;}
  section {margin-top: 32px;}
  .scroll {max-height: none; overflow: visible;}
  .chart, tr, .words {break-inside: avoid;}
  h2 {break-after: avoid;}
  th {position: static;}
}
@page {margin: 18mm;}
"""

# Unpack the library, draw each chart from the data beside it, then fold the tables. On a narrow page labels stand above their
# bars; on paper charts take the width of the paper.
JS = """
(async () => {
  document.documentElement.classList.add("drawing");
  const packed = atob(document.getElementById("library").textContent.trim());
  const bytes = Uint8Array.from(packed, sign => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  const boxes = [...document.querySelectorAll(".chart")];
  const fit = (box, width) => {
    const small = width < 520, {annotations, height, margin, ...rest} = box.layout.meta[small ? "narrow" : "wide"];
    const bar = box.data.findIndex(trace => trace.type === "bar");
    const size = {width: [box.bars.map(wide => small ? 0.55 * wide : wide)]};
    return Plotly.update(box, size, {annotations, height, margin, ...rest, width}, [bar]);
  };
  for (const box of boxes) {
    const {data, layout} = JSON.parse(box.nextElementSibling.textContent);
    box.bars = data.find(trace => trace.type === "bar").width;
    await Plotly.newPlot(box, data, layout, {displayModeBar: false});
    await fit(box, box.clientWidth);
    box.closest("section").querySelectorAll("details").forEach(table => table.removeAttribute("open"));
  }
  document.getElementById("drawing").remove();
  const all = width => boxes.forEach(box => fit(box, width(box)));
  let seen = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== seen) all(box => box.clientWidth);
    seen = innerWidth;
  });
  addEventListener("beforeprint", () => all(() => 640));
  addEventListener("afterprint", () => all(box => box.clientWidth));
  document.documentElement.dataset.drawn = boxes.length;
})().catch(error => {
  console.error(error);
  document.documentElement.classList.remove("drawing");
  const state = document.getElementById("drawing");
  state.textContent = state.dataset.failed;
});
"""
