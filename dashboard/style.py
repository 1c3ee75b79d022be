"""Style sheets: no text and nothing from the data but component names (cut to letters) and numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dashboard.charts import AXIS, colours
from recsys_core.browse import weight_range
from recsys_core.hybrid import Blend

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#44546A"/>
<rect x="6" y="7" width="12" height="5" fill="#0072B2"/><rect x="18" y="7" width="8" height="5" fill="#E69F00"/>
<rect x="6" y="14" width="8" height="5" fill="#0072B2"/><rect x="14" y="14" width="6" height="5" fill="#009E73"/>
<rect x="6" y="21" width="6" height="5" fill="#56B4E9"/></svg>"""

PAGE = """
[data-testid="stMainBlockContainer"] {padding: 1.5rem 1.5rem 3rem;}
[data-testid="stHeader"] {background: transparent; pointer-events: none;}
[data-testid="stHeader"] button {pointer-events: auto;}
[data-testid="stMain"] h1 {font-size: 1.6rem; padding: 0 2.5rem .25rem 0;}
[data-testid="stMain"] h3 {font-size: 1.05rem; padding: .25rem 0 0;}
[data-testid="stMain"] h1 code {font-size: .9em;}
[data-testid="stMain"] code, [data-testid="stSidebar"] code {color: inherit;}
[data-testid="stSidebarHeader"] {height: 2.5rem; margin-bottom: 0;}
[data-testid="stSidebar"] [data-testid="stVerticalBlock"] {gap: .6rem;}
[class*="st-key-weight-"] [data-testid="stSlider"] {padding-top: .1rem;}
.st-key-weights [data-testid="stVerticalBlock"] {gap: .15rem;}
.st-key-heading {flex-wrap: nowrap;}
[data-testid="stMetricValue"] {font-size: 1.7rem;}
[data-testid="stMetric"] div:has(> [data-testid="stMetricDelta"]) {flex-wrap: wrap; row-gap: .2rem;}
[data-testid="stMetricDeltaDescription"] {flex: 1 0 100%; min-height: 2.4rem; white-space: normal; overflow: visible;}
[data-testid="stMetricDeltaDescription"] * {white-space: normal !important; overflow: visible !important; line-height: 1.3;}
[data-testid="stMetricLabel"] * {white-space: normal; overflow: visible; line-height: 1.3;}
@media (max-width: 1180px) {
  .st-key-body > [data-testid="stHorizontalBlock"], .st-key-body [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"])
    {flex-wrap: wrap;}
  .st-key-body [data-testid="stColumn"] {min-width: 100%;}
  .st-key-body [data-testid="stColumn"]:last-child {order: -1;}
  .st-key-stacked [data-testid="stHorizontalBlock"] {flex-wrap: wrap;}
  .st-key-stacked [data-testid="stColumn"] {min-width: 100%;}
  :is(.st-key-body, .st-key-stacked) [class*="st-key-pair-"] [data-testid="stHorizontalBlock"] {flex-wrap: nowrap;}
  :is(.st-key-body, .st-key-stacked) [class*="st-key-pair-"] [data-testid="stColumn"]:nth-child(n) {min-width: 0; order: 0;}
}
"""


