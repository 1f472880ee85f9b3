// What build and optimize share: options of the pass manager.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "opt/pass_manager.h"

namespace lathe::cli {

struct PassFlags {
  std::string disabled;  // names, separated by commas
  std::string dump_folder;
  bool checked = false;
};
void add_pass_flags(CLI::App& command, PassFlags& flags);

// Creates the folder for dumps.
opt::PassOptions pass_options(const PassFlags& flags);

}  // namespace lathe::cli
