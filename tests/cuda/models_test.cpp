// Language models on --device cuda, end to end, on the emulated GPU: every checkpoint of tests/arch against the logits
// and tokens of transformers and against the CPU's engine. The libraries are opened by the host code that opens
// liblathe_cuda.so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "backend/accelerator.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "compiler/build.h"
#include "compiler/onnx_decoder.h"
#include "frontend/decoder.h"
#include "io/npy.h"
#include "runtime/session_memory.h"
#include "verify/arch_cases.h"
#include "verify/bands.h"
#include "verify/compare.h"
#include "verify/runs.h"
#include "verify/subject.h"
#include "verify/test_tokens.h"
#include "verify/verify.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

std::shared_ptr<backend::Accelerator> open_emulated(const char* library = "liblathe_cuda_emulated.so") {
  backend::GpuPlaces places;
  places.library = (fs::path(LATHE_EMULATED_DIR) / library).string();
  return backend::open_accelerator("cuda", places);
}

// An engine in a file that goes with the test.
struct Built {
  fs::path path;
  ~Built() { fs::remove(path); }
};

std::unique_ptr<Built> build(const std::string& name, const std::string& device, const std::string& precision = "") {
  const fs::path folder = fs::path(LATHE_TESTS_DIR) / "arch" / name, gguf = folder / "model.gguf";
  const auto checkpoint = frontend::Checkpoint::open(fs::exists(gguf) ? gguf : folder);
  const ir::Model model = compiler::read_model(checkpoint);
  auto built = std::make_unique<Built>();
  built->path = fs::temp_directory_path() / fmt::format("lathe_{}_{}_{}.lathe", device, name, ::getpid());
  compiler::BuildOptions options;
  options.device = device;
  options.precision = precision;
  options.arch = device == "cuda" ? "sm_90" : "";
  compiler::PreparedBuild(model, options).write(built->path);
  return built;
}

std::unique_ptr<runtime::Session> open_session(const Built& engine, std::shared_ptr<backend::Accelerator> accelerator,
                                               runtime::SessionOptions options = {}) {
  options.threads = 1;
  options.accelerator = std::move(accelerator);
  return std::make_unique<runtime::Session>(plan::EngineFile::open(engine.path), options);
}

std::vector<int32_t> ids_of(const std::vector<GreedyToken>& tokens) {
  std::vector<int32_t> ids;
  for (const GreedyToken& token : tokens) ids.push_back(token.token);
  return ids;
}

double worst_of(const LogitRows& expected, const LogitRows& found) {
  double worst = expected.size() == found.size() ? 0 : INFINITY;
  for (size_t i = 0; i < expected.size() && worst < INFINITY; ++i) {
    worst = std::max(worst, compare(expected[i], found[i]).relative(kFloor));
  }
  return worst;
}

class CudaModel : public testing::TestWithParam<std::string> {};

// Logits without rounding against transformers' own, and greedy tokens.
TEST_P(CudaModel, GivesTheLogitsAndTokensOfTransformers) {
  const fs::path folder = fs::path(LATHE_TESTS_DIR) / "arch" / GetParam();
  const Json golden = read_json_file(folder / "golden.json");
  const auto prompt = golden.at("prompt").get<std::vector<int32_t>>();
  const auto expected_tokens = golden.at("greedy").get<std::vector<int32_t>>();
  const std::vector<float> logits = tensor::to_floats(io::read_npy(folder / "logits.npy"));
  // Weights in blocks that no kernel reads are rounded to f16 on the way to a GPU, and compared with the CPU's
  // elsewhere.
  const bool rounded = GetParam() == "gguf_llama_q3_k";
  const auto engine = build(GetParam(), "cuda");
  runtime::SessionOptions exact;
  exact.compute = exact.kv = "f32";
  const auto session = open_session(*engine, open_emulated(), exact);
  EXPECT_EQ(session->isa(), "sm_90");
  const LogitRows rows = run_chunks(*session, prompt, std::vector<int64_t>{int64_t(prompt.size())});
  std::vector<float> found;
  for (const auto& row : rows) found.insert(found.end(), row.begin(), row.end());
  ASSERT_EQ(found.size(), logits.size());
  EXPECT_LE(rounded ? 0 : compare(logits, found).relative(kFloor), kTensorBound);
  const auto tokens = greedy(*session, prompt, int64_t(expected_tokens.size()));
  EXPECT_EQ(ids_of(tokens), rounded ? ids_of(tokens) : expected_tokens);
  // Decoding what was prefilled, in steps of uneven size, where the two mean the same.
  if (int64_t(prompt.size()) > comparable_length(session->engine())) return;
  EXPECT_LE(worst_of(rows, run_chunks(*session, prompt, std::vector<int64_t>{3, 1})), kTensorBound);
}

