// Engines that verbs make of checkpoints and keep for the next time.
#pragma once

#include <filesystem>
#include <memory>

#include "cli/model.h"

namespace lathe::cli {

// $XDG_CACHE_HOME/lathe, else ~/.cache/lathe; need not exist yet.
std::filesystem::path cache_folder();

// The place of one checkpoint's engine for one set of options in the cache folder. Its name changes whenever the engine
// would: with the checkpoint's files (by size and time) and with the program.
class EngineCache {
 public:
  EngineCache(const frontend::Checkpoint& checkpoint, const EngineOptions& options);
  // Of an engine that is built again for another device.
  EngineCache(const plan::EngineFile& engine, const EngineOptions& options);

  const std::filesystem::path& path() const { return path_; }
  // The engine, or null where there is none. One that cannot be used is none, which `output` gets a note of.
  std::shared_ptr<const plan::EngineFile> find(bool check_weights, const Output& output) const;
  // Removes what earlier checkpoints of this name, or earlier programs, left in this place.
  void remove_outdated() const;

 private:
  void name_by(const std::filesystem::path& source, const std::string& identity, const std::string& state);

  std::string identity_;  // of the checkpoint and the options: how the names of all its engines begin
  std::filesystem::path path_;
};

}  // namespace lathe::cli
