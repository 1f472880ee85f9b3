#include "pipeline/diffuse/prompt_states.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::pipeline {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr size_t kLongestPrompt = 1 << 20;  // bytes

// Begin, as much of the text as fits, end, padding; a note says what did not fit.
Tensor encode_plain(const ClipTokenizer& clip, std::string_view text, int64_t tokens, std::vector<std::string>& notes) {
  if (text.size() > kLongestPrompt) {
    fail(ErrorCode::usage, "a prompt of {} bytes, at most {} are taken", text.size(), kLongestPrompt);
  }
  std::vector<int32_t> ids = clip.tokenizer.encode(text, false);
  const size_t room = size_t(tokens) - 2;
  if (ids.size() > room) {
    const std::string cut = clip.tokenizer.decode(std::span(ids).subspan(room), true);
    notes.push_back(fmt::format("the prompt has {} tokens, the model reads {}; cut off: \"{}\"", ids.size(), room,
                                cut.size() > 200 ? cut.substr(0, 200) + " ..." : cut));
    ids.resize(room);
  }
  std::vector<int64_t> row(size_t(tokens), clip.pad);
  row[0] = clip.begin;
  std::copy(ids.begin(), ids.end(), row.begin() + 1);
  row[ids.size() + 1] = clip.end;
  return Tensor::of<int64_t>({1, tokens}, std::span<const int64_t>(row));
}

Tensor copy_of(const Tensor& tensor) { return Tensor::of<float>(tensor.dims(), tensor.data<float>()); }

// Rows of a and b side by side: [1, tokens, wa + wb].
Tensor side_by_side(const Tensor& a, const Tensor& b) {
  const int64_t tokens = a.dims()[1], wa = a.dims()[2], wb = b.dims()[2];
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

class Encoder {
 public:
  Encoder(const contract::Pictures& contract, const std::vector<ClipTokenizer>& tokenizers,
          const SessionOf& session)
      : contract_(contract), tokenizers_(tokenizers), session_(session) {}

  // `skip`: layers left out at the end; diffusers does so for the prompt, not for the negative one.
  PromptStates encode(std::string_view text, int64_t skip, std::vector<std::string>& notes) const {
    if (!contract_.two_encoders) return {encode_one("text_encoder", 0, text, skip, notes).states, {}};
    // A checkpoint may have the second encoder only (SDXL's refiner).
    if (tokenizers_.size() == 1) return encode_one("text_encoder_2", 0, text, skip, notes);
    std::vector<std::string> same;  // the second tokenizer cuts off what the first did
    const PromptStates first = encode_one("text_encoder", 0, text, skip, notes);
    const PromptStates second = encode_one("text_encoder_2", 1, text, skip, same);
    return {side_by_side(first.states, second.states), second.pooled};
  }

 private:
  PromptStates encode_one(const std::string& name, size_t tokenizer, std::string_view text, int64_t skip,
                          std::vector<std::string>& notes) const {
    LATHE_CHECK(tokenizer < tokenizers_.size(), "no tokenizer for {}", name);
    const Tensor ids = encode_plain(tokenizers_[tokenizer], text, contract_.text_tokens, notes);
    const auto results = session_(name).run({{"input_ids", ids}});
    PromptStates states;
    if (!contract_.two_encoders) {
      states.states = copy_of(results.at(skip > 0 ? "skipped_hidden_state" : "last_hidden_state").tensor());
      return states;
    }
    // SDXL takes the states before the last layer, not normed.
    const int64_t at = count_states(results) - 2 - skip;
    if (at < 0) fail(ErrorCode::usage, "--clip-skip {}: {} has {} layers", skip, name, count_states(results) - 1);
    states.states = copy_of(results.at(fmt::format("hidden_states.{}", at)).tensor());
    if (const auto pooled = results.find("text_embeds"); pooled != results.end()) {
      states.pooled = copy_of(pooled->second.tensor());
    }
    return states;
  }

  const contract::Pictures& contract_;
  const std::vector<ClipTokenizer>& tokenizers_;
  const SessionOf& session_;
};

}  // namespace

PromptPair encode_prompts(const contract::Pictures& contract, const std::vector<ClipTokenizer>& tokenizers,
                          const PictureRequest& request, bool guided, const SessionOf& session) {
  const Encoder encoder(contract, tokenizers, session);
  PromptPair pair;
  pair.positive = encoder.encode(request.prompt, request.clip_skip, pair.notes);
  if (!guided) return pair;
  if (!request.negative_prompt && contract.zero_empty_negative) {
    pair.negative = PromptStates{Tensor(DType::f32, pair.positive.states.dims()),
                                 pair.positive.pooled.defined() ? Tensor(DType::f32, pair.positive.pooled.dims()) : Tensor()};
  } else {
    pair.negative = encoder.encode(request.negative_prompt.value_or(""), 0, pair.notes);
  }
  return pair;
}

}  // namespace lathe::pipeline
