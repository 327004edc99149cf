"""`--mode batch`: rows are answered by a provider's own batch API, at half the price and within a day.

It is a transformer of sources (`source`): it reads the run's rows, answers them by batch, and hands them on
as jobs that are finished. What cannot be finished so (a deadline, an answer that does not fit its shape) it
hands on as it came, and the run sends it. Whatever counts, records and resumes is the run's own.

- **Memory is bounded by the window.** What is under way lies in `OUTPUT.batches/`: the requests of a `batch`
  and the rows (`rowlines`) that wait for them. In memory are sixteen bytes or so a request.
- **Requests are batched, rows attach to them.** A request is known by its hash. So identical rows share one,
  and a run that goes on attaches its rows to what an earlier one has bought, however the input has changed.
- **Written down before it is bought.** The `book` says that a batch is about to be submitted, and under
  which name, before it is; what came of that is asked of the provider where nobody knows (`desk`). What was
  not submitted is forgotten, and comes from the input again.
- **Paid for is collected.** Every batch is looked at until it has ended, and its results are taken in
  whatever state that is; only what they do not answer is asked again.
"""
