#include "cli/model.h"

#include <sys/stat.h>

#include <cstdlib>

#include "base/error.h"
#include "base/hash.h"
#include "compiler/engine_graph.h"
#include "verify/verify.h"

namespace lathe::cli {
namespace {

std::filesystem::path cache_folder() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) return std::filesystem::path(xdg) / "lathe";
  if (const char* home = std::getenv("HOME"); home && *home) return std::filesystem::path(home) / ".cache" / "lathe";
  return std::filesystem::temp_directory_path() / "lathe";
}

// Changes whenever the engine would: files by size and time, options, and this program's version.
std::string cache_key(const frontend::Checkpoint& checkpoint, const EngineOptions& options) {
  std::string text = fmt::format("{}|{}|{}|{}", LATHE_VERSION, plan::kEngineVersion, options.precision, options.kv);
  std::vector<std::filesystem::path> files = checkpoint.files();
  for (const auto& [name, bytes] : checkpoint.assets()) text += fmt::format("|{}|{}", name, bytes);
  for (const std::filesystem::path& file : files) {
    struct stat status {};
    ::stat(file.c_str(), &status);
    text += fmt::format("|{}|{}|{}.{}", std::filesystem::absolute(file).string(), status.st_size,
                        status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  }
  return sha256_hex(std::as_bytes(std::span(text))).substr(0, 16);
}

}  // namespace

tensor::DType export_dtype(const frontend::Checkpoint& checkpoint, const std::string& precision) {
  if (precision.empty()) return frontend::natural_dtype(checkpoint);
  if (precision == "fp32") return tensor::DType::f32;
  if (precision == "fp16") return tensor::DType::f16;
  if (precision == "bf16") return tensor::DType::bf16;
  fail(ErrorCode::usage, "precision \"{}\" is not known (fp32, fp16, bf16)", precision);
}

void add_engine_options(CLI::App& command, EngineOptions& options) {
  command.add_option("model", options.model, "engine (.lathe), Hugging Face folder or .gguf file")->required();
  command.add_option("--precision", options.precision, "fp32, fp16, bf16, int16 or int8 (default: the checkpoint's own)");
  command.add_option("--kv", options.kv, "element type of the cache: fp32, fp16, bf16");
  command.add_option("-c,--ctx", options.context, "positions the cache holds (default: the model's context)");
  command.add_option("-t,--threads", options.threads, "default: all CPUs this process may use");
  command.add_option("--isa", options.isa, "kernels to use: avx2, avx512, amx (default: the best here)");
  command.add_option("--device", options.device, "cpu")->capture_default_str();
  command.add_flag("--deterministic", options.deterministic, "same bits whatever else is in a batch");
  command.add_flag("--check", options.check, "check the engine's weights against their hashes first");
}

runtime::SessionOptions session_options(const EngineOptions& options) {
  runtime::SessionOptions session;
  session.threads = options.threads;
  session.cache_tokens = options.context;
  session.deterministic = options.deterministic;
  static const std::map<std::string, std::string> kTypes = {{"fp32", "f32"}, {"fp16", "f16"}, {"bf16", "bf16"}};
  if (options.precision == "fp32") {  // an engine of any precision can be run without rounding
    session.compute = "f32";
    session.kv = "f32";
  }
  if (!options.kv.empty()) {
    const auto it = kTypes.find(options.kv);
    if (it == kTypes.end()) fail(ErrorCode::unsupported, "cache type \"{}\" (fp32, fp16, bf16)", options.kv);
    session.kv = it->second;
  }
  if (!options.isa.empty()) {
    session.isa = backend::cpu::find_isa(options.isa);
    if (!session.isa) fail(ErrorCode::usage, "--isa {}: expected avx2, avx512 or amx", options.isa);
  }
  if (options.device != "cpu") {
    fail(ErrorCode::unsupported, "device \"{}\": this program runs on cpu only", options.device);
  }
  if (options.threads < 0 || options.threads > 1024) fail(ErrorCode::usage, "--threads {}", options.threads);
  if (options.context < 0) fail(ErrorCode::usage, "--ctx {}", options.context);
  return session;
}

