"""A limit on the memory that a student's function can take while it is graded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

BYTES = 2 * 2**30  # beyond what the process has already; a right answer takes a fraction of that


@contextmanager
def memory_limit() -> Iterator[None]:
    """Within, the process gets so much more memory and no more; beyond, Python and torch raise errors.

    Linux alone has such a limit: elsewhere nothing happens.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + BYTES
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
