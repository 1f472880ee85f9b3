#!/usr/bin/env python3
"""Writes tests/frontend/meta: a tiny random Llama as transformers saves it and as Meta does, in two shards.

  make_meta_fixture.py tests/frontend/meta

Needs torch and transformers. Meta's form is made by the inverse of what transformers' convert_llama_weights_to_hf.py
does: pairs of rotary dimensions beside each other, matrices divided by rows or columns, norms in every shard.
"""
import json
import pathlib
import sys

import torch
import transformers

HEADS, KV_HEADS, WIDTH, LAYERS, SHARDS = 4, 2, 32, 2, 2


def pairs(weight, heads):
    """Rotary halves to pairs."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def meta_tensors(model):
    state = model.state_dict()
    out = {"tok_embeddings.weight": (state["model.embed_tokens.weight"], 1), "norm.weight": (state["model.norm.weight"], None),
           "output.weight": (state["lm_head.weight"], 0)}
    for i in range(LAYERS):
        hf, meta = f"model.layers.{i}.", f"layers.{i}."
        out |= {meta + "attention.wq.weight": (pairs(state[hf + "self_attn.q_proj.weight"], HEADS), 0),
                meta + "attention.wk.weight": (pairs(state[hf + "self_attn.k_proj.weight"], KV_HEADS), 0),
                meta + "attention.wv.weight": (state[hf + "self_attn.v_proj.weight"], 0),
                meta + "attention.wo.weight": (state[hf + "self_attn.o_proj.weight"], 1),
                meta + "feed_forward.w1.weight": (state[hf + "mlp.gate_proj.weight"], 0),
                meta + "feed_forward.w2.weight": (state[hf + "mlp.down_proj.weight"], 1),
                meta + "feed_forward.w3.weight": (state[hf + "mlp.up_proj.weight"], 0),
                meta + "attention_norm.weight": (state[hf + "input_layernorm.weight"], None),
                meta + "ffn_norm.weight": (state[hf + "post_attention_layernorm.weight"], None)}
    return out


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=67, hidden_size=WIDTH, intermediate_size=56, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, max_position_embeddings=4096, rms_norm_eps=1e-5, tie_word_embeddings=False)
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(target / "hf")
    for name in ("generation_config.json",):
        (target / "hf" / name).unlink(missing_ok=True)
    tensors = meta_tensors(model)
    for shard in range(SHARDS):
        part = {}
        for name, (weight, axis) in tensors.items():
            part[name] = (weight if axis is None else weight.chunk(SHARDS, axis)[shard]).clone()
        part["rope.freqs"] = torch.ones(WIDTH // HEADS // 2)
        torch.save(part, target / f"consolidated.{shard:02}.pth")
    params = dict(dim=WIDTH, n_layers=LAYERS, n_heads=HEADS, n_kv_heads=KV_HEADS, multiple_of=8, norm_eps=1e-5, vocab_size=-1)
    (target / "params.json").write_text(json.dumps(params) + "\n")


main()
