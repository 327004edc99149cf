"""What `reprice` prints, from what it has found."""

from fastbatch.bills.reprice import Change, Repricing
from fastbatch.cli.repricelines import reprice_lines


def test_what_had_no_price_was_not_zero() -> None:
    """A model none of whose rows had one says so; the total is of those that had."""
    found = Repricing(models={"openai:a": Change(5, 5, 0, 3_000), "openai:b": Change(2, 0, 1_000, 2_000)})
    assert [*reprice_lines(found, 80, ())][:4] == [
        "model     rows           was            is     difference",
        "openai:a     5      unpriced  $0.000000003  +$0.000000003",
        "openai:b     2  $0.000000001  $0.000000002  +$0.000000001",
        "total        7  $0.000000001  $0.000000005  +$0.000000004",
    ]
