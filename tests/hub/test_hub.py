"""A class on a JupyterHub: three students log in, have lessons of their own, do an assignment and hand it in.

What runs is JupyterHub, its proxy and nbgrader's exchange, configured by the example in this folder. They are not
installed with the package; where `JUPYTERHUB` names the hub's command, with the others beside it, or all are on the
path, this test runs. The spawner is JupyterHub's own for tests, in which all students are one user of this machine.
"""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import socket

import nbformat
import pytest
from hand_ins import LESSONS, ROOT, STYLE, TRANSPOSED, answered, points, renamed, run

from nst_lessons.__main__ import main

requests = pytest.importorskip("requests", reason="requests is missing; JupyterLab brings it")
websocket = pytest.importorskip("websocket", reason="websocket-client is missing; JupyterLab brings it")

HUB = os.environ.get("JUPYTERHUB") or shutil.which("jupyterhub")
SEARCHED = os.pathsep.join([str(Path(HUB or "").parent), os.environ["PATH"]])
NEEDED = ("jupyterhub", "configurable-http-proxy", "nbgrader")
MISSING = ", ".join(name for name in NEEDED if not shutil.which(name, path=SEARCHED))
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {MISSING}; JUPYTERHUB may name the hub's command"
)
EXAMPLE = Path(__file__).parent
NAME = f"{STYLE.stem}_exercises"
LARGE = f"print(len('{'x' * 12_000_000}'), 'bytes')"  # as an uploaded picture of a phone
HAND_INS: dict[str, Callable[[nbformat.NotebookNode], nbformat.NotebookNode]] = {
    "ada": lambda release: answered(release, {}),
    "alan": lambda release: answered(release, {"gram_matrix_by_hand": TRANSPOSED}),
    "grace": renamed,
}
CONFIG = """
load_subconfig({example!r})
c.JupyterHub.bind_url = {address!r}
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "open sesame"
c.Authenticator.allowed_users = {students!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.Spawner.args = ["--allow-root"]
c.Spawner.environment.update({environment!r})
"""


class Student:
    """What a student's browser asks of the hub and of the student's server."""

    def __init__(self, hub: str, name: str, password: str) -> None:
        self.hub, self.name = hub, name
        login = {"auth": {"username": name, "password": password}}
        answer = requests.post(f"{hub}/hub/api/users/{name}/tokens", json=login, timeout=60)
        answer.raise_for_status()
        self.token = answer.json()["token"]

    def ask(self, method: str, address: str, content: dict | None = None) -> dict:
        """The answer to a request, as JSON."""
        headers = {"Authorization": f"token {self.token}"}
        answer = requests.request(method, f"{self.hub}{address}", json=content, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    def file(self, method: str, path: str, content: dict | None = None) -> dict:
        """Read or write a file in the student's home."""
        return self.ask(method, f"/user/{self.name}/api/contents/{path}", content)

    def is_served(self) -> bool:
        """Whether the student's server is up."""
        servers = self.ask("GET", f"/hub/api/users/{self.name}")["servers"]
        return "" in servers and servers[""]["ready"]

    def switch(self, on: bool) -> None:
        """Start the student's server, or stop it, and wait until that is done."""
        self.ask("POST" if on else "DELETE", f"/hub/api/users/{self.name}/server")
        give_up = time.monotonic() + 120
        while self.is_served() != on:
            assert time.monotonic() < give_up, f"{self.name}'s server: {on=} took too long"
            time.sleep(0.2)

    def execute(self, cells: list[str], folder: str = "") -> list[str]:
        """Run cells in a new kernel, in a folder of the student's home; what each prints. An error ends the run."""
        user = f"/user/{self.name}/api/kernels"
        kernel = self.ask("POST", user, {"name": "python3", "path": folder})["id"]
        address = f"{self.hub.replace('http', 'ws', 1)}{user}/{kernel}/channels"
        channels = websocket.create_connection(address, header=[f"Authorization: token {self.token}"], timeout=120)
        try:
            return [execute(channels, code) for code in cells]
        finally:
            channels.close()
            self.ask("DELETE", f"{user}/{kernel}")

    def shell(self, command: str) -> str:
        """Run a command as in a terminal of the student's server; what it says."""
        return self.execute([f"!{command}"])[0]


def execute(channels: "websocket.WebSocket", code: str) -> str:
    """Run a cell in the kernel at the other end; what it prints.

    Raises:
        AssertionError: with the kernel's words, if the cell fails.
    """
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "", "username": ""}
    content = {"code": code, "silent": False, "allow_stdin": False}
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    channels.send(json.dumps(request))
    printed = ""
    while True:
        message = json.loads(channels.recv())
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        content = message["content"]
        assert message["msg_type"] != "error", "\n".join(content["traceback"])
        if message["msg_type"] == "stream":
            printed += content["text"]
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            return printed


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The teacher's folder, beside it the exchange, in which lesson 4's exercises are released."""
    root = tmp_path_factory.mktemp("class")
    for folder in ("course", "exchange", "homes", "hub"):
        (root / folder).mkdir()
    (root / "exchange").chmod(0o777)
    shutil.copytree(EXAMPLE / "jupyter", root / "jupyter")
    config = root / "jupyter" / "nbgrader_config.py"
    config.write_text(config.read_text().replace("/srv/nbgrader/exchange", str(root / "exchange")))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JUPYTER_CONFIG_PATH", str(root / "jupyter"))
        patched.setenv("PATH", SEARCHED)
        assert main(["assignment", str(root / "course"), "--exercises-only"]) == 0
        nbgrader("generate_assignment", NAME, "--create", folder=root / "course")
        nbgrader("release_assignment", NAME, folder=root / "course")
        yield root / "course"


def nbgrader(*arguments: str, folder: Path) -> str:
    """Run an nbgrader command as the teacher; what it says."""
    command = shutil.which("nbgrader", path=SEARCHED)
    assert command
    return run(command, *arguments, folder=folder)


@pytest.fixture(scope="module")
def hub(course: Path) -> Iterator[str]:
    """The address of a running hub, which ends with the tests, and with it its proxy and all servers."""
    folder = course.parent / "hub"
    port, hub_port, proxy_port = free_ports(3)
    address = f"http://127.0.0.1:{port}"
    config = CONFIG.format(
        example=str(EXAMPLE / "jupyterhub_config.py"),
        address=address,
        hub_port=hub_port,
        proxy_port=proxy_port,
        students={*HAND_INS},
        homes=f"{course.parent / 'homes'}/{{username}}",
        environment={"JUPYTER_CONFIG_PATH": str(course.parent / "jupyter"), "PYTHONPATH": str(ROOT)},
    )
    (folder / "jupyterhub_config.py").write_text(config)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([HUB], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + 60
        while not answers(f"{address}/hub/api"):
            assert process.poll() is None and time.monotonic() < give_up, (folder / "log").read_text()[-3000:]
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def answers(address: str) -> bool:
    """Whether a server answers as it should."""
    try:
        return requests.get(address, timeout=5).ok
    except requests.ConnectionError:
        return False


def do_the_assignment(student: Student) -> str:
    """Log in for the first time, fetch the assignment, answer it, run it and hand it in; what the checks say."""
    student.switch(on=True)
    assert NAME in student.shell(f"nbgrader list && nbgrader fetch_assignment {NAME}")
    release = student.file("GET", f"{NAME}/{NAME}.ipynb")["content"]
    notebook = HAND_INS[student.name](nbformat.from_dict(release))
    student.file("PUT", f"{NAME}/{NAME}.ipynb", {"type": "notebook", "content": notebook})
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    said = student.execute([*code, "import torch\nprint(torch.get_num_threads(), 'thread')", LARGE], NAME)
    handed_in = student.shell(f"nbgrader submit {NAME} --student={student.name}")
    assert "Submitted as: nst" in handed_in
    return "".join(said)


@pytest.fixture(scope="module")
def students(hub: str) -> dict[str, Student]:
    return {name: Student(hub, name, "open sesame") for name in HAND_INS}


@pytest.fixture(scope="module")
def said(students: dict[str, Student]) -> dict[str, str]:
    """What the checks said to each student; all work at once."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(students, pool.map(do_the_assignment, students.values()), strict=True))


