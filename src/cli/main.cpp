// The program: one subcommand per verb, one place where errors become messages and exit codes.
#include <csignal>
#include <cstdio>
#include <new>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "cli/verbs.h"

namespace {

using lathe::Error;
using lathe::ErrorCode;
using lathe::Json;
using lathe::cli::Exit;

Exit exit_for(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return Exit::usage;
    case ErrorCode::invalid_input:
    case ErrorCode::not_found:
    case ErrorCode::io:
      return Exit::bad_input;
    case ErrorCode::unsupported:
      return Exit::unsupported;
    case ErrorCode::resource:
      return Exit::no_resources;
    case ErrorCode::verification:
      return Exit::failed;
    case ErrorCode::internal:
      return Exit::bug;
  }
  return Exit::bug;
}

Exit report(const lathe::cli::Output& output, const Error& error) {
  Json context = Json::array();
  for (const std::string& where : error.context()) context.push_back(where);
  output.result({{"error",
                  {{"code", std::string(to_string(error.code()))},
                   {"message", error.message()},
                   {"context", std::move(context)}}}});
  output.end_progress();
  std::fprintf(stderr, "lathe: %s\n", error.what());
  if (error.code() == ErrorCode::internal) std::fprintf(stderr, "lathe: this is a bug in lathe, please report it\n");
  return exit_for(error.code());
}

// Ends at once: temporary files are named after this process and removed by the next one that writes the same name.
void on_interrupt(int) {
  std::_Exit(int(Exit::interrupted));
}

// A failure that the C++ library reports as the system's; layers below say it better where they expect it.
Error from_system(const std::system_error& error) {
  const std::error_category& category = error.code().category();
  const bool is_errno = category == std::system_category() || category == std::generic_category();
  return Error(is_errno ? lathe::error_code_of(error.code().value()) : ErrorCode::io, error.what());
}

Exit run(lathe::cli::Output& output, const std::function<Exit(lathe::cli::Output&)>& action) {
  try {
    return action(output);
  } catch (const Error& error) {
    return report(output, error);
  } catch (const std::system_error& error) {  // std::filesystem's among them
    return report(output, from_system(error));
  } catch (const std::bad_alloc&) {
    return report(output, Error(ErrorCode::resource, "out of memory"));
  } catch (const std::exception& error) {
    return report(output, Error(ErrorCode::internal, error.what()));
  }
}

Exit report_usage(const CLI::ParseError& error, const lathe::cli::Output& output) {
  output.result({{"error", {{"code", "usage"}, {"message", error.what()}, {"context", Json::array()}}}});
  return Exit::usage;
}

}  // namespace

int main(int argc, char** argv) {
  const auto started = lathe::cli::Output::Clock::now();
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of write(), as a full disk is
  lathe::install_mapping_fault_handler();

  CLI::App app("Lathe: from a downloaded checkpoint to verified, fast inference", "lathe");
  app.set_version_flag("--version", "lathe " LATHE_VERSION);
  app.require_subcommand(1);
  bool json = false;
  bool quiet = false;
  std::function<Exit(lathe::cli::Output&)> action;
  for (const lathe::cli::Verb* verb : lathe::cli::all_verbs()) {
    CLI::App* command = app.add_subcommand(std::string(verb->name), std::string(verb->description));
    command->add_flag("--json", json, "print one JSON object to stdout");
    command->add_flag("-q,--quiet", quiet, "no notes and no progress on stderr");
    command->footer("Example:\n  " + std::string(verb->example));
    command->callback([&action, body = verb->add(*command)] { action = body; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, std::cout, std::cerr);
    if (code == 0) return 0;  // --help, --version
    for (int i = 1; i < argc; ++i) json = json || std::string_view(argv[i]) == "--json";
    return int(report_usage(error, lathe::cli::Output(json, quiet)));
  }
  lathe::cli::Output output(json, quiet, started);
  const Exit exit = run(output, action);
  output.end_progress();
  if (exit == Exit::failed) output.verification_failed();
  return int(exit);
}
