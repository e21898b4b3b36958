"""A JupyterLab or classic Notebook of the tests' own, and a headless Chromium to look at it with."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest

from nst_lessons.lab import LARGE_UPLOADS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync"""
PATIENCE_SECONDS = 120
JUPYTERLAB = (sys.executable, "-m", "jupyterlab", *LARGE_UPLOADS)


class Lab(NamedTuple):
    """A running server, and what its front end has where: by default JupyterLab's."""

    address: str
    token: str
    folder: Path
    notebooks: str = "doc/tree"
    ready: str = "text=(ipykernel) | Idle"
    run_all: Sequence[str] = ('role=menuitem[name="Run"s]', 'role=menuitem[name="Run All Cells"s]')


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running Chromium; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium or Chrome on the PATH")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with running_chromium() as browser:
        yield browser


@contextmanager
def running_chromium() -> Iterator[Any]:
    """A headless Chromium, as long as it is wanted."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab on a free port of this machine."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    with running_lab(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("lab")) as found:
        yield found


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A classic Notebook of the environment whose Python the variable CLASSIC names."""
    if "CLASSIC" not in os.environ:
        pytest.skip("the variable CLASSIC names no Python that has the classic Notebook")
    uploads = [option.replace("ServerApp", "NotebookApp") for option in LARGE_UPLOADS]
    command = [os.environ["CLASSIC"], "-m", "notebook", *uploads]
    with running_lab(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("lab"), command) as lab:
        ready = "body:has(.kernel_idle_icon) #widget-submenu"  # ipywidgets adds it when it has loaded
        yield lab._replace(notebooks="notebooks", ready=ready, run_all=("#celllink", "#run_all_cells"))


@contextmanager
def running_lab(home: Path, folder: Path, command: Sequence[str] = JUPYTERLAB) -> Iterator[Lab]:
    """A server with its settings in one folder and its notebooks in another, as long as it is wanted."""
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    silent = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(silent))
    # Light or dark, as the browser says that its user wants it.
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"adaptive-theme": True}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, address = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--port-retries=0", "--allow-root"]
    environment = os.environ | {
        "JUPYTER_TOKEN": token,
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    with (home / "log").open("w") as log:
        server = subprocess.Popen([*command, *options], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"{address}/api?token={token}", server, home / "log")
        yield Lab(address, token, folder)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers; show its log where it does not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"Jupyter did not start:\n{log.read_text()}")


@pytest.fixture
def open_notebook(chromium: Any, lab: Lab, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable]:
    """Open a notebook of the given cells in a page, run all its cells, and give the page."""
    pages = []

    def open_and_run(*cells: str) -> Any:
        pages.append(chromium.new_page(viewport={"width": 1360, "height": 1000}))
        run_notebook(pages[-1], lab, f"{request.node.name}.ipynb", cells)
        return pages[-1]

    yield open_and_run
    for page in pages:
        page.screenshot(path=tmp_path / "closed.png")
        page.close()


@pytest.fixture(scope="module")
def bench(chromium: Any, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page with a notebook of the cells that the tests' module calls BENCH, for all its tests."""
    page = chromium.new_page(viewport={"width": 1360, "height": 1000})
    run_notebook(page, lab, "bench.ipynb", request.module.BENCH)
    yield page
    page.close()


@pytest.fixture
def open_file(chromium: Any, lab: Lab) -> Callable:
    """Open a notebook of the server's folder in a page, run all its cells, and give the page."""

    def open_and_run(name: str) -> Any:
        page = chromium.new_page(viewport={"width": 1360, "height": 1000})
        run_file(page, lab, name)
        return page

    return open_and_run


def run_notebook(page: Any, lab: Lab, name: str, cells: Iterable[str]) -> None:
    """Write a notebook of the given cells, open it in a page, and run all its cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    nbformat.write(notebook, lab.folder / name)
    run_file(page, lab, name)


def run_file(page: Any, lab: Lab, name: str) -> None:
    """Open a notebook that is there in a page, and run all its cells."""
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.goto(f"{lab.address}/{lab.notebooks}/{name}?token={lab.token}")
    page.locator(lab.ready).wait_for(state="attached")
    for entry in lab.run_all:
        page.locator(entry).click()