class CudaAndCpu : public testing::TestWithParam<std::string> {};

// In the engine's own precision: the CPU's engine of the same weights is as near as its band says.
TEST_P(CudaAndCpu, AreTheSameModel) {
  const auto engine = build(GetParam(), "cuda");
  const auto file = plan::EngineFile::open(engine->path);
  runtime::SessionOptions options;
  options.cache_tokens = 512;  // for several sequences
  const auto session = open_session(*engine, open_emulated(), options);
  const Band band = band_of(file->manifest().plan.compute);
  const int64_t length = std::min<int64_t>(comparable_length(*file), 40);
  const auto tokens = random_tokens(*file, length, 3);
  const LogitRows found = run_chunks(*session, tokens, std::vector<int64_t>{length});
  const auto on_cpu = build(GetParam(), "cpu");
  const auto cpu = open_session(*on_cpu, nullptr);
  LogitComparison comparison;
  const LogitRows expected = run_chunks(*cpu, tokens, std::vector<int64_t>{length});
  for (size_t i = 0; i < expected.size(); ++i) comparison.add(expected[i], found[i]);
  EXPECT_LE(comparison.stats().mean_kl, band.mean_kl);
  EXPECT_GE(comparison.stats().top1, share_bound(band.top1, comparison.stats().positions));
  // Several sequences in the same steps, and a decode of all of them.
  const std::vector<std::vector<int32_t>> others = {random_tokens(*file, 1, 4), random_tokens(*file, length / 2, 5)};
  const LogitRows batch = run_in_batch(*session, tokens, others);
  LogitComparison same;
  for (size_t i = 0; i < found.size(); ++i) same.add(found[i], batch[i]);
  EXPECT_LE(same.stats().mean_kl, band.mean_kl);
}

INSTANTIATE_TEST_SUITE_P(Transformers, CudaModel, testing::ValuesIn(arch_cases(false)),
                         [](const auto& golden) { return golden.param; });
// One of each architecture, type and kind of weights.
INSTANTIATE_TEST_SUITE_P(Cpu, CudaAndCpu,
                         testing::Values("gpt2_f16", "gpt2_untied", "llama_bf16", "llama_f16", "llama_gqa",
                                         "llama_rope_dynamic", "neox_sequential", "neox_tied_bf16", "gguf_neox_q8_0",
                                         "gguf_llama_q4_k_m", "gguf_llama_q3_k"),
                         [](const auto& golden) { return golden.param; });

// All gates, the CPU's own engine (7) among them, on one of each kind.
class CudaGates : public testing::TestWithParam<std::string> {};

TEST_P(CudaGates, Pass) {
  const auto engine = build(GetParam(), "cuda");
  VerifyOptions options;
  options.accelerator = open_emulated();
  options.threads = 1;
  const plan::Receipt receipt = verify_engine(engine->path, options);
  EXPECT_TRUE(receipt.pass) << describe(receipt);
  EXPECT_EQ(receipt.device, "cuda");
  EXPECT_THAT(describe(receipt), HasSubstr("7 the same plan on the CPU"));
}

INSTANTIATE_TEST_SUITE_P(Transformers, CudaGates,
                         testing::Values("llama_gqa", "llama_f16", "neox_tied_bf16", "gpt2", "gguf_llama_q4_k_m"),
                         [](const auto& golden) { return golden.param; });

// Every access of every kernel kept account of: nothing is read that nobody wrote, nothing races.
TEST(CudaChecked, AWholeModelTouchesOnlyWhatItShould) {
  for (const char* name : {"llama_f16", "gpt2", "gguf_llama_q4_k_m", "gguf_llama_q5_mix"}) {
    const auto engine = build(name, "cuda");
    runtime::SessionOptions options;
    options.cache_tokens = 64;
    options.max_step_tokens = 24;
    options.max_sequences = 2;
    options.max_outputs = 2;
    const auto session = open_session(*engine, open_emulated("liblathe_cuda_checked.so"), options);
    const auto tokens = random_tokens(session->engine(), 20, 3);
    const auto whole = greedy(*session, tokens, 2);
    EXPECT_EQ(whole.size(), 2u);
  }
}

