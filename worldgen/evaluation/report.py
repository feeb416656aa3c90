"""What an evaluation found: typed figures, and the same as plain data for report.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from geometry.shapes import Float
from geometry.values import as_value
from worldgen.evaluation.enlarging import size_made
from worldgen.evaluation.metrics.control import CameraControl
from worldgen.evaluation.metrics.intervals import Figures, Interval
from worldgen.evaluation.metrics.loops import Loops
from worldgen.evaluation.sets.evaluation_set import SetInfo
from worldgen.models.world_model import WorldModel
from worldgen.pipelines.novel_views import Sampling
from worldgen.runtime.config import digest, plain

# Figures whose differences between models are reported.
COMPARED = ("psnr", "ssim", "sharpness", "flip", "abs_rel", "agreement")


@dataclass(frozen=True)
class ModelFacts:
    """Which model it was.

    weights_sha256  None where the weights are not from a file
    precision       of the network's products
    enlarged_px     side of the frames it made, where the set's are larger
    """

    name: str
    weights_sha256: str | None
    precision: str
    enlarged_px: int | None = None

    @staticmethod
    def of(name: str, model: WorldModel, size_px: int) -> "ModelFacts":
        """Those of a model on frames of a size."""
        made = size_made(model, size_px)
        return ModelFacts(name, model.weights_sha256 or None, model.computes_in, None if made == size_px else made)

    def plain(self) -> dict[str, Any]:
        """As plain data; the usual precision goes without saying, and that nothing was enlarged."""
        usual = {"precision": "fp32", "enlarged_px": None}
        return {name: value for name, value in plain(self).items() if name not in usual or value != usual[name]}


@dataclass(frozen=True)
class Gain:
    """How much PSNR (dB) the first model's one call gains over the best baseline without learning, scene by scene."""

    over: str
    db: Interval

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {"over": self.over, **plain(self.db)}


@dataclass(frozen=True)
class GivenResult:
    """Figures with one number of images given.

    seen_fraction  share of the targets' pixels that are visible to some given camera too; None where depth is not known
    methods        figures by method (models, then baselines)
    against_first  the other models' figures minus the first model's, by method, scene by scene
    """

    seen_fraction: Interval | None
    gain: Gain
    methods: dict[str, Figures]
    against_first: dict[str, Figures]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        seen = {} if self.seen_fraction is None else {"seen_fraction": plain(self.seen_fraction)}
        against = {"against_first": plain(self.against_first)} if self.against_first else {}
        return seen | {"gain_db": self.gain.plain(), "methods": plain(self.methods)} | against


@as_value
@dataclass(frozen=True)
class PartResult:
    """The result of one part of a set (`worldgen.evaluation.sets.evaluation_set.Part`).

    Attributes:
        name: Of the part.
        about: What the report adds beside the name.
        unit: What figures are means over: "scenes" or "views".
        facts: Plain data that the report keeps with the figures.
        given: Figures by the number of images given.
        seconds: Time of one step on one clip, by the number of images given and the model.
        sheet_columns: Names of the sheet's columns.
        sheet: Contact sheet [3, height, width], sRGB in 0..1.
        consistency: Figures of whether views agree, by method; empty where not measured.
        camera_control: Errors of the cameras found in the views; None where not measured.
    """

    name: str
    about: str
    unit: str
    facts: Mapping[str, Any]
    given: dict[int, GivenResult]
    seconds: dict[int, dict[str, float]]
    sheet_columns: tuple[str, ...]
    sheet: Float[Tensor, "3 height width"]
    consistency: dict[str, Figures]
    camera_control: CameraControl | None

    def plain(self) -> dict[str, Any]:
        """As plain data, without seconds and sheet."""
        data = {
            **plain(dict(self.facts)),
            "sheet_columns": list(self.sheet_columns),
            "given": {str(number): result.plain() for number, result in self.given.items()},
        }
        if self.consistency:
            data["consistency"] = plain(self.consistency)
        if self.camera_control is not None:
            data["camera_control"] = plain(self.camera_control)
        return data


@as_value
@dataclass(frozen=True)
class Report:
    """The result of an evaluation.

    Attributes:
        info: What the set is.
        model: The first model; the others are measured against it.
        other_models: The models beside it.
        sampling: Of full samples.
        parts: In the set's order.
        loops: Once round some scenes; None where not measured.
        machine: Where timings come from.
    """

    info: SetInfo
    model: ModelFacts
    other_models: tuple[ModelFacts, ...]
    sampling: Sampling
    parts: tuple[PartResult, ...]
    loops: Loops | None
    machine: Mapping[str, str | int]

    @property
    def config_sha256(self) -> str:
        """The hash of the set's settings: figures compare only where it is the same."""
        return digest(self.info.config)

    def part(self, name: str) -> PartResult:
        """The part of that name."""
        return next(part for part in self.parts if part.name == name)

    def plain(self) -> dict[str, Any]:
        """As plain data: the content of report.json, the same for the same evaluation."""
        others = {"other_models": [other.plain() for other in self.other_models]} if self.other_models else {}
        skipped = {} if self.info.skipped is None else {"skipped": list(self.info.skipped)}
        loops = {} if self.loops is None else {"loops": self._plain_loops(self.loops)}
        return {
            "evaluation": self.info.name,
            "model": self.model.plain(),
            **others,
            "sampling": plain(self.sampling),
            "config": plain(self.info.config),
            "config_sha256": self.config_sha256,
            **skipped,
            **loops,
            self.info.parts_key: {part.name: part.plain() for part in self.parts},
        }

    @staticmethod
    def _plain_loops(loops: Loops) -> dict[str, Any]:
        return {"scenes": loops.scenes, "methods": plain(loops.methods)}

    def timings(self) -> dict[str, Any]:
        """As plain data: the content of timings.json."""
        unit = "view" if self.parts[0].unit == "views" else "clip"
        return {
            **self.machine,
            f"seconds_per_{unit}_and_step": {
                part.name: {str(number): seconds for number, seconds in part.seconds.items()} for part in self.parts
            },
        }

    def sheets(self) -> dict[str, Float[Tensor, "3 height width"]]:
        """Contact sheets by the part's name, and that of the loops."""
        sheets = {part.name: part.sheet for part in self.parts}
        return sheets if self.loops is None else sheets | {"loops": self.loops.sheet}
