#include "verify/test_tokens.h"

#include "base/error.h"
#include "pipeline/generate/chat_prompt.h"
#include "text/tokenizer.h"

namespace lathe::verify {

std::vector<int32_t> text_tokens(const plan::EngineFile& engine, const std::string& text, int64_t count) {
  const auto compiled = engine.find_asset("tokenizer.compiled");
  if (text.empty() || compiled.empty()) return {};
  std::vector<int32_t> tokens = text::Tokenizer::deserialize(compiled).encode(text, true);
  if (int64_t(tokens.size()) > count) tokens.resize(size_t(count));
  return tokens;
}

std::vector<int32_t> random_tokens(const plan::EngineFile& engine, int64_t count, uint64_t seed) {
  const auto vocab = uint64_t(engine.manifest().contract.vocab_size);
  std::vector<int32_t> tokens;
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
    // A template may refuse messages, or need what this program does not have; that is no difference in the model.
    if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::unsupported) return {};
    throw;
  }
}

}  // namespace lathe::verify
