#include "cli/pass_flags.h"

#include <filesystem>

#include "base/file.h"

namespace lathe::cli {

void add_pass_flags(CLI::App& command, PassFlags& flags) {
  command.add_flag("--checked", flags.checked, "compare results before and after every rewrite (small models)");
  command.add_option("--disable", flags.disabled, "passes and rules to leave out, separated by commas");
  command.add_option("--dump", flags.dump_folder, "folder for the graph after each pass");
}

opt::PassOptions pass_options(const PassFlags& flags) {
  opt::PassOptions options;
  options.checked = flags.checked;
  for (const std::string& name : CLI::detail::split(flags.disabled, ',')) {
    if (!name.empty()) options.disabled.insert(name);
  }
  if (flags.dump_folder.empty()) return options;
  make_folder(flags.dump_folder);
  options.dump = [folder = std::filesystem::path(flags.dump_folder)](std::string_view name, const std::string& text) {
    write_text_file(folder / fmt::format("{}.ir", name), text);
  };
  return options;
}

}  // namespace lathe::cli
