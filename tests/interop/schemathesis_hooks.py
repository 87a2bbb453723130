"""For schemathesis: zips, most of which are plugins, and a list of what was answered."""

import io
import json
import zipfile

import schemathesis
from hypothesis import strategies as st


@st.composite
def plugins(draw):
    number = st.integers(min_value=0, max_value=9)
    metadata = {
        "pid": "com.acme." + draw(st.sampled_from(["hello", "world", "drawn"])),
        "version": f"{draw(number)}.{draw(number)}.{draw(number)}",
        "name": "Drawn",
        "description": draw(st.sampled_from(["One.", "Another."])),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("plugin.json"), json.dumps(metadata))
    return packed.getvalue()


ZIPS = st.one_of(plugins(), plugins(), plugins(), st.binary(max_size=64))

for media_type in ["application/zip", "application/x-zip-compressed", "application/octet-stream"]:
    schemathesis.openapi.media_type(media_type, ZIPS)


@schemathesis.hook
def after_call(context, case, response):
    with open("answers.txt", "a", encoding="utf-8") as answers:
        answers.write(f"{case.operation.definition.raw['operationId']} {response.status_code}\n")
