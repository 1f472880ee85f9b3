// What a MODEL argument is, and how verbs get an engine from it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "backend/accelerator.h"
#include "base/memory.h"
#include "cli/verb.h"
#include "compiler/build.h"
#include "frontend/decoder.h"
#include "plan/engine_file.h"
#include "runtime/session.h"
#include "text/tokenizer.h"

namespace lathe::cli {

// The type an export computes in: the wish ("fp32", "fp16", "bf16"), else the checkpoint's own.
tensor::DType export_dtype(const frontend::Checkpoint& checkpoint, const std::string& precision);

// Options that run, chat, bench and verify share.
struct EngineOptions {
  std::string model;
  std::string precision;
  std::string kv;
  int64_t context = 0;
  int threads = 0;
  std::string isa;
  std::string device;  // as --device has it; empty: the engine's own, or the CPU
  bool deterministic = false;
  bool check = false;
  // What open_engine() opened for it, and where sessions tell what memory they take there.
  std::shared_ptr<backend::Accelerator> accelerator = nullptr;
  LogSink log = null_log();
};
void add_engine_options(CLI::App& command, EngineOptions& options);

// The engine of a MODEL: the file itself, or one built into the cache (engine_cache.h) from the checkpoint, or from an
// engine for another device than the one asked for. A note says where it is. Engines in the cache are not verified, so
// that one whose run fails verification does not stay there. Settles the device, and opens it. Throws unsupported for
// an engine that computes in another precision than the one wished for, with the command that builds the right one;
// what open_device() throws.
std::shared_ptr<const plan::EngineFile> open_engine(EngineOptions& options, const Output& output);
// Throws usage, unsupported for options that no engine can have.
runtime::SessionOptions session_options(const EngineOptions& options);

// The precision a session runs in, for people: "fp32", "int16" ...
std::string precision_name(const EngineOptions& options, const plan::EngineFile& engine);

// The tokenizer of an engine. Throws unsupported when it has none, with the reason that `model` gives: what the engine
// was built from, if that is at hand.
text::Tokenizer open_tokenizer(const plan::EngineFile& engine, const std::string& model = "");
// Says so where a checkpoint has a tokenizer that cannot be read.
void note_tokenizer(const frontend::Checkpoint& checkpoint, const Output& output);
// " that can be read (reason)", or nothing: what "no tokenizer" goes on with.
std::string tokenizer_problem(const frontend::Checkpoint& checkpoint);

// Builds `destination` from a checkpoint (or from another engine's graph) and verifies it on reduced input
// unless told not to; prints predictions and progress.
struct BuildRequest {
  std::filesystem::path source;
  std::filesystem::path destination;
  compiler::BuildOptions options;
  bool verify = true;
  bool full_verify = false;
  std::shared_ptr<backend::Accelerator> accelerator = nullptr;          // that verification runs on
  std::function<void(const std::vector<opt::PassReport>&)> on_reports;  // may be empty
};
plan::Receipt build_engine(const BuildRequest& request, const Output& output);

Json memory_json(const MemoryUse& memory);

}  // namespace lathe::cli
