#include "cli/model.h"

#include "backend/device.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "cli/device.h"
#include "cli/engine_cache.h"
#include "compiler/engine_graph.h"
#include "compiler/onnx_decoder.h"
#include "plan/precision.h"
#include "verify/verify.h"

namespace lathe::cli {
namespace {

// An engine computes in what it was built for, or without any rounding.
void check_precision(const EngineOptions& options, const plan::EngineFile& engine) {
  const std::string_view own = engine.manifest().plan.compute;
  if (options.precision.empty() || options.precision == "fp32" || plan::compute_of(options.precision) == own) return;
  std::filesystem::path other = engine.path();
  other.replace_filename(fmt::format("{}-{}.lathe", other.stem().string(), options.precision));
  fail(ErrorCode::unsupported, "\"{}\" computes in {}, not in {}; for that: lathe build {} -o {} --precision {}",
       engine.path().string(), plan::precision_of(own), options.precision, engine.path().string(), other.string(),
       options.precision);
}

// The engine of that place in the cache, built if it is not there.
std::shared_ptr<const plan::EngineFile> open_cached(const EngineCache& cache, const EngineOptions& options,
                                                    const Output& output) {
  auto engine = cache.find(options.check, output);
  if (engine) {
    output.note(fmt::format("engine \"{}\"", cache.path().string()));
  } else {
    output.note(fmt::format("building \"{}\"", cache.path().string()));
    make_folder(cache.path().parent_path());
    BuildRequest request;
    request.source = options.model;
    request.destination = cache.path();
    request.options.device = plan_device(options.device);
    if (options.accelerator) request.options.arch = options.accelerator->arch();
    request.options.precision = options.precision;
    request.options.kv = options.kv;
    request.options.threads = options.threads;
    request.verify = false;
    build_engine(request, output);
    cache.remove_outdated();
    engine = plan::EngineFile::open(cache.path());
  }
  output.if_verification_fails([path = cache.path()] {
    std::error_code ignored;  // the failure itself is what the user is told of
    std::filesystem::remove(path, ignored);
  });
  return engine;
}

// An engine as it is, or built again where it is for another device.
std::shared_ptr<const plan::EngineFile> open_built(const std::shared_ptr<const plan::EngineFile>& engine,
                                                   const EngineOptions& options, const Output& output) {
  const plan::Manifest& manifest = engine->manifest();
  if (manifest.plan.device != plan_device(options.device)) {
    output.note(fmt::format("\"{}\" is for device {}: built again for {}", engine->path().string(),
                            manifest.plan.device, options.device));
    return open_cached(EngineCache(*engine, options), options, output);
  }
  if (options.accelerator && manifest.arch != options.accelerator->arch()) {
    output.note(fmt::format("\"{}\" was built for {}, {} is {}: the same kernels run there", engine->path().string(),
                            manifest.arch.empty() ? "no GPU in particular" : manifest.arch, options.accelerator->name(),
                            options.accelerator->arch()));
  }
  check_precision(options, *engine);
  if (options.check) engine->check_weights();
  return engine;
}

}  // namespace

tensor::DType export_dtype(const frontend::Checkpoint& checkpoint, const std::string& precision) {
  return precision.empty() ? frontend::natural_dtype(checkpoint) : plan::float_type(precision);
}

void add_engine_options(CLI::App& command, EngineOptions& options) {
  command.add_option("model", options.model, "engine (.lathe), Hugging Face folder or .gguf file")->required();
  command.add_option(
      "--precision", options.precision,
      "fp32, fp16, bf16, int16 or int8 (default: the checkpoint's own); of graphs and pictures fp32 "
      "(default), bf16 (weights, and what they are multiplied with, rounded to bf16) or fp16 (weights "
      "stored in fp16); of pictures also int8 (the UNet in 8 bits where it bears that, steps within 25 dB "
      "of fp32; calibrated on a picture first)");
  command.add_option("--kv", options.kv, "element type of the cache: fp32, fp16, bf16");
  command.add_option("-c,--ctx", options.context, "positions the cache holds (default: the model's context)");
  command.add_option("-t,--threads", options.threads, "default: all CPUs this process may use");
  command.add_option("--isa", options.isa, "kernels to use: avx2, avx512, amx (default: the best here)");
  command.add_option("--device", options.device, kDeviceHelp);
  command.add_flag("--deterministic", options.deterministic, "same bits whatever else is in a batch");
  command.add_flag("--check", options.check, "check the engine's weights against their hashes first");
}

runtime::SessionOptions session_options(const EngineOptions& options) {
  runtime::SessionOptions session;
  session.threads = options.threads;
  session.cache_tokens = options.context;
  session.deterministic = options.deterministic;
  if (!options.precision.empty() &&
      plan::compute_of(options.precision) == "f32") {  // any engine can run without rounding
    session.compute = "f32";
    session.kv = "f32";
  }
  if (!options.kv.empty()) session.kv = plan::cache_type(options.kv);
  session.isa = options.isa;
  session.accelerator = options.accelerator;
  session.log = options.log;
  backend::get_device(options.device.empty() ? "cpu" : plan_device(options.device)).choose_isa(options.isa);
  constexpr int kMostThreads = 1024;
  if (options.threads < 0 || options.threads > kMostThreads) {
    fail(ErrorCode::usage, "--threads {}: expected 1 to {}, or 0 for all CPUs", options.threads, kMostThreads);
  }
  if (options.context < 0) {
    fail(ErrorCode::usage, "--ctx {}: expected 1 or more, or 0 for the model's own", options.context);
  }
  return session;
}

std::string precision_name(const EngineOptions& options, const plan::EngineFile& engine) {
  return options.precision == "fp32" ? options.precision
                                     : std::string(plan::precision_of(engine.manifest().plan.compute));
}

std::shared_ptr<const plan::EngineFile> open_engine(EngineOptions& options, const Output& output) {
  std::shared_ptr<const plan::EngineFile> built;
  if (plan::is_engine_file(options.model)) {
    built = plan::EngineFile::open(options.model);
    plan::require_kind(*built, false);
  }
  if (options.device.empty()) options.device = built ? built->manifest().plan.device : "cpu";
  if (const auto index = backend::gpu_index(options.device)) options.device = fmt::format("cuda:{}", *index);
  if (!options.accelerator || options.accelerator->name() != options.device) {
    options.accelerator = open_device(options.device);
  }
  options.log = output.log();
  session_options(options);  // what cannot run is refused before anything is built
  if (options.threads > available_cpus()) {
    output.note(fmt::format("{} threads share {} CPUs: fewer would be faster", options.threads, available_cpus()));
  }
  if (built) return open_built(built, options, output);
  const frontend::Checkpoint checkpoint = frontend::Checkpoint::open(options.model);
  return open_cached(EngineCache(checkpoint, options), options, output);
}

std::string tokenizer_problem(const frontend::Checkpoint& checkpoint) {
  const std::string& problem = checkpoint.tokenizer_problem();
  return problem.empty() ? "" : fmt::format(" that can be read ({})", problem);
}

void note_tokenizer(const frontend::Checkpoint& checkpoint, const Output& output) {
  if (checkpoint.tokenizer_problem().empty()) return;
  output.note(fmt::format("\"{}\" has no tokenizer{}", checkpoint.path().string(), tokenizer_problem(checkpoint)));
}

text::Tokenizer open_tokenizer(const plan::EngineFile& engine, const std::string& model) {
  const auto compiled = engine.find_asset("tokenizer.compiled");
  if (!compiled.empty()) return text::Tokenizer::deserialize(compiled);
  const bool from_checkpoint = !model.empty() && !plan::is_engine_file(model);
  fail(ErrorCode::unsupported, "\"{}\" has no tokenizer{}; give token ids with --tokens",
       from_checkpoint ? model : engine.path().string(),
       from_checkpoint ? tokenizer_problem(frontend::Checkpoint::open(model)) : "");
}

namespace {

std::vector<plan::SourceHash> hashes_of(const std::vector<std::filesystem::path>& files) {
  std::vector<plan::SourceHash> hashes;
  for (const std::filesystem::path& file : files) {
    hashes.push_back({file.filename().string(), sha256_file_hex(file), int64_t(std::filesystem::file_size(file))});
  }
  return hashes;
}

}  // namespace

plan::Receipt build_engine(const BuildRequest& request, const Output& output) {
  ir::Model model;
  std::vector<std::filesystem::path> files;
  std::vector<plan::SourceHash> sources;  // known already where an engine's receipt names them
  if (plan::is_engine_file(request.source)) {
    const auto engine = plan::EngineFile::open(request.source);
    engine->check_weights();
    model = compiler::engine_model(engine);
    model.assets.erase("tokenizer.compiled");
    files = {request.source};
    if (engine->receipt()) sources = engine->receipt()->sources;
  } else {
    const frontend::Checkpoint checkpoint = frontend::Checkpoint::open(request.source);
    note_tokenizer(checkpoint, output);
    model = compiler::read_model(checkpoint, output.log());
    files = checkpoint.files();
  }
  compiler::BuildOptions options = request.options;
  options.log = output.log();
  options.progress = output.progress();
  compiler::PreparedBuild build(model, options);
  if (request.on_reports) request.on_reports(build.reports());
  const compiler::BuildPrediction prediction = build.predict();
  const uint64_t memory = request.verify ? prediction.memory_bytes : prediction.pack_memory_bytes;
  output.note(fmt::format("will take at most {:.1f} MB of disk and {:.0f} MB of memory{}; {:.1f} s to pack the weights",
                          double(prediction.disk_bytes) / 1e6, double(memory) / 1e6,
                          request.verify ? " with its verification" : "", prediction.seconds));
  plan::Receipt receipt;
  if (!request.verify) {
    build.write(request.destination);
    return receipt;
  }
  build.write(request.destination, [&](const std::filesystem::path& engine) {
    verify::VerifyOptions verify_options;
    verify_options.full = request.full_verify;
    verify_options.threads = options.threads;
    verify_options.accelerator = request.accelerator;
    verify_options.scratch_folder = cache_folder();
    verify_options.progress = output.progress(ProgressUnit::steps);
    receipt = verify::verify_engine(engine, verify_options);
    receipt.sources = sources.empty() ? hashes_of(files) : sources;
    if (!receipt.pass) verify::fail_receipt(receipt);
    return receipt;
  });
  return receipt;
}

Json memory_json(const MemoryUse& memory) {
  return {{"peak_rss_bytes", memory.peak_rss_bytes}, {"peak_anon_bytes", memory.peak_anon_bytes}};
}

}  // namespace lathe::cli
