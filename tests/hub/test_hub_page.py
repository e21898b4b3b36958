"""HUB.md: what it gives one hub is what it gives the other, and what it links to exists."""

import re
from pathlib import Path

import yaml
from traitlets.config import Config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "HUB.md").read_text(encoding="utf-8")


def test_a_cluster_is_given_what_the_example_gives() -> None:
    c = Config()
    exec((ROOT / "tests" / "hub" / "jupyterhub_config.py").read_text(), {"get_config": lambda: c})
    values = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    student, spawner = values["singleuser"], values["hub"]["config"]["KubeSpawner"]
    assert student["cmd"] == c.Spawner.cmd
    assert student["memory"]["limit"] == c.Spawner.mem_limit
    assert student["extraEnv"] == c.Spawner.environment.get_value({})
    assert spawner["http_timeout"] == c.Spawner.http_timeout


def test_links_lead_to_files_and_from_the_other_pages() -> None:
    targets = {link.partition("#")[0] for link in re.findall(r"\]\((?!https:)([^)]+)\)", PAGE)}
    assert {"TEACHING.md", "README.md", "tests/hub/jupyterhub_config.py"} <= targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
    for page in ("README.md", "TEACHING.md"):
        assert "(HUB.md)" in (ROOT / page).read_text(encoding="utf-8")
