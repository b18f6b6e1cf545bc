"""A JSON Schema validator against `tidegate config schema`: it takes each example, and refuses what tidegate refuses.

    tests/foreign/schema.py [DIRECTORY WITH tidegate]
"""

import copy
import json
import pathlib
import subprocess
import sys
import tomllib

from jsonschema import Draft202012Validator

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def main():
    binary = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release", "tidegate")
    told = subprocess.run([binary, "config", "schema"], capture_output=True, check=True).stdout
    schema = json.loads(told)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    examples = sorted((ROOT / "examples").glob("*.toml"))
    assert len(examples) >= 5, examples
    for path in examples:
        settings = tomllib.loads(path.read_text())
        wrong = [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(settings)]
        assert not wrong, (path.name, wrong)
        for key, value in [("no-such-key", 1), ("route", [{"no-such-key": 1}]), ("max-fields", 7)]:
            broken = copy.deepcopy(settings) | {key: value}
            assert not validator.is_valid(broken), (path.name, key)
    print(f"{len(examples)} examples fit the schema")


if __name__ == "__main__":
    main()
