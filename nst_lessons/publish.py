"""A teacher's own copy of the lessons on GitHub: its badges, its links, and the source from which Colab installs.

What is written goes into the lessons' sources and the stored lessons alike, as text; outputs stay. Before that, links
between lessons are relative, and Colab installs the wheel that lies beside a lesson, or "nst-lessons" from an index.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from nst_lessons.editions import write
from nst_lessons.files import whole_file

ROOT = Path(__file__).parents[1]  # of a clone
COLAB, BINDER, GITHUB = "https://colab.research.google.com", "https://mybinder.org", "https://github.com"
REPOSITORY = re.compile(r"[a-z\d](-?[a-z\d])*/[\w.-]+", re.I | re.A)
REF = re.compile(r"\w[\w.-]*", re.A)  # a slash would end it in Colab's and Binder's addresses
# Below the heading of a text or, as a comment, of a lesson's source.
BADGES = re.compile(r"\n#?\n(?:# )?\[!\[Open in Colab\].*")
INSTALL_SOURCE = re.compile(r'(?<=glob\("nst_lessons-\*\.whl"\)\), )"[^"]*"')
LINK = re.compile(rf"\]\((?:(?:{COLAB}/github|{GITHUB})/[^/)]+/[^/)]+/blob/[^/)]+/notebooks/)?([\w.-]+)(#[^)]*)?\)")


def publish(repository: str, ref: str) -> list[Path]:
    """Write badges, absolute links and the install source into all lessons, and badges into the README.

    Args:
        repository: ``OWNER/NAME`` on GitHub.
        ref: a tag, or a branch or commit.

    Returns:
        The files that were written; what was published before is replaced.

    Raises:
        ValueError: for what is no repository or ref, and where this is not run in a clone.
    """
    if not REPOSITORY.fullmatch(repository):
        raise ValueError(f"--repo {repository!r} is no repository of GitHub; OWNER/NAME is expected")
    if not REF.fullmatch(ref):
        raise ValueError(f"--ref {ref!r} is no tag that Colab and Binder take; letters, digits, . _ and - are expected")
    return rewrite(repository, ref)


def withdraw() -> list[Path]:
    """Undo `publish`; the files that were written. ValueError where this is not run in a clone."""
    return rewrite("", "")


def rewrite(repository: str, ref: str) -> list[Path]:
    """Let all texts refer to a repository, or to none."""
    sources = sorted((ROOT / "notebooks" / "source").glob("*.py"))
    if not sources or find_spec("nbformat") is None:
        raise ValueError('this works only in a clone, after pip install -e ".[lab]"; see the README')
    import nbformat

    for source in sources:
        stored = source.parents[1] / f"{source.stem}.ipynb"
        lesson = f"notebooks/{stored.name}"
        text = refer(source.read_text(encoding="utf-8"), repository, ref)
        write_text(source, add_badges(text, lesson, repository, ref, comment="# "))
        notebook = nbformat.read(stored, as_version=4)
        for cell in notebook.cells:
            cell.source = refer(cell.source, repository, ref)
        notebook.cells[0].source = add_badges(notebook.cells[0].source, lesson, repository, ref)
        write(notebook, stored)
    readme = ROOT / "README.md"
    text = BADGES.sub("", readme.read_text(encoding="utf-8"))
    write_text(readme, add_badges(text, f"notebooks/{sources[0].stem}.ipynb", repository, ref))
    return [*sources, *(ROOT / "notebooks" / f"{source.stem}.ipynb" for source in sources), readme]


def refer(text: str, repository: str, ref: str) -> str:
    """A text without badges, whose links and install source refer to a repository; relative ones, to none."""

    def link(match: re.Match[str]) -> str:
        name, place = match[1], match[2] or ""
        if not (ROOT / "notebooks" / name).is_file():
            return match[0]
        site = f"{COLAB}/github" if name.endswith(".ipynb") else GITHUB
        return f"]({site}/{repository}/blob/{ref}/notebooks/{name}{place})" if repository else f"]({name}{place})"

    source = f"git+{GITHUB}/{repository}@{ref}" if repository else "nst-lessons"
    return LINK.sub(link, INSTALL_SOURCE.sub(f'"{source}"', BADGES.sub("", text)))


def add_badges(text: str, lesson: str, repository: str, ref: str, comment: str = "") -> str:
    """Put the badges that open a lesson below a text's heading, which may be a comment; none without a repository."""
    if not repository:
        return text
    colab = f"{COLAB}/assets/colab-badge.svg)]({COLAB}/github/{repository}/blob/{ref}/{lesson}"
    binder = f"{BINDER}/badge_logo.svg)]({BINDER}/v2/gh/{repository}/{ref}?urlpath=lab/tree/{lesson}"
    badges = f"[![Open in Colab]({colab}) [![Open in Binder]({binder})"
    return re.sub(rf"^{comment}# .*", rf"\g<0>\n{comment.strip()}\n{comment}{badges}", text, count=1, flags=re.M)


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with whole_file(path) as file:
        file.write_text(text, encoding="utf-8")
