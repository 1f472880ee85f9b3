#include "frontend/gguf_config.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/gguf_tokenizer.h"

namespace lathe::frontend {
namespace {

// Keys that all decoder architectures share: GGUF's name after "<arch>.", Hugging Face's name.
struct KeyPair {
  std::string_view gguf;
  std::string_view hf;
  bool required;
};
constexpr KeyPair kIntegers[] = {
    {"embedding_length", "hidden_size", true},
    {"block_count", "num_hidden_layers", true},
    {"attention.head_count", "num_attention_heads", true},
    {"attention.head_count_kv", "num_key_value_heads", false},
    {"feed_forward_length", "intermediate_size", true},
    {"context_length", "max_position_embeddings", true},
    {"attention.key_length", "head_dim", false},
};
constexpr KeyPair kNumbers[] = {
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", false},
    {"attention.layer_norm_epsilon", "layer_norm_eps", false},
    {"rope.freq_base", "rope_theta", false},
};

// Further keys after "<arch>." that are read here or in an architecture's own file.
constexpr std::string_view kOtherKeys[] = {
    "vocab_size",
    "use_parallel_residual",
    "attention.value_length",
    "rope.dimension_count",
    "rope.scale_linear",  // before there was rope.scaling
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
};
// Keys that say nothing about the numbers, and values of others that say what is the case here anyway.
constexpr std::string_view kWithoutEffect[] = {"rope.scaling.finetuned", "tensor_data_layout"};
constexpr std::string_view kOneIsUsual[] = {"rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor",
                                            "rope.scaling.yarn_ext_factor"};

template <class Table, class T>
bool lists(const Table& table, const T& item) {
  return std::find(std::begin(table), std::end(table), item) != std::end(table);
}

std::string to_text(const io::GgufValue& value) {
  if (const auto text = value.as_string()) return "\"" + std::string(*text) + "\"";
  if (const auto number = value.as_int()) return std::to_string(*number);
  if (const auto number = value.as_float()) return fmt::format("{}", *number);
  if (const auto boolean = value.as_bool()) return *boolean ? "true" : "false";
  return fmt::format("{} values", value.size());
}

// A key of the architecture that nothing here reads changes what the model computes, unless its value switches
// off what it is about: experts, windows, soft caps, scales.
void refuse_other_keys(const io::GgufMetadata& metadata, const std::string& prefix) {
  for (const auto& [full_key, value] : metadata) {
    if (!full_key.starts_with(prefix)) continue;
    const std::string_view key = full_key.substr(prefix.size());
    const auto has_name = [&](const KeyPair& pair) { return pair.gguf == key; };
    const bool known = std::any_of(std::begin(kIntegers), std::end(kIntegers), has_name) ||
                       std::any_of(std::begin(kNumbers), std::end(kNumbers), has_name) || lists(kOtherKeys, key) ||
                       lists(kWithoutEffect, key);
    const bool off = value.as_int() == int64_t{0} || value.as_float() == 0.0 || value.as_bool() == false;
    const bool usual = lists(kOneIsUsual, key)     ? value.as_float() == 1.0
                       : key == "attention.causal" ? value.as_bool() == true
                                                   : off;
    if (!known && !usual) {
      fail(ErrorCode::unsupported, "metadata {} = {} is not supported", full_key, to_text(value));
    }
  }
}

// The scaling that the metadata spell out. Frequencies given as a tensor (rope_freqs) come on top.
void add_rope_scaling(Json& config, const io::GgufMetadata& metadata, const std::string& prefix) {
  const std::string scaling_prefix = prefix + "rope.scaling.";
  auto factor = metadata.find_float(scaling_prefix + "factor");
  if (!factor) factor = metadata.find_float(prefix + "rope.scale_linear");
  const std::string type(metadata.find_string(scaling_prefix + "type").value_or("linear"));
  // A factor of 0 is how llama.cpp writes that there is none.
  const bool plain = factor.value_or(0) == 0 || *factor == 1;
  if (type == "none" || (type == "linear" && plain)) return;
  if (!factor) factor = metadata.get_float(scaling_prefix + "factor");  // throws, naming it
  Json scaling = {{"rope_type", type}, {"factor", *factor}};
  if (const auto original = metadata.find_int(scaling_prefix + "original_context_length")) {
    scaling["original_max_position_embeddings"] = *original;
  }
  for (const char* key : {"beta_fast", "beta_slow"}) {
    const auto beta = metadata.find_float(scaling_prefix + "yarn_" + key);
    if (beta) scaling[key] = *beta;
  }
  config["rope_scaling"] = std::move(scaling);
}

// Widths that the file states and that the config's own rules must give.
void check_widths(const Json& config, const io::GgufMetadata& metadata, const Architecture& architecture,
                  const std::string& prefix) {
  const auto rotary = metadata.find_int(prefix + "rope.dimension_count");
  const auto value_width = metadata.find_int(prefix + "attention.value_length");
  if (!rotary && !value_width) return;
  const DecoderConfig read = decoder_config(architecture, config);
  const auto expect = [&](std::string_view key, std::optional<int64_t> stated, int64_t width) {
    if (stated && *stated != width) {
      fail(ErrorCode::unsupported, "metadata {}{} = {} is not supported with heads of {}: expected {}", prefix, key,
           *stated, read.head_dim, width);
    }
  };
  expect("rope.dimension_count", rotary, read.rope.dims);
  expect("attention.value_length", value_width, read.head_dim);
}

// A chat model's turn ends with any of these; the end of the text is the first.
void add_end_tokens(Json& config, const io::GgufMetadata& metadata) {
  std::vector<int64_t> ids;
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    const auto id = metadata.find_int(std::string("tokenizer.ggml.") + key);
    if (id && !lists(ids, *id)) ids.push_back(*id);
  }
  if (ids.size() == 1) config["eos_token_id"] = ids[0];
  if (ids.size() > 1) config["eos_token_id"] = ids;
}

}  // namespace

