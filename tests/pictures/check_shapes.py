#!/usr/bin/env python3
"""The pipeline in models/shapes draws what it is asked for, with every scheduler: colours and areas are measured."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

lathe = sys.argv[1]
root = pathlib.Path(__file__).resolve().parent.parent.parent
model = str(root / "models/shapes")
work = pathlib.Path(tempfile.mkdtemp())
problems = []

SCHEDULERS = ["ddim", "ddpm", "pndm", "lms", "euler", "euler_a", "heun", "dpm2", "dpm2_a", "dpm++2m", "dpm++2m_karras",
              "dpm++2m_sde", "dpm++2s", "dpm++_sde", "unipc", "deis"]


def read_png(path):
    """Width, height and rows of (red, green, blue): 8-bit RGB, not interlaced."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 2), (depth, colour)
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, rows, before = zlib.decompress(packed), [], bytearray(width * 3)
    for y in range(height):
        line = bytearray(raw[y * (width * 3 + 1) + 1:(y + 1) * (width * 3 + 1)])
        kind = raw[y * (width * 3 + 1)]
        for i in range(len(line)):
            left, up = line[i - 3] if i >= 3 else 0, before[i]
            corner = before[i - 3] if i >= 3 else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            elif kind == 4:
                guess = min((abs(up - corner), 0, left), (abs(left - corner), 1, up), (abs(left + up - 2 * corner), 2, corner))[2]
            else:
                guess = 0
            line[i] = (line[i] + guess) & 255
        rows.append([tuple(line[i:i + 3]) for i in range(0, len(line), 3)])
        before = line
    return width, height, rows


COLOURS = {"red": (220, 40, 40), "green": (40, 170, 70), "blue": (50, 90, 220), "yellow": (240, 210, 50),
           "white": (245, 245, 245), "black": (25, 25, 25)}


def where(picture, colour):
    """Share of the pixels nearest to the colour, their centre and their box, in parts of the side."""
    width, height, rows = picture
    target = COLOURS[colour]
    found = [(x, y) for y, row in enumerate(rows) for x, pixel in enumerate(row)
             if sum((a - b) ** 2 for a, b in zip(pixel, target)) < 70 ** 2]
    if not found:
        return 0, (0, 0), (0, 0, 0, 0)
    xs, ys = [p[0] / width for p in found], [p[1] / height for p in found]
    return (len(found) / (width * height), (sum(xs) / len(xs), sum(ys) / len(ys)), (min(xs), min(ys), max(xs), max(ys)))


def run(prompt, *flags):
    path = work / "picture.png"
    done = subprocess.run([lathe, "run", model, "-p", prompt, "-o", str(path), *flags], capture_output=True, text=True)
    if done.returncode != 0:
        problems.append(f"{prompt} {flags}: exit {done.returncode}: {done.stderr.strip()}")
        return None
    return read_png(path)


def expect(what, good, found):
    if not good:
        problems.append(f"{what}: {found}")


def check_circle(picture, what):
    """A disc of 0.276 of the side in the middle covers 0.24 of the picture and 0.785 of its box."""
    if picture is None:
        return
    share, (x, y), (left, top, right, bottom) = where(picture, "red")
    white, _, _ = where(picture, "white")
    box = max(1e-9, (right - left) * (bottom - top))
    expect(f"{what}: share of red", 0.15 < share < 0.33, share)
    expect(f"{what}: centre", abs(x - 0.5) < 0.08 and abs(y - 0.5) < 0.08, (x, y))
    expect(f"{what}: share of its box", 0.65 < share / box < 0.92, share / box)
    expect(f"{what}: white around it", white > 0.55, white)


for scheduler in SCHEDULERS:
    check_circle(run("a red circle on a white background", "--seed", "3", "--guidance", "3", "--steps", "16",
                     "--scheduler", scheduler), scheduler)
check_circle(run("a red circle on a white background", "--seed", "4"), "the defaults")

picture = run("a blue star left of a yellow ring on black", "--seed", "1", "--guidance", "3", "--steps", "25")
if picture:
    blue, yellow = where(picture, "blue"), where(picture, "yellow")
    expect("blue is left of yellow", blue[0] > 0.01 and yellow[0] > 0.02 and blue[1][0] + 0.3 < yellow[1][0], (blue, yellow))
    expect("black around them", where(picture, "black")[0] > 0.7, where(picture, "black")[0])

# A seed is a picture: the same again, another for another.
first = run("a green square on black", "--seed", "8", "--steps", "6")
expect("the same seed", first == run("a green square on black", "--seed", "8", "--steps", "6"), "two pictures")
expect("another seed", first != run("a green square on black", "--seed", "9", "--steps", "6"), "one picture")

# Bad wishes are refused with what was wrong, and leave no file.
for flags, code, part in [
        (["--width", "100"], 2, "--width 100: expected a multiple of 8"), (["--steps", "-1"], 2, "--steps -1"),
        (["--scheduler", "magic"], 4, "magic"), (["--strength", "7", "--image", "no.png"], 3, "no.png"),
        (["--mask", "m.png"], 2, "--mask needs --image"), (["--batch", "0"], 2, "--batch 0"),
        (["--noise", "dice"], 2, "dice"), (["--precision", "int3"], None, "int3")]:
    target = work / "refused.png"
    done = subprocess.run([lathe, "run", model, "-p", "a red circle", "-o", str(target), *flags], capture_output=True, text=True)
    expect(f"{flags}: exit code", done.returncode == code or (code is None and done.returncode in (2, 4)), done.returncode)
    expect(f"{flags}: message", part in done.stderr, done.stderr.strip())
    expect(f"{flags}: no file", not target.exists(), target)

