"""The ONNX backend tests: what fails is exactly what docs/conformance.md lists. Standard library only.

Usage: LATHE_ONNX_TESTS=FOLDER check_conformance.py LATHE [--compiled | --engines FOLDER]
FOLDER is onnx/backend/test/data of the wheel onnx 1.22.0 (scripts/test fetches it).
"""
import json
import os
import pathlib
import re
import subprocess
import sys

LATHE, FLAGS = sys.argv[1], sys.argv[2:]
TESTS = os.environ.get("LATHE_ONNX_TESTS", "")
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/conformance.md"
# Folder: tests in it, and how many must pass whatever the page says.
FOLDERS = {"node": (1765, 1750), "simple": (23, 21), "pytorch-operator": (35, 35), "pytorch-converted": (82, 82),
           "light": (9, 9)}

if not TESTS:
    print("skipped: LATHE_ONNX_TESTS names no folder (scripts/test fetches one)")
    sys.exit(0)
listed = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
failed = set()
for folder, (total, least) in FOLDERS.items():
    run = subprocess.run([LATHE, "conformance", f"{TESTS}/{folder}", "--json", *FLAGS], capture_output=True, text=True)
    assert run.returncode in (0, 1), f"{folder}: exit {run.returncode}: {run.stderr}"
    report = json.loads(run.stdout)
    print(f"{folder}: {report['passed']} of {report['total']}")
    assert report["total"] == total, f"{folder}: expected {total} tests, found {report['total']}"
    assert report["passed"] >= least, f"{folder}: expected at least {least}, passed {report['passed']}"
    assert run.returncode == (0 if report["passed"] == total else 1)
    for test in report["tests"]:
        if not test["pass"]:
            failed.add(test["name"])
            if test["name"] not in listed:
                print(f"  {test['name']}: {test['reason']}")
assert failed == listed, f"not listed: {sorted(failed - listed)}; listed, but passed: {sorted(listed - failed)}"
