"""One run in several processes: the crew's members ask, and the process that was started keeps the books.

Laws:
- What must be one stays with the parent: reading and checking the input, what is answered already, the
  journal, the output, counters, the display, signals. A member is a whole engine (limits, retries, cache, the
  wire) between two ends of a socket: rows come in, outcomes go out, both in blocks.
- A member asks before it sends, where there is a journal: its intents ride one frame and the parent's group
  commit, so that a crash leaves the same record as that of a single process. Without one it tells them
  and does not wait, so that it is known what was under way when it died.
- A row goes to the member that its key names. Identical rows meet there, and are sent once.
- Limits are kept in one shared account, as several runs on one machine keep them.
- Settings reach a member once, at its start, pickled, over a private pair of sockets. Everything else is data
  in both directions: nothing is ever unpickled that a member, a file or the network said.
- A member lives no longer than its parent: the end of the socket is its own end. The parent replaces one that
  died and deals its rows again.

Deliberately absent: members on other machines, and members that share a local model.
"""