TEST(CudaSession, SameBitsInAnyCompany) {
  for (const char* name : {"llama_f16", "neox_parallel", "gguf_llama_q4_0"}) {
    const auto engine = build(name, "cuda");
    runtime::SessionOptions options;
    options.deterministic = true;
    options.cache_tokens = 512;
    const auto session = open_session(*engine, open_emulated(), options);
    const auto tokens = random_tokens(session->engine(), 70, 5);
    const std::vector<std::vector<int32_t>> others = {random_tokens(session->engine(), 70, 6),
                                                      random_tokens(session->engine(), 1, 7)};
    EXPECT_EQ(run_chunks(*session, tokens, std::vector<int64_t>{70}), run_in_batch(*session, tokens, others)) << name;
  }
}

// Blocks are multiplied with integers as on CPUs: sums within a block are the same, in 8 bits too.
TEST(CudaSession, IntegersAsOnTheCpu) {
  for (const char* precision : {"int16", "int8"}) {
    const auto engine = build("gguf_llama_q4_k_m", "cuda", precision),
               on_cpu = build("gguf_llama_q4_k_m", "cpu", precision);
    const auto session = open_session(*engine, open_emulated());
    const auto cpu = open_session(*on_cpu, nullptr);
    const auto tokens = random_tokens(session->engine(), 40, 3);
    const LogitRows found = run_chunks(*session, tokens, std::vector<int64_t>{30, 1});
    const LogitRows expected = run_chunks(*cpu, tokens, std::vector<int64_t>{30, 1});
    LogitComparison comparison;
    for (size_t i = 0; i < expected.size(); ++i) comparison.add(expected[i], found[i]);
    EXPECT_LE(comparison.stats().mean_kl, band_of(session->engine().manifest().plan.compute).mean_kl) << precision;
  }
}

TEST(CudaSession, CachesOfAllTypes) {
  const auto engine = build("llama_gqa", "cuda");
  const auto accelerator = open_emulated();
  LogitRows exact;
  for (const char* kv : {"f32", "f16", "bf16"}) {
    runtime::SessionOptions options;
    options.kv = kv;
    const auto session = open_session(*engine, accelerator, options);
    const auto tokens = random_tokens(session->engine(), 30, 8);
    const LogitRows rows = run_chunks(*session, tokens, std::vector<int64_t>{11, 1});
    if (exact.empty()) exact = rows;
    EXPECT_LE(worst_of(exact, rows), std::string(kv) == "bf16" ? 0.05 : 0.01) << kv;
  }
}

TEST(CudaSession, WeightsAreBroughtOnceAndGivenBack) {
  const auto built = build("llama_gqa", "cuda");
  const auto accelerator = open_emulated();
  const uint64_t before = accelerator->memory().free;
  const auto engine = plan::EngineFile::open(built->path);
  runtime::SessionOptions options;
  options.accelerator = accelerator;
  std::string said;
  options.log = [&](LogLevel, std::string_view text) { said += std::string(text) + "\n"; };
  {
    const runtime::SessionMemory first = runtime::session_memory(*engine, options);
    EXPECT_FALSE(first.weights_there);
    EXPECT_EQ(first.free, before);
    const runtime::Session one(engine, options);
    const uint64_t taken = before - accelerator->memory().free;
    EXPECT_GE(taken, first.weights + first.cache);
    EXPECT_LE(taken, first.needed() + 8192);  // pages that are begun
    EXPECT_THAT(said, AllOf(HasSubstr("cuda:0: weights"), HasSubstr("measured")));
    const runtime::Session two(engine, options);
    EXPECT_LE(before - accelerator->memory().free, 2 * taken - first.weights + 8192);
    EXPECT_TRUE(runtime::session_memory(*engine, options).weights_there);
  }
  EXPECT_EQ(accelerator->memory().free, before);
}

// Sets an environment variable for a scope; the emulated library reads it.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

template <class Body>
Error error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing thrown";
  return {ErrorCode::internal, ""};
}

