"""How a model cuts text into tokens, where that is known without asking anybody.

Laws: nothing is fetched (the extra `tokens` carries the vocabularies with it); splintr has its one owner
here; a count says whether it is exact. Deliberately absent: chat templates of models that their makers do not
publish, and pictures, sound and tools, whose tokens nobody documents: those are estimated, and said to be.
"""
