#include "pipeline/diffuse/prompt_states.h"

#include <algorithm>

#include "base/error.h"
#include "pipeline/diffuse/prompt.h"

namespace lathe::pipeline {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr size_t kLongestPrompt = 1 << 20;  // bytes

EncodedPrompt read_prompt(const text::ClipTokenizer& tokenizer, std::string_view prompt, const PictureRequest& request,
                          int64_t length, std::vector<std::string>& notes) {
  if (prompt.size() > kLongestPrompt) {
    fail(ErrorCode::usage, "a prompt of {} bytes, at most {} are taken", prompt.size(), kLongestPrompt);
  }
  EncodedPrompt encoded =
      encode_prompt(tokenizer, prompt, {.weighting = !request.plain_prompt, .length = size_t(length)});
  if (!encoded.cut_off.empty()) {
    const std::string& cut = encoded.cut_off;
    notes.push_back(fmt::format("the prompt has {} tokens, the model reads {}; cut off: \"{}\"", encoded.tokens,
                                length - 2, cut.size() > 200 ? cut.substr(0, 200) + " ..." : cut));
  }
  return encoded;
}

Tensor copy_of(const Tensor& tensor) {
  return Tensor::of<float>(tensor.dims(), tensor.data<float>());
}

// Rows of a and b side by side: [1, tokens, wa + wb].
Tensor side_by_side(const Tensor& a, const Tensor& b) {
  const int64_t tokens = a.dims()[1], wa = a.dims()[2], wb = b.dims()[2];
  if (b.dims()[1] != tokens) {
    fail(ErrorCode::invalid_input, "the text encoders read the prompt as {} and {} tokens", tokens, b.dims()[1]);
  }
  Tensor joined(DType::f32, {1, tokens, wa + wb});
  float* out = joined.data<float>().data();
  for (int64_t t = 0; t < tokens; ++t) {
    out = std::copy_n(a.data<float>().data() + t * wa, wa, out);
    out = std::copy_n(b.data<float>().data() + t * wb, wb, out);
  }
  return joined;
}

// The number behind the last "hidden_states." among the results.
int64_t count_states(const runtime::GraphSession::Data& results) {
  int64_t count = 0;
  while (results.contains(fmt::format("hidden_states.{}", count))) ++count;
  return count;
}

// Parts one behind the other: [1, tokens, width].
Tensor joined_tokens(const std::vector<Tensor>& parts) {
  int64_t tokens = 0;
  for (const Tensor& part : parts) tokens += part.dims()[1];
  Tensor joined(DType::f32, {1, tokens, parts[0].dims()[2]});
  float* out = joined.data<float>().data();
  for (const Tensor& part : parts) out = std::copy(part.data<float>().begin(), part.data<float>().end(), out);
  return joined;
}

class Encoder {
 public:
  Encoder(const contract::Pictures& contract, std::string name, const SessionOf& session)
      : contract_(contract), name_(std::move(name)), session_(session) {}

  // `skip`: layers left out at the end; diffusers does so for the prompt, not for the negative one.
  PromptStates encode(const EncodedPrompt& prompt, int64_t skip) const {
    PromptStates states;
    std::vector<Tensor> parts;
    for (const PromptChunk& chunk : prompt.chunks) {
      const std::vector<int64_t> ids(chunk.ids.begin(), chunk.ids.end());
      const auto results = session_(name_).run(
          {{"input_ids", Tensor::of<int64_t>({1, int64_t(ids.size())}, std::span<const int64_t>(ids))}});
      const auto found = results.find(states_name(results, skip));
      if (found == results.end()) {
        fail(ErrorCode::unsupported, "{} was exported without {}{}", name_, states_name(results, skip),
             skip > 0 ? ", which --clip-skip takes" : "");
      }
      Tensor hidden = copy_of(found->second.tensor());
      apply_weights(hidden.data<float>(), chunk.weights);
      parts.push_back(std::move(hidden));
      const auto pooled = results.find("text_embeds");
      if (parts.size() == 1 && pooled != results.end()) states.pooled = copy_of(pooled->second.tensor());
    }
    states.states = joined_tokens(parts);
    return states;
  }

 private:
  // The output that the UNet attends to.
  std::string states_name(const runtime::GraphSession::Data& results, int64_t skip) const {
    if (!contract_.two_encoders && skip == 0) return "last_hidden_state";
    // SDXL takes the states before the last layer, not normed.
    const int64_t layers = count_states(results) - 1, at = layers - skip - (contract_.two_encoders ? 1 : 0);
    if (layers < 0) fail(ErrorCode::unsupported, "{} was exported without the states of its layers", name_);
    if (at < 0) fail(ErrorCode::usage, "--clip-skip {}: {} has {} layers", skip, name_, layers);
    return fmt::format("{}.{}", contract_.two_encoders ? "hidden_states" : "normed_states", at);
  }

  const contract::Pictures& contract_;
  std::string name_;
  const SessionOf& session_;
};

PromptStates joined_encoders(const std::vector<PromptStates>& parts) {
  return parts.size() == 1 ? parts[0] : PromptStates{side_by_side(parts[0].states, parts[1].states), parts[1].pooled};
}

}  // namespace

PromptPair encode_prompts(const contract::Pictures& contract, const std::vector<text::ClipTokenizer>& tokenizers,
                          const PictureRequest& request, bool guided, const SessionOf& session) {
  PromptPair pair;
  const bool zero_negative = !request.negative_prompt && contract.zero_empty_negative;
  std::vector<PromptStates> positive, negative;
  for (size_t i = 0; i < tokenizers.size(); ++i) {
    // A checkpoint of two encoders may have the second only (SDXL's refiner).
    const bool second = i == 1 || (contract.two_encoders && tokenizers.size() == 1);
    std::vector<std::string> same;  // the second tokenizer cuts off what the first did
    std::vector<std::string>& notes = i == 0 ? pair.notes : same;
    EncodedPrompt prompt = read_prompt(tokenizers[i], request.prompt, request, contract.text_tokens, notes);
    const Encoder encoder(contract, second ? "text_encoder_2" : "text_encoder", session);
    if (guided && !zero_negative) {
      EncodedPrompt other =
          read_prompt(tokenizers[i], request.negative_prompt.value_or(""), request, contract.text_tokens, notes);
      pad_to_same_chunks(prompt, other, tokenizers[i]);
      negative.push_back(encoder.encode(other, 0));
    }
    positive.push_back(encoder.encode(prompt, request.clip_skip));
    if (second && !positive.back().pooled.defined()) {
      fail(ErrorCode::unsupported, "text_encoder_2 was exported without text_embeds");
    }
  }
  pair.positive = joined_encoders(positive);
  if (guided && !zero_negative) pair.negative = joined_encoders(negative);
  if (guided && zero_negative) {
    const Tensor& pooled = pair.positive.pooled;
    pair.negative = PromptStates{Tensor(DType::f32, pair.positive.states.dims()),
                                 pooled.defined() ? Tensor(DType::f32, pooled.dims()) : Tensor()};
  }
  return pair;
}

}  // namespace lathe::pipeline