LIGHT = """
.wr-bars, .wr-tiles {font-size: .8125rem; line-height: 1.3; font-variant-numeric: tabular-nums;}
.wr-bars .legend {display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin-bottom: .5rem;}
.wr-bars .legend i {display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 2px;}
.wr-bars .body {position: relative; padding-bottom: 1.4rem;}
.wr-bars .row, .wr-bars .grid {display: grid; grid-template-columns: minmax(7rem, 30%) 1fr; column-gap: .6rem;}
.wr-bars .row {height: 1.625rem; align-items: center; position: relative;}
.wr-bars .row:hover {background: rgba(128, 136, 150, .1);}
.wr-bars .name {display: flex; min-width: 0; gap: .5em;}
.wr-bars .name em {font-style: normal; opacity: .7; flex: 0 0 1.4em; text-align: right;}
.wr-bars .name > :last-child {overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: inherit;}
.wr-bars .name a {text-decoration: underline; text-decoration-color: rgba(128, 136, 150, .6); text-underline-offset: .2em;}
.wr-bars .lane {position: relative; height: 1.05rem; margin-right: 3rem;}
.wr-bars .lane i {position: absolute; top: 0; bottom: 0;}
.wr-bars .lane b {position: absolute; font-weight: 400; padding-left: .4em; line-height: 1.05rem;}
.wr-bars .grid {position: absolute; inset: 0; pointer-events: none;}
.wr-bars .grid .lane {height: auto;}
.wr-bars .grid u {position: absolute; top: 0; bottom: 1.2rem; width: 1px; background: rgba(128, 136, 150, .25);
  text-decoration: none;}
.wr-bars .grid u.zero {background: AXIS; width: 1.5px;}
.wr-bars .grid s {position: absolute; top: 100%; left: 0; transform: translateX(-50%); text-decoration: none; opacity: .75;}
.wr-bars .axis {text-align: center; opacity: .75;}
.wr-tiles {display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .6rem;}
.wr-tiles .tile {position: relative; display: flex; flex-direction: column; align-items: flex-start; gap: .15rem; min-width: 0;
  padding: .6rem .75rem; border: 1px solid rgba(128, 136, 150, .3); border-radius: .5rem;}
.wr-tiles .label {opacity: .8;}
.wr-tiles .value {font-size: 1.5rem; line-height: 1.25;}
.wr-tiles .delta {padding: 0 .45em; border-radius: 1em; background: rgba(128, 136, 150, .14); line-height: 1.5;}
.wr-tiles .delta.green {color: light-dark(#157a36, #6fdc94); background: rgba(33, 158, 80, .14);}
.wr-tiles .delta.red {color: light-dark(#b3383c, #ff9d9d); background: rgba(214, 69, 75, .14);}
.wr-tiles .about {opacity: .8;}
.wr-tiles .tip {visibility: hidden; opacity: 0; position: absolute; z-index: 20; top: calc(100% + .3rem); left: 0; width: 17rem;
  padding: .6rem .75rem; border-radius: .5rem; border: 1px solid rgba(128, 136, 150, .45); background: light-dark(#fff, #242424);
  box-shadow: 0 4px 16px rgba(0, 0, 0, .18);}
.wr-tiles .tile:nth-child(5n) .tip, .wr-tiles .tile:nth-child(5n + 4) .tip {left: auto; right: 0;}
.wr-tiles .tip p {margin: 0 0 .4rem; font-size: .8125rem;}
.wr-tiles .tip p:last-child {margin: 0;}
.wr-tiles .tip code {white-space: normal; overflow-wrap: anywhere; font-size: .75rem;}
.wr-tiles .tile:is(:hover, :focus) .tip {visibility: visible; opacity: 1; transition: opacity .1s .25s, visibility 0s .25s;}
.wr-tiles .tile:focus-visible {outline: 2px solid AXIS; outline-offset: 2px;}
.wr-words {overflow-x: auto;}
.wr-words table {border-collapse: collapse; width: 100%; font-size: .8125rem; line-height: 1.45;}
.wr-words :is(th, td) {border: 1px solid rgba(128, 136, 150, .25); padding: .4rem .5rem; text-align: left; vertical-align: top;
  white-space: pre-line; overflow-wrap: anywhere;}
.wr-words th {font-weight: 400; min-width: 3.5rem;}
.wr-words thead th {opacity: .8; white-space: nowrap;}
.wr-words tbody th {white-space: nowrap;}
.wr-words :is(.about, .settings, .more) {min-width: 13rem;}
.wr-words :is(.formula, .source) {min-width: 10rem;}
.wr-words :is(.label, .direction, .range) {min-width: 4.5rem;}
.wr-picture img {display: block; max-width: 4.5rem; max-height: 4.5rem; border-radius: .3rem;}
@media (max-width: 1180px) {
  .wr-tiles {gap: .4rem;}
  .wr-tiles .tile {padding: .5rem;}
  .wr-tiles .value {font-size: 1.25rem;}
}
@media (max-width: 640px) {.wr-tiles {grid-template-columns: repeat(2, minmax(0, 1fr));}}
""".replace("AXIS", AXIS)


# Where Streamlit has words of its own, which know no language.
NATIVE = {
    "upload": '[data-testid="stFileUploaderDropzone"] button [data-testid="stMarkdownContainer"] p',
    "limit": '[data-testid="stFileUploaderDropzoneInstructions"] span',
    "enter": ':is([data-testid="stTextInput"], [data-testid="stNumberInput"]) [data-testid="InputInstructions"]',
    "area": '[data-testid="stTextArea"] [data-testid="InputInstructions"]',
}


def native(words: Mapping[str, str]) -> str:
    """Streamlit's own words hidden, and ours in their place: by keys of NATIVE, without quotes or backslashes."""
    rule = '{where} {{font-size: 0;}} {where}::after {{content: "{word}"; font-size: .8125rem;}}'
    return "\n".join(rule.format(where=NATIVE[key], word=word) for key, word in words.items())


def slug(component: str) -> str:
    """A component's name as part of a CSS class."""
    return re.sub(r"[^a-z0-9]+", "-", component.lower())


def weights(blend: Blend) -> str:
    """Each slider in its component's colour, with a tick on the track at the learned weight."""
    low, high, _ = weight_range(blend)
    rules = []
    for (name, colour), learned in zip(colours(blend.names).items(), blend.weights, strict=True):
        box = f".st-key-weight-{slug(name)}"
        at = 100 * (learned - low) / (high - low)
        rules.append(
            f'{box} label p::before {{content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .4em;'
            f" border-radius: 2px; background: {colour};}}"
            f'{box} [role="group"]::after {{content: ""; position: absolute; pointer-events: none; background: {AXIS};'
            f" left: calc(.375rem + (100% - .75rem) * {at:.2f} / 100); top: calc(50% + .5rem);"
            f" height: .4rem; width: 2px; margin-left: -1px;}}"
        )
    return "\n".join(rules)
