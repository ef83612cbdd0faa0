"""How a driver and its relay come into a django-q2 worker, and how they leave with it."""

import gc
import signal
import threading
from types import FrameType

from django.db import connections

from workflows.engine.driver import Driver
from workflows.relay import Relay


def start_driver(*, proc_name: str = "", **_: object) -> None:
    """Start a driver and a relay in the worker that django-q2 has just spawned.

    They stop when the worker's main thread ends, which waits for them: at the end of the cluster,
    when the worker is recycled, or at SIGTERM.
    """
    # A connection that came over the fork belongs to the parent too.
    connections.close_all()
    # What was imported stays for ever: it is not looked through again, and its pages stay shared
    # with the parent. What the engine makes lives for a turn or for a run, and has no cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    relay = Relay()
    driver = Driver(on_commit=relay.hint)
    driver.launch()
    relay.launch()
    threading.Thread(target=_stop_with_main_thread, args=[driver, relay], daemon=True).start()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)


def _stop_with_main_thread(driver: Driver, relay: Relay) -> None:
    threading.main_thread().join()
    driver.stop()
    relay.stop()


def _leave(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
