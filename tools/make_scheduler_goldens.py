#!/usr/bin/env python3
"""Runs diffusers' schedulers, many configurations each, with a small model that is not linear in the sample, and
writes what each step gave: tests/diffuse/schedulers.json (configurations, those that differ from "common";
timesteps) and schedulers.f32 (samples).

Needs diffusers 0.42 with torch, scipy and torchsde. Sample, model and noise are simple arithmetic in float32 that the
C++ test repeats:
    first sample   x_i = ((37 i mod 101) - 50) / 32, times init_noise_sigma
    model          x * c / (1 + x * x * 0.25) with c = float32(0.3 + 0.0005 t)
    k-th noise     n_i = ((7 i + 13 k + 5) mod 31 - 15) / 8
Square roots are rounded as IEEE says. torch takes them from MKL, which is off by one place in a fifth of them, and not
in the same ones on every machine; where samples of magnitude 4096 cancel (zero terminal SNR), that shows.
A sample is [2, 1, 2, 3]. Picture to picture starts from add_noise(x, n_0) where the strength says.
"""
import importlib
import itertools
import json
import pathlib
import warnings

import diffusers
import numpy as np
import torch

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()
SHAPE = (2, 1, 2, 3)
COUNT = 12
INDEX = torch.arange(COUNT)
NOISED = 0.75  # runs of this strength also hold add_noise of the first sample and n_0, at every call but the first
LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
drawn = 0


def ieee_sqrt(x):
    return torch.from_numpy(np.asarray(np.sqrt(x.detach().numpy())))


plain_pow = torch.Tensor.__pow__
torch.Tensor.__pow__ = lambda x, y: ieee_sqrt(x) if isinstance(y, float) and y == 0.5 else plain_pow(x, y)
torch.sqrt = torch.Tensor.sqrt = ieee_sqrt


def sample():
    return (((INDEX * 37) % 101 - 50).float() / 32).reshape(SHAPE)


def noise(k):
    return (((INDEX * 7 + 13 * k + 5) % 31 - 15).float() / 8).reshape(SHAPE)


def model(x, t):
    c = float(np.float32(0.3 + 0.0005 * t))
    return x * c / (1 + x * x * 0.25)


def fake_randn(shape, **_):
    global drawn
    drawn += 1
    return noise(drawn).reshape(shape)


class BrownianPath:
    """Stands in for the Brownian tree of DPMSolverSDE: the noise of a step's second call continues that of its first,
    and both come from independent normals."""

    def __init__(self):
        self.first = None

    def __call__(self, sigma, sigma_next):
        z = fake_randn(SHAPE)
        if self.first is None or self.first[0] != float(sigma):
            self.first = (float(sigma), float(sigma_next), z)
            return z
        start, middle, before = self.first
        self.first = None
        path = np.sqrt(np.float32(start - middle)) * before + np.sqrt(np.float32(middle - float(sigma_next))) * z
        return path / np.sqrt(np.float32(start - float(sigma_next)))


def run(case):
    global drawn
    drawn = 0
    cls = getattr(diffusers, case["config"]["_class_name"])
    config = dict(case["config"])
    config.pop("_class_name")
    scheduler = cls(**config)
    module = importlib.import_module(cls.__module__)
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = fake_randn
    scheduler.set_timesteps(case["steps"])
    timesteps = scheduler.timesteps
    x = sample()
    strength = case.get("strength")
    if strength:
        first = max(case["steps"] - min(int(case["steps"] * strength), case["steps"]), 0)
        timesteps = timesteps[first * scheduler.order:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first * scheduler.order)
        x = scheduler.add_noise(x, noise(0), timesteps[:1])
    else:
        x = x * scheduler.init_noise_sigma
    if "SDE" in cls.__name__:
        scheduler.noise_sampler = BrownianPath()
    extra = {"eta": case["eta"]} if "eta" in case else {}
    samples, noised = [x], []
    for i, t in enumerate(timesteps):
        output = model(scheduler.scale_model_input(x, t), float(t))
        x = scheduler.step(output, t, x, return_dict=False, **extra)[0].float()
        samples.append(x)
        if strength == NOISED and i + 1 < len(timesteps):  # inpainting puts the clean picture back like this
            noised.append(scheduler.add_noise(sample(), noise(0), timesteps[i + 1:i + 2]).float())
    samples = torch.stack(samples)
    if not torch.isfinite(samples).all():
        raise ValueError("not finite")
    noised = torch.stack(noised).numpy() if noised else np.zeros((0, *SHAPE), np.float32)
    return timesteps.tolist(), float(scheduler.init_noise_sigma), samples.numpy().astype(np.float32), noised


