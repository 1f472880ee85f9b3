#include "frontend/decoder.h"

#include <gtest/gtest.h>

#include "frontend/checkpoint_testing.h"
#include "frontend/weights.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

// What building a model says: its error, or nothing.
std::optional<Error> build_error(const std::filesystem::path& path) {
  try {
    build_decoder(Checkpoint::open(path), DType::f32);
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

void expect_missing(const std::filesystem::path& path, const std::string& name) {
  const std::optional<Error> error = build_error(path);
  ASSERT_TRUE(error) << "builds without " << name;
  EXPECT_EQ(error->code(), ErrorCode::invalid_input) << error->what();
  EXPECT_NE(std::string(error->what()).find(name), std::string::npos) << error->what();
}

void expect_missing_in_folder(const std::string& model, const Json& config_changes,
                              const std::string& tensor) {
  const TemporaryFolder folder;
  copy_folder(folder.path(), model, config_changes, remove_tensor(tensor));
  expect_missing(folder.path(), tensor);
}

TEST(Decoder, CopiesOfTheTestModelsBuild) {
  for (const char* model : {"neox_parallel", "neox_no_bias", "llama_bias", "llama_gqa", "gpt2"}) {
    const TemporaryFolder folder;
    copy_folder(folder.path(), model, Json::object());
    const auto error = build_error(folder.path());
    EXPECT_FALSE(error) << model << ": " << error->what();
  }
}

TEST(Decoder, EveryBiasOfGptNeoxIsExpected) {
  const std::string layer = "gpt_neox.layers.1.";
  for (const char* name : {"input_layernorm", "post_attention_layernorm", "attention.query_key_value",
                           "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}) {
    expect_missing_in_folder("neox_parallel", Json::object(), layer + name + ".bias");
  }
  expect_missing_in_folder("neox_parallel", Json::object(), "gpt_neox.final_layer_norm.bias");
  // attention_bias is about the attention only.
  expect_missing_in_folder("neox_no_bias", Json::object(), layer + "mlp.dense_h_to_4h.bias");
  expect_missing_in_folder("neox_no_bias", Json::object(), layer + "input_layernorm.bias");
}

TEST(Decoder, EveryBiasOfGptNeoxInGgufIsExpected) {
  for (const char* name : {"attn_norm", "ffn_norm", "attn_qkv", "attn_output", "ffn_up", "ffn_down"}) {
    const TemporaryFolder folder;
    const std::string tensor = std::string("blk.0.") + name + ".bias";
    copy_gguf(folder.path() / "m.gguf", "gguf_neox_q8_0", {}, {}, remove_tensor(tensor));
    expect_missing(folder.path() / "m.gguf", tensor);
  }
}

TEST(Decoder, EveryBiasOfGpt2IsExpected) {
  for (const char* name : {"ln_1", "ln_2", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}) {
    expect_missing_in_folder("gpt2", Json::object(), fmt::format("transformer.h.1.{}.bias", name));
  }
  expect_missing_in_folder("gpt2", Json::object(), "transformer.ln_f.bias");
}

// As openai-community/gpt2 is stored: the model without its head, with the masks of old versions.
TEST(Decoder, Gpt2WithoutItsPrefixIsTheSameModel) {
  const TemporaryFolder folder;
  copy_folder(folder.path(), "gpt2", Json::object(), [](std::vector<io::NamedSource>& tensors) {
    for (io::NamedSource& tensor : tensors) tensor.name.erase(0, std::string_view("transformer.").size());
    tensors.push_back({"h.0.attn.bias", tensor::memory_source(tensor::Tensor(DType::f32, {1, 1, 128, 128}), "mask")});
  });
  const auto build = [](const std::filesystem::path& path) {
    return build_decoder(Checkpoint::open(path), DType::f32).graphs.at("main");
  };
  const ir::Graph bare = build(folder.path());
  const ir::Graph full = build(std::filesystem::path(LATHE_TESTS_DIR) / "arch" / "gpt2");
  EXPECT_EQ(bare.nodes().size(), full.nodes().size());
  const auto found = bare.constants(), expected = full.constants();
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ("transformer." + bare.source_name(found[i]), full.source_name(expected[i]));
    EXPECT_EQ(tensor::to_floats(tensor::load(*bare.source(found[i]))),
              tensor::to_floats(tensor::load(*full.source(expected[i]))));
  }
  expect_missing_in_folder("gpt2", Json::object(), "transformer.wpe.weight");
}

TEST(Decoder, VariantsOfGpt2ThatNothingHereComputesAreRefused) {
  for (const Json& change : {Json{{"scale_attn_by_inverse_layer_idx", true}}, Json{{"add_cross_attention", true}},
                             Json{{"scale_attn_weights", false}}}) {
    const TemporaryFolder folder;
    copy_folder(folder.path(), "gpt2", change);
    const auto error = build_error(folder.path());
    ASSERT_TRUE(error) << change;
    EXPECT_EQ(error->code(), ErrorCode::unsupported) << error->what();
  }
}

constexpr const char* kLlamaBiases[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                        "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                        "mlp.down_proj"};

TEST(Decoder, BiasesThatLlamasConfigNamesAreExpected) {
  for (const char* name : kLlamaBiases) {
    for (const char* layer : {"0", "1"}) {
      expect_missing_in_folder("llama_bias", Json::object(),
                               fmt::format("model.layers.{}.{}.bias", layer, name));
    }
  }
}

TEST(Decoder, BiasesThatLlamasConfigDeniesAreRefused) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    const TemporaryFolder folder;
    copy_folder(folder.path(), "llama_bias", Json{{key, false}});
    const auto error = build_error(folder.path());
    ASSERT_TRUE(error) << key;
    EXPECT_EQ(error->code(), ErrorCode::invalid_input) << error->what();
  }
}

TEST(Decoder, WhereTheConfigIsSilentAllLayersHaveTheSameBiases) {
  const Json silent = {{"attention_bias", nullptr}, {"mlp_bias", nullptr}};
  {
    const TemporaryFolder folder;
    copy_folder(folder.path(), "llama_bias", silent);
    EXPECT_FALSE(build_error(folder.path()));
  }
  for (const char* name : kLlamaBiases) {
    expect_missing_in_folder("llama_bias", silent, fmt::format("model.layers.1.{}.bias", name));
    const TemporaryFolder folder;
    // Only in the later layer, and query without key: neither is a model.
    copy_folder(folder.path(), "llama_bias", silent,
                remove_tensor(fmt::format("model.layers.0.{}.bias", name)));
    const auto error = build_error(folder.path());
    ASSERT_TRUE(error) << name;
    EXPECT_EQ(error->code(), ErrorCode::invalid_input) << error->what();
  }
  const TemporaryFolder folder;
  copy_folder(folder.path(), "llama_bias", silent, [](std::vector<io::NamedSource>& tensors) {
    std::erase_if(tensors, [](const io::NamedSource& tensor) { return tensor.name.ends_with(".bias"); });
  });
  EXPECT_FALSE(build_error(folder.path()));
}

TEST(Decoder, NamesThatAContainerLacksAreSkipped) {
  static constexpr WeightName kWeights[] = {{slots::q, "h.{}.q", ""},
                                            {slots::qkv, "", "blk.{}.qkv"},
                                            {slots::up, "", "blk.{}.up"},
                                            {slots::up, "h.{}.up", ""}};
  Architecture architecture{};
  architecture.weights = kWeights;
  EXPECT_EQ(tensor_name(architecture, false, slots::q, 3), "h.3.q");
  EXPECT_EQ(tensor_name(architecture, true, slots::q, 3), "");
  EXPECT_EQ(tensor_name(architecture, false, slots::qkv, 3), "");
  EXPECT_EQ(tensor_name(architecture, true, slots::qkv, 12), "blk.12.qkv");
  EXPECT_EQ(tensor_name(architecture, false, slots::up, 0), "h.0.up");
  EXPECT_EQ(tensor_name(architecture, true, slots::up, 0), "blk.0.up");
  EXPECT_EQ(tensor_name(architecture, true, slots::head, 0), "");
}

TEST(Decoder, PrecisionComesFromTheProjectionsWhateverTheirForm) {
  const auto precision = [](const char* model) {
    const std::filesystem::path path = std::filesystem::path(LATHE_TESTS_DIR) / "arch" / model;
    return natural_precision(Checkpoint::open(path));
  };
  EXPECT_EQ(precision("llama_gqa"), contract::Precision::fp32);
  EXPECT_EQ(precision("llama_f16"), contract::Precision::fp16);
  EXPECT_EQ(precision("llama_bf16"), contract::Precision::bf16);
  EXPECT_EQ(precision("neox_tied_bf16"), contract::Precision::bf16);
  EXPECT_EQ(precision("gguf_llama_f16/model.gguf"), contract::Precision::fp16);
  EXPECT_EQ(precision("gguf_neox_q8_0/model.gguf"), contract::Precision::q8);
}

TEST(Decoder, RowsPerHeadNeedAsManyKeyValueHeadsAsHeads) {
  DecoderConfig config;
  config.vocab_size = config.hidden_size = config.intermediate_size = config.context_length = 64;
  config.num_layers = 1;
  config.num_heads = config.num_kv_heads = 4;
  config.head_dim = 16;
  config.rope.dims = 16;
  config.qkv = QkvForm::per_head;
  check(config);
  config.num_kv_heads = 2;
  try {
    check(config);
    ADD_FAILURE() << "two key-value heads pass";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
  }
  config.qkv = QkvForm::concatenated;
  check(config);
}

}  // namespace
}  // namespace lathe::frontend
