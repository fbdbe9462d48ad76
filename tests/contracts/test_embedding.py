"""docs/embedding.md: its Java is compiled and run as it stands there, with the plain JDK."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import MAIN, Served
from shared import ROOT

pytestmark = [
    pytest.mark.promise("The documents say what the code does"),
    pytest.mark.skipif(shutil.which("java") is None, reason="there is no JDK on this machine"),
    pytest.mark.skipif(os.name == "nt", reason="`grouper` is put on the path by a shell script"),
]

PAGE = (ROOT / "docs" / "embedding.md").read_text("utf-8")
SNIPPETS = {
    name: text
    for text in re.findall(r"```java\n(.*?)```", PAGE, re.S)
    for name in re.findall(r"public final class (\w+)", text)
}


def run(name: str, folder: Path, *args: str) -> Any:
    """Run a snippet with `grouper` on the path; return the JSON that it prints."""
    (folder / f"{name}.java").write_text(SNIPPETS[name], "utf-8")
    command = folder / "grouper"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{MAIN}' \"$@\"\n", "utf-8")
    command.chmod(0o755)
    said = ("-Dfile.encoding=UTF-8", "-Dsun.stdout.encoding=UTF-8", "-Dstdout.encoding=UTF-8")
    done = subprocess.run(
        ["java", *said, "--source", "17", f"{name}.java", *args],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode())


def test_the_page_has_both() -> None:
    assert set(SNIPPETS) == {"GrouperPipe", "GrouperRest"}
    assert PAGE.count("```csharp") == 1


def test_the_pipe_from_java(tmp_path: Path) -> None:
    row = run("GrouperPipe", tmp_path)
    assert (row["case_id"], row["group"], row["severity"]) == ("住院1", "FM19", "mcc")


def test_rest_from_java(tmp_path: Path) -> None:
    service = Served()
    try:
        found = run("GrouperRest", tmp_path, f"http://127.0.0.1:{service.port}")
    finally:
        service.stop()
        service.kill()
    assert [r["group"] for r in found["results"]] == ["FM19"]
