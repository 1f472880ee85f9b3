#!/usr/bin/env python3
"""config.json that is no JSON, no model, or does not fit its tensors."""
import json

from case import ARCH, Case, main


class Configs(Case):
    def config(self, code, text, *said):
        model = self.folder()
        (model / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        self.refused_by_two(code, model, *said)

    def changed(self, code, key, value, *said):
        config = json.loads((ARCH / "llama_gqa/config.json").read_text())
        if value is None:
            del config[key]
        else:
            config[key] = value
        self.config(code, json.dumps(config), *said)

    def test_not_json(self):
        for text in ("", "{", "model_type: llama", "\xff\xfe", b"\xff\xfe\x00", '{"model_type": "llama"} trailing'):
            self.config(3, text, "config.json")
        self.config(3, "[]")
        self.config(3, "{}", "model_type")
        self.config(3, "[" * 1_000_000, "config.json")
        self.config(3, '{"a":' * 100_000 + "1" + "}" * 100_000, "config.json")

    def test_architecture(self):
        self.changed(4, "model_type", "mambo", "mambo", "llama", "gpt_neox")
        self.changed(3, "model_type", 7, "model_type")
        self.changed(3, "model_type", None, "model_type")

    def test_absurd_values(self):
        for key, value in [("num_hidden_layers", 0), ("num_hidden_layers", -1), ("num_hidden_layers", 10**12),
                           ("hidden_size", 10**12), ("hidden_size", 0), ("intermediate_size", -5),
                           ("vocab_size", 0), ("vocab_size", 2**62), ("num_attention_heads", -1),
                           ("num_attention_heads", 0), ("num_key_value_heads", 0), ("num_key_value_heads", -2),
                           ("max_position_embeddings", 0), ("max_position_embeddings", 2**63), ("head_dim", -12),
                           ("head_dim", 2**40), ("hidden_size", 2**64)]:
            self.changed(3, key, value, *([key] if value not in (2**64,) and key != "head_dim" else []))
        for key, value in [("hidden_size", 42.5), ("num_hidden_layers", "two"), ("vocab_size", [67]),
                           ("tie_word_embeddings", "no"), ("rope_parameters", 3), ("rms_norm_eps", "small")]:
            self.changed(3, key, value, key)
        for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"):
            self.changed(3, key, None, key)

    def test_do_not_fit_together(self):
        self.changed(3, "num_key_value_heads", 4, 6, 4)
        self.changed(3, "num_hidden_layers", 3, "model.layers.2.", 42)
        self.changed(3, "num_hidden_layers", 10000, "model.layers.2.")
        self.changed(3, "num_hidden_layers", 1, "model.layers.1.")
        self.changed(3, "vocab_size", 68, "model.embed_tokens.weight", 68, 67)
        self.changed(3, "hidden_size", 48, "model.embed_tokens.weight", 48, 42)
        self.changed(3, "intermediate_size", 57, "mlp.", 57, 56)
        self.changed(3, "head_dim", 10, "self_attn.q_proj.weight", 60, 72)
        self.changed(3, "tie_word_embeddings", "yes", "tie_word_embeddings")
        self.changed(3, "attention_bias", True, "attention_bias")
        self.changed(4, "hidden_act", "snake", "snake")
        self.changed(3, "eos_token_id", 67, 67)
        self.changed(3, "eos_token_id", ["</s>"], "eos_token_id")

    def test_numbers(self):
        for value in (float("nan"), float("inf"), -1e-5, 0, 1e400):  # json.dumps writes NaN and Infinity
            self.changed(3, "rms_norm_eps", value)
        for value in (0, -1, 1e-300, float("nan")):
            self.changed(3, "rope_parameters", {"rope_type": "default", "rope_theta": value})
        for scaling in ({"rope_type": "linear"}, {"rope_type": "linear", "factor": 0},
                        {"rope_type": "dynamic", "factor": 1e300},
                        {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": -4},
                        {"rope_type": "yarn", "factor": 2, "beta_fast": 0},
                        {"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 1}):
            self.changed(3, "rope_parameters", {"rope_theta": 10000, **scaling})
        self.changed(4, "rope_parameters", {"rope_type": "spiral", "factor": 2}, "spiral", "yarn")
        self.changed(4, "rope_parameters", {"rope_type": "linear", "factor": 2, "alpha": 1000},
                     "config.json", "rope_parameters", "alpha = 1000")
        self.changed(4, "rope_parameters", {"rope_theta": 10000, "partial_rotary_factor": 0.5},
                     "partial_rotary_factor = 0.5")
        self.changed(4, "rope_scaling", {"type": "linear", "factor": 2}, "rope_scaling beside rope_parameters")

    def test_keys_that_nobody_reads(self):
        for key, value in [("sliding_window", 4096), ("use_sliding_window", True), ("alibi", True),
                           ("layer_types", ["full_attention", "sliding_attention"]), ("is_causal", False),
                           ("num_experts", 8), ("attn_logit_softcapping", 50.0), ("logits_scaling", 8.0),
                           ("use_parallel_residual", True), ("rope_interleaved", True)]:
            said = json.dumps(value, separators=(",", ":"))
            self.changed(4, key, value, "config.json", f"{key} = {said}")
        self.changed(4, "no_rope_layers", [0] * 100_000, "no_rope_layers = [0,0,")
        self.changed(4, "sliding_window", "π" * 1000, "sliding_window")

    def test_keys_without_effect(self):
        for changes in ({"sliding_window": None, "use_sliding_window": False, "alibi": False, "num_experts": 0},
                        {"sliding_window": 16, "use_sliding_window": False, "max_window_layers": 2},
                        {"layer_types": ["full_attention"] * 2, "is_causal": True, "logits_scaling": 1.0},
                        {"attention_dropout": 0.1, "torch_dtype": "float32", "transformers_version": "99",
                         "initializer_range": 1.0, "a_key_of_tomorrow": {"nested": [1, 2]}}):
            model = self.folder()
            config = json.loads((model / "config.json").read_text())
            (model / "config.json").write_text(json.dumps({**config, **changes}))
            self.good("inspect", model)
            same = [self.good("run", folder, "--tokens", "1,2,3", "-n", 4, "-t", 1, "--temp", 0).stdout
                    for folder in (model, ARCH / "llama_gqa")]
            self.assertEqual(*same)


if __name__ == "__main__":
    main()
