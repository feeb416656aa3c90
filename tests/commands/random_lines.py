"""Command lines as users type them: mostly right, with wrong, missing, unknown and repeated words."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

IMAGES = [
    "a.png", "b.jpg", "c.webp", "d.tiff", "e.bmp", "f.gif", "gray.png", "alpha.png", "palette.png", "bilevel.png",
    "inks.jpg", "name with spaces.png", "schön-日本.png", "two\nlines.png", "./-dash.png", "UPPER.PNG", "no-suffix",
    "%s{0}.png", "wide.png", "pixel.png", "turned.jpg", "sixteen.png", "readonly.png", "link.png", "capture/0.png",
    "colmap/images/frames/00001.png",
]  # fmt: skip
CAPTURES = [
    "capture", "capture/transforms.json", "capture-depth", "colmap", "capture-times", "capture-lacks-images",
    "capture-sizes", "capture in a\nfolder of odd name", "link-to-capture", "capture-damaged-image", "capture-nan",
    "capture-empty", "capture-cut", "colmap-cut", "photos", ".",
]  # fmt: skip
POSES = [
    "path.json", "path.tum", "path.kitti", "path.re10k", "transforms_path.json", "trajectory.txt", "orbit.yaml",
    "moves.yaml", "colmap/sparse/0", "capture/transforms.json",
]  # fmt: skip
MODELS = ["model", "model", "model", "tiny-4", "old-run/model"]
WRONG = [
    "cut.png", "empty.png", "text.png", "huge.png", "garbage.json", "list.json", "deep.json", "garbage.yaml",
    "bytes.bin", "latin.txt", "empty.json", "mesh.ply", "mesh.obj", "mesh.glb", "video.mp4", "cut.mp4", "model-cut",
    "model-without-weights", "unknown-key.yaml", "base-of-itself.yaml", "dangling.png", "loop", "loop-a", "nothing",
    "dangling-folder", "old-world", "mine", "absent.png", "absent/folder", "", " ", ".", "..", "/dev/null",
    "-dash.png", "--", "x" * 300, "a/b/" * 200, "\udcff.png", "https://example.org/a.png", "a.png/in", "~", "*",
]  # fmt: skip
OUTPUTS = ["new", "new", "new", "new/deep/er", "name with blanks", "zwei\nZeilen", "neü", "%s{0}", "./-dash", "empty"]
FORMER_OUTPUTS = [
    "old-world", "old-gallery", "old-evaluation", "old-model", "old-run", "old-curation", "old-world-and-mine",
    "link-to-old",
]  # fmt: skip
BAD_OUTPUTS = [
    "mine", "readonly", "a.png", "capture", "capture/out", "model", ".", "..", "/", "", "link-to-home", "../home",
    "dangling.png", "dangling-folder", "loop", "link.png", "link-to-capture", "old-world/frames", "nothing/around",
    "nothing/around/new", "x" * 300, "\udcff", "/dev/null", "/proc/new", "../beside.txt", "old-run/model", "colmap",
    "new/../capture",
]  # fmt: skip
NUMBERS = ["0", "-1", "1e400", "nan", "inf", "-inf", "1.5", "", "two", "1,5", "0x10", "٣", "99999999999999999999"]
SIZES = ["0", "-1", "nan", "1.5", "", "two", "1", "2", "8", "16"]
Words = list[str]


@dataclass(frozen=True)
class User:
    """Who types.

    draw     what chance decides
    careful  types no wrong word, and few unusual ones
    """

    draw: random.Random
    careful: bool

    def choice(self, values: Sequence[T]) -> T:
        return self.draw.choice(values)

    def slips(self, one_in: int) -> bool:
        """Whether a word is wrong."""
        return not self.careful and self.draw.randrange(one_in) == 0

    def path(self, fitting: Sequence[str]) -> str:
        return self.choice(WRONG if self.slips(6) else fitting)

    def output(self, own: str = "new") -> str:
        """A new place, the result of a former run of the same kind, or a wrong one."""
        wrong = [*BAD_OUTPUTS, *FORMER_OUTPUTS]
        return self.choice(wrong if self.slips(3) else [*OUTPUTS, own, own, own])

    def number(self, *fitting: str) -> str:
        return self.choice(NUMBERS if self.slips(6) else fitting)

    def size(self, *fitting: str) -> str:
        """A number that decides how long a run takes: wrong ones are small."""
        return self.choice(SIZES if self.slips(6) else fitting)

    def maybe(self, one_in: int, option: str, *values: str) -> Words:
        return [option, *values] if self.draw.randrange(one_in) == 0 else []


def line(draw: random.Random) -> Words:
    """A command with its options."""
    user = User(draw, careful=draw.randrange(2) == 0)
    words = user.choice(COMMANDS)(user)
    if user.slips(8):
        del words[draw.randrange(len(words))]
    if user.slips(10):
        words.insert(draw.randint(0, len(words)), draw.choice(UNKNOWN))
    if user.slips(10) and words:
        at = draw.randrange(len(words))
        words[at:at] = words[at : at + draw.randint(1, 2)]
    if user.slips(20):
        draw.shuffle(words)
    return words


UNKNOWN = [
    "--outptu", "--frame", "--help", "-h", "--version", "-o", "-q", "--quiet", "--seed=1", "--no-overwrite", "-",
    "--overwrite", "--overwrite=yes", "steps=1", "\x1b[31m", "--model", "--curation.size-px", "=", "--=", "---",
]  # fmt: skip


def _one_in(draw: random.Random, count: int) -> bool:
    return draw.randrange(count) == 0


def _orbit(user: User) -> Words:
    words = ["orbit", *(user.path(IMAGES) for _ in range(user.choice([1, 1, 1, 2, 0])))]
    if user.draw.randrange(3) == 0:
        capture = user.choice(["capture", "capture-depth", "capture-lacks-images", "capture-times", "colmap"])
        folder = f"{capture}/images/frames" if capture == "colmap" else capture
        names = ["00000.png", "00002.png"] if capture == "colmap" else ["0.png", "2.png"]
        file = capture if capture == "colmap" else f"{capture}/transforms.json"
        words = ["orbit", *(f"{folder}/{name}" for name in names), "--cameras", user.path([capture, file])]
    words += ["--output", user.output("old-world"), "--frames", user.size("1", "2"), "--steps", user.size("1")]
    words += ["--model", user.path(MODELS), *user.maybe(3, "--overwrite")]
    words += user.maybe(6, "--views", user.path(POSES)) + user.maybe(10, "--skip-missing")
    words += user.maybe(8, "--fit", user.choice(["crop", "pad", "stretch"]))
    words += user.maybe(8, "--size-px", user.size("16", "12", "20"))
    words += user.maybe(8, "--radius", user.number("2", "1e-6", "1e9"))
    words += user.maybe(8, "--fov-deg", user.number("50", "179", "1e-3"))
    words += user.maybe(8, "--elevation-deg", user.number("0", "90", "-90", "1000"))
    words += user.maybe(8, "--seed", user.number("3", "-3"))
    words += user.maybe(8, "--up", user.choice(["auto", "+z", "-y", "1,0,0", "0,0,0", "up", "nan,0,1", "1,2"]))
    words += user.maybe(8, "--guidance", user.number("1", "1.5", "1e9"))
    words += user.maybe(8, "--solver", user.choice(["euler", "heun", "none"]))
    words += user.maybe(8, "--device", user.choice(["cpu", "cuda", "tpu", ""]))
    return words + user.maybe(8, "--precision", user.choice(["bf16", "auto", "fp8"]))


def _scenes(user: User) -> Words:
    known = ["tabletop", "tabletop", "physics", *([] if user.careful else ["moon", "room"])]
    families = [user.choice(known) for _ in range(user.choice([1, 1, 2]))]
    words = ["scenes", "--families", *families, "--size-px", user.size("8"), "--frames", user.size("2", "3")]
    words += ["--output", user.output("old-gallery"), *user.maybe(2, "--overwrite")]
    return words + user.maybe(6, "--seed", user.number("1", "-1"))


def _evaluate(user: User) -> Words:
    what = user.choice(["captures", "captures", "orbit", "families"])
    models = [user.path([model]) for model in user.choice([["model"], ["model"], ["model", "old-run/model"]])]
    words = ["evaluate", what, "--models", *models, "--output", user.output(), "--steps", user.size("1")]
    if what == "captures":
        words += ["--given", user.size("1", "2"), "--most-views", user.size("1", "2")]
        words += user.maybe(6, "--full") + user.maybe(6, "--fit", user.choice(["pad", "stretch"]))
        return words[:2] + [user.path(CAPTURES) for _ in range(user.choice([1, 1, 2]))] + words[2:]
    words += ["--config", user.path([f"{what}-set.yaml"]), *user.maybe(6, "--scenes", user.size("1"))]
    return words + user.maybe(6, "--sampled", user.choice(["narrow", "tabletop", "none"]))


def _curate(user: User) -> Words:
    words = ["curate", *(user.path(CAPTURES) for _ in range(user.choice([1, 2, 3])))]
    words += ["--output", user.output("old-curation"), "--frames", user.size("2", "3")]
    words += ["--size-px", user.size("8", "16")]
    words += user.maybe(6, "--every", user.size("1", "2")) + user.maybe(6, "--skip-missing")
    return words + user.maybe(6, "--captures-per-shard", user.size("1", "2"))


def _train(user: User) -> Words:
    command = user.choice(["train", "train", "train-codec", "plan"])
    fitting = ["codec.yaml"] if command == "train-codec" else ["run.yaml", "run.yaml", "on-a-base.yaml"]
    words = [command, user.path(fitting), f"output={user.output('old-run')}"]
    right = [
        f"train.steps={user.size('1', '2')}", f"train.batch={user.size('1', '2')}", "train.optimizer=adamw",
        f"train.learning_rate={user.number('0.001')}", f"train.start_from={user.path(['model'])}",
        "data.shards=old-curation", "train.budget_s=0.1", "train.seed=3",
    ]  # fmt: skip
    wrong = [
        "train.learning_rate=1e30", "train.optimizer=none", "model.size_px=17", "train.frames=[9]", "=1", "train",
        "train.averages=[2]", "train.seed=-1", "train.device=cuda", "data.views=0", "no.such=1", "train.steps=[",
        "train.sheet_every=0", "train.checkpoint_every=0", "train.average_every=0", "data.pool=0", "data.families={}",
        "train.start_from=tiny-4", f"data.shards={user.path(['capture'])}", "train.frames=[]", "train.steps=null",
    ]  # fmt: skip
    others = [*right, *wrong] if not user.careful else right
    return words + [user.choice(others) for _ in range(user.choice([0, 1, 1, 2]))]


def _average(user: User) -> Words:
    length = user.number("0.07", "0.1", "0.2")
    return ["average", user.path(["old-run"]), "--length", length, "--output", user.output()]


def _blend(user: User) -> Words:
    words = ["blend", user.path(MODELS), user.path(MODELS), "--output", user.output()]
    return words + user.maybe(3, "--share", user.number("0.5", "0", "1", "2"))


TARGETS = [
    "new.json", "new.tum", "new.kitti", "new.re10k", "transforms_new.json", "new-model", "new/deep/new.json", "new.png",
    "path.json", "a.png", "trajectory.txt", "dangling.png", "link.png", "capture/transforms.json", "new.yaml",
    "nothing", "mine", "loop", "colmap/sparse/0", "new.",
]  # fmt: skip


def _cameras(user: User) -> Words:
    common = user.maybe(3, "--overwrite") + user.maybe(4, "--fov-deg", user.number("50", "180"))
    common += user.maybe(3, "--size", user.size("16", "12"), user.size("16"))
    source = user.path([*POSES, *CAPTURES])
    target = user.choice([*TARGETS, *BAD_OUTPUTS] if user.slips(2) else TARGETS[:8])
    if user.draw.randrange(2):
        return ["cameras", "convert", source, target, *common]
    shown = ["cameras", "show", source, *common, *user.maybe(4, "--every", user.number("1", "2"))]
    return shown + user.maybe(2, "--output", target)


def _short(user: User) -> Words:
    """Help, versions and what is no command."""
    every = ["orbit", "train", "average", "blend", "train-codec", "plan", "evaluate", "scenes", "curate", "cameras"]
    word = user.choice([*every, "--help", "--version", "-h", "obrit", "", "help", "a.png"])
    return [word, *user.maybe(2, "--help")]


COMMANDS = [
    _orbit, _orbit, _orbit, _scenes, _evaluate, _evaluate, _curate, _curate, _train, _train, _average, _blend, _cameras,
    _cameras, _cameras, _short,
]  # fmt: skip


def outputs_of(words: Words) -> list[Path]:
    """All that a line may name as its output."""
    named = [value for option, value in pairwise(words) if option in ("--output", "-o")]
    named += [word.partition("=")[2] for word in words if word.startswith(("output=", "--output="))]
    if words[:1] in (["train"], ["train-codec"]):
        named += ["new-run", "new-codec"]
    if "convert" in words:
        named += [word for word in words if not word.startswith("--")]
    return [Path(name) for name in named]


def damaged(draw: random.Random, work: Path) -> None:
    """Damage a text in the folder: a word of it, or its end."""
    texts = sorted(
        path
        for pattern in ("*.json", "*.yaml", "*.tum", "*.kitti", "*.re10k", "*.txt", "*/transforms.json", "model/*.json")
        for path in work.glob(pattern)
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 10_000
    )
    path = draw.choice(texts)
    data = path.read_bytes().decode("utf-8", "replace")
    if not data:
        return
    at = draw.randrange(len(data))
    if _one_in(draw, 3):
        path.write_text(data[:at])
        return
    words = ["NaN", "null", "1e999", "-1", "0", '""', "[]", "{}", "true", "1e300", '"\\ud800"', "x", "\n", "}", ","]
    start = at
    while start and data[start - 1] not in " \n,:[]{}":
        start -= 1
    while at < len(data) and data[at] not in " \n,:[]{}":
        at += 1
    path.write_text(data[:start] + draw.choice(words) + data[at:])
