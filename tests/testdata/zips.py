"""Prints what zipfile reads from each archive of a folder: archive -> [[name, size, sha256], ...] or a reason."""

import hashlib
import json
import pathlib
import sys
import zipfile


def contents(path):
    with zipfile.ZipFile(path) as archive:
        found = []
        for info in archive.infolist():
            content = archive.read(info)
            assert len(content) == info.file_size, info
            found.append([info.filename, len(content), hashlib.sha256(content).hexdigest()])
        return found


report = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        report[path.name] = contents(path)
    except Exception as error:
        report[path.name] = f"{type(error).__name__}: {error}"
json.dump(report, sys.stdout)
