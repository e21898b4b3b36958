"""What is shipped: the distribution's metadata, the conda environment, the wheel and the stored lessons."""

import re
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
import yaml
from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import nst_lessons

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["optional-dependencies"]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [ROOT / "notebooks" / name for name in ("refresher.md", "glossary.md")]
PACKAGED = [
    "weights/compact.safetensors",
    "questions.json",
    *(f"paintings/{name}.webp" for name in nst_lessons.PAINTINGS),
    *(f"full_network/{path.name}" for path in (ROOT / "nst_lessons" / "full_network").iterdir()),
]
LIMIT_BYTES = 3_000_000
PICTURES = {"image/png", "image/jpeg"}

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)


def test_one_version():
    assert PROJECT["version"] == nst_lessons.__version__ == version("nst-lessons")


def test_lower_bounds_only():
    """An upper bound or a pin would make pip move what Colab has preinstalled."""
    requirements = [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
    for requirement in map(Requirement, requirements):
        assert [specifier.operator for specifier in requirement.specifier] == [">="], requirement
        assert requirement.url is None
    assert [specifier.operator for specifier in SpecifierSet(PROJECT["requires-python"])] == [">="]


def test_what_runs_is_no_more_than_what_was_agreed():
    run_time = {requirement.name: requirement.specifier for requirement in map(Requirement, PROJECT["dependencies"])}
    agreed = "torch torchvision numpy pillow matplotlib ipywidgets scipy scikit-image tqdm safetensors psutil"
    assert run_time.keys() == {*agreed.split(), "typing-extensions"}
    assert run_time["ipywidgets"].contains("7.7.1")  # Colab's


def test_the_environment_installs_the_package_itself():
    """All requirements stand in pyproject.toml, so there is nothing here that could drift from it."""
    python, *torch_for_processors, installer, pip = ENVIRONMENT["dependencies"]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    assert torch_for_processors == ["pytorch-cpu", "torchvision"]
    assert installer == "pip"
    (package,) = pip["pip"]
    extras = re.fullmatch(r"-e \.\[([a-z,]+)\]", package)[1].split(",")
    assert set(extras) == EXTRAS.keys()
    assert ENVIRONMENT["name"] == PROJECT["name"]
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    assert ENVIRONMENT.keys() == {"name", "channels", "dependencies"}


def test_what_installs_the_tests_installs_all_that_binder_takes_from_pypi():
    """So CI, which installs that, has built the part of Binder's environment that it can reach."""
    names = {extra: {Requirement(text).name for text in texts} for extra, texts in EXTRAS.items()}
    assert set().union(*names.values()) == names["test"]


def test_the_readme_has_the_two_commands_and_names_every_lesson():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 'pip install -e ".[lab]" && nst-lessons lab' in readme
    assert 'pip install -e ".[test]" && pytest' in readme
    assert [path.name for path in LESSONS if f"notebooks/{path.name}" not in readme] == []


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution, built here and now."""
    build = pytest.importorskip("hatchling.build", reason='hatchling is missing; pip install -e ".[test]" brings it')
    folder = tmp_path_factory.mktemp("distributions")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(ROOT)
        return folder / build.build_wheel(str(folder)), folder / build.build_sdist(str(folder))


@pytest.fixture(scope="module")
def wheel(distributions) -> ZipFile:
    return ZipFile(distributions[0])


def test_the_wheel_carries_weights_paintings_and_lessons(wheel):
    names = wheel.namelist()
    for file in PACKAGED:
        assert wheel.read(f"nst_lessons/{file}") == (ROOT / "nst_lessons" / file).read_bytes()
    for file in [*LESSONS, *PAGES]:
        assert wheel.read(f"nst_lessons/notebooks/{file.name}") == file.read_bytes()
    assert [lesson.name[:3] for lesson in LESSONS] == [f"{number:02}_" for number in range(1, len(LESSONS) + 1)]
    assert len(LESSONS) >= 6
    foreign = [name for name in names if not name.startswith(("nst_lessons/", "nst_lessons-"))]
    assert foreign == []
    assert [name for name in names if "__pycache__" in name or ".ipynb_checkpoints" in name] == []


def test_the_source_carries_what_made_what_is_shipped(distributions):
    with tarfile.open(distributions[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    tools = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tools").rglob("*.py")}
    assert {"tools/paint.py", "tools/distil.py"} <= tools <= names
    assert {f"nst_lessons/{file}" for file in PACKAGED} <= names


def test_the_wheel_has_the_command_and_its_requirements(wheel):
    folder = f"nst_lessons-{PROJECT['version']}.dist-info"
    assert "nst-lessons = nst_lessons.__main__:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert "Requires-Python: >=3.10" in metadata
    for extra in EXTRAS:
        assert f"Provides-Extra: {extra}" in metadata


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def headings(notebook: NotebookNode) -> list[int]:
    """The cells with a heading of the first rank, once for each; a ``#`` within fenced code is none."""
    found = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            prose = re.sub(r"^```.*?^```", "", cell.source, flags=re.DOTALL | re.MULTILINE)
            found += [index] * len(re.findall(r"^# ", prose, flags=re.MULTILINE))
    return found


@each_lesson
def test_lessons_are_stored_executed_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LIMIT_BYTES
    assert [cell.source for cell in code_cells(notebook) if cell.execution_count is None] == []
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert any(PICTURES & output.get("data", {}).keys() for output in outputs)


@each_lesson
def test_lessons_hold_no_widget_state(path):
    """GitHub calls a notebook with widget state invalid, and without the state a widget's view shows nothing."""
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    assert "vnd.jupyter.widget" not in path.read_text(encoding="utf-8")


@each_lesson
def test_lessons_work_on_colab_alike(path):
    first = code_cells(nbformat.read(path, as_version=4))[0]
    assert '"google.colab" in sys.modules' in first.source
    assert "%pip install -q --no-deps" in first.source
    assert first.source == code_cells(nbformat.read(LESSONS[0], as_version=4))[0].source
    assert first.outputs == []


@each_lesson
def test_lessons_can_be_heard(path):
    """Every image has a description, and the one first-rank heading is where a screen reader begins."""
    notebook = nbformat.read(path, as_version=4)
    assert headings(notebook) == [0]
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for kind in PICTURES & output.get("data", {}).keys():
                alt = output.metadata.get(kind, {}).get("alt", "")
                assert len(alt) > 10, f"an image without a description after: {cell.source}"
    markdown = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"!\[\s*\]|<img(?![^>]*\balt=)", markdown) == []


def test_headings_are_found_where_they_are():
    def notebook(*sources):
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source) for source in sources])

    assert headings(notebook("# Title\ntext", "## part")) == [0]
    assert headings(notebook("text", "# Late\n\n# Twice")) == [1, 1]
    assert headings(notebook("# Title\n```python\n# a comment\n```")) == [0]


def test_no_two_test_files_have_one_name():
    """pytest takes them for the same module, and collects neither."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(set(names)) == len(names)
