"""The vocabulary: what the floors say to each other.

Laws: these modules know no provider, no clock and no I/O. A request's body is kept exactly as its author
gave it (checked, never converted); pydantic is used where people hand in structured things (`Message`)
and where a typed reply is asked for, never once per row on the way through.
"""
