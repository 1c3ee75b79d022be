"""What MkDocs calls while it builds: pages from elsewhere in the repository, generated ones, links, and drawn flow charts."""

from __future__ import annotations

import json
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]  # MkDocs takes its folder out of the path again

import drawing  # noqa: E402
import outputs  # noqa: E402
import reference  # noqa: E402

# Files that GitHub shows where they lie, and their names in the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "LICENSE": "licence.md",
    "data/README.md": "data.md",
    "data/tiny/README.md": "tiny.md",
    "benchmarks/README.md": "benchmarks.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#:]+)(#[^)]*)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.M | re.S)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    for entry in config.nav or []:
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] = reference.nav()
        elif isinstance(entry, dict) and "Project" in entry:
            entry["Project"] += unplaced(config.nav, Path(config.docs_dir))
    return config


def unplaced(nav: list[Any], docs: Path) -> list[str]:
    """Pages in docs/ that mkdocs.yml gives no place, so that a new page is never lost."""
    placed = set(re.findall(r"[\w/-]+\.md", json.dumps(nav)))
    return [name for path in sorted(docs.rglob("*.md")) if (name := path.relative_to(docs).as_posix()) not in placed]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for origin, name in ELSEWHERE.items():
        text = (ROOT / origin).read_text("utf-8")
        shown = f"# Licence\n\n```text\n{text}```\n" if origin == "LICENSE" else text
        files.append(File.generated(config, name, content=shown))
    for name, text in reference.pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    uri = page.file.src_uri
    known = {file.src_uri for file in files}
    full = outputs.shown(markdown.replace("<!-- notebooks -->", notebooks()))
    parts = re.split(r"(^```.*?^```$)", full, flags=re.M | re.S)
    return "".join(drawn(part) if part.startswith("```") else relinked(part, uri, known) for part in parts)


def relinked(markdown: str, uri: str, known: set[str]) -> str:
    """Links between files of the repository as links between pages; the words alone where the file is no page of the site."""
    origin = {name: path for path, name in ELSEWHERE.items()}.get(uri, f"docs/{uri}")

    def link(found: re.Match[str]) -> str:
        picture, words, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        name = ELSEWHERE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
        if name in known:
            return f"{picture}[{words}]({posixpath.relpath(name, posixpath.dirname(uri) or '.')}{anchor})"
        return words if (ROOT / path).exists() else found[0]  # what is nowhere stays, and fails the build

    return LINK.sub(link, markdown) if origin.endswith((".md", "LICENSE")) and not uri.startswith("reference/") else markdown


def drawn(block: str) -> str:
    """A ```mermaid block as a picture; any other block as it is."""
    found = FENCE.fullmatch(block)
    return f"{drawing.svg(found[2], 'What flows')}\n" if found and found[1] == "mermaid" else block


def notebooks(folder: Path = ROOT / "notebooks") -> str:
    """A list of the notebooks that there are: file name and first heading."""
    lines = []
    for path in sorted(folder.glob("*.ipynb")):
        cells: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
        words = "".join(next((c["source"] for c in cells if c["cell_type"] == "markdown"), [path.stem]))
        lines.append(f"- `notebooks/{path.name}`: {words.splitlines()[0].lstrip('# ')}")
    return "\n".join(lines)
