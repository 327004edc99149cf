"""Where the account of limits is kept that several processes share: in a file, or on a Redis server.

Laws:
- A keeper decides nothing. It lets one process at a time take the account (`fastbatch.limits.leases`), change
  it and put it back, whole or not at all.
- Nobody is needed: no daemon, and whoever is killed at whatever moment leaves an account that the others can
  use.
- An account that is damaged or gone is never guessed at: everything counts as used for one window.
- No clock of one machine is compared with that of another one; see `fastbatch.limits.exchange`.
- No account holds a key, or anything that one could be found from.

Deliberately absent: when to make an exchange (the engine), and what it means (the limits).
"""
