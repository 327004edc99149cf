"""The bill before a run: what an input would take of tokens, money and time, and how sure that is.

Laws: the rows are read as a run reads them and counted as it would send them; nothing is sent but by a pilot,
which somebody has agreed to and whose answers the run that follows finds in the cache. What is not known is
an interval or is not said; a model without a price is unpriced, never free. Memory is bounded: sums, and some
ten thousand rows to choose a pilot's from.
Deliberately absent: any word about how good a model's answers are.
"""