def test_only_those_who_know_the_password_come_in(hub: str) -> None:
    with pytest.raises(requests.HTTPError, match="403"):
        Student(hub, "ada", "a guess")


def test_students_see_what_is_right_and_what_is_not(said: dict[str, str]) -> None:
    assert said["ada"].count(": right.") == said["grace"].count(": right.") == len(points(STYLE))
    assert said["alan"].count(": right.") == len(points(STYLE)) - 1
    assert "it is transposed, C x C was asked" in said["alan"]


def test_each_student_has_lessons_of_their_own_which_are_never_overwritten(said, students) -> None:
    ada = students["ada"]
    lesson = f"lessons/{LESSONS[0].stem}.ipynb"
    names = {file["name"] for file in ada.file("GET", "lessons")["content"]}
    assert {f"{path.stem}.ipynb" for path in LESSONS} <= names
    mine = ada.file("GET", lesson)["content"]
    mine["cells"][0]["source"] = "My own notes"
    ada.file("PUT", lesson, {"type": "notebook", "content": mine})
    ada.file("DELETE", f"lessons/{LESSONS[1].stem}.ipynb")
    ada.switch(on=False)
    ada.switch(on=True)
    assert ada.file("GET", lesson)["content"]["cells"][0]["source"] == "My own notes"
    ada.file("GET", f"lessons/{LESSONS[1].stem}.ipynb")  # which was missing
    grace = students["grace"]
    assert grace.file("GET", lesson)["content"]["cells"][0]["source"] != "My own notes"
    with pytest.raises(requests.HTTPError, match="403"):
        grace.ask("GET", f"/user/ada/api/contents/{lesson}")


def test_kernels_compute_with_one_thread_and_take_a_large_picture(said: dict[str, str]) -> None:
    assert all(text.endswith("1 thread\n12000000 bytes\n") for text in said.values())


def test_the_teacher_collects_and_grades(said, course: Path) -> None:
    nbgrader("collect", NAME, folder=course)
    nbgrader("autograde", NAME, "--create", folder=course)
    nbgrader("export", "--to", "grades.csv", folder=course)
    given = points(STYLE)
    rows = [line.split(",") for line in (course / "grades.csv").read_text().splitlines()]
    student, score = rows[0].index("student_id"), rows[0].index("score")
    whole = sum(given.values())
    marks = {row[student]: float(row[score]) for row in rows[1:]}
    assert marks == {"ada": whole, "grace": whole, "alan": whole - given["check_gram_matrix"]}