Json config_from_gguf(const io::GgufModel& model, const Architecture& architecture) {
  const io::GgufMetadata& metadata = model.first.metadata;
  const std::string prefix = std::string(architecture.gguf_name) + ".";
  Json config = Json::object();
  config["architectures"] = {std::string(architecture.hf_class)};
  config["model_type"] = std::string(architecture.model_type);
  for (const KeyPair& key : kIntegers) {
    const auto value = metadata.find_int(prefix + std::string(key.gguf));
    if (value)
      config[std::string(key.hf)] = *value;
    else if (key.required)
      metadata.get(prefix + std::string(key.gguf));  // throws, naming it
  }
  for (const KeyPair& key : kNumbers) {
    if (const auto value = metadata.find_float(prefix + std::string(key.gguf))) config[std::string(key.hf)] = *value;
  }
  refuse_other_keys(metadata, prefix);
  add_rope_scaling(config, metadata, prefix);
  // The vocabulary is as large as the embedding has rows; metadata may say so too, or not at all.
  if (const io::StoredTensor* embed = model.tensors.find("token_embd.weight"); embed && embed->dims.size() == 2) {
    config["vocab_size"] = embed->dims[0];
  }
  if (const auto size = metadata.find_int(prefix + "vocab_size")) config["vocab_size"] = *size;
  config["tie_word_embeddings"] = model.tensors.find("output.weight") == nullptr;
  if (const auto id = metadata.find_int("tokenizer.ggml.bos_token_id")) config["bos_token_id"] = *id;
  add_end_tokens(config, metadata);
  if (const auto id = metadata.find_int("tokenizer.ggml.padding_token_id")) config["pad_token_id"] = *id;
  if (const auto name = metadata.find_string("general.name")) config["_name_or_path"] = std::string(*name);
  if (architecture.complete_gguf_config) architecture.complete_gguf_config(config, metadata);
  check_widths(config, metadata, architecture, prefix);
  return config;
}

std::map<std::string, std::string> assets_from_gguf(const io::GgufMetadata& metadata, const Json& config) {
  std::map<std::string, std::string> assets;
  assets["config.json"] = config.dump(2) + "\n";
  Json generation = Json::object();
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (const Json* id = find_member(config, key)) generation[key] = *id;
  }
  assets["generation_config.json"] = generation.dump(2) + "\n";
  if (!metadata.find("tokenizer.ggml.model")) return assets;

  const text::GgufTokenizer tokenizer = text::read_gguf_tokenizer(metadata);
  assets["tokenizer.json"] = text::tokenizer_json_from_gguf(tokenizer).dump() + "\n";
  Json tokenizer_config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  const auto token_text = [&](const char* key, const char* field) {
    const Json* ids = find_member(config, key);
    if (!ids) return;
    for (const Json& id : ids->is_array() ? *ids : Json::array({*ids})) {
      const auto index = id.get<int64_t>();
      if (index < 0 || size_t(index) >= tokenizer.tokens.size()) {
        fail(ErrorCode::invalid_input, "{} is {}, the vocabulary has {} tokens", key, index, tokenizer.tokens.size());
      }
      if (!tokenizer_config.contains(field)) tokenizer_config[field] = tokenizer.tokens[size_t(index)];
    }
  };
  token_text("bos_token_id", "bos_token");
  token_text("eos_token_id", "eos_token");
  token_text("pad_token_id", "pad_token");
  if (const auto text = metadata.find_string("tokenizer.chat_template")) {
    tokenizer_config["chat_template"] = std::string(*text);
  }
  tokenizer_config["model_max_length"] = get_int(config, "max_position_embeddings");
  assets["tokenizer_config.json"] = tokenizer_config.dump(2) + "\n";
  return assets;
}

}  // namespace lathe::frontend
