"""What a function with `progress` tells, checked."""

Told = list[tuple[float, str]]


def assert_whole(told: Told, counted: bool = True) -> None:
    """Shares grow from 0 to 1; `counted`: the work that was planned is the work that was done, up to the last word."""
    shares = [round(share, 9) for share, _ in told]  # sums round
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert not counted or abs(shares[-2] - 1) < 1e-6, told[-4:]
