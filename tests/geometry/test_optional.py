"""Optional libraries: asked for without loading them, and one clear line where they are missing."""

import importlib.util
import subprocess
import sys

from geometry.optional import from_extra, has_numba, load_optional


def test_a_missing_library_is_one_line_with_the_remedy(refused) -> None:
    with refused("Nothing cannot be loaded", "pip install 'worldgen[exr]'"):
        load_optional("no_such_library", "Nothing", from_extra("exr"))
    assert load_optional("json.decoder", "JSON", "").JSONDecoder is not None


def test_asking_for_numba_does_not_load_it() -> None:
    assert has_numba() == (importlib.util.find_spec("numba") is not None)
    code = "import sys; from geometry.optional import has_numba; has_numba(); print('numba' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "False"
