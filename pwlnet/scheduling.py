"""Work on blocks by threads that look ahead, and hand the blocks out in order.

A *block* is a piece of work with a result of bounded size. It has ``tasks``, a list of functions that may run side by side;
``finish()``, which the thread that completes the last of them calls; and ``nbytes``, the size of the result. Threads take
the tasks of one block after the other; when none is waiting, one of them draws the next block from the source. They stop
drawing while the results that nobody has taken are larger than a limit, so memory stays bounded however slow the consumer is.

With one thread, the consumer's own does the work, and nothing is drawn ahead.
"""

import threading
from collections import deque

_POLL = 1.0  # seconds after which a waiting thread looks whether the others are still there


class _Entry:
    """A block in hand."""

    def __init__(self, block=None, error=None):
        self.block, self.error = block, error
        self.tasks_left = 0
        self.finished = error is not None


class Schedule:
    """Blocks from a source, worked on and handed out in order.

    Parameters
    ----------
    source
        ``draw()`` returns the next block, or None behind the last; ``n_left`` is an upper bound of the blocks to come.
    threads : int
    most_bytes : int
        Size of finished results above which no new block is drawn.
    """

    def __init__(self, source, threads, most_bytes):
        self._source, self._threads, self._most_bytes = source, threads, most_bytes
        self._changed = threading.Condition()  # guards all of the following
        self._entries = deque()  # drawn and not handed out, in order
        self._tasks = deque()  # (entry, task) that nobody has taken
        self._waiting_bytes = 0
        self._consumer = threading.current_thread()  # who asked last
        self._drawing = self._drained = self._stopped = False

    def results(self):
        """Yield the finished blocks in order; the error of a block in its place. Closing it drops the waiting tasks."""
        workers = []
        try:
            with self._changed:
                self._draw()
                n_workers = min(self._threads, len(self._tasks) + self._source.n_left)
            if n_workers > 1:
                workers = [threading.Thread(target=self._work, name="pwlnet") for _ in range(n_workers)]
                for worker in workers:
                    worker.start()
            while (entry := self._next_entry(workers)) is not None:
                if entry.error is not None:
                    raise entry.error
                yield entry.block
        finally:
            self._stop()
            for worker in workers:
                if worker.ident is not None:
                    worker.join()

    def _stop(self):
        with self._changed:
            self._stopped = True
            self._tasks.clear()
            self._changed.notify_all()

    def _work(self):
        """Do tasks until there are no more: what a thread runs."""
        while (taken := self._take_task()) is not None:
            self._run(*taken)

    def _next_entry(self, workers):
        """The next block, finished, or None behind the last; does the work itself where no other thread does."""
        while True:
            with self._changed:
                self._consumer = threading.current_thread()
                if self._entries and self._entries[0].finished:
                    entry = self._entries.popleft()
                    self._waiting_bytes -= entry.block.nbytes if entry.error is None else 0
                    self._changed.notify_all()
                    return entry
                if self._drained and not self._entries:
                    return None
                alone = not any(worker.is_alive() for worker in workers)
                if not alone:
                    self._changed.wait(_POLL)
            if alone and (taken := self._take_task()) is not None:
                self._run(*taken)

    def _take_task(self):
        """Take a task, or None once there will be no more; waits where some may come."""
        with self._changed:
            while not self._stopped and self._is_awaited():
                if self._tasks:
                    return self._tasks.popleft()
                if self._drained:
                    return None
                if not self._drawing and (self._waiting_bytes <= self._most_bytes or not self._entries):
                    self._draw()
                else:
                    self._changed.wait(_POLL)
        return None

    def _is_awaited(self):
        """Whether somebody may still ask for results: a thread that waits for nobody would keep a program from ending."""
        return self._consumer.is_alive() and (threading.main_thread().is_alive() or not self._consumer.daemon)

    def _draw(self):
        """Draw a block, without the lock meanwhile."""
        self._drawing, block = True, None
        self._changed.release()
        try:
            block = self._source.draw()
            entry = None if block is None else _Entry(block)
        except BaseException as error:
            entry = _Entry(error=error)
        finally:
            self._changed.acquire()
        self._drawing = False
        self._drained |= entry is None or entry.error is not None
        if entry is not None:
            self._entries.append(entry)
            tasks = () if block is None else block.tasks
            entry.tasks_left = len(tasks)
            self._tasks.extend((entry, task) for task in tasks)
        self._changed.notify_all()

    def _run(self, entry, task):
        """Run a task, and finish its block after the last one; an error ends the drawing and drops the tasks behind it."""
        error, last = None, False
        try:
            task()
            with self._changed:
                entry.tasks_left -= 1
                last = entry.tasks_left == 0
            if last:
                entry.block.finish()
        except BaseException as raised:
            error = raised
        with self._changed:
            if error is not None:
                entry.error = entry.error or error
                self._tasks.clear()  # they belong to this block or to later ones
                self._drained = True
            elif last:
                self._waiting_bytes += entry.block.nbytes
            entry.finished |= last or error is not None
            self._changed.notify_all()
