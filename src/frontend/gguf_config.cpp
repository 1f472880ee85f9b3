#include "frontend/gguf_config.h"

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

// The scaling that the metadata spell out. Frequencies given as a tensor (rope_freqs) come on top.
void add_rope_scaling(Json& config, const io::GgufMetadata& metadata, const std::string& prefix) {
  const auto type = metadata.find_string(prefix + "rope.scaling.type");
  if (!type || *type == "none") return;
  Json scaling = {{"rope_type", std::string(*type)}};
  scaling["factor"] = metadata.get_float(prefix + "rope.scaling.factor");
  if (const auto original = metadata.find_int(prefix + "rope.scaling.original_context_length")) {
    scaling["original_max_position_embeddings"] = *original;
  }
  if (const auto factor = metadata.find_float(prefix + "rope.scaling.attn_factor")) {
    scaling["attention_factor"] = *factor;
  }
  config["rope_scaling"] = std::move(scaling);
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
    if (value) config[std::string(key.hf)] = *value;
    else if (key.required) metadata.get(prefix + std::string(key.gguf));  // throws, naming it
  }
  for (const KeyPair& key : kNumbers) {
    if (const auto value = metadata.find_float(prefix + std::string(key.gguf))) config[std::string(key.hf)] = *value;
  }
  add_rope_scaling(config, metadata, prefix);
  // The vocabulary is as large as the embedding has rows; metadata may say so too, or not at all.
  if (const io::StoredTensor* embed = model.tensors.find("token_embd.weight"); embed && embed->dims.size() == 2) {
    config["vocab_size"] = embed->dims[0];
  }
  if (const auto size = metadata.find_int(prefix + "vocab_size")) config["vocab_size"] = *size;
  config["tie_word_embeddings"] = model.tensors.find("output.weight") == nullptr;
  if (const auto id = metadata.find_int("tokenizer.ggml.bos_token_id")) config["bos_token_id"] = *id;
  if (const auto id = metadata.find_int("tokenizer.ggml.eos_token_id")) config["eos_token_id"] = *id;
  if (const auto id = metadata.find_int("tokenizer.ggml.padding_token_id")) config["pad_token_id"] = *id;
  if (const auto name = metadata.find_string("general.name")) config["_name_or_path"] = std::string(*name);
  if (architecture.complete_gguf_config) architecture.complete_gguf_config(config, metadata);
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
    const Json* id = find_member(config, key);
    if (!id) return;
    const auto index = id->get<int64_t>();
    if (index < 0 || size_t(index) >= tokenizer.tokens.size()) {
      fail(ErrorCode::invalid_input, "{} is {}, the vocabulary has {} tokens", key, index, tokenizer.tokens.size());
    }
    tokenizer_config[field] = std::string(tokenizer.tokens[size_t(index)]);
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
