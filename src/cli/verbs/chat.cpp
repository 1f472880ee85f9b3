// lathe chat: a conversation in the terminal, or with lines piped in.
#include <algorithm>

#include "cli/chat_io.h"
#include "cli/context.h"
#include "cli/device.h"
#include "cli/generation.h"
#include "cli/model.h"
#include "cli/verb.h"
#include "pipeline/generate/chat_prompt.h"
#include "pipeline/generate/generate.h"

namespace lathe::cli {
namespace {

struct Options {
  EngineOptions engine;
  SamplingFlags sampling;
  std::string system;
};

// The messages so far, and the sequence that holds their tokens: a turn runs only what is new.
class Conversation {
 public:
  Conversation(const Options& options, runtime::Session& session, const text::Tokenizer& tokenizer)
      : options_(options),
        session_(session),
        tokenizer_(tokenizer),
        prompt_(session.contract(), tokenizer),
        sequence_(session.create()) {
    reset(options.system);
  }

  // Forgets all messages; an empty system message is none.
  void reset(const std::string& system) {
    messages_ = Json::array();
    if (!system.empty()) messages_.push_back({{"role", "system"}, {"content", system}});
  }
  // Answers on stdout. On a throw the message is forgotten.
  void answer(const std::string& message, const Output& output);

 private:
  pipeline::GenerateResult run(const std::vector<int32_t>& tokens, const Output& output);

  const Options& options_;
  runtime::Session& session_;
  const text::Tokenizer& tokenizer_;
  pipeline::ChatPrompt prompt_;
  runtime::SequenceId sequence_;
  Json messages_;
  std::vector<int32_t> held_;  // what the sequence holds
};

// Keeps what the cache shares with `tokens`, all of the prompt but for at least its last token.
pipeline::GenerateResult Conversation::run(const std::vector<int32_t>& tokens, const Output& output) {
  const auto differ = std::mismatch(held_.begin(), held_.end(), tokens.begin(), tokens.end()).second;
  const size_t common = size_t(std::min<ptrdiff_t>(differ - tokens.begin(), ptrdiff_t(tokens.size()) - 1));
  session_.truncate(sequence_, int64_t(common));
  held_.resize(common);
  pipeline::GenerateOptions generate =
      generate_options(options_.sampling, session_.contract(), int64_t(tokens.size()), session_.context_length());
  generate.history = held_;
  const std::span<const int32_t> fresh = std::span(tokens).subspan(common);
  const InterruptFlag interrupt;
  const auto result =
      pipeline::generate(session_, sequence_, &tokenizer_, fresh, generate, [&](std::string_view piece) {
        output.stream(piece);
        return !interrupt.raised();
      });
  held_ = tokens;
  held_.insert(held_.end(), result.tokens.begin(), result.tokens.end());
  held_.resize(size_t(session_.length(sequence_)));  // the last token was not run
  return result;
}

void Conversation::answer(const std::string& message, const Output& output) {
  messages_.push_back({{"role", "user"}, {"content", message}});
  const size_t before = messages_.size() - 1;
  try {
    const std::vector<int32_t> tokens = prompt_.encode(messages_);
    pipeline::check_prompt(0, int64_t(tokens.size()), session_.context_length());
    const pipeline::GenerateResult result = run(tokens, output);
    if (!result.text.ends_with('\n')) output.stream("\n");
    output.note(describe_speed(result));
    messages_.push_back({{"role", "assistant"}, {"content", result.text}});
  } catch (...) {
    messages_.erase(messages_.begin() + ptrdiff_t(before), messages_.end());
    held_.resize(std::min(held_.size(), size_t(session_.length(sequence_))));
    throw;
  }
}

Exit run(Options& options, const Output& output) {
  if (output.json()) fail(ErrorCode::usage, "chat has no --json; use run, or serve");
  const auto engine = open_engine(options.engine, output);
  const text::Tokenizer tokenizer = open_tokenizer(*engine, options.engine.model);
  runtime::SessionOptions session_settings = session_options(options.engine);
  session_settings.max_sequences = 1;
  session_settings.cache_tokens = fitting_context(options.engine, *engine, output);
  require_cache_fits(*engine, session_settings, session_settings.cache_tokens);
  runtime::Session session(engine, session_settings);
  Conversation conversation(options, session, tokenizer);
  output.note("/exit, /reset, /system TEXT; Ctrl-C ends an answer");
  while (const std::optional<std::string> line = read_line("> ")) {
    try {
      const ChatLine input = parse_chat_line(*line);
      switch (input.kind) {
        case ChatLine::Kind::exit:
          return Exit::good;
        case ChatLine::Kind::reset:
          conversation.reset(options.system);
          break;
        case ChatLine::Kind::system:
          conversation.reset(input.text);
          break;
        case ChatLine::Kind::message:
          if (!input.text.empty()) conversation.answer(input.text, output);
          break;
      }
    } catch (const Error& error) {
      // A mistyped command, or a message too long: the conversation goes on.
      if (error.code() != ErrorCode::usage && error.code() != ErrorCode::invalid_input) throw;
      output.note(fmt::format("lathe: {}", error.what()));
    }
  }
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  add_engine_options(command, options->engine);
  command.add_option("--system", options->system, "system message");
  add_sampling_flags(command, options->sampling);
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& chat_verb() {
  static const Verb verb{.name = "chat",
                         .description = "talk with a language model in the terminal",
                         .example = "lathe chat smollm2.lathe --system \"Answer in one sentence.\"",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
