"""`lathe inspect M.onnx`: types, parameters, work, what compiles to what, and pictures that are well-formed and in which no
two boxes overlap. Standard library only.

Usage: check_inspect_graph.py LATHE
"""
import html.parser
import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

LATHE = sys.argv[1]
TESTS = pathlib.Path(__file__).resolve().parent.parent
MODEL = TESTS / "arch/optimum_llama_gqa/model.onnx"
SHAPE = ["--shape", "batch_size=1,sequence_length=4,past_sequence_length=3"]


def run(*arguments, expect=0):
    result = subprocess.run([LATHE, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == expect, f"{arguments}: exit {result.returncode}, expected {expect}: {result.stderr}"
    return result


def inspect(*arguments, expect=0):
    return json.loads(run("inspect", *arguments, "--json", expect=expect).stdout)


def check_figures():
    found = inspect(MODEL)
    types = {value["name"]: value["type"] for value in found["input_types"]}
    assert types["input_ids"] == "i64[batch_size, sequence_length]", types
    assert {value["name"] for value in found["output_types"]} >= {"logits", "present.0.key"}, found["output_types"]
    assert found["largest"][0]["bytes"] == 72 * 42 * 4, found["largest"]
    floats = found["parameters_by_dtype"]["f32"]
    assert floats["bytes"] == 4 * floats["elements"] <= found["tensor_bytes"], found
    assert found["macs"]["unknown_nodes"] > 0 and "compiled" not in found, found["macs"]

    found = inspect(MODEL, *SHAPE)
    # Two layers: q, k, v and o of 72, 24, 24 and 72, three of 56; the logits of 67; on 4 tokens of width 42. Then scores
    # and values of 6 heads of 12, 4 queries and 7 keys, and the angles of 4 positions and 6 frequencies.
    linear = 2 * (42 * (72 + 24 + 24) + 72 * 42 + 3 * 42 * 56) + 42 * 67
    expected = 4 * linear + 2 * 2 * 6 * 4 * 7 * 12 + 4 * 6
    assert found["macs"]["total"] == expected, (found["macs"], expected)
    assert found["macs"]["unknown_nodes"] == 0, found["macs"]
    compiled = found["compiled"]
    assert compiled["arena_bytes"] >= compiled["peak_bytes"] > 0 and compiled["peak_instruction"], compiled
    assert any(use["op"] == "lathe.Linear" and use["kernel"].startswith("cpu.") for use in compiled["kernels"]), compiled
    for slow in compiled["slow"]:
        assert slow["op"] and isinstance(slow["reasons"], list), slow
    text = run("inspect", MODEL, *SHAPE).stdout
    for word in ("inputs", "work", "multiply-adds", "compiled", "arena", "parameters"):
        assert word in text, (word, text)


def boxes_of(root):
    space = "{http://www.w3.org/2000/svg}"
    for group in root.iter(space + "g"):
        rect = group.find(space + "rect")
        if rect is not None:
            yield tuple(float(rect.get(key)) for key in ("x", "y", "width", "height"))


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert name not in ("src", "href"), f"the page asks for {value}"


def check_pictures(folder):
    run("inspect", MODEL, "--svg", folder / "graph.svg", "--html", folder / "graph.html")
    root = xml.etree.ElementTree.parse(folder / "graph.svg").getroot()
    width, height = float(root.get("width")), float(root.get("height"))
    boxes = sorted(boxes_of(root), key=lambda box: (box[1], box[0]))
    assert len(boxes) > 100, len(boxes)
    for x, y, w, h in boxes:
        assert 0 <= x and x + w <= width and 0 <= y and y + h <= height, (x, y, w, h)
    for a, b in zip(boxes, boxes[1:]):
        assert a[1] != b[1] or a[0] + a[2] <= b[0] + 0.1, (a, b)
    page = Page()
    page.feed((folder / "graph.html").read_text())
    assert page.tags.count("svg") == 1 and page.tags.count("script") == 1, page.tags[:20]


def check_usage(folder):
    run("inspect", MODEL, "--shape", "batch=1", expect=2)
    run("inspect", MODEL, "--shape", "batch_size", expect=2)
    run("inspect", MODEL.parent, "--svg", folder / "x.svg", expect=2)
    # A file whose operators only other programs know is described all the same; a picture of it there is not.
    data = MODEL.read_bytes().replace(b"ReduceMean", b"ReduceMeam")
    strange = folder / "strange.onnx"
    strange.write_bytes(data)
    found = inspect(strange)
    assert "ReduceMeam" in found["import_error"] and found["parameters"] > 0, found
    run("inspect", strange, "--svg", folder / "x.svg", expect=4)


def main():
    with tempfile.TemporaryDirectory(prefix="lathe-inspect-graph-") as name:
        check_figures()
        check_pictures(pathlib.Path(name))
        check_usage(pathlib.Path(name))
    print("graphs are described and drawn")


main()
