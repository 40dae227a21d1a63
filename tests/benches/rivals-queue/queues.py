"""huey and litequeue at the core's durability (WAL, synchronous=FULL): N jobs in one by one, then out one by one.

Prints the seconds of both halves: `queues.py huey|litequeue FILE JOBS`.
"""

import sys
import time


def huey(file, jobs):
    """SqliteHuey with fsync: enqueue, then what its worker does: dequeue, execute, store the result."""
    from huey import SqliteHuey

    queue = SqliteHuey("bench", filename=file, fsync=True)

    @queue.task()
    def work(number):
        return number

    begun = time.perf_counter()
    for number in range(jobs):
        work(number)
    put = time.perf_counter() - begun
    begun = time.perf_counter()
    done = 0
    while (task := queue.dequeue()) is not None:
        queue.execute(task)
        done += 1
    assert done == jobs, done
    return put, time.perf_counter() - begun


def litequeue(file, jobs):
    """put, then pop and done; its connection is told to sync each commit."""
    from litequeue import LiteQueue

    queue = LiteQueue(file)
    queue.conn.execute("PRAGMA synchronous = FULL")
    mode = queue.conn.execute("PRAGMA journal_mode").fetchone()[0]
    assert mode == "wal", mode
    begun = time.perf_counter()
    for number in range(jobs):
        queue.put(str(number))
    put = time.perf_counter() - begun
    begun = time.perf_counter()
    done = 0
    while (message := queue.pop()) is not None:
        queue.done(message.message_id)
        done += 1
    assert done == jobs, done
    return put, time.perf_counter() - begun


if __name__ == "__main__":
    which, where, count = sys.argv[1:]
    print("%.6f %.6f" % {"huey": huey, "litequeue": litequeue}[which](where, int(count)))
