"""Batches on many machines: the work on each scan is a task of a Dask cluster (extra ``cluster``)."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, Self

from engine.batch.pool import Event
from engine.batch.work import Job, Restorer
from engine.errors import DeviceError, SettingsError

_AHEAD = 2
"""Scans given to the cluster for each of its threads, so that none waits for the next."""
_ANSWER = 20
"""Seconds in which the scheduler must answer."""


class Cluster:
    """A connection to the scheduler of a Dask cluster; a context manager. Of one thread.

    The machines must have this program, and the scans and the output folder at the same paths. A scan whose machine
    dies is given to another one; what was written before is found there and not made again.

    Args:
        address: of the scheduler, such as ``tcp://host:8786``.

    Raises:
        SettingsError: the package ``distributed`` is not installed.
        DeviceError: the scheduler does not answer, or has no workers.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError as error:
            raise SettingsError(
                "For a cluster the package distributed is needed: install lacuna[cluster].", "batch.cluster"
            ) from error
        try:
            self._client = distributed.Client(address, timeout=_ANSWER, set_as_default=False)
        except (OSError, ValueError) as error:
            raise DeviceError(
                "The scheduler at {address} does not answer.", "batch.scheduler", address=address
            ) from error
        # A machine that dies shows in the states of the scans; the library would log each time between our own lines.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.ERROR)
        threads = sum(self._client.nthreads().values())
        if not threads:
            self._client.close()
            raise DeviceError("The cluster at {address} has no workers.", "batch.scheduler", address=address)
        self.places = _AHEAD * threads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def place(self, on_event: Callable[[Event], None]) -> Place:
        """A worker of a run; see ``engine.batch.pool.Worker``."""
        return Place(self._client, on_event)


class Place:
    """A ``Worker`` that gives its job to the cluster.

    Args:
        client: the connection.
        on_event: called with each event, on a thread of the connection.
    """

    def __init__(self, client: Any, on_event: Callable[[Event], None]) -> None:
        self.job: Job | None = None
        self.ready = True
        self._client, self._on_event = client, on_event
        self._future: Any = None
        self._why = ""

    def start(self, job: Job) -> None:
        """Give it a job; it must have none.

        Raises:
            DeviceError: the scheduler is gone.
        """
        if self._client.status != "running":
            said = "The scheduler of the cluster is gone. Start it again; the same command then goes on."
            raise DeviceError(said, "batch.scheduler")
        self.job = job
        # Not pure: a scan that is done again must not be answered from what the cluster remembers.
        self._future = self._client.submit(_do, dataclasses.asdict(job), pure=False)
        self._future.add_done_callback(functools.partial(self._tell, job.id))

    def cancel(self) -> None:
        if self._future is not None and self._client.status == "running":
            self._future.cancel()

    def hold(self, *, on: bool) -> None:
        """Does nothing: a task of a cluster cannot be paused."""

    def end(self) -> None:
        self.cancel()

    def death(self) -> str:
        return self._why

    def _tell(self, id_: int, future: Any) -> None:
        message: dict[str, Any] = {}
        try:
            # Also where the state is "lost", as the machine died that had the result: this waits for another one's.
            message = {"id": id_, "outcome": future.result()}
        except CancelledError:
            message = {"id": id_, "cancelled": True}
        except Exception as error:  # noqa: BLE001 - whatever the library makes of what happened on the machines
            self._why = f"the machines that tried it failed ({type(error).__name__})"
        self._on_event(Event(self, message))


_ONE_AT_A_TIME = threading.Lock()
"""A model runs on one thread at a time; a machine works on several scans with several worker processes."""


@functools.cache
def _restorer() -> Restorer:
    return Restorer()


def _do(job: dict[str, Any]) -> dict[str, Any]:
    """The work on one scan, on a machine of the cluster."""
    with _ONE_AT_A_TIME:
        return _restorer().do(Job(**job)).to_dict()
