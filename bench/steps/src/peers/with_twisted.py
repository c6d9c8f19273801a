"""The same work by Twisted.

  python3 with_twisted.py once NAME TIMES      does it once
  python3 with_twisted.py serve                does what each line of its input asks for, 'NAME TIMES',
                                          and answers with the nanoseconds it took the process
"""

import sys
import time

import twisted
from twisted.internet.defer import Deferred, ensureDeferred, succeed


def ten(times):
    for _ in range(times):
        d = Deferred()
        ten_more(d)
        d.callback(1)


def ready(times):
    for _ in range(times):
        ten_more(succeed(1))


def ten_more(d):
    d.addCallback(lambda value: value + 1)
    d.addCallback(lambda value: value + 2)
    d.addCallback(lambda value: value + 3)
    d.addCallback(lambda value: value + 4)
    d.addCallback(lambda value: value + 5)
    d.addCallback(lambda value: value + 6)
    d.addCallback(lambda value: value + 7)
    d.addCallback(lambda value: value + 8)
    d.addCallback(lambda value: value + 9)
    d.addCallback(lambda value: value + 10)


# Where a pending level leaves what fires it.
slot = None


def loop(levels):
    global slot
    end = level(levels)
    while slot is not None:
        fired, slot = slot, None
        fired.callback(1)
    assert end.result == 1


def level(left):
    global slot
    slot = Deferred()
    return slot.addCallback(lambda value: value if left <= 1 else level(left - 1))


# Each level of it is a call within the last one's: Python's own limit ends it.
READY_DEPTH = 100


def loop_ready(levels):
    for _ in range(levels // READY_DEPTH):
        assert ready_level(READY_DEPTH).result == 1


def ready_level(left):
    return succeed(1).addCallback(lambda value: value if left <= 1 else ready_level(left - 1))


def spawn(times):
    for _ in range(times):
        gate = Deferred()

        async def task():
            return await gate + 1

        joined = ensureDeferred(task())
        gate.callback(1)
        assert joined.result == 2


WORKS = {"ten": ten, "ready": ready, "loop": loop, "loop-ready": loop_ready, "spawn": spawn}


def serve():
    print(twisted.__version__, sys.executable, flush=True)
    for line in sys.stdin:
        name, times = line.split()
        start = time.process_time_ns()
        WORKS[name](int(times))
        print(time.process_time_ns() - start, flush=True)


if sys.argv[1] == "serve":
    serve()
else:
    WORKS[sys.argv[2]](int(sys.argv[3]))
