"""The bill known after: what lines on file say that they cost, and what they would cost by other prices.

Laws: each answer counts once, in the run that bought it; sums are whole pico-dollars; what has no price is
counted beside them, never as zero. History is not rewritten: other prices make adjustments in a file beside
the results. Memory is bounded by the groups that are asked for, and by the adjustments.
Deliberately absent: prices of its own (it is given a book of them), and anything that asks a provider.
"""
