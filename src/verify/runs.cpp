#include "verify/runs.h"

#include "base/error.h"
#include "pipeline/generate/chat_prompt.h"
#include "text/tokenizer.h"
#include "verify/compare.h"

namespace lathe::verify {

using runtime::Logits;
using runtime::SequenceId;
using runtime::Session;
using runtime::StepItem;

namespace {

// A sequence that is given back when the scope ends.
class Scoped {
 public:
  explicit Scoped(Session& session) : session_(session), id_(session.create()) {}
  ~Scoped() { session_.release(id_); }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;
  SequenceId id() const { return id_; }

 private:
  Session& session_;
  SequenceId id_;
};

}  // namespace

LogitRows run_chunks(Session& session, std::span<const int32_t> tokens, std::span<const int64_t> chunks) {
  const Scoped sequence(session);
  LogitRows rows;
  size_t at = 0;
  size_t chunk = 0;
  while (at < tokens.size()) {
    const size_t count = std::min(size_t(chunks[std::min(chunk++, chunks.size() - 1)]), tokens.size() - at);
    const StepItem item{sequence.id(), tokens.subspan(at, count), Logits::all};
    session.step(std::span(&item, 1), [&](size_t, int64_t, std::span<const float> logits) {
      rows.emplace_back(logits.begin(), logits.end());
    });
    at += count;
  }
  return rows;
}

LogitRows run_in_batch(Session& session, std::span<const int32_t> tokens,
                       std::span<const std::vector<int32_t>> others) {
  const Scoped sequence(session);
  std::vector<std::unique_ptr<Scoped>> scoped;
  std::vector<StepItem> items;
  for (size_t i = 0; i < others.size(); ++i) {
    if (i == others.size() / 2) items.push_back({sequence.id(), tokens, Logits::all});
    scoped.push_back(std::make_unique<Scoped>(session));
    items.push_back({scoped.back()->id(), others[i], Logits::last});
  }
  LogitRows rows;
  session.step(items, [&](size_t item, int64_t, std::span<const float> logits) {
    if (items[item].sequence == sequence.id()) rows.emplace_back(logits.begin(), logits.end());
  });
  return rows;
}

Trace trace(Session& session, std::span<const int32_t> tokens) {
  const Scoped sequence(session);
  Trace result;
  session.set_tap([&](const plan::Instruction& instruction, const plan::Buffer& buffer, std::span<const float> values,
                      int64_t rows) {
    result.emplace_back(buffer.name,
                        TracedTensor{instruction.name, instruction.op, rows, {values.begin(), values.end()}});
  });
  const StepItem item{sequence.id(), tokens, Logits::all};
  try {
    session.step(std::span(&item, 1), {});
  } catch (...) {
    session.set_tap({});
    throw;
  }
  session.set_tap({});
  return result;
}

std::vector<GreedyToken> greedy(Session& session, std::span<const int32_t> prompt, int64_t count) {
  const Scoped sequence(session);
  std::vector<GreedyToken> tokens;
  std::vector<int32_t> next(prompt.begin(), prompt.end());
  for (int64_t i = 0; i < count; ++i) {
    const Top top = top_of(session.step(sequence.id(), next));
    tokens.push_back({int32_t(top.token), top.margin});
    next = {int32_t(top.token)};
  }
  return tokens;
}

std::vector<int32_t> test_tokens(const plan::EngineFile& engine, const std::string& text, int64_t count,
                                 uint64_t seed) {
  std::vector<int32_t> tokens;
  const auto compiled = engine.find_asset("tokenizer.compiled");
  if (!text.empty() && !compiled.empty()) {
    tokens = text::Tokenizer::deserialize(compiled).encode(text, true);
    if (int64_t(tokens.size()) > count) tokens.resize(size_t(count));
    if (int64_t(tokens.size()) == count) return tokens;
  }
  const auto vocab = uint64_t(engine.manifest().contract.vocab_size);
  uint64_t state = seed;
  while (int64_t(tokens.size()) < count) {  // splitmix64 (Steele, Lea, Flood 2014)
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    tokens.push_back(int32_t((z ^ (z >> 31)) % vocab));
  }
  return tokens;
}

std::vector<int32_t> test_conversation(const plan::EngineFile& engine) {
  const auto compiled = engine.find_asset("tokenizer.compiled");
  const contract::Contract& contract = engine.manifest().contract;
  if (compiled.empty() || contract.chat_template.empty()) return {};
  const Json messages = {
      {{"role", "user"}, {"content", "What is the capital of France?"}},
      {{"role", "assistant"}, {"content", "The capital of France is Paris."}},
      {{"role", "user"}, {"content", "Which river flows through it, and into which sea?"}},
  };
  try {
    return pipeline::ChatPrompt(contract, text::Tokenizer::deserialize(compiled)).encode(messages);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::unsupported) return {};
    throw;
  }
}

}  // namespace lathe::verify
