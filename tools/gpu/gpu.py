#!/usr/bin/env python3
"""What a machine with an NVIDIA GPU is asked of Lathe, once: are the kernels right there, and how fast are they?

    gpu.py pack BUILD DEST     here: program, liblathe_cuda.so, tests and the libraries they need, as DEST.tar.xz
    gpu.py run DEST [--small]  there, in the repository's root: all of it, and one table (about ten minutes)

`run` needs torch and transformers for what it compares with, and leaves those lines out, saying so, without them. Its
7B model has random weights in the shapes of Llama 2 7B (--small: 1.1B): made, built and removed in DEST/work.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Every machine with a GPU has these, and newer ones than ours.
SYSTEM = ("libc.so", "libm.so", "libstdc++", "libgcc_s", "libdl.", "libpthread", "librt.", "ld-linux", "linux-vdso")
SHAPES = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
          "num_key_value_heads": 32, "vocab_size": 32000}
SMALL = {**SHAPES, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_key_value_heads": 4}
PROMPT, GENERATE, DEPTH = 512, 64, 512


def pack(build, dest):
    dest.mkdir(parents=True, exist_ok=True)
    (dest / "lib").mkdir(exist_ok=True)
    for name in ("lathe", "liblathe_cuda.so", "test_cuda"):
        shutil.copy(build / name, dest)
        subprocess.run(["strip", dest / name], check=True)
        listed = subprocess.run(["ldd", build / name], capture_output=True, text=True, check=True).stdout
        for words in map(str.split, listed.splitlines()):
            if "=>" in words and not words[0].startswith(SYSTEM):
                shutil.copy(words[2], dest / "lib" / words[0])
    (dest / "root").write_text(str(ROOT))  # where the tests look for their cases
    archive = pathlib.Path(shutil.make_archive(str(dest), "xztar", dest))
    shutil.rmtree(dest)
    print(f"{archive}: {archive.stat().st_size / 2**20:.1f} MiB; it travels with the working tree")


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, figure, note=""):
        self.rows.append((what, figure, note))
        print(f"... {what}: {figure} {note}", flush=True)

    def show(self):
        print("\n| what | figure | |\n|---|---|---|")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")


class Machine:
    def __init__(self, dest):
        self.dest = dest
        self.environment = {**os.environ, "LD_LIBRARY_PATH": f"{dest / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}",
                            "LATHE_CUDA_LIBRARY": str(dest / "liblathe_cuda.so"),
                            "XDG_CACHE_HOME": str(dest / "work/cache")}

    def call(self, *command, limit=300):
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=limit,
                              env=self.environment, cwd=ROOT)

    def lathe(self, *arguments, limit=300):
        done = self.call(self.dest / "lathe", *arguments, "--json", limit=limit)
        if done.returncode != 0:
            raise RuntimeError(f"lathe {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)


def check(machine, table):
    """Right answers first: kernels of the real library, then models by every verb."""
    for what, command in (("kernels on the GPU", (machine.dest / "test_cuda", "--gtest_filter=*OnDevice*")),
                          ("models by every verb", (sys.executable, ROOT / "tests/cuda/check_models.py",
                                                    machine.dest / "lathe", ""))):
        done = machine.call(*command)
        lines = (done.stdout + done.stderr).strip().splitlines()
        table.add(what, "passed" if done.returncode == 0 else "FAILED", lines[-1] if lines else "")
        if done.returncode != 0:
            print("\n".join(lines[-60:]))
    for name in ("llama_f16", "neox_tied_bf16", "gpt2"):
        try:
            receipt = machine.lathe("verify", ROOT / "tests/arch" / name, "--device", "cuda")
        except RuntimeError as error:
            table.add(f"gates, {name}", "FAILED", str(error).splitlines()[-1])
            continue
        kl = [gate for gate in receipt["gates"] if gate["name"].startswith("7 ") and "KL" in gate["name"]]
        table.add(f"gates, {name}", "passed", f"CPU against GPU: mean KL {kl[0]['value']:.1e}")


def make_model(folder, shapes):
    import torch
    from safetensors.torch import save_file
    hidden, inner, heads = shapes["hidden_size"], shapes["intermediate_size"], shapes["num_attention_heads"]
    kv = hidden // heads * shapes["num_key_value_heads"]
    layer = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
             "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
             "mlp.down_proj": (hidden, inner)}
    random = lambda shape: (torch.randn(shape, device="cuda", dtype=torch.float32) * 0.02).half().cpu()
    tensors = {"model.embed_tokens.weight": random((shapes["vocab_size"], hidden)),
               "lm_head.weight": random((shapes["vocab_size"], hidden)), "model.norm.weight": torch.ones(hidden).half()}
    for i in range(shapes["num_hidden_layers"]):
        for name, shape in layer.items():
            tensors[f"model.layers.{i}.{name}.weight"] = random(shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{i}.{name}.weight"] = torch.ones(hidden).half()
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
        "torch_dtype": "float16", "bos_token_id": 1, "eos_token_id": 2, **shapes}))


def measure_lathe(machine, table, model, weight_bytes):
    engine = machine.dest / "work/model.lathe"
    start = time.time()
    machine.lathe("build", model, "-o", engine, "--device", "cuda", "--no-verify")
    table.add("build", f"{time.time() - start:.0f} s")
    bench = machine.lathe("bench", engine, "--prompt", PROMPT, "--generate", GENERATE, "--depth", f"0,{DEPTH}",
                          "--repeat", 5)
    for result in bench["results"]:
        low, high = min(result["samples"]), max(result["samples"])
        note = f"{result['test']}, {len(result['samples'])} runs, {low:.1f} to {high:.1f}"
        if result["generate"]:
            note += f", reads weights at {result['median'] * weight_bytes / 1e9:.0f} GB/s"
        table.add(f"lathe, prompt {result['prompt']}, generate {result['generate']}, depth {result['depth']}",
                  f"{result['median']:.1f} tokens/s", note)
    table.add("lathe, memory taken", f"{bench['session_memory']['taken_bytes'] / 1e9:.2f} GB")
    engine.unlink()


def measure_transformers(table, shapes):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(**shapes, max_position_embeddings=4096, attn_implementation="eager")
    torch.set_default_dtype(torch.float16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).eval()

    def timed(body, repeat=5):
        times = []
        for _ in range(repeat + 1):
            torch.cuda.synchronize()
            start = time.perf_counter()
            body()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    ids = torch.randint(0, shapes["vocab_size"], (1, PROMPT), device="cuda")
    with torch.inference_mode():
        seconds = timed(lambda: model(ids, logits_to_keep=1))
        table.add(f"transformers eager, prompt {PROMPT}", f"{PROMPT / seconds:.1f} tokens/s")

        def decode():
            cache = model(ids, use_cache=True, logits_to_keep=1).past_key_values
            for i in range(GENERATE):
                model(ids[:, i:i + 1], past_key_values=cache, use_cache=True)
        both = timed(decode, 3)
        table.add(f"transformers eager, generate {GENERATE}, depth {DEPTH}",
                  f"{GENERATE / (both - seconds):.1f} tokens/s", "the prompt's time taken off")
    del model
    torch.cuda.empty_cache()
    from_there = torch.empty(2 << 30, dtype=torch.uint8, device="cuda")
    to = torch.empty_like(from_there)
    seconds = timed(lambda: to.copy_(from_there))
    table.add("a copy on the GPU", f"{2 * from_there.numel() / seconds / 1e9:.0f} GB/s", "read and written")


def run(dest, small):
    shutil.unpack_archive(f"{dest}.tar.xz", dest)
    machine, table = Machine(dest), Table()
    work = dest / "work"
    shutil.rmtree(work, ignore_errors=True)
    built = pathlib.Path((dest / "root").read_text())
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        built.symlink_to(ROOT)
    gpus = machine.lathe("doctor")["cuda"]["devices"]
    if not gpus or not gpus[0]["usable"]:
        sys.exit("no GPU that lathe can use: " + machine.call(dest / "lathe", "doctor").stdout)
    table.add("GPU", gpus[0]["name"], f"compute capability {gpus[0]['compute_capability']}")
    check(machine, table)
    shapes = SMALL if small else SHAPES
    try:
        import torch  # noqa: F401: random weights are made with it
        make_model(work / "model", shapes)
        weight_bytes = (work / "model/model.safetensors").stat().st_size
        table.add("model", f"{weight_bytes / 1e9:.2f} GB of fp16")
        measure_lathe(machine, table, work / "model", weight_bytes)
        shutil.rmtree(work)
        measure_transformers(table, shapes)
    except ImportError as error:
        table.add("speed", "not measured", str(error))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        table.add("speed", "FAILED", str(error).splitlines()[-1])
    finally:
        shutil.rmtree(work, ignore_errors=True)
        table.show()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(dest="command", required=True)
for name, arguments in (("pack", ("build", "dest")), ("run", ("dest",))):
    command = commands.add_parser(name)
    for argument in arguments:
        command.add_argument(argument, type=lambda text: pathlib.Path(text).resolve())
commands.choices["run"].add_argument("--small", action="store_true")
options = parser.parse_args()
if options.command == "pack":
    pack(options.build, options.dest)
else:
    run(options.dest, options.small)
