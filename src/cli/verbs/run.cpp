// lathe run: prompt in, text or picture out; of an .onnx file, tensors in, tensors out.
#include <algorithm>
#include <iostream>
#include <iterator>

#include "base/checked.h"
#include "base/file.h"
#include "cli/context.h"
#include "cli/device.h"
#include "cli/generation.h"
#include "cli/graph_model.h"
#include "cli/graph_source.h"
#include "cli/model.h"
#include "cli/pictures.h"
#include "cli/run_graph.h"
#include "cli/verb.h"
#include "io/npy.h"
#include "pipeline/generate/chat_prompt.h"
#include "pipeline/generate/generate.h"

namespace lathe::cli {
namespace {

struct Options {
  EngineOptions engine;
  SamplingFlags sampling;
  std::optional<std::string> prompt;
  std::string file;
  std::vector<int32_t> tokens;
  bool chat = false;
  std::optional<std::string> system;
  int64_t beams = 1;
  std::string dump_logits;
  GraphFlags graph;
  PictureFlags pictures;
};

void check_options(const Options& options) {
  const int sources = int(options.prompt.has_value()) + int(!options.file.empty()) + int(!options.tokens.empty());
  if (sources != 1) fail(ErrorCode::usage, "give one of --prompt, --file and --tokens, not {}", sources);
  if (options.chat && !options.tokens.empty()) fail(ErrorCode::usage, "--chat needs text, not --tokens");
  if (options.system && !options.chat) fail(ErrorCode::usage, "--system needs --chat");
  if (options.beams < 1 || options.beams > 1024) {
    fail(ErrorCode::usage, "--beams {}, expected 1 to 1024", options.beams);
  }
  if (options.beams > 1 && !options.dump_logits.empty()) {
    fail(ErrorCode::usage, "--dump-logits does not go with --beams");
  }
}

// The text to continue; "-" is standard input.
std::string prompt_text(const Options& options) {
  if (options.prompt) return *options.prompt;
  if (options.file == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  return read_text_file(options.file);
}

std::vector<int32_t> encode_prompt(const Options& options, const contract::Contract& contract,
                                   const text::Tokenizer* tokenizer) {
  if (!options.tokens.empty()) return options.tokens;
  const std::string text = prompt_text(options);
  if (!options.chat) return tokenizer->encode(text, true);
  Json messages = Json::array();
  if (options.system) messages.push_back({{"role", "system"}, {"content", *options.system}});
  messages.push_back({{"role", "user"}, {"content", text}});
  return pipeline::ChatPrompt(contract, *tokenizer).encode(messages);
}

// A session just large enough for prompt and answer, which is known here.
std::unique_ptr<runtime::Session> make_session(const Options& options, std::shared_ptr<const plan::EngineFile> engine,
                                               int64_t positions) {
  runtime::SessionOptions session = session_options(options.engine);
  session.cache_tokens = checked_mul(align_up(positions, kv_block(*engine)), options.beams, "positions of the cache");
  session.max_sequences = options.beams;
  require_cache_fits(*engine, session, session.cache_tokens);
  return std::make_unique<runtime::Session>(std::move(engine), session);
}

// Collects the rows of --dump-logits.
class LogitDump {
 public:
  LogitDump(const std::string& path, int64_t rows, int64_t columns) : path_(path) {
    if (path.empty()) return;
    const int64_t bytes = checked_mul(checked_mul(rows, columns, "logits"), int64_t(sizeof(float)), "logits");
    if (const uint64_t available = available_memory_bytes(); uint64_t(bytes) > available) {
      fail(ErrorCode::resource, "--dump-logits: {} rows of {} logits need {} bytes, {} are available", rows, columns,
           bytes, available);
    }
    logits_ = tensor::Tensor(tensor::DType::f32, {rows, columns});
  }
  pipeline::OnPromptLogits sink() {
    if (path_.empty()) return {};
    return [this](int64_t position, std::span<const float> row) {
      std::copy(row.begin(), row.end(), logits_.data<float>().begin() + position * int64_t(row.size()));
    };
  }
  void write() const {
    if (!path_.empty()) io::write_npy(path_, logits_);
  }

 private:
  std::string path_;
  tensor::Tensor logits_;
};

Json result_json(const pipeline::GenerateResult& result, double load_ms) {
  return {{"text", result.text},
          {"tokens", result.tokens},
          {"prompt_tokens", result.prompt_tokens},
          {"finish_reason", std::string(to_string(result.finish_reason))},
          {"timings",
           {{"load_ms", load_ms},
            {"prefill_ms", result.prefill_ms},
            {"prefill_tps", tokens_per_second(result.prompt_tokens, result.prefill_ms)},
            {"decode_tps", tokens_per_second(result.decode_steps, result.decode_ms)}}},
          {"memory", memory_json(memory_use())}};
}

// Graphs are run on tensors, everything else on text.
bool wants_graph(const Options& options) {
  const bool graph = is_graph_model(options.engine.model);
  const bool flags = !options.graph.inputs.empty() || !options.graph.output_dir.empty() || options.graph.dump_tensors ||
                     !options.graph.graph.empty();
  if (flags && !graph) fail(ErrorCode::usage, "--input, --output-dir, --graph and --dump-tensors are for graphs");
  if (graph && (options.prompt || !options.file.empty() || !options.tokens.empty())) {
    fail(ErrorCode::unsupported,
         "{}: a graph runs on tensors (--input NAME=FILE), not on text; a language model runs as its folder",
         options.engine.model);
  }
  return graph;
}

runtime::GraphOptions graph_options(const Options& options) {
  return {.threads = options.engine.threads, .isa = options.engine.isa, .limits = {}};
}

// What is run: an engine's session, or a graph that has none.
struct Running {
  std::shared_ptr<const plan::EngineFile> engine;  // null: graph
  std::unique_ptr<GraphModel> graph;
  std::optional<text::Tokenizer> tokenizer;

  const contract::Contract& contract() const { return engine ? engine->manifest().contract : graph->contract(); }
};

// Wishes that only an engine can fulfil. Without any, an unsupported folder is unsupported by itself.
bool needs_engine(const Options& options) {
  const EngineOptions& engine = options.engine;
  const bool elsewhere = !engine.device.empty() && engine.device != "cpu";
  return options.beams > 1 || !engine.precision.empty() || !engine.kv.empty() || elsewhere || engine.deterministic;
}

// The model as an engine; a graph in which no language model was recognised as it is, which is said.
Running open_model(Options& options, const Output& output) {
  Running running;
  try {
    running.engine = open_engine(options.engine, output);
  } catch (const Error& error) {
    const bool folder = error.code() == ErrorCode::unsupported && !plan::is_engine_file(options.engine.model) &&
                        frontend::Checkpoint::recognises(options.engine.model);
    if (!folder || needs_engine(options)) throw;
    const auto checkpoint = frontend::Checkpoint::open(options.engine.model);
    if (!checkpoint.is_onnx()) throw;
    running.graph = std::make_unique<GraphModel>(checkpoint, graph_options(options));
    output.note(fmt::format("no engine for this graph: {}", error.what()));
    output.note("running the graph as it is, one sequence at a time and without the gates: slower than an engine");
    const auto asset = checkpoint.assets().find("tokenizer.json");
    if (asset != checkpoint.assets().end()) {
      running.tokenizer = text::Tokenizer::from_text(asset->second, "tokenizer.json");
    } else if (options.tokens.empty()) {
      fail(ErrorCode::unsupported, "\"{}\" has no tokenizer{}; give token ids with --tokens", options.engine.model,
           tokenizer_problem(checkpoint));
    }
    return running;
  }
  if (options.tokens.empty() || !running.engine->find_asset("tokenizer.compiled").empty()) {
    running.tokenizer = open_tokenizer(*running.engine, options.engine.model);
  }
  return running;
}

// A prompt is required as for text, and may be empty.
Exit run_pipeline(const Options& options, const Output& output) {
  const SamplingFlags& sampling = options.sampling;
  if (!options.tokens.empty() || options.chat || options.beams > 1 || sampling.samples() || sampling.max_tokens) {
    fail(ErrorCode::usage,
         "--tokens, --chat, --beams, --max-tokens and sampling are for language models, \"{}\" draws pictures",
         options.engine.model);
  }
  std::optional<std::string> prompt;
  if (options.prompt || !options.file.empty()) prompt = prompt_text(options);
  return run_pictures({.model = options.engine.model,
                       .prompt = prompt,
                       .seed = options.sampling.seed,
                       .precision = options.engine.precision,
                       .graph = graph_options(options),
                       .check = options.engine.check},
                      options.pictures, output);
}

Exit run(Options& options, const Output& output) {
  if (is_picture_model(options.engine.model)) {
    require_cpu(options.engine.device, "pictures");
    return run_pipeline(options, output);
  }
  if (options.pictures != PictureFlags{}) {
    fail(ErrorCode::usage,
         "\"{}\" draws no pictures: --steps, --guidance, --scheduler, --image, -o and the like are for those",
         options.engine.model);
  }
  if (wants_graph(options)) {
    require_cpu(options.engine.device, "graphs");
    GraphFlags flags = options.graph;
    flags.check = options.engine.check;
    flags.precision = options.engine.precision;
    return run_graph(options.engine.model, flags, graph_options(options), output);
  }
  check_options(options);
  const Running running = open_model(options, output);
  const contract::Contract& contract = running.contract();
  const text::Tokenizer* text = running.tokenizer ? &*running.tokenizer : nullptr;
  const std::vector<int32_t> prompt = encode_prompt(options, contract, text);

  const int64_t context = wished_context(options.engine, contract);
  pipeline::check_prompt(0, int64_t(prompt.size()), context);
  pipeline::GenerateOptions generate = generate_options(options.sampling, contract, int64_t(prompt.size()));
  check(generate.sampling, contract.vocab_size);
  if (options.beams > 1 && !options.sampling.samples()) generate.sampling.do_sample = false;
  generate.max_tokens = std::min(generate.max_tokens, context - int64_t(prompt.size()));
  const int64_t positions = int64_t(prompt.size()) + std::max<int64_t>(0, generate.max_tokens);
  const auto session = running.engine ? make_session(options, running.engine, positions) : nullptr;
  const double load_ms = output.ms_since_start();

  pipeline::GenerateResult result;
  if (options.beams > 1) {
    result = pipeline::beam_search(*session, text, prompt, options.beams, generate);
    output.stream(result.text);
  } else {
    LogitDump dump(options.dump_logits, int64_t(prompt.size()), contract.vocab_size);
    pipeline::OnText on_text;
    if (!output.json()) {
      on_text = [&](std::string_view piece) {
        output.stream(piece);
        return true;
      };
    }
    result = session ? pipeline::generate(*session, session->create(), text, prompt, generate, on_text, dump.sink())
                     : pipeline::generate(*running.graph, text, prompt, generate, on_text, dump.sink());
    dump.write();
  }
  if (!result.text.ends_with('\n')) output.stream("\n");
  const Json json = result_json(result, load_ms);
  output.note(fmt::format("{}, {}loaded in {:.0f} ms, {:.0f} MB of memory", describe_speed(result),
                          generate.sampling.do_sample ? fmt::format("seed {}, ", generate.sampling.seed) : "", load_ms,
                          double(json["memory"]["peak_rss_bytes"].get<uint64_t>()) / 1e6));
  output.result(json);
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  add_engine_options(command, options->engine);
  command.add_option("-p,--prompt", options->prompt, "text to continue, as it is");
  command.add_option("-f,--file", options->file, "file with the prompt; - is standard input");
  command.add_option("--tokens", options->tokens, "token ids instead of text: 1,2,3")->delimiter(',');
  command.add_flag("--chat", options->chat, "the prompt is a message, put through the model's chat template");
  command.add_option("--system", options->system, "system message of --chat");
  add_sampling_flags(command, options->sampling);
  command.add_option("--beams", options->beams, "beam search with this many beams")->capture_default_str();
  command.add_option("--dump-logits", options->dump_logits, "write the prompt's logits to this .npy file");
  add_graph_flags(command, options->graph);
  add_picture_flags(command, options->pictures);
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& run_verb() {
  static const Verb verb{.name = "run",
                         .description = "generate text or pictures, or run an .onnx file on tensors",
                         .example =
                             "lathe run smollm2.lathe --chat -p \"Name three rivers.\" --max-tokens 64\n  "
                             "lathe run models/shapes -p \"a red circle on white\" -o circle.png\n  "
                             "lathe run model.onnx --input x=x.npy --output-dir out",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
