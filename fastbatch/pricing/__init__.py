"""What tokens cost: pure arithmetic over tables of rates.

Laws: money is whole pico-dollars (10^-12 USD), never a float; what has no rate is unpriced, which is not
zero; the moment is passed in; nothing here reads a file (`pricelists/` does). Cached tokens are a part of the
prompt and reasoning a part of the completion, so each token is counted once.
Deliberately absent: currencies other than the US dollar, taxes, subscriptions.
"""
