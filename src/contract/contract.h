// What the numbers of a language model mean outside its graph: vocabulary, end tokens, template, cache shape,
// and how it is meant to be sampled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::contract {

// The precision a checkpoint computes in without a wish (design.md, "Precision is solved, not chosen").
enum class Precision {
  fp32,
  fp16,
  bf16,
  q8,    // block-quantised weights, activations may be rounded to 8 bits
  int8,  // graphs: products of bytes, whose scales were found on samples
};
std::string_view to_string(Precision precision);
bool from_string(std::string_view text, Precision& precision);  // false: no such name

// Defaults of generation_config.json; a request may say otherwise.
struct Generation {
  bool do_sample = false;  // false: greedy
  double temperature = 1;
  int64_t top_k = 0;  // 0: no limit
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  std::optional<int64_t> max_length;      // tokens, prompt included
  std::optional<int64_t> max_new_tokens;  // tokens generated; wins over max_length

  template <class V>
  void visit_fields(V& visitor) {
    visitor("do_sample", do_sample, "sample; greedy otherwise");
    visitor("temperature", temperature, "of the softmax, above 0");
    visitor("top_k", top_k, "candidates kept, 0 for all");
    visitor("top_p", top_p, "probability mass kept");
    visitor("min_p", min_p, "smallest probability kept, as a share of the largest");
    visitor("repetition_penalty", repetition_penalty, "divides logits of tokens seen");
    visitor("max_length", max_length, "tokens, prompt included");
    visitor("max_new_tokens", max_new_tokens, "tokens generated, wins over max_length");
  }
};

struct Contract {
  std::string architecture;  // "llama", as in config.json's model_type, of GGUF too
  std::string name;          // for people
  std::string licence;       // as the source names it, mostly an SPDX name ("apache-2.0"); empty: it does not say
  std::string source;        // where it was read from

  int64_t vocab_size = 0;
  int64_t context_length = 0;  // positions the model was made for
  int64_t num_layers = 0;      // with a key-value cache
  int64_t kv_heads = 0;        // the cache of a layer holds [kv_heads, positions, head_dim] keys, and values
  int64_t head_dim = 0;

  std::optional<int64_t> bos_id;
  std::vector<int64_t> eos_ids;  // any of them ends the text; may be empty
  std::optional<int64_t> pad_id;
  std::string chat_template;    // Jinja; empty: the model has none
  std::string tokenizer_asset;  // "tokenizer.json", name of one of the model's assets; empty: none

  Generation generation;
  Precision precision = Precision::fp32;

  template <class V>
  void visit_fields(V& visitor) {
    visitor("architecture", architecture);
    visitor("name", name);
    visitor("licence", licence);
    visitor("source", source);
    visitor("vocab_size", vocab_size);
    visitor("context_length", context_length);
    visitor("num_layers", num_layers);
    visitor("kv_heads", kv_heads);
    visitor("head_dim", head_dim);
    visitor("bos_id", bos_id);
    visitor("eos_ids", eos_ids);
    visitor("pad_id", pad_id);
    visitor("chat_template", chat_template);
    visitor("tokenizer_asset", tokenizer_asset);
    visitor("generation", generation);
    visitor("precision", precision);
  }
};

// Throws invalid_input naming the field and its value for combinations that cannot be right: sizes below 1,
// token ids outside the vocabulary, sampling parameters outside their range.
void check(const Contract& contract);

}  // namespace lathe::contract
