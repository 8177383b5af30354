"""Asking what may never answer: a file system whose server is away keeps whoever touches it.

What holds: each question has a thread of its own, which keeps nobody from ending; of one thing nothing is asked again
while an answer is still awaited, however long. So what hangs costs one thread, and none of those that all others share.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable


class Aside:
    """What is under way, by what it is about."""

    def __init__(self) -> None:
        self.waiting: set[Hashable] = set()

    async def ask[T](self, about: Hashable, question: Callable[[], T], patience: float) -> T:
        """The answer; raises what the question raises, and TimeoutError when there is none in so many seconds."""
        if about in self.waiting:
            raise TimeoutError(f"{about} has not answered the last time")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()
        self.waiting.add(about)

        def settle(answer: T | None, problem: Exception | None) -> None:
            self.waiting.discard(about)
            if answered.done():
                return
            if problem is not None:
                answered.set_exception(problem)
            else:
                answered.set_result(answer)  # type: ignore[arg-type]  # there is one where there is no problem

        def work() -> None:
            answer, problem = None, None
            try:
                answer = question()
            except Exception as found:  # whoever asked gets it
                problem = found
            # Whoever asked may have ended.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, answer, problem)

        threading.Thread(target=work, name="aside", daemon=True).start()
        async with asyncio.timeout(patience):
            return await answered
