#include "frontend/contract_from.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::frontend {
namespace {

// An asset parsed as JSON; an empty object when the checkpoint has none of that name.
Json asset_json(const Checkpoint& checkpoint, const std::string& name) {
  const auto it = checkpoint.assets().find(name);
  return it == checkpoint.assets().end() ? Json::object() : parse_json(it->second, name);
}

// eos_token_id is a number or a list of numbers.
std::vector<int64_t> token_ids(const Json& object, std::string_view key) {
  const Json* member = find_member(object, key);
  if (!member) return {};
  if (!member->is_array()) return {get_int(object, key)};
  std::vector<int64_t> ids;
  for (const Json& item : *member) {
    if (!item.is_number_integer()) fail(ErrorCode::invalid_input, "{}: expected token ids, found {}", key, item.dump());
    ids.push_back(item.get<int64_t>());
  }
  return ids;
}

// tokenizer_config.json keeps one template as text, or several as [{name, template}].
std::string chat_template(const Checkpoint& checkpoint, const Json& tokenizer_config) {
  if (const auto it = checkpoint.assets().find("chat_template.jinja"); it != checkpoint.assets().end()) {
    return it->second;
  }
  const Json* entry = find_member(tokenizer_config, "chat_template");
  if (!entry) return "";
  if (entry->is_string()) return entry->get<std::string>();
  if (!entry->is_array()) {
    fail(ErrorCode::invalid_input, "chat_template: expected text or a list, found {}", entry->type_name());
  }
  for (const Json& named : *entry) {
    if (get_string(named, "name") == "default") return get_string(named, "template");
  }
  return "";
}

contract::Generation generation_defaults(const Json& json) {
  contract::Generation generation;
  generation.do_sample = find_bool(json, "do_sample").value_or(false);
  generation.temperature = find_number(json, "temperature").value_or(generation.temperature);
  generation.top_k = find_int(json, "top_k").value_or(generation.do_sample ? 50 : 0);
  generation.top_p = find_number(json, "top_p").value_or(generation.top_p);
  generation.min_p = find_number(json, "min_p").value_or(generation.min_p);
  generation.repetition_penalty = find_number(json, "repetition_penalty").value_or(generation.repetition_penalty);
  generation.max_length = find_int(json, "max_length");
  generation.max_new_tokens = find_int(json, "max_new_tokens");
  if (generation.temperature == 0) {  // a greedy model by another name
    generation.do_sample = false;
    generation.temperature = 1;
  }
  return generation;
}

}  // namespace

contract::Contract make_contract(const Checkpoint& checkpoint, const DecoderConfig& config,
                                 contract::Precision precision) {
  const Json generation = asset_json(checkpoint, "generation_config.json");
  const Json tokenizer_config = asset_json(checkpoint, "tokenizer_config.json");
  contract::Contract contract;
  contract.architecture = get_string(checkpoint.config(), "model_type");
  contract.name = find_string(checkpoint.config(), "_name_or_path").value_or("");
  if (contract.name.empty()) contract.name = checkpoint.path().filename().string();
  contract.licence = find_string(checkpoint.config(), "license").value_or("");
  contract.source = std::filesystem::absolute(checkpoint.path()).filename().string();
  contract.vocab_size = config.vocab_size;
  contract.context_length = config.context_length;
  if (config.rope.scaling == RopeScaling::dynamic) {  // made to go beyond max_position_embeddings
    const double length = double(config.context_length) * config.rope.factor;
    if (!(length < double(int64_t{1} << 31))) {
      fail(ErrorCode::invalid_input, "config: rope factor {} makes a context of {:.3g} positions", config.rope.factor,
           length);
    }
    contract.context_length = int64_t(length);
  }
  contract.num_layers = config.num_layers;
  contract.kv_heads = config.num_kv_heads;
  contract.head_dim = config.head_dim;
  contract.eos_ids = token_ids(generation, "eos_token_id");
  if (contract.eos_ids.empty()) contract.eos_ids = token_ids(checkpoint.config(), "eos_token_id");
  const auto first = [](const std::vector<int64_t>& ids) {
    return ids.empty() ? std::optional<int64_t>() : std::optional<int64_t>(ids[0]);
  };
  contract.bos_id = first(token_ids(checkpoint.config(), "bos_token_id"));
  if (!contract.bos_id) contract.bos_id = first(token_ids(generation, "bos_token_id"));
  contract.pad_id = first(token_ids(checkpoint.config(), "pad_token_id"));
  if (contract.pad_id && (*contract.pad_id < 0 || *contract.pad_id >= config.vocab_size)) contract.pad_id.reset();
  contract.chat_template = chat_template(checkpoint, tokenizer_config);
  if (checkpoint.assets().count("tokenizer.json")) contract.tokenizer_asset = "tokenizer.json";
  if (!checkpoint.tokenizer_problem().empty()) contract.chat_template.clear();  // nothing encodes its text
  contract.generation = generation_defaults(generation);
  contract.precision = precision;
  contract::check(contract);
  return contract;
}

}  // namespace lathe::frontend