def variants():
    """(class, options, run options) of every golden."""
    steps4 = (1, 2, 5, 20)

    def each(name, options, steps=(5,), **extra):
        for n in steps:
            yield name, options, {"steps": n, **extra}

    predictions = ("epsilon", "v_prediction", "sample")
    no_sample = {"PNDM", "EulerAncestralDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DPMSolverSDE"}
    names = ("DDIM DDPM PNDM LMSDiscrete EulerDiscrete EulerAncestralDiscrete HeunDiscrete KDPM2Discrete "
             "KDPM2AncestralDiscrete DPMSolverMultistep DPMSolverSinglestep DPMSolverSDE UniPCMultistep "
             "DEISMultistep LCM DDIMInverse").split()
    for name in names:
        base = {**LATENT, **({"skip_prk_steps": True} if name == "PNDM" else {})}
        for p in predictions:
            if p == "sample" and name in no_sample:
                continue
            yield from each(name, {**base, "prediction_type": p}, steps4 if p != "sample" else (5,))
        own = diffusers.__dict__[name + "Scheduler"]._get_init_keys(diffusers.__dict__[name + "Scheduler"])
        if "timestep_spacing" in own and name != "LCM":
            for spacing in ("leading", "trailing", "linspace"):
                if (name, spacing) == ("DDIMInverse", "linspace"):
                    continue
                for offset in (0, 1) if spacing == "leading" else (0,):
                    yield from each(name, {**base, "timestep_spacing": spacing, "steps_offset": offset}, (2, 7))
        if "use_karras_sigmas" in own:
            for kind in ("karras", "exponential", "beta"):
                options = {**base, f"use_{kind}_sigmas": True}
                yield from each(name, options, (5, 20))
                yield from each(name, {**options, "prediction_type": "v_prediction"}, (7,))
            yield from each(name, {**base, "use_karras_sigmas": True, "timestep_spacing": "leading"}
                            if "timestep_spacing" in own else {**base, "use_karras_sigmas": True}, (4,))
        if "rescale_betas_zero_snr" in own:
            for p in ("v_prediction", "sample"):
                if p == "sample" and name in no_sample:
                    continue
                options = {**base, "rescale_betas_zero_snr": True, "prediction_type": p}
                if name not in ("LCM",):
                    options["timestep_spacing"] = "trailing"
                yield from each(name, options, (1, 5))
        if "thresholding" in own:
            for largest in (1.0, 2.5):
                options = {**base, "thresholding": True, "sample_max_value": largest,
                           "dynamic_thresholding_ratio": 0.9}
                yield from each(name, {**options, "prediction_type": "v_prediction"}, (5,))
        if "clip_sample" in own:
            for limit in (None, 1.0, 0.6):
                options = {**base, "clip_sample": limit is not None, "prediction_type": "v_prediction"}
                yield from each(name, options if limit is None else {**options, "clip_sample_range": limit}, (5,))
        if "set_alpha_to_one" in own:
            for one in (True, False):
                yield from each(name, {**base, "set_alpha_to_one": one}, (4,))
        if "final_sigmas_type" in own:
            yield from each(name, {**base, "final_sigmas_type": "sigma_min"}, steps4)
            yield from each(name, {**base, "final_sigmas_type": "sigma_min", "use_karras_sigmas": True}, (6,))
        for strength in (0.4, 0.75, 1.0):
            if name != "DDIMInverse":
                yield from each(name, {**base, "prediction_type": "v_prediction"}, (8,), strength=strength)
        for schedule in ("linear", "squaredcos_cap_v2"):
            yield from each(name, {**base, "beta_schedule": schedule}, (3,))
        yield from each(name, {**base, "trained_betas": [round(0.001 + 0.0005 * i, 4) for i in range(25)],
                               "num_train_timesteps": 25,
                               **({"original_inference_steps": 12} if name == "LCM" else {})}, (6,))

    for eta in (0.3, 1.0):
        yield from each("DDIM", {**LATENT, "clip_sample": False}, (2, 5), eta=eta)
    for variance in ("fixed_small", "fixed_small_log", "fixed_large"):
        yield from each("DDPM", {**LATENT, "variance_type": variance, "clip_sample": False}, (5,))
    for schedule in ("sigmoid", "laplace"):
        yield from each("DDPM", {**LATENT, "beta_schedule": schedule}, (4,))
    yield from each("HeunDiscrete", {**LATENT, "beta_schedule": "exp"}, (4,))
    for p in ("epsilon", "v_prediction"):
        yield from each("PNDM", {**LATENT, "skip_prk_steps": False, "prediction_type": p}, (4, 5, 9))
    yield from each("EulerDiscrete", {**LATENT, "interpolation_type": "log_linear"}, (5,))
    yield from each("EulerDiscrete", {**LATENT, "timestep_type": "continuous", "prediction_type": "v_prediction",
                                      "use_karras_sigmas": True, "sigma_min": 0.01, "sigma_max": 20.0}, (5,))
    for kind in ("karras", "exponential", "beta"):
        yield from each("EulerDiscrete", {**LATENT, f"use_{kind}_sigmas": True, "sigma_min": 0.1, "sigma_max": 9.0},
                        (6,))
    for order, algorithm, kind in itertools.product(
            (1, 2, 3), ("dpmsolver++", "dpmsolver", "sde-dpmsolver++", "sde-dpmsolver"), ("midpoint", "heun")):
        for name in ("DPMSolverMultistep", "DPMSolverSinglestep"):
            if algorithm == "sde-dpmsolver" and (order == 3 or name == "DPMSolverSinglestep"):
                continue
            for final in ("zero", "sigma_min"):
                if final == "zero" and algorithm in ("dpmsolver", "sde-dpmsolver"):
                    continue
                options = {**LATENT, "solver_order": order, "algorithm_type": algorithm, "solver_type": kind,
                           "final_sigmas_type": final}
                yield from each(name, options, (6, 17) if name == "DPMSolverMultistep" else (6, 7, 8))
                yield from each(name, {**options, "prediction_type": "v_prediction"}, (7,))
    for options in ({"lower_order_final": False, "solver_order": 3}, {"euler_at_final": True, "solver_order": 3,
                                                                      "final_sigmas_type": "sigma_min"},
                    {"use_lu_lambdas": True}, {"lambda_min_clipped": -2.0}):
        yield from each("DPMSolverMultistep", {**LATENT, **options}, (6, 18))
    yield from each("DPMSolverMultistep", {**LATENT, "use_karras_sigmas": True,
                                           "beta_schedule": "squaredcos_cap_v2"}, (6,))
    yield from each("DPMSolverMultistep", {**LATENT, "algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min",
                                           "thresholding": True, "prediction_type": "sample"}, (6,))
    yield from each("DPMSolverSinglestep", {**LATENT, "lambda_min_clipped": -2.0}, (6,))
    for lower in (True, False):
        for order in (2, 3):
            for final in ("zero", "sigma_min"):
                yield from each("DPMSolverSinglestep", {**LATENT, "lower_order_final": lower, "solver_order": order,
                                                        "final_sigmas_type": final}, (1, 2, 3, 6))
    yield from each("DPMSolverSinglestep", {**LATENT, "solver_order": 3, "lower_order_final": True}, (9,),
                    strength=0.6)
    for order, kind, predict_x0 in itertools.product((1, 2, 3), ("bh1", "bh2"), (True, False)):
        for final in ("zero", "sigma_min"):
            if final == "zero" and (kind == "bh1" or not predict_x0):
                continue
            options = {**LATENT, "solver_order": order, "solver_type": kind, "predict_x0": predict_x0,
                       "final_sigmas_type": final}
            yield from each("UniPCMultistep", options, (6, 15))
            yield from each("UniPCMultistep", {**options, "prediction_type": "v_prediction"}, (7,))
    yield from each("UniPCMultistep", {**LATENT, "disable_corrector": [0, 2], "solver_order": 3}, (6,))
    yield from each("UniPCMultistep", {**LATENT, "lower_order_final": False, "final_sigmas_type": "sigma_min"}, (6,))
    for order in (1, 2, 3):
        for lower in (True, False):
            yield from each("DEISMultistep", {**LATENT, "solver_order": order, "lower_order_final": lower}, (6, 16))
        yield from each("DEISMultistep", {**LATENT, "solver_order": order, "use_karras_sigmas": True,
                                          "prediction_type": "v_prediction"}, (6, 16))
    yield from each("LCM", {"original_inference_steps": 40, "timestep_scaling": 3.0}, (4,))


