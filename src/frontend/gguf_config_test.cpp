#include "frontend/gguf_config.h"

#include <gtest/gtest.h>

#include "frontend/checkpoint_testing.h"
#include "frontend/rope.h"

namespace lathe::frontend {
namespace {

using AddKeys = std::function<void(io::GgufWriter&)>;

Checkpoint changed(const AddKeys& add, const std::vector<std::string>& without = {},
                   const std::string& model = "gguf_llama_f16") {
  const TemporaryFolder folder;  // the mapped file outlives its name
  copy_gguf(folder.path() / "m.gguf", model, without, add);
  return Checkpoint::open(folder.path() / "m.gguf");
}

// The code of opening a copy with one more key, whose name the message must hold; nullopt if it opens.
template <class T>
std::optional<ErrorCode> code_with(const std::string& key, const T& value,
                                   const std::string& model = "gguf_llama_f16") {
  try {
    changed([&](io::GgufWriter& writer) { writer.set(key, value); }, {key}, model);
    return std::nullopt;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
    return error.code();
  }
}

TEST(GgufConfig, EveryEndTokenEndsATurn) {
  const std::vector<std::string> all = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id"};
  const auto end_ids = [&](const std::map<std::string, uint32_t>& ids) {
    const Checkpoint checkpoint = changed(
        [&](io::GgufWriter& writer) {
          for (const auto& [key, id] : ids) writer.set("tokenizer.ggml." + key, id);
        },
        all);
    const Json generation = parse_json(checkpoint.assets().at("generation_config.json"), "generation_config.json");
    EXPECT_EQ(generation.value("eos_token_id", Json()), checkpoint.config().value("eos_token_id", Json()));
    return build_decoder(checkpoint, tensor::DType::f32).contract.eos_ids;
  };
  using Ids = std::vector<int64_t>;
  EXPECT_EQ(end_ids({{"eos_token_id", 3}}), Ids({3}));
  EXPECT_EQ(end_ids({{"eos_token_id", 3}, {"eot_token_id", 5}}), Ids({3, 5}));
  EXPECT_EQ(end_ids({{"eos_token_id", 3}, {"eot_token_id", 5}, {"eom_token_id", 4}}), Ids({3, 5, 4}));
  EXPECT_EQ(end_ids({{"eos_token_id", 3}, {"eot_token_id", 3}}), Ids({3}));
  EXPECT_EQ(end_ids({{"eot_token_id", 5}}), Ids({5}));
}

TEST(GgufConfig, KeysThatWouldChangeTheNumbersAreRefused) {
  EXPECT_EQ(code_with("llama.expert_count", uint32_t{8}), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.attention.sliding_window", uint32_t{16}), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.attention.causal", false), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.attention.scale", 0.5f), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.attention.value_length", uint32_t{4}), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.rope.dimension_count", uint32_t{4}), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.rope.scaling.attn_factor", 1.25f), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.rope.scaling.yarn_attn_factor", 0.5f), ErrorCode::unsupported);
  EXPECT_EQ(code_with("llama.rope.scaling.yarn_ext_factor", 0.0f), ErrorCode::unsupported);
  EXPECT_EQ(code_with("gptneox.attention.max_alibi_bias", 8.0f, "gguf_neox_q8_0"), ErrorCode::unsupported);
}

TEST(GgufConfig, KeysThatSayWhatIsTheCaseAnywayPass) {
  EXPECT_EQ(code_with("llama.expert_count", uint32_t{0}), std::nullopt);
  EXPECT_EQ(code_with("llama.attention.sliding_window", uint32_t{0}), std::nullopt);
  EXPECT_EQ(code_with("llama.attention.causal", true), std::nullopt);
  EXPECT_EQ(code_with("llama.rope.scaling.attn_factor", 1.0f), std::nullopt);
  EXPECT_EQ(code_with("llama.rope.scaling.finetuned", true), std::nullopt);
  EXPECT_EQ(code_with("llama.tensor_data_layout", std::string("Meta AI original pth")), std::nullopt);
  EXPECT_EQ(code_with("gptneox.attention.max_alibi_bias", 0.0f, "gguf_neox_q8_0"), std::nullopt);
  // Another architecture's keys are not this model's.
  EXPECT_EQ(code_with("qwen2.expert_count", uint32_t{8}), std::nullopt);
  const Checkpoint plain = changed({});
  const DecoderConfig config = decoder_config(plain.architecture(), plain.config());
  EXPECT_EQ(code_with("llama.rope.dimension_count", uint32_t(config.head_dim)), std::nullopt);
  EXPECT_EQ(code_with("llama.attention.value_length", uint32_t(config.head_dim)), std::nullopt);
}

