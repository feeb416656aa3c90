"""What the tests of `geometry` share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from geometry.errors import InputError


@pytest.fixture
def refused() -> Callable[..., AbstractContextManager[None]]:
    """`with refused("word", ...)`: the block must raise InputError with one line that contains every word."""

    @contextmanager
    def check(*words: object) -> Iterator[None]:
        with pytest.raises(InputError) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message and "expected" in message, message
        assert [word for word in words if str(word) not in message] == [], message

    return check
