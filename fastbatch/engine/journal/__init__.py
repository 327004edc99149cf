"""The journal: what makes a run durable. Output lines are the data; the journal beside them says the rest.

    OUTPUT                 result lines, appended as they come, each with its own checksum
    OUTPUT.journal         entries: who runs, which requests were sent, how far OUTPUT is acknowledged
    OUTPUT.part            result lines of a run that wants its output in input order
    OUTPUT.errors.jsonl    failed rows; `.new` while they are being collected

Laws
- One writer: the journal's lock is held from before anything is read until after the last byte is written.
- A batch of result lines is written and synced, then the entry that acknowledges it and names the requests
  about to leave, then these are synced; only after that is anybody told, and only then do they leave.
- An entry is one line with one checksum: whole or not there. A bad one at the end was being written when the
  machine stopped and is cut off; a bad one in the middle is damage, and damage is refused, never guessed at.
- A failed write is cut back, a failed sync is not tried again, and both end the run.
- When a run is complete, its journal goes and the output stands on its own.

`entries` is the language, `state` what a journal says, `tail` tells torn from damaged, `lines` is a file of
lines with one writer, `places` says where files are, `opening` takes and repairs them, `commit` collects what
waits while the disk is busy, `journal` puts these together; `files` replaces whole files, `order` sorts one,
`repair` saves what can be saved. Absent: what a row means, and when to send it again.
"""
