"""Limits decide. They never sleep, read no clock and throw no dice: every call is given `now`.

Laws
- A server counts a request when it *arrives*, some time between our sending it and its reply. So an entry
  leaves our window one window after its latest possible arrival (law 9), and in every sliding window of the
  server at most the limit arrives.
- Admission is first come, first served: the gate asks for the head of its queue only, so small requests
  never starve a large one.
- A request larger than a token window waits until the window is empty and takes it whole.

`Limits` and `Window` are what a user declares; a `Ledger` is the account of one endpoint, credential and
model: what was declared, what was learned from headers (`learned`) and from refusals (`adaptive`), or what
was leased from an account of several processes (`leased`). `Weather` and `RetryBudget` decide for an
endpoint, `TokenEstimator` says what a request will cost before it is sent. Absent here: waiting (the gate),
exchanges with other processes (the keeper), counting for people (events).
"""
