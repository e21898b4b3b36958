"""A JupyterLab of the tests' own, and a headless Chromium to look at it with."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest

from nst_lessons.lab import LARGE_UPLOADS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync"""
PATIENCE_SECONDS = 120
Lab = tuple[str, str, Path]


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
    """A JupyterLab on a free port of this machine: its address, its token and its folder."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    with running_lab(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("lab")) as found:
        yield found


@contextmanager
def running_lab(home: Path, folder: Path) -> Iterator[Lab]:
    """A JupyterLab with its settings in one folder and its notebooks in another, as long as it is wanted."""
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
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--ServerApp.port_retries=0"]
    command += [f"--port={port}", f"--ServerApp.root_dir={folder}", "--allow-root", *LARGE_UPLOADS]
    environment = os.environ | {
        "JUPYTER_TOKEN": token,
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"{address}/api?token={token}", server, home / "log")
        yield address, token, folder
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
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


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


def run_notebook(page: Any, lab: Lab, name: str, cells: Iterable[str]) -> None:
    """Write a notebook of the given cells, open it in a page, and run all its cells."""
    address, token, folder = lab
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    nbformat.write(notebook, folder / name)
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    page.goto(f"{address}/doc/tree/{name}?token={token}")
    page.get_by_text("(ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
