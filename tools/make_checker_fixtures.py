#!/usr/bin/env python3
"""Writes tests/pictures/checker: a tiny random safety checker as diffusers saves it, what it computes, what its feature
extractor makes of pictures, which pictures of tests/pictures/sd15 it hides, and the checker as an ONNX graph
(checker/onnx/model.onnx), as diffusers' conversion script of Stable Diffusion to ONNX writes it.

  make_checker_fixtures.py tests/pictures [--onnx]

With --onnx only the graph is written, of the checker that is there. Needs torch, transformers and diffusers. Thresholds are set between the scores of the pictures of two seeds, so that one is
hidden.
"""
import json
import pathlib
import sys

import diffusers
import numpy
import PIL.Image
import torch
import transformers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

RUN = dict(prompt="a red circle left of a small blue star on white", steps=2, guidance=4.0, width=32, height=32, seeds=[3, 4, 5])


def picture(width, height):
    y, x = numpy.mgrid[0:height, 0:width]
    return numpy.stack([(x * 7) % 256, (y * 9) % 256, (x * y) % 256], -1).astype(numpy.uint8)


def make_checker():
    config = transformers.CLIPConfig(
        vision_config=dict(hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, image_size=28,
                           patch_size=7, projection_dim=12), projection_dim=12)
    checker = StableDiffusionSafetyChecker(config).eval()
    with torch.no_grad():
        for name, parameter in checker.named_parameters():
            if name.startswith(("concept", "special")):
                parameter.copy_(torch.randn_like(parameter) if parameter.dim() == 2 else torch.full_like(parameter, 0.9))
            elif parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            parameter.copy_(parameter.half().float())
    return checker


def write_onnx(target):
    checker = StableDiffusionSafetyChecker.from_pretrained(target / "safety_checker", torch_dtype=torch.float32).eval()
    checker.forward = checker.forward_onnx
    (target / "onnx").mkdir(exist_ok=True)
    axes = {0: "batch", 1: "channels", 2: "height", 3: "width"}
    torch.onnx.export(checker, (torch.randn(1, 3, 28, 28), torch.randn(1, 32, 32, 3)), target / "onnx/model.onnx",
                      input_names=["clip_input", "images"], output_names=["out_images", "has_nsfw_concepts"],
                      dynamic_axes={"clip_input": axes, "images": {0: "batch", 1: "height", 2: "width", 3: "channels"}},
                      opset_version=14, dynamo=False)


def main():
    root = pathlib.Path(sys.argv[1])
    target = root / "checker"
    if "--onnx" in sys.argv:
        return write_onnx(target)
    golden = target / "golden"
    golden.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(21)
    checker = make_checker()
    size = dict(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    extractor = CLIPImageProcessorPil(**size)

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(root / "sd15", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    def run(seed, kind):
        return pipe(RUN["prompt"], num_inference_steps=RUN["steps"], guidance_scale=RUN["guidance"], width=RUN["width"],
                    height=RUN["height"], generator=torch.Generator("cpu").manual_seed(seed), output_type=kind)
    with torch.no_grad():
        scores = []
        for seed in RUN["seeds"]:
            pixels = extractor(run(seed, "pil").images, return_tensors="pt").pixel_values
            embeds = checker.visual_projection(checker.vision_model(pixels)[1])
            scores.append(cosine_distance(embeds, checker.concept_embeds)[0])
        # The concept that tells the first two seeds apart best gets the middle as its threshold.
        apart = (scores[0] - scores[1]).abs()
        best = int(apart.argmax())
        checker.concept_embeds_weights[best] = ((scores[0][best] + scores[1][best]) / 2).half().float()
        pipe.safety_checker, pipe.feature_extractor = checker, extractor
        pipe.register_modules(safety_checker=checker, feature_extractor=extractor)
        pipe.config.requires_safety_checker = True
        hidden = []
        for seed in RUN["seeds"]:
            result = run(seed, "np")
            hidden.append(bool(result.nsfw_content_detected[0]))
            assert hidden[-1] == (float(result.images[0].max()) == 0), seed
        clip_input = torch.randn(2, 3, 28, 28)
        embeds = checker.visual_projection(checker.vision_model(clip_input)[1])
        numpy.save(golden / "safety_checker.clip_input.npy", clip_input.numpy())
        for output, name in (("concept_scores", "concept_embeds"), ("special_scores", "special_care_embeds")):
            found = cosine_distance(embeds, getattr(checker, name)) - getattr(checker, name + "_weights")
            numpy.save(golden / f"safety_checker.{output}.npy", found.numpy())
        for i, (width, height) in enumerate([(40, 24), (32, 32), (20, 61)]):
            pixels = extractor(PIL.Image.fromarray(picture(width, height)), return_tensors="np")["pixel_values"]
            numpy.save(golden / f"pixels.{width}x{height}.npy", pixels.astype(numpy.float32))
    # The rule alone: scores above and below their thresholds, near and far, with and without a special concept.
    generator = numpy.random.default_rng(5)
    rules = []
    for _ in range(200):
        concepts = (generator.normal(-0.012, 0.006, 4)).astype(numpy.float32)
        specials = (generator.normal(-0.004, 0.006, 3)).astype(numpy.float32)
        adjustment = 0.01 if any(round(s, 3) > 0 for s in specials) else 0.0
        rules.append(dict(concepts=concepts.tolist(), specials=specials.tolist(),
                          hidden=any(bool(round(c + adjustment, 3) > 0) for c in concepts)))
    checker.half().save_pretrained(target / "safety_checker")
    extractor.save_pretrained(target / "feature_extractor")
    (golden / "cases.json").write_text(json.dumps(dict(**RUN, hidden=hidden, rules=rules)) + "\n")
    write_onnx(target)
    print("hidden:", hidden, "of seeds", RUN["seeds"], "; rules hide", sum(r["hidden"] for r in rules), "of", len(rules))


main()