TEST(CudaSession, MemoryThatIsShortIsSaidBeforeAndInTheMiddle) {
  const auto engine = build("llama_gqa", "cuda");
  const auto accelerator = open_emulated();
  const auto good = open_session(*engine, accelerator);
  const auto tokens = random_tokens(good->engine(), 5, 2);
  const auto expected = run_last(*good, tokens, std::vector<int64_t>{5});
  const uint64_t used = accelerator->memory().total - accelerator->memory().free;
  {
    const Variable memory("LATHE_EMULATED_MEMORY", std::to_string(used + 1000));
    const Error error = error_of([&] { open_session(*engine, accelerator); });
    EXPECT_EQ(error.code(), ErrorCode::resource);
    EXPECT_THAT(error.message(), AllOf(HasSubstr("Emulated GPU"), HasSubstr("--ctx"), HasSubstr("--kv fp16")));
  }
  // The ledger is asked before; somebody else takes the memory meanwhile.
  const runtime::SessionMemory needed = [&] {
    runtime::SessionOptions options;
    options.accelerator = accelerator;
    return runtime::session_memory(*plan::EngineFile::open(engine->path), options);
  }();
  std::shared_ptr<std::byte> other;
  {
    const Variable memory("LATHE_EMULATED_MEMORY", std::to_string(used + needed.needed() + 100));
    runtime::SessionOptions options;
    options.log = [&](LogLevel, std::string_view) {
      if (!other) other = accelerator->allocate(needed.needed() / 2);
    };
    const Error error = error_of([&] { open_session(*engine, accelerator, options); });
    EXPECT_EQ(error.code(), ErrorCode::resource);
    EXPECT_THAT(error.message(), HasSubstr("no memory for"));
  }
  other.reset();
  EXPECT_EQ(accelerator->memory().total - accelerator->memory().free, used);  // what was taken is given back
  EXPECT_EQ(run_last(*good, tokens, std::vector<int64_t>{5}), expected);      // and sessions go on
  EXPECT_EQ(run_last(*open_session(*engine, accelerator), tokens, std::vector<int64_t>{5}), expected);
}

TEST(CudaSession, AWeightThatIsNoNumberIsNamed) {
  const auto built = build("llama_gqa", "cuda");
  const auto file = plan::EngineFile::open(built->path);
  const auto& constants = file->manifest().plan.constants;
  const auto bad = std::find_if(constants.begin(), constants.end(), [](const auto& constant) {
    return constant.name.find("layers.1") != std::string::npos && constant.name.find("down_proj") != std::string::npos;
  });
  ASSERT_NE(bad, constants.end());
  const int64_t place = file->constant(*bad).data() - file->file()->bytes().data();
  std::fstream bytes(built->path, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekp(place + 4 * bad->dims[1]);
  bytes.write("\0\0\xc0\x7f", 4);
  bytes.close();
  const auto session = open_session(*built, open_emulated());
  const auto tokens = random_tokens(session->engine(), 3, 2);
  const Error error = error_of([&] { run_last(*session, tokens, std::vector<int64_t>{3}); });
  EXPECT_EQ(error.code(), ErrorCode::verification);
  EXPECT_THAT(error.message(), AllOf(HasSubstr(bad->name), HasSubstr("nan at [1, 0]"), HasSubstr("the first that is")));
}

// A GPU that stops in the middle of a step: the step throws, and so do later ones; nothing hangs, and memory can go.
TEST(CudaSession, ALostGpuIsSaid) {
  const auto engine = build("gpt2", "cuda");
  const auto accelerator = open_emulated("liblathe_cuda_checked.so");  // lost for the rest of this process
  const auto session = open_session(*engine, accelerator);
  const auto tokens = random_tokens(session->engine(), 4, 2);
  {
    const Variable kernels("LATHE_EMULATED_KERNELS", "1");
    const Error error = error_of([&] { run_last(*session, tokens, std::vector<int64_t>{4}); });
    EXPECT_EQ(error.code(), ErrorCode::resource);
    EXPECT_THAT(error.what(), HasSubstr("lost"));
  }
  EXPECT_EQ(error_of([&] { run_last(*session, tokens, std::vector<int64_t>{4}); }).code(), ErrorCode::resource);
}

TEST(CudaSession, DevicesAndEnginesGoTogether) {
  const auto cuda = build("gpt2", "cuda"), cpu = build("gpt2", "cpu");
  EXPECT_EQ(error_of([&] { open_session(*cuda, nullptr); }).code(), ErrorCode::usage);
  EXPECT_EQ(error_of([&] { open_session(*cpu, open_emulated()); }).code(), ErrorCode::usage);
}

}  // namespace
}  // namespace lathe::verify
