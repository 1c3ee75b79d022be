"""Pictures of items: which column of a table holds their addresses, and which addresses a page may show.

An address comes from whoever wrote the data. What is not plainly a picture on the web or in the text itself counts as none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

NAMES = {  # of columns, without case and marks
    *("image", "images", "imageurl", "imagelink", "imageuri", "imgurl", "img", "poster", "posterurl", "posterlink"),
    *("picture", "pictureurl", "pictureuri", "thumbnail", "thumbnailurl", "thumb", "cover", "coverurl", "coverimage"),
    *("photo", "photourl", "mainimage", "primaryimage", "imageurls", "imageurlm", "imageurll"),
}
LONGEST = 2_000  # characters of an address on the web, as far as all browsers go
EMBEDDED = 200_000  # characters of a picture that is written out: 150 kB, and a list may hold many
WEB = re.compile(r"https?://[^\s\x00-\x1f\x7f\"'<>\\^`{|}]+", re.IGNORECASE)
DATA = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")  # SVG may hold scripts, and is not among them


def address(cell: object) -> str:
    """The address of the picture, if a page may show it; else "".

    >>> address(" https://a.org/b.jpg "), address("javascript:alert(1)"), address("/etc/passwd"), address(None)
    ('https://a.org/b.jpg', '', '', '')
    """
    if not isinstance(cell, str):
        return ""
    found = cell.strip()
    if len(found) <= EMBEDDED and DATA.fullmatch(found):
        return found
    return found if len(found) <= LONGEST and host(found) else ""


def host(found: str) -> str:
    """Where a browser would fetch it, "" for what it need or should not: what is written out, no address, one with a password."""
    if not WEB.fullmatch(found):
        return ""
    try:
        parts = urlsplit(found)
        return "" if "@" in parts.netloc else parts.hostname or ""
    except ValueError:  # brackets that are no IPv6 address
        return ""


def is_column(name: str, cells: Iterable[object]) -> bool:
    """Whether a column holds pictures: it is called so, and one of its cells is an address that may be shown."""
    return "".join(c for c in name.lower() if c.isalnum()) in NAMES and any(map(address, cells))


def told(cells: Iterable[object]) -> str:
    """A sentence about the hosts that readers' browsers will fetch from; "" if there are none."""
    hosts = [found for found in (host(address(cell)) for cell in cells) if found]
    if not hosts:
        return ""
    names = sorted(set(hosts))
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    where = f"{', '.join(names[:3])}{more}"
    return f"{len(hosts):,} pictures of items: browsers fetch them from {where}; `whyrec dashboard --no-pictures` shows none."
