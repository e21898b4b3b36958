"""The teacher's page names what there is: checks, places in the lessons, and questions."""

import re
from pathlib import Path

import pytest
from test_questions import PLACES

from nst_lessons import exercises
from nst_lessons.questions import questions

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "TEACHING.md").read_text(encoding="utf-8")
ELSEWHERE = {"Measured", "Troubleshooting"}  # in the README


@pytest.mark.parametrize("check", [name for name in dir(exercises) if name.startswith("check_")])
def test_every_check_has_its_row(check):
    assert f"| `{check}` |\n" in PAGE


def test_places_are_the_lessons():
    names = set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", re.sub(r"```.*?```", "", PAGE, flags=re.S)))
    found = [place for kinds in PLACES.values() for places in kinds.values() for place in places]
    assert len(names) > 30
    assert [name for name in names - ELSEWHERE if not any(place.startswith(name) for place in found)] == []


def test_the_number_of_questions_is_right():
    assert f"has {len(questions())} questions" in PAGE


def test_the_readme_leads_here():
    assert "(TEACHING.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    for file in re.findall(r"\]\((?!https:)([^)#]+)", PAGE):
        assert (ROOT / file).exists()
