"""The pages of `benchmarks/` on the site: a hook of MkDocs, named in mkdocs.yml.

They lie outside of `docs`, and links between the two are written for the checkout, where `docs` is a folder beside
`benchmarks`. On the site what is in `docs` stands at the top.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

FOLDER = "benchmarks"
OF_THE_CHECKOUT = (
    (r"\]\(((?:\.\./)+)docs/", r"](\1"),
    (rf"\]\(\.\./{FOLDER}/", rf"]({FOLDER}/"),
)
"""How links are written, and what they are on the site."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    root = Path(config.docs_dir).parent
    for path in sorted((root / FOLDER).rglob("*.md")):
        files.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links of the checkout into those of the site; wide tables have the room of the table of contents."""
    if page.file.src_uri.startswith(f"{FOLDER}/"):
        page.meta["hide"] = ["toc"]
    for written, there in OF_THE_CHECKOUT:
        markdown = re.sub(written, there, markdown)
    return markdown
