"""Downloads of this daemon: each in a thread of its own, told of in the event loop, and ended when nobody wants it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from botframework.models.store.store import Store
    from botframework.models.store.value import InstalledModel

END_PATIENCE_S = 1.0
"""For a pull that was called off to put its journal in order; later, the thread ends without being waited for."""


class Pulls:
    """Carries pulls out."""

    def __init__(self) -> None:
        self._stops: set[threading.Event] = set()

    async def pull(
        self,
        store: Store,
        reference: str,
        on_progress: Callable[[int, int | None], None],
        *,
        limit_bytes: int | None = None,
        keep: Collection[str] = (),
    ) -> InstalledModel:
        """Have a model in the store and return what it is; a cancel ends the download, and what came is kept.

        Parameters
        ----------
        reference
            What to pull, as `Store.pull` takes it.
        on_progress
            Called in the event loop with the bytes that are there and those that there will be.
        limit_bytes
            Of all pulled models; the least recently used go beyond it.
        keep
            Paths of models that stay all the same.

        Raises
        ------
        BotframeworkError
            As `Store.pull`; `RequestCancelled` when the daemon stops.
        """
        job = _Job(
            functools.partial(store.pull, reference, limit_bytes=limit_bytes, keep=keep),
            on_progress,
        )
        self._stops.add(job.stop)
        job.start()
        try:
            return await asyncio.shield(job.ended)
        except asyncio.CancelledError:
            job.stop.set()
            await asyncio.wait({job.ended}, timeout=END_PATIENCE_S)
            raise
        finally:
            self._stops.discard(job.stop)

    def stop(self) -> None:
        """End all of them."""
        for stop in self._stops:
            stop.set()


class _Job:
    """One pull, between its thread and the event loop."""

    def __init__(self, pull: Callable[..., InstalledModel], on_progress: Callable[[int, int | None], None]) -> None:
        self.stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[InstalledModel] = self._loop.create_future()
        # Who was cancelled does not ask for the error any more, and asyncio would complain.
        self.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._pull = pull
        self._on_progress = on_progress

    def start(self) -> None:
        """Begin."""
        # Not one of the loop's own threads: the end of the process would wait for those.
        threading.Thread(target=self._work, name="pull", daemon=True).start()

    def _work(self) -> None:
        try:
            found = self._pull(on_progress=self._progressed, stop=self.stop)
        except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            self._tell(functools.partial(self._fail, error))
        else:
            self._tell(functools.partial(self._succeed, found))

    def _progressed(self, done: int, total: int | None) -> None:
        self._tell(functools.partial(self._report, done, total))

    def _tell(self, act: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody with it
            self._loop.call_soon_threadsafe(act)

    def _report(self, done: int, total: int | None) -> None:
        if not self.ended.done() and not self.stop.is_set():
            self._on_progress(done, total)

    def _succeed(self, found: InstalledModel) -> None:
        if not self.ended.done():
            self.ended.set_result(found)

    def _fail(self, error: BaseException) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
