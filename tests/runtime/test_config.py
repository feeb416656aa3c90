"""Configurations: read strictly, alone or on a base, or refused in one line that names the place."""

import hashlib
import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from geometry.errors import InputError
from worldgen.runtime.config import RENAMED, as_first_stored, build, digest, load, newer, plain, to_yaml, upgraded
from worldgen.training.codec.config import CodecRun
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.resumable import fingerprint


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    names: tuple[str, ...] = ()
    fast: bool = False


@dataclass(frozen=True)
class Outer:
    path: Path
    count: int = 1
    word: str | None = None
    table: dict[str, int] | None = None
    pairs: tuple[tuple[float, ...], ...] = ()
    inner: Inner = Inner()


@contextmanager
def refused(*words: str):
    """The block must raise InputError with one line that contains every word."""
    with pytest.raises(InputError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message and [word for word in words if word not in message] == [], message


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """A file with a text in it."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "run.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_file_gives_its_values_and_defaults_for_the_rest(written) -> None:
    text = "path: a/b\npairs: [[1, 2.5], [3]]\ntable: {a: 1}\ninner: {rate: 2, names: [x, y], fast: true}\n"
    wanted = Outer(Path("a/b"), 1, None, {"a": 1}, ((1.0, 2.5), (3.0,)), Inner(2.0, ("x", "y"), True))
    got = load(Outer, written(text))
    assert got == wanted and isinstance(got.inner.rate, float)


def test_plain_data_builds_the_same_again() -> None:
    value = Outer(Path("a"), 3, "w", {"b": 2}, ((1.0, 2.0),), Inner(0.1, ("x",), True))
    assert build(Outer, yaml.safe_load(yaml.safe_dump(plain(value))), "here") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path: a\ncolor: red\n", ["run.yaml", "'color'", "count"]),
        ("path: a\ninner: {speed: 1}\n", ["inner", "'speed'", "rate"]),
        ("count: 2\n", ["run.yaml", "'path'", "missing"]),
        ("path: a\ncount: many\n", ["count", "'many'", "int"]),
        ("path: a\ncount: 1.5\n", ["count", "1.5", "int"]),
        ("path: a\ncount: true\n", ["count", "True", "int"]),
        ("path: a\ninner: {fast: 1}\n", ["fast", "1", "bool"]),
        ("path: a\ninner: {rate: fast}\n", ["inner", "rate", "'fast'", "float"]),
        ("path: a\ninner: {rate: true}\n", ["rate", "True", "float"]),
        ("path: a\ninner: {names: x}\n", ["names", "'x'", "tuple"]),
        ("path: a\ninner: {names: [1]}\n", ["names", "1", "str"]),
        ("path: a\npairs: [1]\n", ["pairs", "1"]),
        ("path: a\ntable: {a: b}\n", ["table.a", "'b'", "int"]),
        ("path: a\nword: 3\n", ["word", "3", "str"]),
        ("path: a\ninner: 3\n", ["inner", "3", "mapping"]),
        ("path: 3\n", ["path", "3", "Path"]),
        ("- a\n- b\n", ["run.yaml", "mapping"]),
        ("", ["run.yaml", "mapping"]),
        ("a: [1\nb: 2", ["run.yaml", "not YAML"]),
        ("path: \x00", ["run.yaml", "not YAML"]),
        (b"path: \xff\xfe", ["run.yaml", "cannot be read"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(written, text: str | bytes, words: list[str]) -> None:
    with refused(*words):
        load(Outer, written(text))


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with refused("cannot be read"):
        load(Outer, tmp_path / name)


def test_an_override_sets_one_value_and_leaves_the_rest(written) -> None:
    path = written("path: a\ncount: 2\ninner: {rate: 1}\n")
    before = load(Outer, path)
    assert load(Outer, path, ("count=7",)) == replace(before, count=7)
    assert load(Outer, path, ("inner.fast=true",)) == replace(before, inner=Inner(1.0, (), True))
    assert load(Outer, path, ("word=null", "inner.names=[p, q]")).inner.names == ("p", "q")
    assert load(Outer, path, ("count=7", "count=8")).count == 8
    assert load(Outer, path, ("word=a=b",)).word == "a=b"


@pytest.mark.parametrize("typed", ["two\nlines", "out #1", " blank", "trailing ", "schön", "c:\\out", "a'b"])
def test_text_of_an_override_is_taken_as_it_was_typed(written, typed: str) -> None:
    assert load(Outer, written("path: a\n"), (f"word={typed}",)).word == typed
    assert load(Outer, written("path: a\n"), (f"path={typed}",)).path == Path(typed)
    assert load(Outer, written("path: a\n"), ('word="a b"',)).word == "a b"


def test_an_override_can_open_a_section_that_the_file_leaves_out(written) -> None:
    assert load(Outer, written("path: a\n"), ("inner.rate=3",)).inner.rate == 3


@pytest.mark.parametrize("notation", ["1e-3", "2e-4", "1E3", "0.001"])
def test_a_float_may_be_written_as_programmers_write_it(written, notation: str) -> None:
    assert load(Outer, written(f"path: a\ninner: {{rate: {notation}}}\n")).inner.rate == float(notation)
    assert load(Outer, written("path: a\n"), (f"inner.rate={notation}",)).inner.rate == float(notation)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("count", ["'count'", "key=value"]),
        ("count=many", ["count", "'many'"]),
        ("color=red", ["'color'"]),
        ("inner.speed=1", ["'speed'"]),
        ("count.deep=1", ["'count.deep=1'", "not a section"]),
        ("count=[1", ["'count=[1'", "not YAML"]),
        ("inner=3", ["inner", "mapping"]),
    ],
)
def test_an_override_that_does_not_fit_is_refused_in_one_line(written, override: str, words: list[str]) -> None:
    with refused(*words):
        load(Outer, written("path: a\ncount: 2\n"), (override,))


@pytest.mark.parametrize("text", ["", "- a\n", "3\n"])
@pytest.mark.parametrize("override", ["count=3", "inner.rate=3"])
def test_an_override_of_a_file_that_is_no_mapping_is_refused(written, text: str, override: str) -> None:
    with refused():
        load(Outer, written(text), (override,))


@pytest.fixture
def based(tmp_path: Path) -> Callable[..., Path]:
    """`based(above, below)`: a file with the text `above` whose base, in a folder beside it, has the text `below`."""

    def write(above: str, below: str, base: str = "bases/base.yaml") -> Path:
        (tmp_path / "bases").mkdir(exist_ok=True)
        (tmp_path / "bases" / "base.yaml").write_text(below)
        path = tmp_path / "run.yaml"
        path.write_text(f"base: {base}\n{above}")
        return path

    return write


BELOW = "path: a\ncount: 2\npairs: [[1, 2], [3]]\ntable: {a: 1, b: 2}\ninner: {rate: 2, names: [x, y], fast: true}\n"


def test_a_file_on_a_base_is_that_file_but_for_its_own_keys(based) -> None:
    below = load(Outer, based("", BELOW))
    assert below == Outer(Path("a"), 2, None, {"a": 1, "b": 2}, ((1.0, 2.0), (3.0,)), Inner(2.0, ("x", "y"), True))
    assert load(Outer, based("count: 3\n", BELOW)) == replace(below, count=3)
    # A section is merged; lists and tables are values.
    changed = load(Outer, based("inner: {rate: 5}\ntable: {c: 3}\npairs: []\nword: w\n", BELOW))
    assert changed == replace(below, inner=Inner(5.0, ("x", "y"), True), table={"c": 3}, pairs=(), word="w")


def test_overrides_come_after_the_base(based) -> None:
    path = based("count: 3\ninner: {rate: 5}\n", BELOW)
    assert load(Outer, path, ("count=4", "inner.names=[z]")).count == 4
    assert load(Outer, path, ("inner.names=[z]",)).inner == Inner(5.0, ("z",), True)
    with refused("'base'"):
        load(Outer, path, ("base=other.yaml",))


def test_a_section_that_may_be_absent_is_merged_set_or_taken_away() -> None:
    @dataclass(frozen=True)
    class Optional:
        inner: Inner | None = None

    from worldgen.runtime.config import _merged

    with_one, without = {"inner": {"rate": 2, "fast": True}}, {}
    assert _merged(Optional, with_one, {"inner": {"rate": 3}}) == {"inner": {"rate": 3, "fast": True}}
    assert _merged(Optional, without, {"inner": {"rate": 3}}) == {"inner": {"rate": 3}}
    assert _merged(Optional, with_one, {"inner": None}) == {"inner": None}


@pytest.mark.parametrize(
    ("above", "below", "words"),
    [
        ("", "base: other.yaml\npath: a\n", ["run.yaml", "base.yaml", "'other.yaml'", "without one"]),
        ("", "- a\n", ["base.yaml", "mapping"]),
        ("", "a: [1\n", ["base.yaml", "not YAML"]),
        ("", "path: a\npath: b\n", ["base.yaml", "given twice"]),
        ("", "path: a\ncolor: red\n", ["base.yaml", "'color'"]),
        ("color: red\n", "path: a\n", ["run.yaml", "'color'"]),
        ("inner: {speed: 1}\n", "path: a\ninner: {rate: 1}\n", ["inner", "'speed'"]),
        ("inner: 3\n", "path: a\ninner: {rate: 1}\n", ["inner", "mapping"]),
        ("", "count: 1\n", ["'path'", "missing"]),
    ],
)
def test_a_base_that_does_not_fit_is_refused_in_one_line(based, above: str, below: str, words: list[str]) -> None:
    with refused(*words):
        load(Outer, based(above, below))


@pytest.mark.parametrize(("base", "words"), [("absent.yaml", ["absent.yaml", "cannot be read"]), ("3", ["base 3"])])
def test_a_base_that_is_not_there_is_refused(based, base: str, words: list[str]) -> None:
    with refused(*words):
        load(Outer, based("", BELOW, base))


def test_a_configuration_written_in_full_is_read_as_the_same_again(root: Path, written) -> None:
    for name in RUNS:
        config = run_of_the_repository(root, name)
        text = to_yaml(config)
        assert "base" not in yaml.safe_load(text) and load(type(config), written(text)) == config, name


def test_an_old_name_in_a_run_is_refused_with_the_new_one(root: Path) -> None:
    for override in ("model.network.neighbours=3", "model.network.attention=[full, neighbours]"):
        with refused("network", "'neighbours'", "new name 'neighbors'"):
            load(RunConfig, root / "configs" / "tiny.yaml", (override,))


def test_a_key_given_twice_is_refused(written) -> None:
    with refused("count"):
        load(Outer, written("path: a\ncount: 1\ncount: 2\n"))


@dataclass(frozen=True)
class Grown:
    """A configuration that was stored with another name of a key, and before another one came."""

    neighbors: int = 2
    attention: tuple[str, ...] = ()
    added: str = newer("no")


def test_a_renamed_key_is_refused_with_its_new_name_and_read_from_what_is_stored(written) -> None:
    with refused("key 'neighbours'", "new name 'neighbors'"):
        load(Grown, written("neighbours: 3"))
    stored = {"neighbours": 3, "attention": ["full", "neighbours"]}
    config = build(Grown, upgraded(stored), "stored")
    assert config == Grown(3, ("full", "neighbors"))
    assert as_first_stored(plain(config)) == stored and set(RENAMED.values()) == {"neighbors"}


def test_a_new_key_changes_what_is_stored_and_its_digest_only_where_it_is_used() -> None:
    assert plain(Grown()) == {"neighbors": 2, "attention": []}
    assert plain(Grown(added="yes"))["added"] == "yes" and digest(Grown()) != digest(Grown(added="yes"))
    assert build(Grown, plain(Grown(added="yes")), "stored") == Grown(added="yes")


@dataclass(frozen=True)
class Tagged:
    """A field whose type another one names."""

    inner: Inner | Grown
    kind: str = "inner"

    @staticmethod
    def types_by_tag(data: dict) -> dict:
        return {"inner": Grown if data.get("kind") == "grown" else Inner}


def test_a_field_s_type_can_be_named_by_another_field() -> None:
    assert build(Tagged, {"inner": {"rate": 1}}, "here").inner == Inner(1.0)
    assert build(Tagged, {"inner": {"neighbors": 1}, "kind": "grown"}, "here").inner == Grown(1)
    with refused("inner: unknown key 'rate'"):
        build(Tagged, {"inner": {"rate": 1}, "kind": "grown"}, "here")


# Of every run in `configs/`: the digest that checkpoints name a run by, and that of what it leaves out, as the version
# computed them in which every file was written out in full and a key was spelled `neighbours` (`fine` is younger).
LEFT_OUT = ("steps", "budget_s", "cooldown", "checkpoint_every", "sheet_every", "log_every", "average_every", "device")
LEFT_OUT += ("checkpointing", "compile", "parallel", "context_parallel")
RUNS = {
    "fine": (
        "b6a452573971605bde0f0da88855ff16d4764417aed1410885819f675161a217",
        "b15c23986cd6a8eb2aa1d1d1379f6c1a4d8870e22e979eadbbb852d653e4a86a",
    ),
    "ablation": (
        "fb4985cface249b42361a740a5a638aadaf59f839415dc76c651e704b5e90923",
        "fc2e66e2e1b4650d559b80d71ce424105db6dbb5f9095ae54e0fabe1b0559e4c",
    ),
    "mini": (
        "13a4d02bf2a0246ceaf188529eb5d64f7c9b2ff234b23978c4790b039d526e45",
        "ffc027d0349154cb6ee43b60296107af29186e23389bff84958f42fd562e6a1f",
    ),
    "reward": (
        "64a27e5dc8318f348619b99575dc27feda7a3a9c847f55f83bcd47b013911f6e",
        "73860609e1122476362661ca5737ed853f36f335edadb1e55589d2049bd86c05",
    ),
    "student": (
        "7cd7a71408c3eee005c770b41849324a3162de988ea5479530fd3efab0e2d7ea",
        "9cf7d410b283fc144a5029292d8bb8918ec253e3e5f6d242aac45bc46a4c26d2",
    ),
    "tiny": (
        "6fd487158d6eeeb8f39f24031df59bcf72dc7e0803523bbcbb0f6f47a05befb7",
        "91740b90e32acae42d3c56c9d34ad2e1e623bbded274f4427e8efded8f327655",
    ),
    "vae": (
        "9f13c7fb1e6afa44e2cd8c0c70fb03ca81ac5921bead17e11a6fa3d9197646a8",
        "c52b3ba685b10568827f0fd41a2f7fdcb62add17c044f6b1e9e9a1de7f170bb1",
    ),
    "vae_video": (
        "276b174228416998c11dff1268913f3dc74990d2fe0f86efbfb8569c871b3e37",
        "f6db0db61e7c65374354cdba940a64cae337dadea7b915f305875883cbf644ea",
    ),
}


def run_of_the_repository(root: Path, name: str) -> RunConfig | CodecRun:
    """The parsed run of `configs/NAME.yaml`."""
    return load(CodecRun if name.startswith("vae") else RunConfig, root / "configs" / f"{name}.yaml")


@pytest.mark.parametrize("name", RUNS)
def test_every_run_of_the_repository_says_what_it_always_did(root: Path, name: str) -> None:
    config = run_of_the_repository(root, name)
    values = plain(config)
    rest = [values["output"], values.get("model", {}).get("sampling"), {key: values["train"][key] for key in LEFT_OUT}]
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    assert (fingerprint(config), digest) == RUNS[name]


def test_every_run_of_the_repository_is_among_them_and_its_base_is_written_out_in_full(root: Path) -> None:
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (root / "configs").glob("*.yaml")}
    assert {name for name, data in files.items() if not name.startswith("evaluate")} == set(RUNS)
    bases = {name for name in RUNS if "base" not in files[name]}
    assert bases == {"fine", "tiny", "vae"}
    optional = {"start_from", "shards", "shards_share"}
    config = run_of_the_repository(root, "tiny")
    for section in ("data", "tasks", "train"):
        assert set(plain(getattr(config, section))) - set(files["tiny"][section]) <= optional, section


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("train.steps=0", "train.steps 0"),
        ("train.batch=0", "train.batch 0"),
        ("train.frames=[]", "train.frames"),
        ("train.frames=[0, 2]", "train.frames"),
        ("train.weighting=vsnr", "'vsnr'"),
        ("train.least_level=0", "train.least_level"),
        ("train.consistency_weight=-1", "consistency_weight"),
        ("train.alignment_weight=-1", "alignment_weight"),
        ("train.alignment_until=0", "train.alignment_until 0"),
        ("train.alignment_until=1.5", "train.alignment_until 1.5"),
        ("tasks.causal=2", "causal"),
        ("train.curriculum=[{steps: 9000, size_px: 64, batch: 8, frames: [2]}]", "part of train.steps"),
        ("train.curriculum=[{steps: 9, size_px: 64, frames: [2]}]", "batch"),
        ("train.frames=[2, 9]", "train.frames"),
        ("train.optimizer=sgd", "'sgd'"),
        ("train.precision=fp8", "'fp8'"),
        ("train.ema=1.0", "train.ema"),
        ("train.cooldown=1.5", "train.cooldown"),
        ("train.log_every=0", "train.*_every"),
        ("data.lenses=1.5", "data.lenses 1.5"),
        ("data.reuse=0", "data.pool, reuse"),
        ("data.spreads_deg=[[5]]", "spreads_deg"),
        ("model.size_px=65", "65"),
        ("model.codec.block=4", "codec"),
        ("model.network.heads=3", "heads"),
        ("model.network.attention=[full, none]", "none"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_it_starts(root: Path, override: str, word: str) -> None:
    with refused(word):
        load(RunConfig, root / "configs" / "tiny.yaml", (override,))
