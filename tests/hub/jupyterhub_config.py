"""What the lessons ask of a JupyterHub (HUB.md). Users, the way that servers run and the address are the hub's own."""

c = get_config()  # noqa: F821

# A server starts with a copy of the lessons in the student's home; what is there already is kept. Where the home is
# full it starts all the same, so that the student can delete something. (No braces here: The Littlest JupyterHub's
# spawner takes them for its own.)
c.Spawner.cmd = ["sh", "-c", 'python -m nst_lessons lab lessons --copy-only; exec jupyterhub-singleuser "$@"', "sh"]
c.Spawner.http_timeout = 120  # seconds; a class that logs in at once makes its copies at once
c.Spawner.mem_limit = "2G"  # for those spawners that can
# Otherwise each kernel starts a thread for every core of the machine, its neighbours' too, and all wait for each other.
c.Spawner.environment.update({"OMP_NUM_THREADS": "1"})
