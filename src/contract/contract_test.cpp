#include "contract/contract.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/fields.h"

namespace lathe::contract {
namespace {

// SmolLM2-135M-Instruct, from its config.json and generation_config.json.
Contract smollm2() {
  Contract c;
  c.architecture = "llama";
  c.name = "SmolLM2-135M-Instruct";
  c.licence = "apache-2.0";
  c.vocab_size = 49152;
  c.context_length = 8192;
  c.num_layers = 30;
  c.kv_heads = 3;
  c.head_dim = 64;
  c.bos_id = 1;
  c.eos_ids = {2};
  c.pad_id = 2;
  c.chat_template = "{% for message in messages %}{{ message }}{% endfor %}";
  c.tokenizer_asset = "tokenizer.json";
  c.precision = Precision::bf16;
  return c;
}

TEST(Contract, AGoodOnePasses) {
  EXPECT_NO_THROW(check(smollm2()));
}

TEST(Contract, JsonAndBack) {
  Contract contract = smollm2();
  contract.generation.do_sample = true;
  contract.generation.temperature = 0.2;
  contract.generation.max_length = 100;
  contract.generation.max_new_tokens = 20;
  const Json json = to_json(contract);
  EXPECT_EQ(get_string(json, "precision"), "bf16");
  EXPECT_EQ(get_int(json, "head_dim"), 64);
  Contract back;
  from_json(json, back);
  EXPECT_EQ(to_json(back), json);
  EXPECT_EQ(back.generation.max_length, 100);
  EXPECT_EQ(back.generation.max_new_tokens, 20);
}

TEST(Contract, WhatCannotBeRightIsRefused) {
  const std::pair<const char*, std::function<void(Contract&)>> cases[] = {
      {"architecture", [](Contract& c) { c.architecture = ""; }},
      {"vocab_size", [](Contract& c) { c.vocab_size = 0; }},
      {"context_length", [](Contract& c) { c.context_length = -1; }},
      {"num_layers", [](Contract& c) { c.num_layers = 0; }},
      {"kv_heads", [](Contract& c) { c.kv_heads = 0; }},
      {"head_dim", [](Contract& c) { c.head_dim = 0; }},
      {"bos_id", [](Contract& c) { c.bos_id = 49152; }},
      {"eos_ids[1]", [](Contract& c) { c.eos_ids = {0, 49152}; }},
      {"eos_ids[0]", [](Contract& c) { c.eos_ids = {-1}; }},
      {"pad_id", [](Contract& c) { c.pad_id = -1; }},
      {"tokenizer_asset", [](Contract& c) { c.tokenizer_asset = ""; }},
      {"temperature", [](Contract& c) { c.generation.temperature = -1; }},
      {"temperature", [](Contract& c) { c.generation.temperature = std::numeric_limits<double>::quiet_NaN(); }},
      {"temperature", [](Contract& c) { c.generation.do_sample = true, c.generation.temperature = 0; }},
      {"top_k", [](Contract& c) { c.generation.top_k = -1; }},
      {"top_p", [](Contract& c) { c.generation.top_p = 1.5; }},
      {"min_p", [](Contract& c) { c.generation.min_p = -0.5; }},
      {"repetition_penalty", [](Contract& c) { c.generation.repetition_penalty = 0; }},
      {"max_length", [](Contract& c) { c.generation.max_length = 0; }},
      {"max_new_tokens", [](Contract& c) { c.generation.max_new_tokens = 0; }},
  };
  for (const auto& [field, spoil] : cases) {
    Contract contract = smollm2();
    spoil(contract);
    try {
      check(contract);
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      EXPECT_NE(error.message().find(field), std::string::npos) << error.what();
    }
  }
}

TEST(Contract, EdgesThatAreRight) {
  Contract contract = smollm2();
  contract.eos_ids = {49151, 0};
  contract.generation.top_p = 0;
  contract.generation.temperature = 0;  // greedy
  contract.chat_template = "";
  contract.tokenizer_asset = "";
  EXPECT_NO_THROW(check(contract));
}

TEST(Precision, NamesBothWays) {
  for (const Precision p : {Precision::fp32, Precision::fp16, Precision::bf16, Precision::q8}) {
    Precision back = Precision::fp32;
    ASSERT_TRUE(from_string(to_string(p), back));
    EXPECT_EQ(back, p);
  }
  Precision none;
  EXPECT_FALSE(from_string("fp8", none));
}

}  // namespace
}  // namespace lathe::contract
