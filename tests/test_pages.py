"""Refresher and glossary, the pages beside the lessons, and how each lesson opens and ends."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from nst_lessons.editions import read_source

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted((NOTEBOOKS / "source").glob("*.py"))
PAGES = ("notebooks/refresher.md", "notebooks/glossary.md", "README.md")
REFRESHER, GLOSSARY, README = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
ENTRIES = dict(re.findall(r"^## <a id=.*></a>(.+)\n\n((?:(?!## ).*\n?)+)", GLOSSARY, re.M))
TEXTS = {
    path.stem: "\n\n".join(
        cell.source for cell in read_source(path, answers=True).cells if cell.cell_type == "markdown"
    )
    for path in LESSONS
}
each_lesson = pytest.mark.parametrize("lesson", TEXTS)


def anchor(heading: str) -> str:
    """A heading's address on its page, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def linked(lesson: str) -> set[str]:
    """The glossary's entries that a lesson links to."""
    return set(re.findall(r"\]\(glossary\.md#([^)]+)\)", TEXTS[lesson]))


def test_the_refreshers_code_prints_what_the_page_says():
    blocks = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", REFRESHER, re.M | re.S)
    assert len(blocks) == REFRESHER.count("```python") == REFRESHER.count("```text") >= 5
    scope = {}
    for code, expected in blocks:
        with redirect_stdout(io.StringIO()) as printed:
            exec(code, scope)
        assert printed.getvalue() == expected


@each_lesson
def test_every_link_of_a_lesson_leads_somewhere(lesson):
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", TEXTS[lesson])
    assert [file for file in links if not (NOTEBOOKS / file).exists()] == []
    assert linked(lesson) <= set(map(anchor, ENTRIES))


@pytest.mark.parametrize("term", ENTRIES)
def test_every_entry_is_linked_to_by_the_lessons_that_it_names(term):
    named = re.findall(r"\[Lesson (\d)\]\((0\1_\w+)\.ipynb\)", ENTRIES[term])
    assert named
    for _, lesson in named:
        assert anchor(term) in linked(lesson), lesson


def test_the_glossary_is_sorted_and_its_terms_can_be_found():
    """JupyterLab keeps a heading's capitals in its address and GitHub does not, hence an address of our own."""
    terms = re.findall(r'^## <a id="(.+)"></a>(.+)$', GLOSSARY, re.M)
    assert len(terms) == GLOSSARY.count("\n## ") == len(ENTRIES)
    assert [address for address, _ in terms] == [anchor(term) for term in ENTRIES]
    assert list(ENTRIES) == sorted(ENTRIES, key=str.casefold)


@each_lesson
def test_a_lesson_opens_with_aims_needs_minutes_and_its_network(lesson):
    opening = TEXTS[lesson].split("\n## ")[0]
    assert re.findall(r"^- \*\*([^*]+)\*\*", opening, re.M) == ["You will be able to", "You need", "Time:", "Network:"]
    reading, exercises = map(int, re.search(r"\*\*Time:\*\* (\d+) minutes to read, (\d+) for the", opening).groups())
    boxes = re.findall(r"> Difficulty .* about (\d+) minutes", TEXTS[lesson])
    assert exercises == sum(map(int, boxes))
    assert re.search(rf"\({re.escape(f'notebooks/{lesson}.ipynb')}\) \|.*\| {reading} \+ {exercises} \|", README)


@each_lesson
def test_a_lesson_ends_with_what_to_remember_and_where_to_go(lesson):
    headings = re.findall(r"^## (.+)", TEXTS[lesson], re.M)
    assert headings[-4:] == ["Try it", "Quick check", "What to remember", "Further reading"]
    remember, reading = TEXTS[lesson].split("\n## ")[-2:]
    assert 3 <= len(re.findall(r"^- ", remember, re.M)) <= 5
    links = re.findall(r"^- .*\[[^\]]*(?:19|20)\d\d\]\(https?://", reading, re.M)
    assert len(links) == len(re.findall(r"^- ", reading, re.M)) >= 2
    following = dict(zip(TEXTS, [*list(TEXTS)[1:], None], strict=True))[lesson]
    assert re.search(rf"^\*\*Next:\*\* .*\({following}\.ipynb\)" if following else r"^\*\*Next:\*\* ", reading, re.M)


def test_the_first_lesson_leads_to_the_pages_and_the_answers():
    opening = TEXTS[LESSONS[0].stem].split("\n## ")[0]
    for place in ("(refresher.md)", "(glossary.md)", "`nst-lessons lab --solutions`"):
        assert place in opening
