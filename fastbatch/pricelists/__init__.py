"""Where prices come from: the user's own table, and the list that the package `genai-prices` carries.

Laws: nothing is fetched; every list is one form of data (`table`), so that a price means the same wherever it
stood; what a list does not say is not made up. Deliberately absent: units that a reply's usage does not count
(hours, pages, characters, searches of files), and whatever is paid by subscription.
"""