done = subprocess.run([lathe, "run", model, "-p", "", "-o", str(work / "b.png"), "--batch", "2", "--steps", "2", "--seed", "5",
                       "--json", "--dump-latents", str(work / "l.npy")], capture_output=True, text=True)
result = json.loads(done.stdout)
expect("a batch's files", [p["seed"] for p in result["pictures"]] == [5, 6] and (work / "b-0.png").exists() and
       (work / "b-1.png").exists(), result)
header = (work / "l.npy").read_bytes()[:128].replace(b" ", b"")
expect("its latents", b"(2,4,16,16" in header and b"<f4" in header, header)

# A picture says how it was made, in each format, and --like makes it again.
made = ["--seed", "6", "--steps", "3", "--guidance", "2.5", "--scheduler", "euler", "--negative-prompt", "red: \"a, b\""]
for name in ("s.png", "s.jpg", "s.webp"):
    first, again = work / name, work / ("again" + name)
    for flags in (["-p", "a green (star:1.2)", *made, "-o", str(first)], ["--like", str(first), "-o", str(again)]):
        done = subprocess.run([lathe, "run", model, *flags], capture_output=True, text=True)
        expect(f"{name} {flags}", done.returncode == 0, done.stderr)
    expect(f"--like {name}", first.exists() and again.exists() and first.read_bytes() == again.read_bytes(), "two pictures")
done = subprocess.run([lathe, "run", model, "--like", str(work / "l.npy")], capture_output=True, text=True)
expect("--like no picture", done.returncode == 2 and "does not say how it was made" in done.stderr, done.stderr)

# Through an engine: the same picture, verified.
engine = work / "shapes.lathe"
done = subprocess.run([lathe, "build", model, "-o", str(engine)], capture_output=True, text=True)
expect("build", done.returncode == 0 and "vae_decoder" in done.stdout, done.stdout + done.stderr)
for source, name in ((model, "folder.png"), (str(engine), "engine.png")):
    subprocess.run([lathe, "run", source, "-p", "a red circle", "--seed", "2", "--steps", "3", "-o", str(work / name)], capture_output=True)
pixels = [read_png(work / name) if (work / name).exists() else name for name in ("folder.png", "engine.png")]
expect("an engine's picture", pixels[0] == pixels[1], "another")
expect("verify", subprocess.run([lathe, "verify", str(engine)], capture_output=True).returncode == 0, "failed")

# In 16 and 8 bits: the same circle, from the folder and from a smaller engine, whose receipt says what it cost.
for precision, least in (("bf16", 35), ("fp16", 50), ("int8", 25)):
    circle = ["--seed", "3", "--guidance", "3", "--steps", "16", "--precision", precision]
    check_circle(run("a red circle on a white background", *circle), precision)
    small = work / f"{precision}.lathe"
    done = subprocess.run([lathe, "build", model, "-o", str(small), "--precision", precision, "--json"], capture_output=True, text=True)
    expect(f"{precision}: build", done.returncode == 0, done.stderr)
    if done.returncode != 0:
        continue
    expect(f"{precision}: size", small.stat().st_size < 0.75 * engine.stat().st_size, small.stat().st_size)
    gates = {gate["name"]: gate for gate in json.loads(done.stdout)["receipt"]["gates"]}
    steps = [gate for name, gate in gates.items() if name.startswith("9 steps")]
    expect(f"{precision}: steps", len(steps) == 1 and steps[0]["value"] >= least, steps)
    for name in ("text_encoder", "unet", "vae_decoder"):
        expect(f"{precision}: {name}", gates.get(f"9 {name} in {precision} against fp32", {"value": 0})["value"] >= least, gates.keys())
    subprocess.run([lathe, "run", str(small), "-p", "a red circle on a white background", *circle, "-o", str(work / "small.png")], capture_output=True)
    check_circle(read_png(work / "small.png"), f"{precision} engine")
    done = subprocess.run([lathe, "inspect", str(small)], capture_output=True, text=True)
    expect(f"{precision}: inspect", precision in done.stdout, done.stdout)
    done = subprocess.run([lathe, "run", str(small), "-p", "x", "--precision", "fp32", "-o", str(work / "no.png")], capture_output=True, text=True)
    expect(f"{precision}: another is refused", done.returncode == 4 and "--precision fp32" in done.stderr and
           "lathe build" in done.stderr, done.stderr)

# From a picture of another size, and through a mask.
start = str(work / "b-0.png")
for flags in (["--image", start, "--width", "64", "--height", "64"], ["--image", start, "--mask", start, "--strength", "0.5"]):
    picture = run("a blue circle", *flags, "--steps", "4")
    expect(f"{flags}", picture is not None and picture[0] in (64, 128), picture and picture[:2])

done = subprocess.run([lathe, "run", model, "-p", "x", "-o", str(work / "x.tiff")], capture_output=True, text=True)
expect("another format", done.returncode == 2 and ".tiff" in done.stderr, done.stderr)

print("\n".join(problems) or f"{len(SCHEDULERS)} schedulers draw a red circle on white")
sys.exit(1 if problems else 0)
