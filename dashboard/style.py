"""Style sheets: no text and nothing from the data but component names (cut to letters) and numbers."""

from __future__ import annotations

import re

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
[data-testid="stMetricValue"] {font-size: 1.7rem;}
[data-testid="stMetric"] div:has(> [data-testid="stMetricDelta"]) {flex-wrap: wrap; row-gap: .2rem;}
[data-testid="stMetricDeltaDescription"] {flex: 1 0 100%; min-height: 2.4rem; white-space: normal; overflow: visible;}
[data-testid="stMetricDeltaDescription"] * {white-space: normal !important; overflow: visible !important; line-height: 1.3;}
[data-testid="stMetricLabel"] * {white-space: normal; overflow: visible; line-height: 1.3;}
@media (min-width: 641px) {
  .st-key-tiles [data-testid="stHorizontalBlock"] {flex-wrap: wrap;}
  .st-key-tiles [data-testid="stColumn"] {flex: 0 0 calc((100% - 4.1rem) / 5); min-width: 0;}
}
@media (min-width: 641px) and (max-width: 1180px) {
  .st-key-tiles [data-testid="stColumn"] {flex-basis: calc((100% - 2.1rem) / 3);}
}
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
