#!/usr/bin/env python3
"""What the person at the terminal gets around pictures: memory said before, previews, pictures in the terminal,
comparisons, inspect and bench. On models/shapes and the tiny pipelines; nothing depends on how fast the machine is.

    check_person.py PROGRAM [unittest's arguments]
"""
import json
import os
import pathlib
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

PROGRAM = ""
LIMIT = 120
TESTS = pathlib.Path(__file__).resolve().parent.parent
SHAPES = TESTS.parent / "models/shapes"
SMALL = ["--width", "64", "--height", "64", "--seed", "3", "--steps", "2"]


def png_size(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n"), path
    return struct.unpack(">II", data[16:24])


def png_text(path):
    """The text chunks of a PNG."""
    data, at, texts = path.read_bytes(), 8, {}
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"tEXt":
            key, value = data[at + 8:at + 8 + length].split(b"\0", 1)
            texts[key.decode("latin-1")] = value.decode("latin-1")
        at += 12 + length
    return texts


def bomb(path, side):
    """A PNG that claims to be large and holds next to nothing."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) +
                     chunk(b"IEND", b""))


class Person(unittest.TestCase):
    def setUp(self):
        self.temp = pathlib.Path(tempfile.mkdtemp(prefix="lathe-person-"))
        self.addCleanup(shutil.rmtree, self.temp)
        self.out = self.temp / "out.png"

    def lathe(self, *args, code=0, env=None):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=LIMIT, env=env)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *args, code=0):
        return json.loads(self.lathe(*args, "--json", code=code).stdout)

    def draw(self, *args, **more):
        return self.lathe("run", SHAPES, "-p", "a red circle on white", "-o", self.out, *SMALL, *args, **more)

    def on_terminal(self, *args, term="xterm-256color"):
        """What a terminal of this kind is sent."""
        main, side = pty.openpty()
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM", "LC_TERMINAL")}
        process = subprocess.Popen([PROGRAM, *map(str, args)], stdout=side, stderr=side, env={**environment, "TERM": term})
        os.close(side)
        seen = b""
        try:
            while part := os.read(main, 1 << 16):
                seen += part
        except OSError:  # the other end is closed
            pass
        os.close(main)
        self.assertEqual(process.wait(LIMIT), 0, seen)
        return seen


class Memory(Person):
    def test_too_large_is_refused_before_it_begins(self):
        error = self.json("run", SHAPES, "-p", "x", "-o", self.out, "--batch", "1024", "--width", "4096", "--height",
                          "4096", code=5)["error"]
        self.assertEqual(error["code"], "resource")
        self.assertRegex(error["message"], r"a batch of 1024 pictures of 4096 x 4096 pixels needs \d+ MB of memory")
        self.assertRegex(error["message"], r"unet: \d+ MB of weights, \d+ MB to work in")
        self.assertRegex(error["message"], r"\d+ MB are available; (--batch|no smaller).*; --ignore-memory tries it")
        self.assertFalse(self.out.exists())

    def test_prediction_is_what_it_takes(self):
        """Of the process as a whole; pages of the program and what malloc keeps are the rest."""
        for source in (SHAPES, self.temp / "shapes.lathe"):
            if source != SHAPES:
                self.lathe("build", SHAPES, "-o", source, "--no-verify")
            for side in ("128", "384"):
                memory = self.json("run", source, "-p", "x", "-o", self.out, "--steps", "1", "--width", side, "--height",
                                   side)["memory"]
                predicted, found = memory["predicted_peak_bytes"], memory["peak_rss_bytes"]
                self.assertLess(found, 1.15 * predicted + 64e6, (source, side))
                self.assertGreater(found, 0.5 * predicted - 64e6, (source, side))

    def test_wishes_that_cannot_be(self):
        for flags, code, part in [
                (["--steps", "0"], 2, "--steps 0: expected at least 1"), (["--steps", "-4"], 2, "--steps -4"),
                (["--steps", "1001"], 2, "1001"), (["--width", "0"], 2, "--width 0"), (["--height", "-8"], 2, "--height -8"),
                (["--width", "100"], 2, "--width 100: expected a multiple of 8"),
                (["--preview", "-1"], 2, "--preview -1"), (["--show", "ascii"], 2, "--show ascii"),
                (["--compare", "magic"], 4, "magic"), (["--compare", "ddim", "--batch", "2"], 2, "--compare")]:
            done = self.lathe("run", SHAPES, "-p", "x", "-o", self.out, *flags, code=code)
            self.assertIn(part, done.stderr)
            self.assertFalse(self.out.exists())

    def test_long_prompts_are_refused(self):
        prompt = self.temp / "prompt.txt"
        prompt.write_text("star " * 100_000)
        done = self.lathe("run", SHAPES, "-f", prompt, "-o", self.out, "--steps", "1", code=2)
        self.assertRegex(done.stderr, r"\d+ (tokens|chunks|bytes)")
        prompt.write_text("star " * 1_000_000)
        self.assertIn("5000000 bytes", self.lathe("run", SHAPES, "-f", prompt, "-o", self.out, code=2).stderr)

    def test_decompression_bombs_are_refused(self):
        for side in (60_000, 2**31 - 1):
            bomb(self.temp / "bomb.png", side)
            done = self.lathe("run", SHAPES, "-p", "x", "-o", self.out, "--image", self.temp / "bomb.png", code=3)
            self.assertIn("bomb.png", done.stderr)
        bomb(self.temp / "bomb.png", 8000)  # may be decoded, but ends too early
        self.lathe("run", SHAPES, "-p", "x", "-o", self.out, "--image", self.temp / "bomb.png", code=3)


class Terminal(Person):
    def test_progress(self):
        text = self.on_terminal("run", SHAPES, "-p", "x", "-o", self.out, *SMALL[:4], "--steps", "8").decode()
        steps = [part for part in text.replace("\r\n", "\n").replace("\n", "\r").split("\r") if part.startswith("denoising")]
        self.assertTrue(steps, text)
        for step in steps:
            self.assertRegex(step, r"^denoising \[#*-*\] \d of 8(, [\d.]+ m?s each)?(, \d+ s left)?\x1b\[K$")
        self.assertIn("8 of 8", steps[-1])
        self.assertNotIn("\r", self.draw().stderr)

    def test_pictures_are_drawn_where_they_can_be(self):
        args = ("run", SHAPES, "-p", "x", "-o", self.out, *SMALL)
        self.assertNotIn(b"\x1bP", self.on_terminal(*args))
        self.assertIn(b"\x1bP0;1;0q\"1;1;64;64#0;2;", self.on_terminal(*args, term="foot"))
        self.assertIn(b"\x1b_Ga=T,f=100,", self.on_terminal(*args, term="xterm-kitty"))
        self.assertNotIn(b"\x1b_G", self.on_terminal(*args, "--show", "off", term="xterm-kitty"))
        self.assertNotIn("\x1b", self.draw().stdout)
        self.assertIn("\x1b]1337;File=inline=1;", self.draw("--show", "iterm").stdout)
        self.assertNotIn("\x1b", self.draw("--show", "iterm", "--json").stdout)

    def test_preview(self):
        self.draw("--preview", "1")
        self.assertEqual(png_size(self.temp / "out-preview.png"), (64, 64))  # few latents: all of them
        self.assertEqual(sorted(path.name for path in self.temp.iterdir()), ["out-preview.png", "out.png"])
        self.draw("--preview", "1", "--batch", "2")
        self.assertEqual(png_size(self.temp / "out-preview.png"), (2 * 64 + 3 * 4, 64 + 2 * 4))
        self.lathe("run", SHAPES, "-p", "x", "-o", self.out, "--width", "512", "--height", "256", "--steps", "2", "--preview", "1")
        self.assertEqual(png_size(self.temp / "out-preview.png"), (22 * 8, 11 * 8))  # means of 3 x 3 of 64 x 32

    def test_no_preview_past_a_safety_checker(self):
        model = self.temp / "checked"
        shutil.copytree(TESTS / "pictures/sd15", model)
        for part in ("safety_checker", "feature_extractor"):
            shutil.copytree(TESTS / "pictures/checker" / part, model / part)
        index = json.loads((model / "model_index.json").read_text())
        index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
        (model / "model_index.json").write_text(json.dumps(index))
        args = ("run", model, "-p", "x", "-o", self.out, "--steps", "2", "--seed", "1", "--preview", "1")
        self.assertIn("--no-safety-checker", self.lathe(*args, code=2).stderr)
        self.lathe(*args, "--no-safety-checker")

    def test_comparison_of_schedulers(self):
        result = self.json("run", SHAPES, "-p", "a red circle", "-o", self.out, *SMALL, "--compare", "ddim,heun,euler_a",
                           "--reference-steps", "4")
        self.assertEqual([entry["scheduler"] for entry in result["schedulers"]], ["ddim", "heun", "euler_a"])
        self.assertEqual([entry["calls"] for entry in result["schedulers"]], [2, 3, 2])
        self.assertEqual(result["reference"], {"scheduler": "ddim", "steps": 4})
        self.assertTrue(all(entry["deviation"] > 0 for entry in result["schedulers"]))
        self.assertEqual(png_size(self.out), (4 * 64 + 5 * 8, 64 + 2 * 8))
        same = self.json("run", SHAPES, "-p", "a red circle", "-o", self.out, *SMALL, "--compare", "ddim",
                         "--reference-steps", "2")
        self.assertEqual(same["schedulers"][0]["deviation"], 0)


class Settings(Person):
    def test_scheduler_is_named_as_the_web_ui_names_it(self):
        small = ["run", SHAPES, "-p", "a red circle", "-o", self.out, "--width", "64", "--height", "64", "--steps", "4"]
        for name, sampler in ((None, "DDIM"), ("euler_a", "Euler a"), ("dpm++2m", "DPM++ 2M"),
                              ("dpm++2m_karras", "DPM++ 2M, Schedule type: Karras"), ("pndm", "PLMS"),
                              ("DDIMScheduler", "DDIM")):
            self.lathe(*small, *(["--scheduler", name] if name else []))
            self.assertIn(f"Sampler: {sampler}, CFG scale", png_text(self.out)["parameters"])
            again = self.temp / "again.png"
            self.lathe("run", SHAPES, "--like", self.out, "-o", again)
            self.assertEqual(self.out.read_bytes(), again.read_bytes(), name)

    def test_a_scheduler_set_up_in_its_own_way(self):
        """Its name alone would be another one: the text says so, and the picture is made again all the same."""
        model = self.temp / "model"
        shutil.copytree(SHAPES, model)
        config = json.loads((model / "scheduler/scheduler_config.json").read_text())
        del config["steps_offset"]  # the pipeline sets it to 1, which asking for a scheduler by name undoes
        (model / "scheduler/scheduler_config.json").write_text(json.dumps(config))
        again = self.temp / "again.png"
        for flags, setup in (([], True), (["--scheduler", "ddim"], False)):
            self.lathe("run", model, "-p", "a star", "-o", self.out, *SMALL, *flags)
            self.assertEqual("Sampler: DDIM, Sampler setup: model" in png_text(self.out)["parameters"], setup)
            self.lathe("run", model, "--like", self.out, "-o", again)
            self.assertEqual(self.out.read_bytes(), again.read_bytes(), flags)


class Inspect(Person):
    def test_folder(self):
        result = self.json("inspect", SHAPES, "--hash")
        self.assertEqual(result["kind"], "pictures")
        parts = {part["role"]: part for part in result["components"]}
        self.assertEqual({role: part["class"] for role, part in parts.items()},
                         {"text_encoder": "CLIPTextModel", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"})
        for part in parts.values():  # f16: two bytes each
            self.assertIn(part["bytes"], (2 * part["parameters"], 4 * part["parameters"]))
        self.assertEqual(result["parameters"], sum(part["parameters"] for part in parts.values()))
        self.assertEqual(result["scheduler"]["prediction_type"], "v_prediction")
        self.assertEqual(result["scheduler_name"], "ddim")
        self.assertEqual(result["contract"]["latent_scale"], 8)
        self.assertEqual(result["contract"]["text_tokens"], 77)
        self.assertEqual([part["graph"] for part in result["picture"]["parts"]], ["text_encoder", "unet", "vae_decoder"])
        self.assertEqual(len(result["sha256"]), 2)  # by file name: model and diffusion_pytorch_model
        text = self.lathe("inspect", SHAPES).stdout
        for part in ("v_prediction", "DDIMScheduler (ddim)", "128 x 128 pixels", "77 tokens", "AutoencoderKL"):
            self.assertIn(part, text)

    def test_others(self):
        paints = self.json("inspect", TESTS / "pictures/inpaint")
        self.assertTrue(any("--mask" in limit for limit in paints["limits"]), paints["limits"])
        self.assertEqual(self.json("inspect", TESTS / "pictures/lcm")["contract"]["guidance_embedded"], True)
        xl = self.json("inspect", TESTS / "pictures/sdxl")
        self.assertIn("text_encoder_2", [part["role"] for part in xl["components"]])
        self.lathe("inspect", SHAPES, "--plan", code=2)
        self.lathe("inspect", self.temp, code=3)

    def test_engine(self):
        engine = self.temp / "shapes.lathe"
        self.lathe("build", SHAPES, "-o", engine, "--no-verify")
        result = self.json("inspect", engine)
        self.assertEqual(result["contract"]["pipeline"], "StableDiffusionPipeline")
        self.assertEqual(result["scheduler_name"], "ddim")
        self.assertEqual(len(result["picture"]["parts"]), 3)

    def test_pictures(self):
        for name in ("p.png", "p.jpg", "p.webp"):
            path = self.temp / name
            self.lathe("run", SHAPES, "-p", "a (star:1.2), \"big\"", "-o", path, *SMALL, "--negative-prompt", "blur")
            result = self.json("inspect", path)
            self.assertEqual((result["kind"], result["width"], result["height"]), ("picture", 64, 64))
            settings = result["settings"]
            self.assertEqual((settings["prompt"], settings["negative_prompt"], settings["steps"], settings["seed"],
                              settings["scheduler"], settings["model"]),
                             ("a (star:1.2), \"big\"", "blur", 2, 3, "ddim", "shapes"))
            self.assertIn("Sampler: DDIM", self.lathe("inspect", path).stdout)
        bomb(self.temp / "plain.png", 16)
        self.assertEqual(self.json("inspect", self.temp / "plain.png")["settings"], None)


class Bench(Person):
    FLAGS = ("--width", 64, "--height", 64, "--steps", 2, "--repeat", 2)

    def test_conditions_and_results(self):
        result = self.json("bench", SHAPES, *self.FLAGS)
        conditions = result["conditions"]
        self.assertEqual({key: conditions[key] for key in ("width", "height", "steps", "guidance", "scheduler", "precision")},
                         {"width": 64, "height": 64, "steps": 2, "guidance": 7.5, "scheduler": "ddim", "precision": "fp32"})
        self.assertRegex(conditions["revision"], "^[0-9a-f]{64}$")
        tests = {entry["test"]: entry for entry in result["results"]}
        self.assertEqual(list(tests), ["text_encoder", "unet", "unet_guided", "vae_decoder", "picture"])
        for entry in tests.values():
            self.assertEqual(len(entry["samples"]), 2)
            self.assertEqual(entry["unit"], "ms")
            self.assertGreater(entry["flop"], 0)
        self.assertAlmostEqual(tests["unet_guided"]["flop"] / tests["unet"]["flop"], 2, delta=0.02)  # the time counts once
        self.assertEqual(tests["picture"]["flop"], 2 * tests["text_encoder"]["flop"] + 2 * tests["unet_guided"]["flop"] +
                         tests["vae_decoder"]["flop"])
        text = self.lathe("bench", SHAPES, *self.FLAGS, "--no-picture", "--guidance", 1).stdout
        lines = [line for line in text.splitlines() if line.startswith(("unet", "vae_decoder", "text_encoder"))]
        self.assertEqual(len(lines), 3, text)
        for line in lines:
            for part in (" 64x64 ", " fp32 ", conditions["revision"][:10]):
                self.assertIn(part, line)

    def test_only_equal_conditions_are_compared(self):
        before = self.temp / "before.json"
        before.write_text(json.dumps(self.json("bench", SHAPES, *self.FLAGS, "--no-picture")))
        same = self.json("bench", SHAPES, *self.FLAGS, "--no-picture", "--compare", before)
        self.assertEqual([entry["test"] for entry in same["compared"]], ["text_encoder", "unet", "unet_guided", "vae_decoder"])
        other = ("bench", SHAPES, "--width", 128, "--height", 64, "--steps", 3, "--repeat", 1, "--no-picture", "--compare", before)
        message = self.json(*other, code=2)["error"]["message"]
        self.assertIn("width was 64 and is 128", message)
        self.assertIn("steps was 2 and is 3", message)
        self.assertNotIn("height", message)
        self.assertIn("compared", self.json(*other, "--vary", "width,steps"))
        self.assertIn("no such condition", self.lathe(*other, "--vary", "wdth", code=2).stderr)
        self.lathe("bench", SHAPES, "--compare", SHAPES / "model_index.json", code=3)

    def test_the_published_mistake(self):
        result = self.json("bench", TESTS / "pictures/sd21", "--steps", 2, "--repeat", 1, "--reproduce-blog")
        self.assertEqual([(entry["program"], entry["width"]) for entry in result["results"]], [("A", 48), ("B", 32), ("B", 48)])
        work = {entry["width"]: entry["flop"] for entry in result["results"]}
        self.assertAlmostEqual(result["wrong"]["work"], work[48] / work[32])
        self.assertGreater(result["wrong"]["work"], 1.5)
        self.assertNotIn("width", result["conditions"])


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