RopeConfig rope_of(const AddKeys& add) {
  const Checkpoint checkpoint = changed(add);
  return decoder_config(checkpoint.architecture(), checkpoint.config()).rope;
}

TEST(GgufConfig, RopeScaling) {
  EXPECT_EQ(rope_of({}).scaling, RopeScaling::none);
  for (const char* key : {"llama.rope.scale_linear", "llama.rope.scaling.factor"}) {  // linear where no type is given
    const RopeConfig rope = rope_of([&](io::GgufWriter& writer) { writer.set(key, 4.0f); });
    EXPECT_EQ(rope.scaling, RopeScaling::linear) << key;
    EXPECT_EQ(rope.factor, 4) << key;
  }
  EXPECT_EQ(rope_of([](io::GgufWriter& writer) { writer.set("llama.rope.scale_linear", 1.0f); }).scaling,
            RopeScaling::none);
  EXPECT_EQ(rope_of([](io::GgufWriter& writer) {
              writer.set("llama.rope.scaling.type", std::string("none")).set("llama.rope.scaling.factor", 2.0f);
            }).scaling,
            RopeScaling::none);
  const RopeConfig yarn = rope_of([](io::GgufWriter& writer) {
    writer.set("llama.rope.scaling.type", std::string("yarn")).set("llama.rope.scaling.factor", 8.0f);
    writer.set("llama.rope.scaling.original_context_length", uint32_t{32});
    writer.set("llama.rope.scaling.yarn_beta_fast", 16.0f).set("llama.rope.scaling.yarn_beta_slow", 2.0f);
    writer.set("llama.rope.scaling.yarn_ext_factor", 1.0f);
  });
  EXPECT_EQ(yarn.scaling, RopeScaling::yarn);
  EXPECT_EQ(yarn.factor, 8);
  EXPECT_EQ(yarn.original_context, 32);
  EXPECT_EQ(yarn.beta_fast, 16);
  EXPECT_EQ(yarn.beta_slow, 2);
  try {
    rope_of([](io::GgufWriter& writer) {
      writer.set("llama.rope.scaling.type", std::string("longrope")).set("llama.rope.scaling.factor", 2.0f);
    });
    ADD_FAILURE() << "longrope passes";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
  }
}

TEST(ParseConfig, QuantisedWeightsAreNamed) {
  const auto code = [](const std::string& text) -> std::optional<ErrorCode> {
    try {
      parse_config(text);
      return std::nullopt;
    } catch (const Error& error) {
      return error.code();
    }
  };
  EXPECT_EQ(code(R"({"quantization_config": {"quant_method": "gptq", "bits": 4}})"), ErrorCode::unsupported);
  EXPECT_EQ(code(R"({"quantization_config": {"load_in_8bit": true}})"), ErrorCode::unsupported);
  EXPECT_EQ(code(R"({"quantization_config": null})"), std::nullopt);
  EXPECT_EQ(code("{"), ErrorCode::invalid_input);
  EXPECT_EQ(code("[]"), ErrorCode::invalid_input);
  std::string members = "{";
  for (int i = 0; i < 1'000'000; ++i) members += fmt::format("\"{}\":{{", i);  // deep: refused without a parse
  EXPECT_EQ(code(members), ErrorCode::invalid_input);
  members = "{";
  for (int i = 0; i < 1'000'000; ++i) members += fmt::format("\"{}\":0,", i);
  EXPECT_EQ(code(members + "\"end\":0}"), std::nullopt);  // odd, but read in no time
}

TEST(ParseConfig, AFolderOfQuantisedWeightsIsUnsupported) {
  const TemporaryFolder folder;
  copy_folder(folder.path(), "llama_gqa", Json{{"quantization_config", {{"quant_method", "awq"}}}});
  try {
    build_decoder(Checkpoint::open(folder.path()), tensor::DType::f32);
    ADD_FAILURE() << "builds";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
  }
}

}  // namespace
}  // namespace lathe::frontend
