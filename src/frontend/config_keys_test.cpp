#include "frontend/config_keys.h"

#include <gtest/gtest.h>

#include "frontend/checkpoint_testing.h"
#include "frontend/decoder.h"

namespace lathe::frontend {
namespace {

// What a model of tests/arch says with changes to its config: nothing, or an error.
std::optional<Error> error_of(const std::string& model, const Json& changes) {
  const Json config = [&] {
    const std::filesystem::path folder = std::filesystem::path(LATHE_TESTS_DIR) / "arch" / model;
    Json json = parse_json(read_text_file(folder / "config.json"), "config.json");
    for (const auto& [key, value] : changes.items()) json[key] = value;
    return json;
  }();
  try {
    check(decoder_config(get_architecture(get_string(config, "model_type")), config));
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

void expect_refused(const std::string& model, const Json& changes, const std::string& said) {
  const auto error = error_of(model, changes);
  ASSERT_TRUE(error) << model << " with " << changes;
  EXPECT_EQ(error->code(), ErrorCode::unsupported) << error->what();
  EXPECT_NE(std::string(error->what()).find(said), std::string::npos) << error->what();
}

void expect_fine(const std::string& model, const Json& changes) {
  const auto error = error_of(model, changes);
  EXPECT_FALSE(error) << model << " with " << changes << ": " << error->what();
}

TEST(ConfigKeys, WhatNobodyReadsIsRefusedWithItsValue) {
  for (const char* model : {"llama_gqa", "neox_parallel", "gpt2"}) {
    expect_refused(model, {{"sliding_window", 4096}}, "sliding_window = 4096");
    expect_refused(model, {{"use_sliding_window", true}}, "use_sliding_window = true");
    expect_refused(model, {{"sliding_window", 16}, {"use_sliding_window", true}}, "sliding_window = 16");
    expect_refused(model, {{"layer_types", {"full_attention", "sliding_attention"}}}, "\"sliding_attention\"");
    expect_refused(model, {{"is_causal", false}}, "is_causal = false");
    expect_refused(model, {{"alibi", true}}, "alibi = true");
    expect_refused(model, {{"no_rope_layers", {1, 0}}}, "no_rope_layers = [1,0]");
    expect_refused(model, {{"rope_interleaved", true}}, "rope_interleaved = true");
    expect_refused(model, {{"attention_multiplier", 0.5}}, "attention_multiplier = 0.5");
    expect_refused(model, {{"attn_logit_softcapping", 50.0}}, "attn_logit_softcapping = 50.0");
    expect_refused(model, {{"final_logit_softcapping", 30}}, "final_logit_softcapping = 30");
    expect_refused(model, {{"logits_scaling", 8.0}}, "logits_scaling = 8.0");
    expect_refused(model, {{"embedding_multiplier", 0}}, "embedding_multiplier = 0");
    expect_refused(model, {{"num_experts", 8}}, "num_experts = 8");
    expect_refused(model, {{"hidden_activation", "gelu"}}, "hidden_activation = \"gelu\"");
    expect_refused(model, {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor = 0.5");
    expect_refused(model, {{"is_encoder_decoder", true}}, "is_encoder_decoder = true");
  }
  expect_refused("llama_gqa", {{"use_parallel_residual", true}}, "use_parallel_residual = true");
  expect_refused("llama_gqa", {{"rotary_pct", 0.25}}, "rotary_pct = 0.25");
}

TEST(ConfigKeys, ALongValueIsCut) {
  const auto error = error_of("llama_gqa", {{"no_rope_layers", std::vector<int>(5000, 0)}});
  ASSERT_TRUE(error);
  EXPECT_LT(std::string(error->what()).size(), 300u) << error->what();
}

TEST(ConfigKeys, ValuesThatSayWhatIsTheCaseAnywayPass) {
  for (const char* model : {"llama_gqa", "neox_parallel", "gpt2"}) {
    expect_fine(model, {{"sliding_window", nullptr}, {"use_sliding_window", false}});
    expect_fine(model, {{"sliding_window", 32768}, {"use_sliding_window", false}, {"max_window_layers", 28}});
    expect_fine(model, {{"sliding_window", 0}, {"alibi", false}, {"num_experts", 0}, {"is_causal", true}});
    expect_fine(model, {{"layer_types", {"full_attention", "full_attention"}}, {"no_rope_layers", {1, 1}}});
    expect_fine(model, {{"layer_types", Json::array()}, {"per_layer_config", Json::object()}});
    expect_fine(model, {{"embedding_multiplier", 1.0}, {"logits_scaling", 1}});
    expect_fine(model, {{"hidden_activation", ""}, {"attn_logit_softcapping", nullptr}});
  }
  expect_fine("llama_gqa", {{"partial_rotary_factor", 1.0}});
  expect_fine("gpt2", {{"partial_rotary_factor", 1.0}});
}

// As the folders that people have hold them: of training, of other programs, of versions to come.
TEST(ConfigKeys, KeysWithoutEffectPass) {
  for (const char* model : {"llama_gqa", "neox_parallel", "gpt2"}) {
    expect_fine(model, {{"attention_dropout", 0.1},
                        {"hidden_dropout", 0.1},
                        {"initializer_range", 0.02},
                        {"torch_dtype", "bfloat16"},
                        {"transformers_version", "9.0"},
                        {"use_cache", false},
                        {"pretraining_tp", 2},
                        {"gradient_checkpointing", true},
                        {"router_aux_loss_coef", 0.01},
                        {"unsloth_version", "2024.9"},
                        {"transformers.js_config", {{"kv_cache_dtype", {{"q4f16", "float16"}}}}},
                        {"is_llama_config", true},
                        {"rope_interleaved", false},
                        {"task_specific_params", {{"text-generation", {{"max_length", 50}}}}},
                        {"a_key_of_tomorrow", 1}});
  }
}

TEST(ConfigKeys, WhatAnArchitectureReadsIsNotRefused) {
  expect_fine("neox_parallel", {{"use_parallel_residual", false}});
  expect_fine("neox_parallel", {{"use_parallel_residual", true}, {"rotary_pct", 0.25}});
  // Saved by transformers 4.57: the fraction twice.
  expect_fine("optimum_neox_parallel", Json::object());
  expect_fine("optimum_neox_parallel", {{"partial_rotary_factor", nullptr}});
  expect_refused("optimum_neox_parallel", {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor = 0.5");
  expect_refused("optimum_neox_parallel", {{"partial_rotary_factor", 1.0}}, "partial_rotary_factor = 1.0");
  expect_refused("neox_parallel", {{"partial_rotary_factor", 1.0}}, "partial_rotary_factor = 1.0");
  EXPECT_THROW(refuse_unread_keys(Json::object(), std::array<std::string_view, 1>{"use_paralel_residual"}), Error);
}

TEST(ConfigKeys, WhatStandsBesideTheRotaryParametersIsReadOrRefused) {
  const auto rope = [](const Json& more) {
    Json json = {
        {"rope_type", "yarn"}, {"rope_theta", 10000.0}, {"factor", 4.0}, {"original_max_position_embeddings", 32}};
    json.update(more);
    return Json{{"rope_parameters", json}};
  };
  const std::string model = "llama_gqa";
  expect_fine(model, rope(Json::object()));
  expect_fine(model, rope({{"finetuned", true}, {"attn_factor", 1.0}, {"short_factor", nullptr}}));
  expect_fine(model, rope({{"partial_rotary_factor", 1.0}, {"attention_factor", nullptr}, {"truncate", false}}));
  expect_refused(model, rope({{"partial_rotary_factor", 0.5}}), "rope_parameters: partial_rotary_factor = 0.5");
  expect_refused(model, rope({{"mrope_section", {4, 1, 1}}}), "rope_parameters: mrope_section = [4,1,1]");
  expect_refused(model, rope({{"attn_factor", 1.25}}), "rope_parameters: attn_factor = 1.25");
  expect_refused(model, rope({{"full_attention", {{"rope_theta", 1e6}}}}), "rope_parameters: full_attention");
  expect_refused(model, {{"rope_parameters", {{"rope_type", "longrope"}}}}, "\"longrope\"");
  expect_refused(model, {{"rope_parameters", nullptr}, {"rope_scaling", {{"type", "su"}, {"factor", 2.0}}}}, "\"su\"");

  Json twice = rope(Json::object());
  twice["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  expect_fine(model, twice);
  twice["rope_scaling"]["factor"] = 8.0;
  expect_refused(model, twice, "rope_scaling beside rope_parameters: factor = 8.0");

  Json outside = rope(Json::object());
  outside["original_max_position_embeddings"] = 32;
  expect_fine(model, outside);
  outside["original_max_position_embeddings"] = 64;
  expect_refused(model, outside, "original_max_position_embeddings = 64");
}

TEST(ConfigKeys, TheRotatingPartOfAHead) {
  const Json published = {{"rotary_pct", 0.25}};
  EXPECT_EQ(rotary_fraction(published, "rotary_pct", 1), 0.25);
  EXPECT_EQ(rotary_fraction(published, "partial_rotary_factor", 0.5), 0.5);
  const Json saved = {{"rope_parameters", {{"partial_rotary_factor", 0.75}}}, {"rotary_pct", 0.25}};
  EXPECT_EQ(rotary_fraction(saved, "rotary_pct", 1), 0.75);
  EXPECT_EQ(rotary_fraction(Json{{"rope_scaling", {{"partial_rotary_factor", 0.5}}}}, "rotary_pct", 1), 0.5);
  for (const double wrong : {0.0, -0.5, 1.5, 1e300}) {
    EXPECT_THROW(rotary_fraction(Json{{"rotary_pct", wrong}}, "rotary_pct", 1), Error) << wrong;
  }
}

}  // namespace
}  // namespace lathe::frontend
