"""Makes spec/openapi.json of spec/openapi.yaml; with `--check` it only says whether the two differ."""

import json
import pathlib
import sys

import yaml

SPEC = pathlib.Path(__file__).resolve().parent.parent / "spec"


def made():
    document = yaml.safe_load((SPEC / "openapi.yaml").read_text(encoding="utf-8"))
    # What the aliases of the YAML refer to stands where it is used.
    del document["x-shared"]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main():
    target = SPEC / "openapi.json"
    if "--check" in sys.argv[1:]:
        if target.read_text(encoding="utf-8") != made():
            sys.exit("spec/openapi.json is not what spec/openapi.yaml says: make openapi")
    else:
        target.write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
