// The .lathe file: header, weights, assets, manifest, receipt. docs/engine-format.md describes the bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "contract/contract.h"
#include "plan/graph_engine.h"
#include "plan/plan.h"
#include "plan/receipt.h"

namespace lathe::plan {

constexpr uint32_t kEngineVersion = 2;     // the newest that is read; graphs need 2
constexpr uint32_t kLanguageVersion = 1;  // language models have not changed since
constexpr uint64_t kWeightAlignment = 4096;
constexpr uint64_t kHashChunk = uint64_t{1} << 20;  // weights carry one XXH3-128 for each MiB

// A named byte range of the file, offset from the beginning of the weight section.
struct AssetEntry {
  std::string name;
  int64_t offset = 0;
  int64_t bytes = 0;

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("offset", offset);
    v("bytes", bytes);
  }
};

// Everything but bulk data. Its hash is checked when the engine is opened.
struct Manifest {
  std::string producer;  // "lathe 0.1.0"
  int64_t opset = 0;     // of the graph text
  std::string arch;      // of the GPU that the plan was made for: "sm_90"; empty on CPUs, and then not written
  std::string graph;     // the canonical graph as text; constants by name, so the engine can be rebuilt
  contract::Contract contract;
  Plan plan;
  // Of any kind instead of a language model's: `graph`, `contract` and `plan` say nothing then.
  std::vector<EngineGraph> graphs;
  std::string pipeline;  // JSON text for who runs the graphs together; empty: nothing to say
  std::vector<AssetEntry> assets;
  std::vector<std::string> weight_hashes;  // per kHashChunk of the weight section
  int64_t weight_bytes = 0;
};

// Writes an engine: constants and assets one after another, then finish() with the manifest. The file appears
// under its name only after commit().
class EngineWriter {
 public:
  explicit EngineWriter(const std::filesystem::path& path);
  // Reserves `bytes` at the next aligned place of the weight section and returns its offset; fill it with
  // write(offset, ...), from any thread, each byte once, before finish().
  int64_t allocate(int64_t bytes);
  void write(int64_t offset, std::span<const std::byte> bytes);
  AssetEntry add_asset(std::string name, std::string_view bytes);
  // Hashes the weight section, writes manifest; the file can then be opened at temporary_path() for
  // verification before commit. Fills manifest.weight_hashes, weight_bytes.
  void finish(Manifest& manifest);
  const std::filesystem::path& temporary_path() const;
  // Stands in the file after commit(). Throws usage for a receipt of another engine (engine_hash).
  void set_receipt(const Receipt& receipt);
  void commit();

 private:
  std::string header(bool with_receipt) const;

  AtomicFile file_;
  uint64_t weight_end_ = 0;
  uint64_t manifest_end_ = 0;  // 0 before finish()
  std::string manifest_hash_;
  std::string producer_;
  uint32_t version_ = kLanguageVersion;
  std::string receipt_;  // its bytes; empty: none
};

// An opened engine, mapped read-only and shared. open() checks magic, version, sizes and the manifest's hash:
// a file that is truncated, of a version that this program cannot read (unsupported, naming the program that
// wrote it) or altered in its manifest does not open. Weight bytes are checked by check_weights().
class EngineFile {
 public:
  static std::shared_ptr<const EngineFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_->path(); }
  const Manifest& manifest() const { return manifest_; }
  const std::optional<Receipt>& receipt() const { return receipt_; }
  const std::string& hash() const { return hash_; }  // of the manifest
  std::span<const std::byte> weights() const { return weights_; }
  std::span<const std::byte> constant(const Constant& constant) const;
  std::span<const std::byte> find_asset(std::string_view name) const;  // empty when there is none
  // Throws verification naming the first byte range whose hash does not match and the constants in it.
  void check_weights() const;
  const std::shared_ptr<const MappedFile>& file() const { return file_; }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> weights_;
  Manifest manifest_;
  std::optional<Receipt> receipt_;
  std::string hash_;
};

// Throws unsupported, naming what it is, for an engine of graphs where `graphs` is false and of a language model where
// it is true.
void require_kind(const EngineFile& engine, bool graphs);
// True when the file begins like an engine of graphs.
bool is_graph_engine(const std::filesystem::path& path);
// True when the file begins like an engine.
bool is_engine_file(const std::filesystem::path& path);
// Writes a receipt into an existing engine file, which must not be mapped for execution elsewhere: the
// receipt is appended and the header switched to it in one write. A crash leaves the old receipt or the new
// one. Throws usage for a receipt of another engine (engine_hash), otherwise as open() and AtomicFile.
void write_receipt(const std::filesystem::path& path, const Receipt& receipt);

}  // namespace lathe::plan