std::string precision_name(const EngineOptions& options, const plan::EngineFile& engine) {
  if (options.precision == "fp32") return "fp32";
  static const std::map<std::string, std::string, std::less<>> kNames = {
      {"f32", "fp32"}, {"f16", "fp16"}, {"bf16", "bf16"}, {"i8", "int8"}, {"i16", "int16"}};
  const auto it = kNames.find(engine.manifest().plan.compute);
  return it == kNames.end() ? engine.manifest().plan.compute : it->second;
}

std::shared_ptr<const plan::EngineFile> open_engine(const EngineOptions& options, const Output& output) {
  session_options(options);  // what cannot run is refused before anything is built
  std::filesystem::path path = options.model;
  if (!plan::is_engine_file(path)) {
    const frontend::Checkpoint checkpoint = frontend::Checkpoint::open(path);
    const std::string name = std::filesystem::absolute(path).lexically_normal().stem().string();
    const std::filesystem::path cached =
        cache_folder() / fmt::format("{}-{}.lathe", name, cache_key(checkpoint, options));
    if (!std::filesystem::exists(cached)) {
      output.note(fmt::format("building \"{}\"", cached.string()));
      std::filesystem::create_directories(cached.parent_path());
      BuildRequest request{.source = path,
                           .destination = cached,
                           .options = {},
                           .verify = false,
                           .full_verify = false,
                           .hash_sources = false,
                           .on_reports = {}};
      request.options.precision = options.precision;
      request.options.kv = options.kv;
      request.options.threads = options.threads;
      build_engine(request, output);
    } else {
      output.note(fmt::format("engine \"{}\"", cached.string()));
    }
    path = cached;
  }
  auto engine = plan::EngineFile::open(path);
  if (options.check) engine->check_weights();
  return engine;
}

text::Tokenizer open_tokenizer(const plan::EngineFile& engine) {
  const auto compiled = engine.find_asset("tokenizer.compiled");
  if (compiled.empty()) {
    fail(ErrorCode::unsupported, "\"{}\" has no tokenizer; give token ids with --tokens", engine.path().string());
  }
  return text::Tokenizer::deserialize(compiled);
}

plan::Receipt build_engine(const BuildRequest& request, const Output& output) {
  ir::Model model;
  std::vector<std::filesystem::path> files;
  if (plan::is_engine_file(request.source)) {
    const auto engine = plan::EngineFile::open(request.source);
    engine->check_weights();
    model = compiler::engine_model(engine);
    model.assets.erase("tokenizer.compiled");
    files = {request.source};
  } else {
    const frontend::Checkpoint checkpoint = frontend::Checkpoint::open(request.source);
    model = frontend::build_decoder(checkpoint, frontend::natural_dtype(checkpoint));
    files = checkpoint.files();
  }
  compiler::BuildOptions options = request.options;
  options.log = output.log();
  options.progress = output.progress();
  compiler::PreparedBuild build(model, options);
  if (request.on_reports) request.on_reports(build.reports());
  const compiler::BuildPrediction prediction = build.predict();
  output.note(fmt::format("will take about {:.1f} MB of disk, {:.0f} MB of memory, {:.1f} s before verification",
                          double(prediction.disk_bytes) / 1e6, double(prediction.memory_bytes) / 1e6,
                          prediction.seconds));
  plan::Receipt receipt;
  if (!request.verify) {
    build.write(request.destination);
    return receipt;
  }
  build.write(request.destination, [&](const std::filesystem::path& engine) {
    verify::VerifyOptions verify_options;
    verify_options.full = request.full_verify;
    verify_options.threads = options.threads;
    verify_options.progress = output.progress();
    receipt = verify::verify_engine(engine, verify_options);
    if (request.hash_sources) {
      for (const std::filesystem::path& file : files) {
        receipt.sources.push_back({file.filename().string(), sha256_file_hex(file),
                                   int64_t(std::filesystem::file_size(file))});
      }
    }
    if (!receipt.pass) verify::fail_receipt(receipt);
    return receipt;
  });
  return receipt;
}

Json memory_json(const MemoryUse& memory) {
  return {{"peak_rss_bytes", memory.peak_rss_bytes}, {"peak_anon_bytes", memory.peak_anon_bytes}};
}

}  // namespace lathe::cli
