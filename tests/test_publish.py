"""What publishing writes into the lessons' sources, the stored lessons and the README, and that it can be undone."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest

from nst_lessons import publish
from nst_lessons.__main__ import main
from nst_lessons.editions import student_edition, write

SOURCE = """# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
# ---

# %% [markdown]
# # Lesson 1: The first
#
# Terms are in the [glossary](glossary.md#gram-matrix); see [a paper](https://arxiv.org/abs/1508.06576).

# %%
from pathlib import Path

wheel = next(map(str, Path.cwd().glob("nst_lessons-*.whl")), "nst-lessons")

# %%
# a comment
print("[an output](glossary.md)")

# %% [markdown]
# **Next:** [lesson 2](02_second.ipynb) and [nowhere](elsewhere.md).
"""
ADA = ["publish", "--repo", "ada/nst.lessons", "--ref", "v1.0"]
BADGES = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/ada/nst.lessons/blob/v1.0/notebooks/01_first.ipynb) "
    "[![Open in Binder](https://mybinder.org/badge_logo.svg)]"
    "(https://mybinder.org/v2/gh/ada/nst.lessons/v1.0?urlpath=lab/tree/notebooks/01_first.ipynb)"
)


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A clone with two lessons, stored with an output."""
    lessons = tmp_path / "notebooks"
    (lessons / "source").mkdir(parents=True)
    (lessons / "glossary.md").write_text("# Glossary\n")
    (tmp_path / "README.md").write_text("# The course\n\nAll of it.\n")
    for name in ("01_first", "02_second"):
        path = lessons / "source" / f"{name}.py"
        path.write_text(SOURCE)
        notebook = student_edition(path)
        notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="[an output](glossary.md)\n")]
        write(notebook, lessons / f"{name}.ipynb")
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    return tmp_path


def contents(clone: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}


def stored(clone: Path) -> nbformat.NotebookNode:
    return nbformat.read(clone / "notebooks" / "01_first.ipynb", as_version=4)


def test_a_published_lesson_has_badges_absolute_links_and_an_install_source(clone, capsys):
    assert main(ADA) == 0
    assert "into 5 files" in capsys.readouterr().out
    first, setup, output, last = stored(clone).cells
    title, blank, badges, *_ = first.source.splitlines()
    assert (title, blank) == ("# Lesson 1: The first", "")
    assert badges == BADGES
    assert "[glossary](https://github.com/ada/nst.lessons/blob/v1.0/notebooks/glossary.md#gram-matrix)" in first.source
    assert "[a paper](https://arxiv.org/abs/1508.06576)" in first.source
    assert '.whl")), "git+https://github.com/ada/nst.lessons@v1.0")' in setup.source
    colab = "https://colab.research.google.com/github/ada/nst.lessons/blob/v1.0/notebooks/02_second.ipynb"
    assert last.source == f"**Next:** [lesson 2]({colab}) and [nowhere](elsewhere.md)."
    assert output.outputs[0].text == "[an output](glossary.md)\n"
    readme = (clone / "README.md").read_text()
    assert readme == f"# The course\n\n{BADGES}\n\nAll of it.\n"


def test_source_and_stored_lesson_still_agree(clone):
    assert main(ADA) == 0
    made = student_edition(clone / "notebooks" / "source" / "01_first.py")
    assert [cell.source for cell in made.cells] == [cell.source for cell in stored(clone).cells]


def test_publishing_again_replaces_and_can_be_undone(clone):
    before = contents(clone)
    assert main(["publish", "--repo", "grace/fork", "--ref", "spring"]) == 0
    assert main(ADA) == 0
    published = contents(clone)
    assert not any(b"grace" in content for content in published.values())
    assert main(ADA) == 0
    assert contents(clone) == published != before
    assert main(["publish"]) == 0
    assert contents(clone) == before


@pytest.mark.parametrize(
    "repo", ["", "ada", "ada/", "/x", "ada/x/y", "https://github.com/ada/x", "-a/x", "a d/x", "a/x)"]
)
def test_what_is_no_repository_is_refused(clone, capsys, repo):
    before = contents(clone)
    assert main(["publish", f"--repo={repo}", "--ref", "v1"]) == 2
    assert f"{repo!r} is no repository of GitHub; OWNER/NAME is expected" in capsys.readouterr().err
    assert contents(clone) == before


@pytest.mark.parametrize("ref", ["", "feature/x", "v 1", "-v", ".v1", "v1)", "v1\n"])
def test_what_is_no_tag_is_refused(clone, capsys, ref):
    assert main(["publish", "--repo", "ada/x", f"--ref={ref}"]) == 2
    assert f"{ref!r} is no tag" in capsys.readouterr().err


def test_repository_and_tag_belong_together(clone, capsys):
    assert main(["publish", "--ref", "v1"]) == 2
    assert "belong together" in capsys.readouterr().err


def test_elsewhere_it_says_that_a_clone_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    assert main(ADA) == 2
    assert "only in a clone" in capsys.readouterr().err


NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_all_lessons_can_be_published(tmp_path, monkeypatch):
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    shutil.copy(NOTEBOOKS.parent / "README.md", tmp_path)
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    assert main(["publish"]) == 0  # this may be a published copy itself
    before = contents(tmp_path)
    assert main(ADA) == 0
    for path in LESSONS:
        notebook = nbformat.read(tmp_path / "notebooks" / path.name, as_version=4)
        nbformat.validate(notebook)
        text = "\n".join(cell.source for cell in notebook.cells)
        assert text.count("[![Open in Colab]") == text.count('"git+https://github.com/ada/nst.lessons@v1.0"') == 1
        source = (tmp_path / "notebooks" / "source" / f"{path.stem}.py").read_text(encoding="utf-8")
        assert source.count("[![Open in Colab]") == source.count("git+https") == 1
        assert re.findall(r"\]\((?!http|#)[^)]*\)", source) == []
    assert main(["publish"]) == 0
    assert contents(tmp_path) == before


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_no_link_of_a_lesson_is_dead_before_it_is_published(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert [link for link in links if not link.startswith("http") and not (NOTEBOOKS / link).is_file()] == []
    assert "OWNER" not in text
