"""The engine: the only floor that sleeps.

Laws
- Limits decide, the gate sleeps, events tell, progress draws; no object here does two of these.
- A failed row is an answer; a failed run is an exception.
- Memory is bounded by the window, never by the input. Rows travel in blocks: a block of cache hits creates no
  task and no future per row; a miss is handled by one of `concurrency` workers.
- A row that waits (for its retry) holds no worker.

`manager` is the door, `run` moves jobs, `pipeline` makes one attempt, `gate` waits for limits, `store` speaks
to the cache, `filerun` and `journal` make it durable, `events` count and tell, `bridge` is the way in from
synchronous code. Absent: what to draw (progress), what is fair (limits), what a reply means (providers).
"""
