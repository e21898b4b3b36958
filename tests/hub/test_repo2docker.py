"""What Binder makes of this repository: repo2docker's Dockerfile, written but not built, which takes Docker.

repo2docker is not installed with the package; where it is on the path, or beside the command that `JUPYTERHUB` names,
this test runs.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEARCHED = os.pathsep.join([str(Path(os.environ.get("JUPYTERHUB", "")).parent), os.environ["PATH"]])
COMMAND = shutil.which("jupyter-repo2docker", path=SEARCHED)


@pytest.mark.skipif(COMMAND is None, reason="jupyter-repo2docker is not installed")
def test_repo2docker_takes_the_environment_and_copies_the_repository_first() -> None:
    command = [COMMAND, "--no-build", "--debug", ROOT]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Building conda environment for python=3.12" in done.stdout
    update = done.stdout.index('env update -p ${NB_PYTHON_PREFIX} --file "environment.yml"')
    assert "src/ ${REPO_DIR}/" in done.stdout[:update]  # without it, `pip install -e .` would find nothing
