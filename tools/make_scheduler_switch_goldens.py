#!/usr/bin/env python3
"""What diffusers makes of published scheduler configurations: as each class loads them, as StableDiffusionPipeline
changes them, and after from_config of every other class. Writes tests/diffuse/switching.json.

Needs diffusers 0.42 with torch and scipy."""
import json
import pathlib
import warnings

import diffusers
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()

LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
          "trained_betas": None}
CONFIGS = {
    "sd21": {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", **LATENT, "clip_sample": False,
             "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "prediction_type": "v_prediction"},
    "sd21-base": {"_class_name": "PNDMScheduler", "_diffusers_version": "0.10.0.dev0", **LATENT,
                  "clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
                  "prediction_type": "epsilon"},
    "sd15": {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", **LATENT, "clip_sample": False,
             "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1},
    "sdxl": {"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", **LATENT,
             "clip_sample": False, "interpolation_type": "linear", "prediction_type": "epsilon",
             "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
             "timestep_spacing": "leading", "use_karras_sigmas": False},
    "turbo": {"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.24.0.dev0", **LATENT,
              "interpolation_type": "linear", "prediction_type": "epsilon", "sigma_max": None, "sigma_min": None,
              "steps_offset": 1, "timestep_spacing": "trailing", "timestep_type": "discrete",
              "use_karras_sigmas": False, "clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True},
    "bare-ddim": {"_class_name": "DDIMScheduler", **LATENT},
    "bare-pndm": {"_class_name": "PNDMScheduler", **LATENT, "skip_prk_steps": False},
    "old-offset": {"_class_name": "DDIMScheduler", **LATENT, "steps_offset": 0, "clip_sample": True},
    "deis": {"_class_name": "DEISMultistepScheduler", **LATENT, "solver_order": 3, "algorithm_type": "deis",
             "solver_type": "logrho", "use_karras_sigmas": True, "timestep_spacing": "trailing"},
    "unipc": {"_class_name": "UniPCMultistepScheduler", **LATENT, "solver_order": 3, "solver_type": "bh1",
              "thresholding": True, "disable_corrector": [0, 1], "final_sigmas_type": "sigma_min"},
    "dpm": {"_class_name": "DPMSolverMultistepScheduler", **LATENT, "solver_type": "heun",
            "algorithm_type": "sde-dpmsolver++", "euler_at_final": True, "lower_order_final": True,
            "rescale_betas_zero_snr": True},
    "ranges": {"_class_name": "EulerDiscreteScheduler", **LATENT, "sigma_min": 0.05, "sigma_max": 12.5,
               "use_exponential_sigmas": True},
}
CLASSES = """DDIM DDPM PNDM LMSDiscrete EulerDiscrete EulerAncestralDiscrete HeunDiscrete KDPM2Discrete
KDPM2AncestralDiscrete DPMSolverMultistep DPMSolverSinglestep DPMSolverSDE UniPCMultistep DEISMultistep LCM
DDIMInverse""".split()


def options(scheduler):
    """The options of the class itself, with the values it works with."""
    own = type(scheduler)._get_init_keys(type(scheduler)) - {"self", "kwargs"}
    values = {k: scheduler.config[k] for k in sorted(own)}
    if "lambda_min_clipped" in values:
        values["lambda_min_clipped"] = None  # -Infinity is no JSON
    return values


def load(config, pipeline):
    scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
    if pipeline:
        cls = {"sd": StableDiffusionPipeline, "inpaint": StableDiffusionInpaintPipeline}[pipeline]
        cls(vae=None, text_encoder=None, tokenizer=None, unet=None, scheduler=scheduler, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False)
    return scheduler


def main():
    cases = []
    for name, config in CONFIGS.items():
        for pipeline in (None, "sd", "inpaint"):
            scheduler = load(config, pipeline)
            cases.append({"config": name, "pipeline": pipeline, "to": None, "options": options(scheduler)})
            for target in CLASSES:
                try:
                    switched = getattr(diffusers, target + "Scheduler").from_config(scheduler.config)
                except (ValueError, NotImplementedError) as error:  # solvers that do not go together
                    print(f"{name} to {target}: {error}")
                    continue
                cases.append({"config": name, "pipeline": pipeline, "to": target + "Scheduler",
                              "options": options(switched)})
    # Equal sets of options are written once.
    texts = sorted({json.dumps(case["options"], sort_keys=True) for case in cases})
    rows = [[case["config"], case["pipeline"], case["to"], texts.index(json.dumps(case["options"], sort_keys=True))]
            for case in cases]
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "diffuse" / "switching.json"
    target.parent.mkdir(exist_ok=True)
    lines = ['{"configs": ' + json.dumps(CONFIGS) + ',', '"options": [', ",\n".join(texts), '],', '"cases": [',
             ",\n".join(json.dumps(row) for row in rows), "]}"]
    target.write_text("\n".join(lines) + "\n")
    print(len(cases), "cases,", len(texts), "sets of options,", target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