def main():
    cases, blob, seen = [], [], set()
    for name, options, extra in variants():
        case = {"config": {"_class_name": name + "Scheduler", **options}, **extra}
        key = json.dumps(case, sort_keys=True)
        if key in seen:
            continue
        seen.add(key)
        try:
            timesteps, init, samples, noised = run(case)
        except Exception as error:
            print("left out:", name, {k: v for k, v in options.items() if k not in LATENT}, extra, "-", error)
            continue
        # Long runs: the samples of the beginning and the end, every fourth between. The test has the same rule.
        kept = [i for i in range(len(samples)) if i < 3 or i >= len(samples) - 2 or i % 4 == 0]
        config = {k: v for k, v in case["config"].items() if LATENT.get(k) != v}
        cases.append({**case, "config": config, "timesteps": [round(t, 4) for t in timesteps],
                      "init_noise_sigma": init})
        blob.append(samples[kept].reshape(len(kept), -1))
        blob.append(noised.reshape(-1, COUNT))
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests" / "diffuse"
    folder.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    text = '{"common": ' + json.dumps(LATENT) + ',\n"cases": [\n' + lines + "\n]}\n"
    (folder / "schedulers.json").write_text(text)
    (folder / "schedulers.f32").write_bytes(np.concatenate(blob).tobytes())
    print(len(cases), "cases,", sum((folder / f).stat().st_size for f in ("schedulers.json", "schedulers.f32")), "bytes")


if __name__ == "__main__":
    main()
