"""What an evaluation is made on: a set of parts, each of scenes recorded alike.

A set is any value with the two members of `EvaluationSet`; `worldgen.evaluation.evaluate` takes it. For example, one's
own clips of twelve frames, the first two given:

    @dataclass(frozen=True)
    class MySet:
        size_px: int = 64

        @property
        def info(self) -> SetInfo:
            return SetInfo("mine", "places", "place", self.size_px, config=self, description="- My own clips.")

        def parts(self) -> list[Part]:
            return [Part("garden", lambda: Truth(my_clips()), clips=8, order=(0, 1), targets=(5, 11), given=(1, 2))]

    report = evaluate(MySet(), WorldModel.load("tiny"))
    report.part("garden").given[2].methods["one call"]["psnr"]
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from geometry.errors import InputError
from geometry.values import as_value
from worldgen.core.clip import Clip
from worldgen.evaluation.metrics.control import RenderedScenes


@as_value
@dataclass(frozen=True)
class Truth:
    """The true frames of a part.

    Attributes:
        clip: The frames [b, f]; depth is 0 everywhere where it is not known.
        scenes: What the clip shows, for figures that render it again; None where there is nothing to render.
    """

    clip: Clip
    scenes: RenderedScenes | None = None


@as_value
@dataclass(frozen=True)
class Part:
    """Scenes recorded alike, which share one table of figures and one contact sheet.

    Attributes:
        name: A word, unique in the set; letters, digits, _ and -.
        load: Reads or renders the truth, when its turn comes.
        clips: How many predictions there are for each number given: the clips' number b, or that of the targets with
            `by_view`.
        order: The clip's frames in the order in which they are given.
        targets: The clip's frames that are predicted, the same ones for each number given.
        given: Numbers of frames to give, a row of the table each.
        about: What the report adds beside the name.
        facts: Plain data that the report keeps with the figures.
        exact: Whether true depth is known. If not, only images are compared, with baselines that need no depth.
        by_view: Whether the truth is one clip whose targets are predicted one by one, each from the nearest of the
            given frames that fit the model. Figures and intervals are then over views.
        near_far_m: Metres shown on the sheet.
    """

    name: str
    load: Callable[[], Truth]
    clips: int
    order: tuple[int, ...]
    targets: tuple[int, ...]
    given: tuple[int, ...]
    about: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True
    by_view: bool = False
    near_far_m: tuple[float, float] = (1.5, 15.0)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.name):
            raise InputError(f"part named {self.name!r}; expected letters, digits, _ and -, which name its sheet")
        most = max(self.given, default=0)
        if min(self.given, default=0) < 1 or most > len(self.order) or not self.targets:
            raise InputError(
                f"part {self.name}: {list(self.given)} frames given of {list(self.order)}, targets "
                f"{list(self.targets)}; expected 1 to {len(self.order)} given and at least 1 target"
            )
        if both := set(self.order[:most]) & set(self.targets):
            raise InputError(f"part {self.name}: frames {sorted(both)} given and predicted; expected one or the other")

    @property
    def unit(self) -> str:
        """What figures are means over."""
        return "views" if self.by_view else "scenes"

    @property
    def frames(self) -> int:
        """How many frames a model has to take at least."""
        return 2 if self.by_view else max(self.given) + len(self.targets)

    @property
    def sheet_given(self) -> int:
        """The number given on the sheet, and for figures in space: the middle one, with `by_view` the largest."""
        return max(self.given) if self.by_view else sorted(self.given)[len(self.given) // 2]


@dataclass(frozen=True)
class SetInfo:
    """What a report states about a set.

    Attributes:
        name: Of the evaluation.
        parts_key: The key of its parts in report.json.
        part_noun: What one part is called.
        size_px: Side of the frames. What models of a smaller size predict is enlarged
            (`worldgen.evaluation.enlarging`).
        config: A dataclass of the settings that make the set what it is. Figures compare only where its hash is equal.
        description: A Markdown bullet about the set.
        seed: Of the bootstrap.
        loops: Whether cameras can go once round its scenes (`worldgen.evaluation.metrics.loops`).
        skipped: Why some data was left out; None for sets that leave nothing out.
    """

    name: str
    parts_key: str
    part_noun: str
    size_px: int
    config: Any
    description: str
    seed: int = 0
    loops: bool = False
    skipped: tuple[str, ...] | None = None


@runtime_checkable
class EvaluationSet(Protocol):
    """A set that models can be evaluated on; the docstring of its module has an example.

    Attributes:
        info: What a report states about the set.
    """

    @property
    def info(self) -> SetInfo:
        """What a report states about the set."""
        ...

    def parts(self) -> Sequence[Part]:
        """List the parts; quick, since a part loads its frames only when it is evaluated.

        Returns:
            The parts, each with a name of its own.
        """
        ...
