"""Starting a Ray on this machine, or joining one that runs."""

import importlib.util
import os
import resource
import warnings
from typing import Any

from convgate.errors import InputError, missing

LOCAL = "local"
"""The address of a Ray that is started on this machine, and ended with this process."""

OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory of a Ray that is started here, whose cells write to their folders."""

PATIENCE = {
    "RAY_health_check_failure_threshold": "60",  # on one machine, a node that is silent is busy
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_prestart_worker_first_driver": "0",  # processes start with the cells that need them
    "RAY_enable_worker_prestart": "0",
}
"""Settings of a Ray that is started here, for a machine of few cores and little memory.

Ray ends every process of a node that it takes for dead, the driver too.
"""

STARTS = 3
"""How often a Ray is started here; each is given up after 30 s by Ray itself."""


def check_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise missing("--ray", "Ray", "ray")


def start(ray: Any, address: str) -> None:
    """Start Ray here for the address "local", or join the one that runs at another.

    Raises:
        InputError: if none starts, or none answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reports nothing to its makers
    os.environ.setdefault("RAY_worker_niceness", "0")  # a local Ray trains as this process would
    _raise_file_limit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if address == LOCAL:
            _start_here(ray)
        else:
            _connect(ray, address)


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"--ray {address}: no Ray answers there ({first_line(error)}); start it with "
            "`ray start`, or leave the address out"
        ) from None


def _start_here(ray: Any) -> None:
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    lean = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    for start in range(1, STARTS + 1):
        try:
            ray.init(LOCAL, log_to_driver=False, logging_level="ERROR", **lean)
        except Exception as error:  # Ray has no class for it
            ray.shutdown()
            if start == STARTS:
                raise InputError(
                    f"--ray: Ray does not start on this machine ({first_line(error)}); see that "
                    "it has free memory, or leave --ray out"
                ) from error
        else:
            return


def first_line(error: BaseException) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "").strip()


def _raise_file_limit() -> None:
    """Let this process open as many files as the system allows: each cell in work has a lock."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
